"""Codecs: same length, no delay, known bandwidth, and worse at lower rates."""

from __future__ import annotations

import numpy as np
import pytest
from degrade_signals import RATE, speech_like

from unmuffle.degrade import Codec, available_codecs
from unmuffle.degrade import codecs as module
from unmuffle.errors import ParameterError
from unmuffle.signal.align import find_delay
from unmuffle.signal.spectrum import long_term_spectrum

HERE = available_codecs()
SOME = [("opus", 8), ("opus", 24), ("mp3", 16), ("mp3", 64), ("aac", 32), ("amr-nb", 4.75), ("amr-nb", 12.2)]
SOME += [("g722", 64), ("mulaw", 64), ("alaw", 64)]


def needs(name: str) -> None:
    if name not in HERE:
        pytest.skip(f"this PyAV has no {name}")


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize(("name", "kbps"), SOME)
def test_aligned_and_of_the_same_length(name: str, kbps: float, rate: int, rng: np.random.Generator) -> None:
    needs(name)
    clean = speech_like(1.5, rate)
    damaged = Codec(name, kbps).apply(clean, rate, rng)
    assert damaged.noisy.shape == clean.shape
    delay, confidence = find_delay(clean, damaged.noisy, rate // 4)
    assert delay == 0
    assert confidence > 6
    assert np.corrcoef(clean, damaged.noisy)[0, 1] > 0.5


@pytest.mark.parametrize(("name", "low", "high"), [("opus", 12, 64), ("mp3", 16, 64), ("amr-nb", 4.75, 12.2)])
def test_fewer_bits_more_error(name: str, low: float, high: float, rng: np.random.Generator) -> None:
    needs(name)
    clean = speech_like(2.0, 8000)
    errors = [np.sum((Codec(name, b).apply(clean, 8000, rng).noisy - clean) ** 2) for b in (low, high)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("name", ["amr-nb", "mulaw"])
def test_telephony_has_nothing_above_four_kilohertz(name: str, rng: np.random.Generator) -> None:
    needs(name)
    noise = (0.1 * rng.standard_normal(2 * RATE)).astype(np.float32)
    f, level = long_term_spectrum(Codec(name, 12.2).apply(noise, RATE, rng).noisy, RATE)
    # G.711 keeps the level of white noise below 3.4 kHz; above 4 kHz there can be but resampling residue.
    assert level[(f > 4300)].max() < level[(f > 300) & (f < 3400)].mean() - 40


def test_g711_has_its_textbook_snr(rng: np.random.Generator) -> None:
    # Logarithmic quantisation: about 38 dB for any signal well above its smallest step.
    needs("mulaw")
    clean = speech_like(2.0, 8000)
    for name in ("mulaw", "alaw"):
        error = Codec(name, 64).apply(clean, 8000, rng).noisy - clean
        assert 10 * np.log10(np.sum(clean**2) / np.sum(error**2)) == pytest.approx(38, abs=3)


def test_discrete_rates_are_taken_to_the_nearest(rng: np.random.Generator) -> None:
    needs("amr-nb")
    record = Codec("amr-nb", 7.0).apply(speech_like(1.0, 8000), 8000, rng).record
    assert record["drawn"]["bitrate_kbps"] == 6.7
    # 20 ms frames of 6.7 kbit/s plus one byte of header each, rounded up to whole bytes.
    assert record["drawn"]["reached_kbps"] == pytest.approx(7.2, abs=0.3)


def test_one_range_serves_several_codecs() -> None:
    nearest = [module.nearest_bitrate_kbps(name, 7.0) for name in ("opus", "mp3", "amr-nb", "g722")]
    assert nearest == [7.0, 8.0, 6.7, 64.0]
    assert module.nearest_bitrate_kbps("opus", 1000.0) == 256.0


def test_stereo_and_odd_lengths(rng: np.random.Generator) -> None:
    needs("opus")
    for n in (1, 17, 1601):
        x = np.stack([speech_like(1.0)[2000 : 2000 + n], np.zeros(n, np.float32)])
        noisy = Codec("opus", 24).apply(x, RATE, rng).noisy
        assert noisy.shape == (2, n)
        assert np.max(np.abs(noisy[1])) < 1e-3


def test_same_bytes_every_time() -> None:
    clean = speech_like(1.0)
    for name in HERE:
        first, second = (Codec(name, 32).apply_seeded(clean, RATE, 1).noisy for _ in range(2))
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("bad", [{"name": "g729"}, {"bitrate_kbps": 0.0}, {"bitrate_kbps": float("inf")}])
def test_bad_parameters(bad: dict) -> None:
    with pytest.raises(ParameterError):
        Codec(**bad)


def test_an_absent_codec_is_named(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    absent = module.CodecInfo("no_such_encoder", "no_such_decoder", (16000,), (6.0, 64.0))
    monkeypatch.setitem(module.CODECS, "opus", absent)
    module.codec_delay_samples.cache_clear()
    with pytest.raises(ParameterError, match=r"no_such_encoder.*codecs here: mp3"):
        Codec("opus", 12).apply(speech_like(1.0), RATE, rng)
