"""The response is the analytic Butterworth, through the bilinear transform."""

import numpy as np
import pytest

from unmuffle import load
from unmuffle.enhancers.base import run_offline
from unmuffle.errors import ParameterError


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.parametrize(("cutoff", "order"), [(80.0, 2), (150.0, 5), (1000.0, 8)])
def test_response_is_the_formula(rate, cutoff, order):
    n = 1 << 18
    x = np.zeros(n, np.float32)
    x[0] = 1.0
    y = run_offline(load("low-cut", cutoff_hz=cutoff, order=order), x, rate)
    f = np.fft.rfftfreq(n, 1 / rate)
    measured = np.abs(np.fft.rfft(y.astype(np.float64)))
    use = (f > cutoff / 4) & (f < 0.49 * rate)
    ratio = np.tan(np.pi * cutoff / rate) / np.tan(np.pi * f[use] / rate)
    formula = 1 / np.sqrt(1 + ratio ** (2 * order))
    # float32 samples: an absolute error of about 1e-6 over the response.
    np.testing.assert_allclose(measured[use], formula, atol=3e-5)


def test_dc_goes_and_voice_stays():
    t = np.arange(48000) / 48000
    x = (0.5 + 0.3 * np.sin(2 * np.pi * 200 * t)).astype(np.float32)
    y = run_offline(load("low-cut", cutoff_hz=60.0, order=4), x, 48000)[24000:]
    assert abs(np.mean(y)) < 1e-4
    assert np.sqrt(2) * np.std(y) == pytest.approx(0.3, rel=0.001)


def test_phase_is_minimal():
    # Of all filters of that magnitude it keeps the most energy in its first samples: the first is
    # exp of the mean of log |H| (Jensen), here found numerically.
    x = np.zeros(1 << 16, np.float32)
    x[0] = 1.0
    y = run_offline(load("low-cut", cutoff_hz=200.0, order=2), x, 8000)
    f = (np.arange(1 << 20) + 0.5) / (1 << 20) * 4000
    log = -0.5 * np.log1p((np.tan(np.pi * 200 / 8000) / np.tan(np.pi * f / 8000)) ** 4)
    assert y[0] == pytest.approx(np.exp(np.mean(log)), rel=1e-4)


@pytest.mark.parametrize("values", [{"cutoff_hz": 4.0}, {"cutoff_hz": 2500.0}, {"order": 0}, {"order": 9}])
def test_refuses(values):
    with pytest.raises(ParameterError):
        load("low-cut", **values)
