"""The loop-back measurement finds the delay of a cable to the sample, and says when there is none."""

import numpy as np
import pytest

from unmuffle.errors import DeviceError
from unmuffle.live import measure
from unmuffle.live.devices import find
from unmuffle.live.fake import FakeSound, Script


def run(script, source=None, rate=16000, block=160):
    sound = FakeSound(source, script, rate=rate)
    return measure.measure(sound, find(sound, None, "input"), find(sound, None, "output"), rate, block)


@pytest.mark.parametrize(("rate", "cable"), [(16000, 811), (48000, 2400), (44100, 20000)])
def test_a_cable_is_measured_to_the_sample(rate, cable):
    found = run(Script(speed=0, cable=cable, loss=-0.1), rate=rate, block=rate // 100)
    assert found.delays == (cable,) * measure.REPEATS
    assert found.spread_ms == 0
    assert found.median_ms == pytest.approx(1e3 * cable / rate)
    assert found.stated_ms == pytest.approx(13 + 20)
    assert found.quality > measure.QUALITY


def test_noise_louder_than_the_chirp_does_not_mislead():
    """-6 dB of SNR at the microphone: correlation over 960 samples gains 27 dB."""
    rng = np.random.default_rng(1)
    level = measure.LEVEL * 0.2 / np.sqrt(2) * 2

    def source(first, samples, rate):
        return (level * rng.standard_normal((samples, 1))).astype(np.float32)

    found = run(Script(speed=0, cable=700, loss=0.2), source)
    assert set(found.delays) == {700}


def test_no_cable_is_said_and_not_guessed():
    rng = np.random.default_rng(2)
    with pytest.raises(DeviceError, match="the input is silent: 'Fake microphone' does not hear"):
        run(Script(speed=0))
    with pytest.raises(DeviceError, match=r"only \d of 5 chirps came back"):
        run(Script(speed=0), lambda first, n, rate: (0.1 * rng.standard_normal((n, 1))).astype(np.float32))


def test_a_device_that_stops_or_refuses():
    with pytest.raises(measure.StoppedError, match="stopped after"):
        run(Script(speed=0, vanish_at=20))
    with pytest.raises(DeviceError, match="cannot be opened together"):
        run(Script(refuse=True))


def test_lost_blocks_are_counted():
    assert run(Script(speed=0, cable=500, overruns=frozenset({300, 301}))).overruns == 2
