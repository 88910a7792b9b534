"""Figures without a reference, against what is known of signals made to measure."""

import math

import numpy as np
import pytest
import soundfile

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.registry import load
from unmuffle.errors import NonFiniteError, NotAudioError, ShapeError
from unmuffle.quality.figures import NAMES, Figures, combine, measure, measure_file


@pytest.fixture(scope="module")
def words():
    """8 s of words of 0.35 s with 0.15 s between, then pauses of a second: level and places are known."""
    rng = np.random.default_rng(5)
    rate, out = 16000, np.zeros(8 * 16000)
    for start in (0.6, 1.1, 1.6, 3.0, 3.5, 4.0, 5.4, 5.9, 6.4):
        t = np.arange(int(0.35 * rate)) / rate
        pitch = 120 + 20 * rng.random()
        x = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 25)) * np.hanning(len(t)) ** 0.3
        out[int(start * rate) : int(start * rate) + len(t)] = 0.1 * x / np.std(x)
    return out


def noise(n, level, seed=0):
    return level * np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("level_db", [-60.0, -40.0])
def test_the_floor_of_steady_noise_is_its_level(rate, level_db):
    x = noise(8 * rate, 10 ** (level_db / 20)).astype(np.float32)
    found = measure(x, rate)
    # Minimum statistics know white noise within 1 dB.
    assert found.noise_dbfs == pytest.approx(level_db, abs=1.0)
    assert found.artefacts == pytest.approx(0.0, abs=0.15)
    assert found.seconds == 8.0


@pytest.mark.parametrize("snr", [10.0, 20.0, 30.0])
def test_levels_of_speech_in_noise(words, snr):
    x = words + noise(len(words), 0.1 * 10 ** (-snr / 20))
    found = measure(x.astype(np.float32), 16000)
    # Words have a mean square of -20 dB while they last; their soft edges are lost the more, the louder the noise.
    assert found.speech_dbfs == pytest.approx(-20.0, abs=1.5)
    assert found.noise_dbfs == pytest.approx(-20.0 - snr, abs=1.5)
    assert found.snr_db == pytest.approx(snr, abs=2.5)
    assert 0.2 < found.speech_share < 0.6


@pytest.mark.parametrize("gain_db", [-3.0, -12.0, -40.0])
def test_the_reduction_is_the_gain_in_the_noise(words, gain_db):
    d = noise(len(words), 0.005)
    found = measure((words + 10 ** (gain_db / 20) * d).astype(np.float32), 16000, (words + d).astype(np.float32))
    assert found.reduction_db == pytest.approx(-gain_db, abs=0.3)
    assert found.noise_dbfs == pytest.approx(found.noise_before_dbfs + gain_db, abs=0.3)
    assert found.speech_lost_db < 0.1
    assert found.speech_dbfs == pytest.approx(found.speech_before_dbfs, abs=0.3)


def test_speech_that_is_taken_away_is_counted(words):
    d = noise(len(words), 0.003)
    before = (words + d).astype(np.float32)
    for loss_db in (1.0, 3.0, 9.0):
        after = (10 ** (-loss_db / 20) * words + 0.3 * d).astype(np.float32)
        assert measure(after, 16000, before).speech_lost_db == pytest.approx(loss_db, abs=0.2)
    muted = words.copy()
    muted[int(3.0 * 16000) : int(4.35 * 16000)] = 0  # a third of the words: 10 log10(3 / 2) dB
    assert measure((muted + d).astype(np.float32), 16000, before).speech_lost_db == pytest.approx(1.76, abs=0.3)


def test_over_subtraction_shows_as_artefacts_by_as_much_as_theory_says():
    """Subtraction of b times the noise from exponentially distributed power multiplies the kurtosis by e^b."""
    from unmuffle.signal.stft import StftSpec

    frames = StftSpec().at(16000)
    x = noise(20 * 16000, 0.05).astype(np.float32)
    history = np.zeros((1, frames.size - frames.hop), np.float32)
    spectrum, _ = frames.forward(x[np.newaxis], history)
    power = np.abs(spectrum) ** 2
    scores = []
    for b in (0.0, 1.0, 2.0):
        gain = np.sqrt(np.maximum(0, 1 - b * power.mean(axis=1, keepdims=True) / power))
        y, _ = frames.inverse((spectrum * gain).astype(np.complex64), history)
        late = frames.latency
        scores.append(measure(y[0, late:], 16000, x[: len(x) - late]).artefacts)
    # The overlap of frames and their second analysis blur it; the order and the size remain.
    assert scores[0] == pytest.approx(0.0, abs=0.05)
    assert scores[0] < scores[1] - 0.3 < scores[2] - 0.8


def test_clipping_is_told_before_and_after(words):
    x = np.clip(words, -0.15, 0.15).astype(np.float32)
    found = measure(words.astype(np.float32), 16000, x)
    assert found.clipping_before > 0.005
    assert found.clipping == 0.0


def test_a_method_that_works_shows(words):
    x = (words + noise(len(words), 0.01)).astype(np.float32)
    found = measure(run_offline(load("classic"), x, 16000), 16000, x, real_time_factor=0.01, latency_ms=20.0)
    assert found.reduction_db > 6
    assert found.snr_db > found.snr_before_db + 5
    assert found.speech_lost_db < 2
    assert (found.real_time_factor, found.latency_ms) == (0.01, 20.0)


def test_what_cannot_be_told_is_nan_and_never_a_warning():
    silence = measure(np.zeros(16000, np.float32), 16000, np.zeros(16000, np.float32))
    assert silence.noise_before_dbfs <= -100
    assert all(math.isnan(getattr(silence, k)) for k in ("reduction_db", "artefacts", "speech_dbfs", "speech_lost_db"))
    muted = measure(np.zeros(32000, np.float32), 16000, noise(32000, 0.1).astype(np.float32))
    assert muted.reduction_db == 60.0
    assert math.isnan(muted.artefacts)
    tone = np.sin(np.arange(32000) / 5).astype(np.float32)
    assert measure(tone, 16000, tone).speech_lost_db in (0.0, pytest.approx(math.nan, nan_ok=True))
    for odd in (np.full(16000, 0.5, np.float32), np.full(16000, 1e-30, np.float32), np.ones((2, 16000), np.float32)):
        measure(odd, 16000, odd)


def test_wrong_input_is_named():
    x = np.zeros(16000, np.float32)
    with pytest.raises(ShapeError, match="align them first"):
        measure(x, 16000, x[:-1])
    with pytest.raises(ShapeError, match="say nothing"):
        measure(x[:7000], 16000)
    with pytest.raises(NonFiniteError):
        measure(np.full(16000, np.nan, np.float32), 16000)


def test_files_go_window_by_window(tmp_path):
    x = np.concatenate([noise(10 * 8000, a, i) for i, a in enumerate((0.01, 0.1, 0.01))] + [np.zeros(800)])
    soundfile.write(tmp_path / "after.wav", 0.5 * x, 8000, "FLOAT")
    soundfile.write(tmp_path / "before.wav", x[:-5], 8000, "FLOAT")
    found = measure_file(str(tmp_path / "after.wav"), str(tmp_path / "before.wav"))
    assert [f.seconds for f in found] == [10.0, 10.0, 10.0]  # the tenth of a second at the end says nothing
    assert all(f.reduction_db == pytest.approx(6.02, abs=0.05) for f in found)
    assert found[1].noise_before_dbfs == pytest.approx(-20, abs=1)
    whole = combine(found)
    assert whole.seconds == 30.0
    assert whole.noise_before_dbfs == pytest.approx(-40, abs=1)
    soundfile.write(tmp_path / "other.wav", x, 16000)
    with pytest.raises(ShapeError, match="resample"):
        measure_file(str(tmp_path / "after.wav"), str(tmp_path / "other.wav"))
    soundfile.write(tmp_path / "short.wav", x[:100], 8000)
    with pytest.raises(NotAudioError):
        measure_file(str(tmp_path / "short.wav"))


def test_a_combination_leaves_out_what_is_missing():
    rows = [Figures(10.0, artefacts=1.0, clipping=0.0), Figures(10.0, clipping=0.02), Figures(2.0, clipping=1.0)]
    found = combine(rows)
    assert found.seconds == 20.0
    assert found.artefacts == 1.0
    assert found.clipping == pytest.approx(0.01)
    assert math.isnan(found.dnsmos)
    assert set(found.to_dict()) == set(NAMES)
    assert found.to_dict()["dnsmos"] is None


def test_predicted_opinion_when_installed(words):
    pytest.importorskip("speechmos")
    assert 1.0 < measure(words.astype(np.float32), 16000, dnsmos=True).dnsmos < 5.0
