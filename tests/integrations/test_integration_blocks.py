"""As many samples back, the same delay on and off, no click between, and a new signal when the rate changes."""

import numpy as np
import pytest

from unmuffle.enhancers.registry import load
from unmuffle.errors import DtypeError, NonFiniteError, ParameterError, UnboundedLatencyError
from unmuffle.integrations.blocks import Blocks


def run(blocks, x, rate, sizes):
    out, at, i = [], 0, 0
    while at < x.shape[1]:
        n = sizes[i % len(sizes)]
        out.append(blocks.process(x[:, at : at + n], rate))
        assert out[-1].shape[1] == min(n, x.shape[1] - at)
        at, i = at + n, i + 1
    return np.concatenate(out, axis=1)


@pytest.mark.parametrize("sizes", [[480], [960], [441, 160, 1, 2000], [37]])
def test_as_many_samples_back_at_the_stated_delay(sizes, rng):
    x = (0.1 * rng.standard_normal((2, 48000))).astype(np.float32)
    blocks = Blocks("classic", enabled=False)
    y = run(blocks, x, 48000, sizes)
    late = round(blocks.latency_ms * 48)
    np.testing.assert_array_equal(y[:, late:], x[:, : 48000 - late])
    assert blocks.restarts == 0


def test_fixed_blocks_are_sooner(rng):
    x = (0.1 * rng.standard_normal((1, 16000))).astype(np.float32)
    fixed, free = Blocks("log-mmse", fixed=True, window_ms=20.0, hop_ms=10.0), Blocks("log-mmse", window_ms=20.0, hop_ms=10.0)
    y = run(fixed, x, 16000, [160])
    run(free, x, 16000, [160])
    assert fixed.latency_ms == 10.0
    assert free.latency_ms == pytest.approx(19.9375)
    want = load("log-mmse", window_ms=20.0, hop_ms=10.0).stream(16000).process(x)
    np.testing.assert_allclose(y[:, : want.shape[1]], want, atol=1e-6)
    run(fixed, x[:, :100], 16000, [100])  # another size: it goes on, later
    assert fixed.restarts == 1
    assert fixed.latency_ms == free.latency_ms


def test_switching_keeps_time_and_does_not_click():
    t = np.arange(96000) / 48000
    x = (0.3 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)[np.newaxis]
    blocks = Blocks("classic", fixed=True)
    out = []
    for i in range(0, 96000, 480):
        blocks.enabled = (i // 9600) % 2 == 0
        out.append(blocks.process(x[:, i : i + 480], 48000))
    y = np.concatenate(out, axis=1)[0]
    late = round(blocks.latency_ms * 48)
    off = slice(3 * 9600 + 2000, 4 * 9600 - 100)
    np.testing.assert_array_equal(y[off], x[0, off.start - late : off.stop - late])
    # The tone bends by 0.0005 a sample, the beginning of a ramp of 20 ms by 0.0003 more; a step would be 0.1 and more.
    assert np.abs(np.diff(y[4000:], 2)).max() < 0.001


def test_rate_and_channels_may_change(rng):
    blocks = Blocks("classic")
    for rate, channels in ((16000, 1), (48000, 1), (48000, 2), (48000, 2), (8000, 1)):
        x = (0.1 * rng.standard_normal((channels, rate // 10))).astype(np.float32)
        assert blocks.process(x, rate).shape == x.shape
    assert blocks.restarts == 3
    blocks.reset()
    blocks.process(np.zeros((1, 10), np.float32), 16000)
    assert blocks.restarts == 3


def test_sixteen_bits():
    x = np.array([[0, 1, -1, 32767, -32768, 12345]], np.int16)
    blocks = Blocks("identity")
    np.testing.assert_array_equal(blocks.process_pcm(x, 16000), x)
    with pytest.raises(DtypeError):
        blocks.process_pcm(x.astype(np.int32), 16000)


def test_wrong_use_is_named_at_once():
    with pytest.raises(ParameterError):
        Blocks("no-such-method")
    with pytest.raises(UnboundedLatencyError):
        Blocks("wpe-batch")
    with pytest.raises(ParameterError, match="strength"):
        Blocks("identity").set_strength(-1)
    with pytest.raises(ParameterError, match="belong"):
        Blocks(load("identity"), floor_db=3)
    blocks = Blocks("classic")
    with pytest.raises(NonFiniteError):
        blocks.process(np.full((1, 160), np.nan, np.float32), 16000)
    assert blocks.process(np.zeros((1, 160), np.float32), 16000).shape == (1, 160)
