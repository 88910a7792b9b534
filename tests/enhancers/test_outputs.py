"""Methods that make fewer channels out of several keep every promise of the contract."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import unmuffle
from unmuffle.enhancers.base import Enhancer, SpectralKernel, StepKernel, WholeKernel, run_offline
from unmuffle.enhancers.compose import AtRate, Chain, Identity
from unmuffle.enhancers.registry import load
from unmuffle.io import read, write
from unmuffle.signal.stft import StftSpec


class _Step(StepKernel):
    def __init__(self, channels):
        super().__init__(channels, 7, 7)
        self.outputs = (channels - 1,)

    def init(self):
        return np.zeros((1, 7), np.float32)

    def step(self, x, state):
        y = np.concatenate((state, x.mean(axis=0, keepdims=True, dtype=np.float32)), axis=1)
        return y[:, :-7], y[:, -7:]


class _Bins(SpectralKernel):
    def __init__(self, frames, channels):
        super().__init__(frames, channels)
        self.outputs = (channels - 1,)

    def init_bins(self):
        return ()

    def step_bins(self, spectrum, state):
        return spectrum.mean(axis=0, keepdims=True), state


class _Whole(WholeKernel):
    def __init__(self, channels):
        super().__init__(channels)
        self.outputs = (channels - 1,)

    def run(self, x):
        return x.mean(axis=0, keepdims=True)


@dataclass(frozen=True)
class Mean(Enhancer):
    """The mean of all channels, standing in for the last one."""

    name: ClassVar[str] = "mean"
    how: str = "step"

    def kernel(self, sample_rate, channels):
        if self.how == "bins":
            return _Bins(StftSpec().at(sample_rate), channels)
        return _Step(channels) if self.how == "step" else _Whole(channels)


HOWS = ["step", "bins", "whole"]


def signal(channels=3, n=5003):
    return np.random.default_rng(1).standard_normal((channels, n)).astype(np.float32) * np.float32(0.1)


def whole(stream, x):
    return np.concatenate((stream.process(x), stream.flush()), axis=1)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("size", [1, 77, 511, 5003])
def test_any_split_gives_the_mean(how, size):
    x, stream = signal(), Mean(how).stream(16000, 3)
    assert (stream.channels, stream.channels_out) == (3, 1)
    n = 600 if size == 1 else x.shape[1]
    parts = [stream.process(x[:, i : i + size][:, : n - i]) for i in range(0, n, size)]
    assert all(p.shape[0] == 1 for p in parts)
    out = np.concatenate((*parts, stream.flush()), axis=1)
    late = max(0, stream.latency_samples)
    assert out.shape == (1, n + late)
    np.testing.assert_allclose(out[0, late:], x[:, :n].mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(whole(stream, x[:, :n]), out)


@pytest.mark.parametrize("how", HOWS)
def test_no_strength_is_the_channel_that_the_output_stands_in_for(how):
    x = signal()
    np.testing.assert_array_equal(run_offline(Mean(how), x, 16000, strength_db=0.0), x[2:])
    half = run_offline(Mean(how), x, 16000, strength_db=6.0)
    share = 10 ** (-6 / 20)
    np.testing.assert_allclose(half[0], x.mean(0) + share * (x[2] - x.mean(0)), atol=1e-6)


def test_bypass_and_blocks_and_state():
    x, stream = signal(), Mean().stream(16000, 3, block_size=100)
    stream.bypass = True
    out = np.concatenate([stream.process_block(x[:, i : i + 100]) for i in range(0, 5000, 100)], axis=1)
    late = stream.block_latency_samples
    np.testing.assert_array_equal(out[0, late:], x[2, : 5000 - late])
    one, two = Mean("bins").stream(16000, 3), Mean("bins").stream(16000, 3)
    one.process(x[:, :999])
    two.restore(one.state())
    np.testing.assert_array_equal(whole(one, x), whole(two, x))


@pytest.mark.parametrize("n", [0, 1, 6, 7, 8, 159, 160, 161])
@pytest.mark.parametrize("how", HOWS)
def test_short_signals_keep_their_length(how, n):
    assert run_offline(Mean(how), signal(n=n), 16000).shape == (1, n)


def test_a_chain_goes_on_with_fewer_channels():
    x = signal()
    chain = Chain((Identity(), Mean(), load("low-cut")))
    stream = chain.stream(16000, 3)
    assert stream.channels_out == 1
    expected = run_offline(load("low-cut"), x.mean(axis=0), 16000)
    np.testing.assert_allclose(run_offline(chain, x, 16000)[0], expected, atol=1e-6)
    np.testing.assert_array_equal(run_offline(chain, x, 16000, strength_db=0.0), x[2:])
    assert Chain((Identity(), Identity())).stream(16000, 3).channels_out == 3


def test_another_rate():
    x = signal(n=48000)
    out = run_offline(AtRate(Mean(), 16000), x, 48000)
    assert out.shape == (1, 48000)
    # Below the inner band the mean; above it, what the reference channel has there.
    # (40 dB: the spectrum of a signal that is cut off leaks.)
    spectrum = np.abs(np.fft.rfft(out[0] - x[2]))
    f = np.fft.rfftfreq(48000, 1 / 48000)
    assert spectrum[f > 9000].max() < 0.01 * spectrum[f < 6000].mean()
    low = np.fft.rfft(out[0])[f < 6000] - np.fft.rfft(x.mean(axis=0))[f < 6000]
    assert np.sqrt(np.mean(np.abs(low) ** 2)) < 0.01 * np.sqrt(np.mean(np.abs(np.fft.rfft(x[2])[f < 6000]) ** 2))


@pytest.mark.parametrize("loudness", [None, -30.0])
def test_files_are_written_with_as_many_channels_as_come_out(tmp_path, loudness):
    x = signal(4, 32000)
    write(tmp_path / "in.wav", x, 16000, subtype="FLOAT")
    residual = None if loudness else tmp_path / "residual.wav"
    report = unmuffle.enhance_file(
        tmp_path / "in.wav", tmp_path / "out.wav", Mean(), residual=residual, loudness_lufs=loudness
    )
    assert report.channels == 1
    out, rate = read(tmp_path / "out.wav")
    assert (out.shape, rate) == ((1, 32000), 16000)
    if loudness is None:
        np.testing.assert_allclose(out[0], x.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(out + read(residual)[0], x[3:], atol=1e-6)


def test_arrays_too():
    x = signal(4, 3200)
    assert unmuffle.enhance(x, 16000, Mean()).shape == (1, 3200)
