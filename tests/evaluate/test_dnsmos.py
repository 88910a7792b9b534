"""DNSMOS: the numbers of the package itself, which needs more than we want to install."""

from __future__ import annotations

import numpy as np
import pytest
from voices import noise_at, voice

pytest.importorskip("speechmos")

from unmuffle.errors import InputError, ParameterError
from unmuffle.evaluate.dnsmos import dnsmos, mel_filters


def signals():
    """The three signals that the reference numbers were made on."""
    rng = np.random.default_rng(11)
    for n in (40000, 170000, 250001):
        t = np.arange(n) / 16000
        x = 0.3 * np.sin(2 * np.pi * (200 + 40 * np.sin(2 * np.pi * 2 * t)) * t) * (np.sin(2 * np.pi * 1.3 * t) > 0)
        yield (x + 0.02 * rng.standard_normal(n)).astype(np.float32)


# sig, bak, ovrl, p808 by speechmos 0.0.1.1 with librosa 0.11.0: generic, then personalized
PACKAGE = [
    [(1.9233669, 1.5182214, 1.3799742, 2.5596150), (2.8493670, 1.4100479, 1.4475737, 2.5596150)],
    [(1.4915190, 1.2849924, 1.2148467, 2.9127450), (2.8949740, 1.5135750, 1.5917221, 2.9127450)],
    [(1.2566817, 1.1490704, 1.1551874, 2.9286025), (2.9735639, 1.5501155, 1.5818150, 2.9286025)],
]


def test_it_is_the_package_number_for_number():
    for x, (generic, personalized) in zip(signals(), PACKAGE, strict=True):
        # the networks run in float32; their scores differ by 1e-6 between builds of onnxruntime
        assert dnsmos(x, 16000) == pytest.approx(generic, abs=1e-4)
        if x.size == 40000:
            assert dnsmos(x, 16000, model="personalized") == pytest.approx(personalized, abs=1e-4)


def test_the_mel_bands_are_slaney_s():
    filters = mel_filters()
    # published for 16 kHz, 321 points, 120 bands: sum and two peaks (librosa 0.11)
    assert filters.sum() == pytest.approx(2.3975034, rel=1e-6)
    assert filters[60].max() == pytest.approx(0.014328803, rel=1e-6)
    assert filters[119].max() == pytest.approx(0.0044525685, rel=1e-6)


def test_noise_costs_background_points():
    clean = voice(seconds=4.6)
    assert dnsmos(clean, 16000).bak > dnsmos(noise_at(clean, 0), 16000).bak + 0.3


def test_over_full_scale_is_what_a_file_would_hold():
    loud = 4.0 * voice(seconds=4.6)
    assert dnsmos(loud, 16000) == dnsmos(np.clip(loud, -1, 1), 16000)


def test_bad_requests_are_named():
    with pytest.raises(InputError, match="silent"):
        dnsmos(np.zeros(16000), 16000)
    with pytest.raises(ParameterError, match="personal"):
        dnsmos(voice(), 16000, model="personal")  # type: ignore[arg-type]
