"""Tones that hold go, with what lies under them left in place; a voice does not."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle import load
from unmuffle.enhancers.base import run_offline
from unmuffle.errors import ParameterError


def level(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(x.astype(np.float64))) + 1e-30))


def tone(rate: int, seconds: float, *hertz: float, level_dbfs: float = -20.0) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    x = sum(np.cos(2 * np.pi * f * t + 0.7 * f) for f in hertz)
    return np.asarray(x * 10 ** (level_dbfs / 20) / np.std(x), np.float32)


def demo() -> np.ndarray:
    from importlib import resources

    import soundfile

    x, rate = soundfile.read(str(resources.files("unmuffle") / "assets" / "demo_clean.flac"), dtype="float32")
    assert rate == 16000
    return np.asarray(x)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("hertz", [(440.0,), (1000.0,), (997.3, 2500.1), (120.0, 3150.0)])
def test_tones_go(rate: int, hertz: tuple[float, ...]) -> None:
    x = tone(rate, 4, *hertz)
    y = run_offline(load("detone"), x, rate)
    # Until the last frame, which the end of the recording cuts.
    assert level(y[3 * rate : -rate // 20]) - level(x) < -40.0


@pytest.mark.parametrize("loud_db", [-10.0, 0.0, 10.0])
def test_speech_under_a_tone_stays(loud_db: float) -> None:
    """What is left of the tone, and what was taken of the voice, together: far below the voice."""
    voice = demo()
    noise = tone(16000, len(voice) / 16000, 1230.0, level_dbfs=level(voice) + loud_db)
    y = run_offline(load("detone"), voice + noise, 16000)
    late = slice(32000, -800)
    assert level((y - voice)[late]) - level(voice[late]) < -14.0
    assert level((y - voice)[late]) - level(noise[late]) < (-10.0 if loud_db < 0 else -18.0)


def test_noise_under_a_tone_stays(rng: np.random.Generator) -> None:
    noise = (0.01 * rng.standard_normal(5 * 16000)).astype(np.float32)
    y = run_offline(load("detone"), noise + tone(16000, 5, 800.0), 16000)
    assert level((y - noise)[48000:-800]) - level(noise) < -15.0


def test_a_voice_is_left_alone() -> None:
    x = demo()
    assert level(run_offline(load("detone"), x, 16000) - x) - level(x) < -30.0


@pytest.mark.parametrize("db", [-60.0, -20.0, 0.0])
def test_noise_is_left_alone(db: float, rng: np.random.Generator) -> None:
    x = (0.3 * 10 ** (db / 20) * rng.standard_normal(4 * 16000)).astype(np.float32)
    changed = run_offline(load("detone"), x, 16000) - x
    assert level(changed) - level(x) < -30.0


def test_a_tone_that_stops_is_not_sung_on() -> None:
    x = tone(16000, 6, 1000.0)
    x[48000:] = 0.0
    y = run_offline(load("detone"), x, 16000)
    # Half a frame later all is quiet, and so it stays.
    assert np.max(np.abs(y[48000 + 512 :])) < 1e-5


def test_a_tone_that_begins_goes_within_two_seconds(rng: np.random.Generator) -> None:
    x = (0.001 * rng.standard_normal(6 * 16000)).astype(np.float32)
    x[32000:] += tone(16000, 4, 700.0)
    y = run_offline(load("detone"), x, 16000)
    left = [level(y[32000 + at : 32000 + at + 4000]) - level(x[32000:]) for at in (0, 16000, 32000)]
    assert left[0] > -1.0
    assert left[1] < -6.0
    assert left[2] < -18.0


@pytest.mark.parametrize(("hertz_a_second", "goes_by"), [(0.03, 30.0), (0.1, 16.0), (0.3, 8.0)])
def test_a_tone_that_moves_slowly_is_followed(hertz_a_second: float, goes_by: float) -> None:
    t = np.arange(6 * 16000) / 16000
    x = (0.2 * np.cos(2 * np.pi * (2950.0 * t + hertz_a_second * t**2 / 2))).astype(np.float32)
    y = run_offline(load("detone"), x, 16000)
    assert level(y[48000:-800]) - level(x) < -goes_by


def test_channels_keep_their_places() -> None:
    """A tone that is louder and later on one side goes from both; the voice on one side stays there."""
    rate, voice = 16000, demo()
    noise = tone(rate, len(voice) / rate, 905.0, level_dbfs=level(voice) + 3)
    x = np.stack((voice + noise, 0.4 * np.roll(noise, 7)))
    y = run_offline(load("detone"), x, rate)
    late = slice(2 * rate, -800)
    assert level(y[1, late]) - level(x[1, late]) < -18.0
    assert level((y[0] - voice)[late]) - level(noise[late]) < -15.0


def test_tones_above_the_limit_stay() -> None:
    x = tone(48000, 3, 6000.0)
    y = run_offline(load("detone", highest_hz=5000.0), x, 48000)
    assert level(y - x) - level(x) < -35.0  # the tone's beginning and end are heard in all bins
    assert level((y - x)[4800:-4800]) - level(x) < -80.0
    assert level(run_offline(load("detone"), x, 48000)[96000:-2400]) < level(x) - 30.0


def test_a_shorter_memory_takes_shorter_tones() -> None:
    x = tone(16000, 1.0, 600.0)
    left = [level(run_offline(load("detone", memory_s=s), x, 16000)[8000:-800]) for s in (0.3, 1.0, 3.0)]
    assert left[0] < left[1] - 3.0 < left[2] - 3.0


def test_bad_settings() -> None:
    for settings in ({"memory_s": 0.0}, {"highest_hz": -1.0}, {"memory_s": float("nan")}):
        with pytest.raises(ParameterError):
            load("detone", **settings)
