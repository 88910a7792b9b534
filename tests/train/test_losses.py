from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unmuffle.errors import ParameterError  # noqa: E402
from unmuffle.evaluate.si_sdr import si_sdr as reference_si_sdr  # noqa: E402
from unmuffle.signal.stft import StftSpec  # noqa: E402
from unmuffle.train import losses  # noqa: E402
from unmuffle.train.stft import Stft  # noqa: E402


def spectra(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shape = (2, 5, 9)
    a = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    b = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return a, b


def real(x: np.ndarray) -> torch.Tensor:
    return torch.view_as_real(torch.from_numpy(x))


def squeezed(x: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray]:
    """|x|^c and |x|^c e^(j phi), written with angles instead of quotients."""
    small = (np.abs(x) ** 2 + 1e-4) ** (power / 2)
    kept = np.abs(x) / np.sqrt(np.abs(x) ** 2 + 1e-4)  # the rounding of the kink at zero
    return small, small * kept * np.exp(1j * np.angle(x))


@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_compressed(rng: np.random.Generator, mix: float) -> None:
    a, b = spectra(rng)
    (ma, ca), (mb, cb) = squeezed(a, 0.3), squeezed(b, 0.3)
    expected = (1 - mix) * np.mean((ma - mb) ** 2) + mix * np.mean(np.abs(ca - cb) ** 2)
    assert float(losses.compressed(real(a), real(b), mix=mix)) == pytest.approx(expected, rel=1e-10)


def test_over_suppression(rng: np.random.Generator) -> None:
    a, b = spectra(rng)
    (ma, _), (mb, _) = squeezed(a, 0.3), squeezed(b, 0.3)
    expected = np.mean(np.maximum(mb - ma, 0) ** 2)
    assert float(losses.over_suppression(real(a), real(b))) == pytest.approx(expected, rel=1e-9)
    both = losses.compressed(real(a), real(b), over=0.7)
    apart = losses.compressed(real(a), real(b)) + 0.7 * losses.over_suppression(real(a), real(b))
    assert float(both) == pytest.approx(float(apart), rel=1e-9)
    # What is louder than the target costs nothing here.
    assert float(losses.over_suppression(real(3 * b), real(b))) == pytest.approx(0.0, abs=1e-12)


def test_weight_masks_bins(rng: np.random.Generator) -> None:
    a, b = spectra(rng)
    weight = torch.ones(2, 9, dtype=torch.float64)
    weight[0, 4:] = 0.0
    changed = a.copy()
    changed[0, :, 4:] += 5.0
    for loss in (losses.compressed, losses.over_suppression):
        assert float(loss(real(a), real(b), weight)) == pytest.approx(float(loss(real(changed), real(b), weight)))
    everywhere = torch.ones(2, 9, dtype=torch.float64)
    assert float(losses.compressed(real(a), real(b), everywhere)) == pytest.approx(
        float(losses.compressed(real(a), real(b)))
    )


def test_waveform_losses(rng: np.random.Generator) -> None:
    clean = rng.standard_normal((3, 800))
    noisy = clean + 0.3 * rng.standard_normal((3, 800))
    t, e = torch.from_numpy(clean), torch.from_numpy(noisy)
    assert float(losses.l1(e, t)) == pytest.approx(np.mean(np.abs(clean - noisy)), rel=1e-12)
    expected = -np.mean([reference_si_sdr(c, n, 16000, zero_mean=False) for c, n in zip(clean, noisy, strict=True)])
    assert float(losses.si_sdr(e, t)) == pytest.approx(expected, abs=1e-3)
    assert float(losses.si_sdr(7 * e, t)) == pytest.approx(float(losses.si_sdr(e, t)), abs=1e-6)


def test_plain_mse(rng: np.random.Generator) -> None:
    a, b = spectra(rng)
    expected = np.mean((np.abs(a) - np.abs(b)) ** 2)
    assert float(losses.spectrum_mse(real(a), real(b))) == pytest.approx(expected, rel=1e-6)
    assert float(losses.mask_mse(real(a), real(b))) == pytest.approx(np.mean(np.abs(a - b) ** 2))
    gains = torch.from_numpy(np.abs(a)), torch.from_numpy(np.abs(b))
    assert float(losses.mask_mse(*gains)) == pytest.approx(expected, rel=1e-9)
    x = real(a).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: losses.spectrum_mse(v, real(b)), x)
    assert torch.autograd.gradcheck(lambda v: losses.mask_mse(v, real(b)), x)


def test_silent_targets_do_not_count_in_si_sdr(rng: np.random.Generator) -> None:
    t = torch.from_numpy(rng.standard_normal((2, 500)))
    e = t + 0.1
    silent = torch.zeros(1, 500, dtype=torch.float64)
    both = losses.si_sdr(torch.cat((e, e[:1])), torch.cat((t, silent)))
    assert float(both) == pytest.approx(float(losses.si_sdr(e, t)), rel=1e-9)
    nothing = losses.si_sdr(e[:1].requires_grad_(), silent)
    assert nothing.item() == 0.0
    nothing.backward()


def test_multi_resolution(rng: np.random.Generator) -> None:
    clean, noisy = rng.standard_normal((2, 2, 3000)).astype(np.float32)
    module = losses.MultiResolution(16000, (10.0, 32.0))
    t, e = torch.from_numpy(clean), torch.from_numpy(noisy)
    expected = 0.0
    for window in (10.0, 32.0):
        stft = Stft(StftSpec(window, window / 2).at(16000))
        # White noise of variance one has |X|^2 = 160 in the 20 ms window at 16 kHz.
        gain = np.sqrt(160.0 / np.sum(stft.frames.analysis.astype(np.float64) ** 2))
        a, b = (torch.view_as_complex(stft(x)).numpy() * gain for x in (e, t))
        (ma, ca), (mb, cb) = squeezed(a, 0.3), squeezed(b, 0.3)
        expected += 0.5 * (0.5 * np.mean((ma - mb) ** 2) + 0.5 * np.mean(np.abs(ca - cb) ** 2))
    assert float(module(e, t)) == pytest.approx(expected, rel=1e-4)  # single precision


def test_gradients(rng: np.random.Generator) -> None:
    a, b = (real(x) for x in spectra(rng))
    a = a.clone().requires_grad_()
    weight = torch.rand(2, 9, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: losses.compressed(x, b, weight, over=0.5), a)
    assert torch.autograd.gradcheck(lambda x: losses.over_suppression(x, b, weight), a)
    clean = torch.from_numpy(rng.standard_normal((2, 200)))
    e = torch.from_numpy(rng.standard_normal((2, 200))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.l1(x, clean), e)
    assert torch.autograd.gradcheck(lambda x: losses.si_sdr(x, clean), e)
    module = losses.MultiResolution(8000, (4.0, 8.0)).double()
    assert torch.autograd.gradcheck(lambda x: module(x, clean), e)


def test_gradient_at_silence_is_finite() -> None:
    stft = Stft(StftSpec().at(16000))
    module = losses.Combined(stft, losses.LossWeights(si_sdr=0.1))
    e = torch.zeros(2, 1600, requires_grad=True)
    module(e, torch.zeros(2, 1600), torch.zeros(2, 1600), torch.full((2,), 8000.0)).backward()
    assert torch.isfinite(e.grad).all()


def test_combined_does_not_know_the_level(rng: np.random.Generator) -> None:
    stft = Stft(StftSpec().at(16000))
    module = losses.Combined(stft)
    clean, noise = (torch.from_numpy(rng.standard_normal((2, 4000)).astype(np.float32)) for _ in range(2))
    band = torch.full((2,), 8000.0)
    loud = module(clean + noise, clean, clean + noise, band)
    soft = module(0.01 * (clean + noise), 0.01 * clean, 0.01 * (clean + noise), band)
    assert float(soft) == pytest.approx(float(loud), rel=1e-3)  # 1e-6 is added to an RMS of 0.01


def test_combined_is_the_sum_of_its_parts(rng: np.random.Generator) -> None:
    stft = Stft(StftSpec().at(16000))
    clean, noise = (torch.from_numpy(rng.standard_normal((2, 8000)).astype(np.float32)) for _ in range(2))
    args = (clean + noise, clean, clean + noise, torch.full((2,), 6000.0))

    def value(**weights: float) -> float:
        zero = {"spectrum": 0.0, "over_suppression": 0.0, "multi_resolution": 0.0, "l1": 0.0}
        return float(losses.Combined(stft, losses.LossWeights(**{**zero, **weights}))(*args))

    weights = {
        "spectrum": 1.0,
        "over_suppression": 0.3,
        "multi_resolution": 0.5,
        "l1": 0.2,
        "si_sdr": 0.01,
        "spectrum_mse": 0.1,
        "stoi": 0.4,
        "disturbance": 0.6,
        "opinion": 0.1,
    }
    assert set(weights) == {f.name for f in fields(losses.LossWeights)}
    parts = sum(w * value(**{name: 1.0}) for name, w in weights.items())
    assert value(**weights) == pytest.approx(parts, rel=1e-4)


def test_bad_weights() -> None:
    for values in ({"l1": -1.0}, {"spectrum": 0.0, "over_suppression": 0.0, "multi_resolution": 0.0, "l1": 0.0}):
        with pytest.raises(ParameterError, match="weights"):
            losses.LossWeights(**values)


def tones(*hertz: float, rate: int = 16000, seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return torch.stack([torch.sin(2 * torch.pi * f * time) for f in hertz])


def test_below_takes_away_what_lies_above_a_band() -> None:
    band = torch.tensor([4000.0, 4000.0, 8000.0])
    x = tones(3900.0, 4300.0, 7900.0)
    y = losses.below(x, band, 16000)
    assert y.shape == x.shape
    inner = slice(800, -800)  # a tone that begins has energy everywhere
    assert torch.max(torch.abs(y[0] - x[0])[inner]) < 1e-3  # no delay, no gain: 60 dB below the tone
    assert torch.max(torch.abs(y[1])[inner]) < 1e-3
    assert torch.max(torch.abs(y[2] - x[2])) < 1e-9  # its band is all there is
    # A click stays where it is, and does not come round at the other end.
    click = torch.zeros(1, 8000, dtype=torch.float64)
    click[0, 7990] = 1.0
    z = losses.below(click, torch.tensor([4000.0]), 16000)
    assert int(z.abs().argmax()) == 7990
    assert torch.max(torch.abs(z[0, :7000])) < 1e-3
    # Nothing to do: the same tensor.
    assert losses.below(x, torch.full((3,), 8000.0), 16000) is x


@pytest.mark.parametrize("part", [f.name for f in fields(losses.LossWeights)])
def test_no_part_hears_what_lies_above_the_band(part: str, rng: np.random.Generator) -> None:
    others = {f.name: 0.0 for f in fields(losses.LossWeights)}
    module = losses.Combined(Stft(StftSpec().at(16000)), losses.LossWeights(**{**others, part: 1.0}))
    band = torch.full((2,), 4000.0)
    wide = torch.from_numpy(rng.standard_normal((2, 16000)).astype(np.float32))
    fade = torch.hann_window(1600)
    wide[:, :800] *= fade[:800]
    wide[:, -800:] *= fade[800:]
    clean = losses.below(wide, band - 500.0, 16000)
    estimate = clean + 0.1 * losses.below(wide.flip(-1), band - 500.0, 16000)
    # White noise without its lower part.
    above = wide.flip(0) - losses.below(wide.flip(0), band + 500.0, 16000)
    plain = float(module(estimate, clean, clean, band))
    # Windows leak a little, and compression makes much of little.
    assert float(module(estimate + above, clean, clean, band)) == pytest.approx(plain, rel=0.02)
    full = torch.full((2,), 8000.0)
    # STOI's bands end at 4.3 kHz; noise added is nothing lost; and to listeners one white noise is as bad as another.
    if part not in ("stoi", "over_suppression", "opinion"):
        assert abs(float(module(estimate + above, clean, clean, full)) - plain) > 0.05 * abs(plain)
