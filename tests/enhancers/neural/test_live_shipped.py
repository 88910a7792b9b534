"""The networks that come with the package; nothing of the training side is needed to run it."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.neural import model
from unmuffle.enhancers.neural.live import Live, LiveLow
from unmuffle.errors import ModelError


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(x.astype(np.float64) ** 2) + 1e-30))


def voice(rate: int = 16000, seconds: float = 3.0) -> np.ndarray:
    """Vowel-like pulses through two resonances, in syllables."""
    from scipy.signal import lfilter

    n = int(rate * seconds)
    time = np.arange(n) / rate
    phase = np.cumsum(125 + 18 * np.sin(2 * np.pi * 0.8 * time)) / rate
    x = np.diff(np.floor(phase), prepend=0.0)
    for hertz, width in ((650, 80), (1250, 110), (2600, 160)):
        r = np.exp(-np.pi * width / rate)
        x = lfilter([1.0], [1.0, -2 * r * np.cos(2 * np.pi * hertz / rate), r * r], x)
    x *= np.clip(np.sin(2 * np.pi * 1.7 * time), 0, 1)
    return (0.05 * x / np.std(x)).astype(np.float32)


BOTH = pytest.mark.parametrize("kind", [Live, LiveLow])


@BOTH
def test_facts_are_complete(kind: type[Live]) -> None:
    facts = kind().facts
    assert facts.name == kind.name
    assert facts.licence
    assert facts.data["speech"]
    assert facts.scores["dev16"]["pesq_wb"] > 1.526  # the best untrained method there
    assert facts.recipe["net"].startswith("bandwise")
    size = (resources.files("unmuffle") / "models" / f"{kind.name}.onnx").read_bytes()
    assert len(size) < 3e6


@BOTH
def test_the_model_card_states_the_file_that_is_there(kind: type[Live]) -> None:
    card = (resources.files("unmuffle") / "models" / f"{kind.name}.md").read_text(encoding="utf-8")
    assert kind().facts.sha256 in card


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
def test_20_ms_in_all_at_any_rate(rate: int) -> None:
    # 441 samples at 44.1 kHz: a hop of 10 ms on both sides.
    stream = Live().stream(rate, block_size=rate // 100)
    assert stream.block_latency_ms == pytest.approx(10.0)
    assert stream.block_latency_ms + 10.0 <= 20.0


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 24000, 44100, 48000])
def test_8_ms_in_all_at_any_rate(rate: int) -> None:
    hop = round(0.004 * rate)
    stream = LiveLow().stream(rate, block_size=hop)
    assert stream.block_latency_ms + 1000.0 * hop / rate <= 8.0
    # Of blocks of another size, one step has to wait at most.
    assert LiveLow().stream(rate, block_size=round(0.0013 * rate)).block_latency_ms <= 8.0


@BOTH
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_noise_alone_becomes_quiet_and_does_not_pump(kind: type[Live], rate: int, rng: np.random.Generator) -> None:
    x = (0.03 * rng.standard_normal(4 * rate)).astype(np.float32)
    y = run_offline(kind(), x, rate)
    tail = y[rate:]
    assert level_db(x) - level_db(tail) > 15
    # Tenths of a second of what is left lie within a few decibels of each other, or far below hearing.
    pieces = [level_db(p) for p in np.array_split(tail, 30)]
    assert max(pieces) - level_db(x) < -10


@BOTH
def test_level_does_not_matter(kind: type[Live], rng: np.random.Generator) -> None:
    x = voice() + (0.005 * rng.standard_normal(48000)).astype(np.float32)
    reference = run_offline(kind(), x, 16000)
    for db in (-25.0, 12.0):
        gain = np.float32(10 ** (db / 20))
        y = run_offline(kind(), gain * x, 16000)
        # The meter's floor is all that differs.
        assert level_db(y / gain - reference) < level_db(reference) - 25


@BOTH
def test_clean_speech_keeps_its_level(kind: type[Live]) -> None:
    import soundfile

    x, rate = soundfile.read(str(resources.files("unmuffle") / "assets" / "demo_clean.flac"), dtype="float32")
    y = run_offline(kind(), x, rate)
    gain_db = 20 * np.log10(float(np.dot(x, y) / np.dot(x, x)))
    assert abs(gain_db) < 0.6


@BOTH
def test_stereo_is_linked(kind: type[Live], rng: np.random.Generator) -> None:
    x = voice() + (0.01 * rng.standard_normal(48000)).astype(np.float32)
    y = run_offline(kind(), np.stack((x, 0.3 * x)), 16000)
    assert np.max(np.abs(y[1] - 0.3 * y[0])) < 1e-6


def test_a_network_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="are missing"):
        model.shipped("nothing")


def test_the_key_holds_the_digest() -> None:
    assert Live().facts.sha256 in Live().key()
    assert Live().to_dict() == {"method": "live"}
