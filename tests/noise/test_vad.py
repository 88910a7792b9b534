"""Voice activity on synthetic speech with known activity, and on real speech where it is at hand."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile
from noise_helpers import FRAMES, mixed, power_of, syllables, white
from scipy.ndimage import binary_dilation

from unmuffle.errors import ParameterError, ShapeError
from unmuffle.noise import EnergyVad, LikelihoodVad, segments
from unmuffle.noise.vad import band
from unmuffle.signal.stft import StftSpec

DETECTORS = {"energy": EnergyVad(), "likelihood": LikelihoodVad()}


def rates(detector, x, active, guard_s=0.15):
    """Share of active frames found, and of frames far from speech that are taken for it.

    Within ``guard_s`` of speech a decision is hangover, neither right nor wrong. The first 0.1 s is
    left out: that is the start of the tracker.
    """
    found = detector.detect(power_of(x), FRAMES)[0]
    frame = active[: active.size // 160 * 160].reshape(-1, 160).all(axis=1)
    far = ~binary_dilation(frame, iterations=round(guard_s / 0.01))
    far[:10] = False
    return found[frame].mean(), found[far].mean()


@pytest.mark.parametrize(
    ("name", "snr_db", "hits", "false"),
    [
        ("energy", 20.0, 0.9, 0.02),
        ("energy", 10.0, 0.85, 0.02),
        ("energy", 5.0, 0.75, 0.05),
        ("likelihood", 20.0, 0.95, 0.05),
        ("likelihood", 10.0, 0.9, 0.05),
        ("likelihood", 5.0, 0.8, 0.05),
        ("likelihood", 0.0, 0.7, 0.05),
    ],
)
def test_synthetic_speech_in_white_noise(rng, name, snr_db, hits, false):
    speech, active = syllables(rng, 12, lead=1.0)
    x, _ = mixed(speech, active, white(rng, 12), snr_db)
    hit, wrong = rates(DETECTORS[name], x, active)
    assert hit >= hits
    assert wrong <= false


@pytest.mark.parametrize("gain_db", [-60.0, 10.0])
@pytest.mark.parametrize("name", DETECTORS)
def test_level_does_not_matter(rng, name, gain_db):
    speech, active = syllables(rng, 6, lead=0.5)
    x, _ = mixed(speech, active, white(rng, 6), 10.0)
    base = DETECTORS[name].detect(power_of(x), FRAMES)
    scaled = DETECTORS[name].detect(power_of(x * np.float32(10 ** (gain_db / 20))), FRAMES)
    assert np.mean(base == scaled) > 0.99


@pytest.mark.parametrize("name", DETECTORS)
def test_noise_alone_and_silence(rng, name):
    found = DETECTORS[name].detect(power_of(white(rng, 10)), FRAMES)
    assert found[:, 10:].mean() < 0.02
    assert not DETECTORS[name].detect(power_of(np.zeros(16000)), FRAMES).any()
    with np.errstate(all="raise", under="ignore"):
        sparse = np.zeros(32000)
        sparse[16000:] = 0.3 * np.sin(np.arange(16000))
        DETECTORS[name].detect(power_of(sparse), FRAMES)


@pytest.mark.parametrize("name", DETECTORS)
def test_channels_decide_alone(rng, name):
    speech, active = syllables(rng, 6, lead=0.5)
    x, _ = mixed(speech, active, white(rng, 6), 15.0)
    quiet = white(rng, 6, rms=0.003)
    found = DETECTORS[name].detect(power_of(np.stack((x, quiet))), FRAMES)
    np.testing.assert_array_equal(found[0], DETECTORS[name].detect(power_of(x), FRAMES)[0])
    assert found[1, 10:].mean() < 0.02


@pytest.mark.parametrize("name", DETECTORS)
def test_real_speech(shared_data, rng, name):
    # Readers at 15, 10 and 5 dB in white noise, between stretches of noise alone. Activity from the
    # clean level: within 20 dB of its peaks. Weak sounds drown at 5 dB, hence the lower bound there.
    with (shared_data / "manifest.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["path"].startswith("speech/train/librispeech")]
    for snr_db, hits in ((15.0, 0.88), (10.0, 0.82), (5.0, 0.75)):
        hit, wrong = [], []
        for row in rows[::40][:4]:
            clip, rate = soundfile.read(shared_data / row["path"], dtype="float32")
            clip = clip[: 6 * rate : rate // 16000]  # 48 kHz to 16; nothing lies above 8 kHz
            pause = np.zeros(16000, np.float32)
            speech = np.concatenate((pause, clip, pause))
            level = power_of(speech)[0].sum(axis=1)
            active = np.repeat(level > np.percentile(level, 98) * 10**-2.0, 160)
            speech = speech[: active.size]
            x, _ = mixed(speech, active, white(rng, speech.size / 16000), snr_db)
            h, w = rates(DETECTORS[name], x, active)
            hit.append(h)
            wrong.append(w)
        assert np.mean(hit) > hits, snr_db
        assert np.mean(wrong) < 0.05, snr_db


# -- segments -----------------------------------------------------------------------------------


def test_segments_find_the_phrases(rng):
    # Phrases of about 1.2 s with 0.6 s of pause. Edges within 0.15 s: hangover and margin.
    speech, active = syllables(rng, 6, lead=0.8)
    x, _ = mixed(speech, active, white(rng, 6), 20.0)
    edges = np.flatnonzero(np.diff(active.astype(int), prepend=0, append=0)) / 16000
    want = [e for e in np.split(edges, edges.size // 2) if e[1] - e[0] > 0.3]
    for detector in DETECTORS.values():
        found = segments(x, 16000, detector)
        assert len(found) == len(want)
        np.testing.assert_allclose(found, want, atol=0.17)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_segments_at_other_rates(rng, rate):
    speech, active = syllables(rng, 4, rate, lead=1.0)
    x, _ = mixed(speech, active, white(rng, 4, rate), 20.0)
    first = segments(x, rate)[0]
    assert first[0] == pytest.approx(1.0, abs=0.15)


def test_segments_of_nothing():
    assert segments(np.zeros(0, np.float32), 16000) == []
    assert segments(np.zeros(16000, np.float32), 16000) == []
    assert segments(np.zeros((2, 16000), np.float32), 16000) == []


def test_segments_close_pauses_and_drop_clicks(rng):
    speech, active = syllables(rng, 8, lead=0.8)
    x, _ = mixed(speech, active, white(rng, 8), 25.0)
    apart = segments(x, 16000, pause_s=0.1)
    together = segments(x, 16000, pause_s=2.0)
    assert len(apart) > len(together) == 1
    assert segments(x, 16000, shortest_s=7.9) == []
    assert all(0 <= a < b <= 8.0 for a, b in apart)


@pytest.mark.parametrize("name", ["shortest_s", "pause_s", "margin_s"])
def test_bad_times(name):
    with pytest.raises(ParameterError, match=name):
        segments(np.zeros(100, np.float32), 16000, **{name: -1.0})


def test_bad_samples():
    with pytest.raises(ShapeError):
        segments(np.zeros((3, 3, 3), np.float32), 16000)


def test_bands():
    frames = StftSpec().at(8000)
    assert band(frames, 100, 400) == (2, 9)
    assert band(frames, 5000, 9000) == (frames.bins - 1, frames.bins)
    with pytest.raises(ParameterError, match="high_hz"):
        EnergyVad(low_hz=500.0, high_hz=100.0)
    with pytest.raises(ParameterError, match="noise"):
        LikelihoodVad(noise="mcra")
