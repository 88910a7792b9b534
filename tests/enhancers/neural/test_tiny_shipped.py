"""The small network that comes with the package, once there is one."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.neural.tiny import Tiny

FILE = resources.files("unmuffle") / "models" / "tiny.onnx"

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="no weights of tiny in this package")


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(x.astype(np.float64) ** 2) + 1e-30))


def vowels(rate: int = 16000, seconds: float = 4.0) -> np.ndarray:
    """Pulses through three resonances, half a second on and half a second off."""
    from scipy.signal import lfilter

    n = int(rate * seconds)
    time = np.arange(n) / rate
    phase = np.cumsum(125 + 18 * np.sin(2 * np.pi * 0.8 * time)) / rate
    x = np.diff(np.floor(phase), prepend=0.0)
    for hertz, width in ((650, 80), (1250, 110), (2600, 160)):
        r = np.exp(-np.pi * width / rate)
        x = lfilter([1.0], [1.0, -2 * r * np.cos(2 * np.pi * hertz / rate), r * r], x)
    x *= (time % 1.0 > 0.5) * np.clip(np.sin(2 * np.pi * time) ** 2, 0, 1)
    return (0.05 * x / np.std(x)).astype(np.float32)


def test_it_is_small_and_its_card_states_it() -> None:
    facts = Tiny().facts
    assert len(FILE.read_bytes()) <= 100_000
    assert (facts.name, facts.domain) == ("tiny", "features")
    assert facts.scores["dev16"]["pesq_wb"] > 0
    card = (resources.files("unmuffle") / "models" / "tiny.md").read_text(encoding="utf-8")
    assert facts.sha256 in card
    assert facts.sha256 in Tiny().key()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_20_ms_in_all_at_any_rate(rate: int) -> None:
    stream = Tiny().stream(rate, block_size=rate // 100)
    assert stream.block_latency_ms + 10.0 <= 20.0 + 1e-6


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_noise_alone_becomes_quiet(rate: int, rng: np.random.Generator) -> None:
    x = (0.03 * rng.standard_normal(4 * rate)).astype(np.float32)
    y = run_offline(Tiny(), x, rate)
    assert level_db(x) - level_db(y[rate:]) > 12


def test_the_level_does_not_matter(rng: np.random.Generator) -> None:
    x = vowels() + (0.005 * rng.standard_normal(64000)).astype(np.float32)
    reference = run_offline(Tiny(), x, 16000)
    for db in (-30.0, 10.0):
        gain = np.float32(10 ** (db / 20))
        y = run_offline(Tiny(), gain * x, 16000) / gain
        assert level_db(y - reference) < level_db(reference) - 20


def test_it_tells_voice_from_noise(rng: np.random.Generator) -> None:
    x = vowels() + (0.003 * rng.standard_normal(64000)).astype(np.float32)
    spoken = (np.arange(400) * 0.01 % 1.0 > 0.6) & (np.arange(400) * 0.01 % 1.0 < 0.9)
    quiet = (np.arange(400) * 0.01 % 1.0 > 0.15) & (np.arange(400) * 0.01 % 1.0 < 0.45)
    found = Tiny().voice_activity(x, 16000)
    assert found[100:][spoken[100:]].mean() > found[100:][quiet[100:]].mean() + 0.2
