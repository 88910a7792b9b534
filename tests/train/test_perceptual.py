from __future__ import annotations

import importlib.util
from dataclasses import fields

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unmuffle.errors import MissingExtraError, ModelError, ParameterError  # noqa: E402
from unmuffle.evaluate import dnsmos as reference  # noqa: E402
from unmuffle.signal.stft import StftSpec  # noqa: E402
from unmuffle.train.losses import Combined, LossWeights  # noqa: E402
from unmuffle.train.perceptual import Disturbance, Opinion, Stoi, third_octaves  # noqa: E402
from unmuffle.train.stft import Stft  # noqa: E402


def voice(seconds: float, rate: int) -> np.ndarray:
    """Harmonics whose bands move, without pauses."""
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.9 * time)) / rate
    out = np.zeros_like(time)
    for k in range(1, 30):
        out += np.cos(k * phase) / k**0.7 * (1.1 + np.sin(2 * np.pi * (2.5 + 0.13 * k) * time + k))
    return 0.05 * out


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.atleast_2d(x))


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("snr_db", [-5.0, 5.0, 20.0])
def test_stoi_equals_pystoi(rng: np.random.Generator, extended: bool, snr_db: float) -> None:
    pystoi = pytest.importorskip("pystoi")
    x = voice(3.0, 10000)
    noise = rng.standard_normal(x.size)
    y = x + noise * np.sqrt(np.mean(x**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    ours = 1 - float(Stoi(10000, extended=extended).double()(tensor(y), tensor(x)))
    # The voice has no silent frames, so pystoi cuts nothing out; its overlap-add of the kept frames
    # scales the signal, which STOI does not hear, and it drops the last frame.
    assert ours == pytest.approx(pystoi.stoi(x, y, 10000, extended=extended), abs=0.01)


def test_stoi_at_16_khz(rng: np.random.Generator) -> None:
    pystoi = pytest.importorskip("pystoi")
    x = voice(3.0, 16000)
    y = x + 0.1 * rng.standard_normal(x.size)
    ours = 1 - float(Stoi(16000).double()(tensor(y), tensor(x)))
    # pystoi resamples with another filter; it matters in the highest band, at 4.3 kHz, alone.
    assert ours == pytest.approx(pystoi.stoi(x, y, 16000, extended=True), abs=0.02)


def test_third_octaves_cover_their_range_once() -> None:
    bands = third_octaves()
    assert bands.shape == (257, 15)
    covered = bands.sum(1)
    inside = covered.nonzero()[:, 0]
    assert covered.max() == 1
    assert (covered[inside[0] : inside[-1] + 1] == 1).all()
    hertz = inside * 10000 / 512
    assert hertz[0] == pytest.approx(150 * 2 ** (-1 / 6), abs=10)
    assert hertz[-1] == pytest.approx(150 * 2 ** (29 / 6), abs=30)


def test_perfect_is_zero_and_silence_does_not_count() -> None:
    x = tensor(voice(1.0, 16000))
    assert float(Stoi(16000).double()(x, x)) == pytest.approx(0.0, abs=1e-6)
    assert float(Disturbance(16000).double()(x, x)) < 1e-3
    silent = torch.zeros_like(x)
    for module in (Stoi(16000).double(), Disturbance(16000).double()):
        assert float(module(x, silent)) == 0.0
        assert float(module(x[:, :300], x[:, :300])) == 0.0
        estimate = silent.clone().requires_grad_()
        module(estimate, x).backward()
        assert torch.isfinite(estimate.grad).all()


def test_disturbance_falls_as_pesq_rises(rng: np.random.Generator) -> None:
    pesq = pytest.importorskip("pesq")
    x = voice(3.0, 16000)
    module = Disturbance(16000).double()
    noise = rng.standard_normal(x.size) * np.sqrt(np.mean(x**2))
    tone = np.sin(2 * np.pi * 1700 * np.arange(x.size) / 16000) * np.sqrt(2 * np.mean(x**2))
    ours, theirs = [], []
    for damage in (noise, tone, np.cumsum(noise) / 50):
        for snr_db in (0, 6, 12, 18, 24, 30):
            y = x + damage * 10 ** (-snr_db / 20)
            ours.append(float(module(tensor(y), tensor(x))))
            theirs.append(pesq.pesq(16000, x.astype(np.float32), y.astype(np.float32), "wb"))
    ranks = [np.argsort(np.argsort(v)) for v in (ours, theirs)]
    assert np.corrcoef(*ranks)[0, 1] < -0.8
    # Within one kind of damage it is strictly monotonic.
    for i in range(3):
        assert (np.diff(ours[6 * i : 6 * i + 6]) < 0).all()


def test_disturbance_does_not_hear_the_level() -> None:
    x = tensor(voice(1.0, 16000))
    y = x + 0.02 * tensor(np.random.default_rng(1).standard_normal(x.shape[1]))
    module = Disturbance(16000).double()
    assert float(module(0.1 * y, 0.1 * x)) == pytest.approx(float(module(y, x)), rel=1e-3)


def test_adding_is_worse_than_taking_away() -> None:
    x = tensor(voice(1.0, 16000))
    plain, asymmetric = (Disturbance(16000, asymmetric=w).double() for w in (0.0, 1.0))
    time = torch.arange(x.shape[1]) / 16000
    added = x + 0.1 * torch.sin(2 * torch.pi * 5000 * time)
    taken = 0.7 * torch.roll(x, 1, -1) + 0.3 * x
    gain = [float(asymmetric(y, x) / plain(y, x)) for y in (added, taken)]
    assert gain[0] > gain[1]


@pytest.mark.parametrize("extended", [False, True])
def test_stoi_gradient(extended: bool, rng: np.random.Generator) -> None:
    x = tensor(voice(0.45, 10000))
    y = (x + 0.05 * tensor(rng.standard_normal(x.shape[1]))).requires_grad_()
    module = Stoi(10000, extended=extended).double()
    _same_slope(module, y, x, rng)


def test_disturbance_gradient(rng: np.random.Generator) -> None:
    x = tensor(voice(0.2, 16000))
    y = (x + 0.02 * tensor(rng.standard_normal(x.shape[1]))).requires_grad_()
    _same_slope(Disturbance(16000, asymmetric=0.0).double(), y, x, rng)


needs_dnsmos = pytest.mark.skipif(importlib.util.find_spec("speechmos") is None, reason="needs speechmos")


@needs_dnsmos
@pytest.mark.parametrize("snr_db", [0.0, 15.0, 60.0])
def test_opinion_is_what_dnsmos_says(rng: np.random.Generator, snr_db: float) -> None:
    x = np.tile(voice(4.0, 16000), 3)[:144160].astype(np.float32)
    y = x + 10 ** (-snr_db / 20) * x.std() * rng.standard_normal(x.size).astype(np.float32)
    theirs = reference._run("generic", y[None])[0]
    exact = Opinion(16000, precision=torch.float32)
    np.testing.assert_allclose(exact.scores(tensor(y))[0], theirs, atol=2e-4)
    half = Opinion(16000, precision=torch.bfloat16)
    np.testing.assert_allclose(half.scores(tensor(y))[0], theirs, atol=0.02)
    level = 0.05 / np.sqrt(np.mean(x**2))
    lack = 5.0 - reference.dnsmos(level * y, 16000).ovrl
    # It hears all of the clip at once, dnsmos() windows of 9.01 s: here there is one.
    assert float(exact(tensor(y), tensor(x))) == pytest.approx(lack, abs=1e-3)
    # Nor does it hear the level, or more clips than one in eight.
    many = torch.cat([0.3 * tensor(y), torch.randn(7, y.size)])
    assert float(exact(many, 0.3 * tensor(x).expand(8, -1))) == pytest.approx(lack, abs=1e-3)


@needs_dnsmos
def test_a_recipe_says_how_many_clips_have_an_opinion(rng: np.random.Generator) -> None:
    target = tensor(np.stack([voice(0.5, 16000)] * 6).astype(np.float32))
    estimate = (target + 0.01 * torch.randn(target.shape)).requires_grad_()
    weights = LossWeights(**{f.name: float(f.name == "opinion") for f in fields(LossWeights)})
    for every, heard in ((8, 1), (3, 2), (1, 6)):
        loss = Combined(Stft(StftSpec().at(16000)), weights, opinion_every=every)
        (slope,) = torch.autograd.grad(loss(estimate, target, estimate.detach(), torch.full((6,), 8000.0)), estimate)
        assert [bool(s.any()) for s in slope] == [True] * heard + [False] * (6 - heard)


@needs_dnsmos
def test_opinion_gradient(rng: np.random.Generator) -> None:
    x = tensor(voice(0.4, 16000))
    y = (x + 0.02 * tensor(rng.standard_normal(x.shape[1]))).requires_grad_()
    # So many maxima and kinks that a longer step meets some.
    _same_slope(Opinion(16000, precision=torch.float64, steepest=np.inf).double(), y, x, rng, step=1e-9)


@needs_dnsmos
def test_opinion_of_near_silence_does_not_decide_alone(rng: np.random.Generator) -> None:
    x = tensor(np.stack([voice(1.0, 16000)] * 2).astype(np.float32))
    x[:, 8000:] = 0.0
    level = x[:1].square().mean().sqrt()
    gradients = []
    for steepest in (np.inf, 8.0, 1.0):
        y = (x + 1e-5 * tensor(np.random.default_rng(0).standard_normal((2, 16000)).astype(np.float32))).requires_grad_()
        (3.0 * Opinion(16000, every=1, steepest=steepest)(y, x)).backward()
        gradients.append(y.grad * level)
    free, some, short = gradients
    assert free.norm(dim=-1).min() > 3.0 * 8.0
    # Weight 3, half of it for each of two clips; the direction stays.
    for limit, got in ((8.0, some), (1.0, short)):
        np.testing.assert_allclose(got.norm(dim=-1), 3.0 / 2 * limit, rtol=0.01)
        assert torch.nn.functional.cosine_similarity(got, free).min() > 0.999


@needs_dnsmos
def test_opinion_of_silence_and_of_moments_does_not_count() -> None:
    x = tensor(voice(1.0, 16000).astype(np.float32))
    module = Opinion(16000)
    assert float(module(x, torch.zeros_like(x))) == 0.0
    assert float(module(x[:, :300], x[:, :300])) == 0.0
    estimate = torch.zeros_like(x).requires_grad_()
    module(estimate, x).backward()
    assert torch.isfinite(estimate.grad).all()


def test_opinion_without_its_network(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="dnsmos"):
        Opinion(16000)
    other = tmp_path / "other.onnx"
    other.write_bytes(b"")
    monkeypatch.setattr("unmuffle.train.perceptual.network_file", lambda name: other)
    with pytest.raises(ModelError, match="another network"):
        Opinion(16000)


def _same_slope(
    module: torch.nn.Module, y: torch.Tensor, x: torch.Tensor, rng: np.random.Generator, step: float = 1e-7
) -> None:
    """The gradient along random directions is the slope of the loss there."""
    module(y, x).backward()
    for _ in range(3):
        direction = tensor(rng.standard_normal(y.shape[1]))
        with torch.no_grad():
            slope = float(module(y + step * direction, x) - module(y - step * direction, x)) / (2 * step)
        assert float((y.grad * direction).sum()) == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_rates() -> None:
    with pytest.raises(ParameterError, match="8000"):
        Stoi(8000)
    for hears in (Disturbance, Opinion):
        with pytest.raises(ParameterError, match="16000"):
            hears(48000)


def plain_disturbance(y: np.ndarray, x: np.ndarray, asymmetric: float) -> float:
    """The formulas of P.862 and PMSQE, frame by frame and band by band."""
    size = 512
    bark = 6.0 * np.arcsinh(np.arange(size // 2 + 1) * 16000 / size / 600.0)
    edges = np.linspace(6.0 * np.arcsinh(100.0 / 600.0), bark[-1], 50)
    centres, step = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)

    def bands(signal: np.ndarray) -> np.ndarray:
        rows = []
        for start in range(0, signal.size - size + 1, size // 2):
            power = np.abs(np.fft.rfft(signal[start : start + size] * window)) ** 2
            rows.append([sum(power * np.clip(1 - np.abs(bark - c) / step, 0, None)) for c in centres])
        return np.array(rows)

    khz = 600.0 * np.sinh(centres / 6.0) / 1000.0
    quiet = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
    threshold = 10 ** (np.clip(quiet, -5, 60) / 10)

    def loudness(power: np.ndarray) -> np.ndarray:
        return np.maximum(0.1866 * (threshold / 0.5) ** 0.23 * ((0.5 + 0.5 * power / threshold) ** 0.23 - 1), 0)

    a, b = bands(x), bands(y)
    gain = 1e7 / 49 / a.mean()
    a, b = a * gain, b * gain
    speech = a.sum(1) > 1e3
    a = a * np.clip(((b * speech[:, None]).mean(0) + 1e3) / ((a * speech[:, None]).mean(0) + 1e3), 0.01, 100)
    total = 0.0
    for before, after in zip(a, b, strict=True):
        after = after * np.clip((before.sum() + 5e3) / (after.sum() + 5e3), 3e-4, 5)
        la, lb = loudness(before), loudness(after)
        dead = np.sign(lb - la) * np.maximum(np.abs(lb - la) - 0.25 * np.minimum(la, lb), 0)
        factor = ((after + 50) / (before + 50)) ** 1.2
        factor = np.where(factor < 3, 0, np.minimum(factor, 12))
        one = np.sqrt(step * np.sum(dead**2)) + asymmetric * step * np.sum(np.abs(dead) * factor)
        total += one * ((before.sum() + 1e5) / 1e7) ** -0.04
    return total / len(a)


@pytest.mark.parametrize("asymmetric", [0.0, 0.309, 1.0])
def test_disturbance_is_its_formula(asymmetric: float, rng: np.random.Generator) -> None:
    x = voice(0.3, 16000)
    for y in (x + 0.02 * rng.standard_normal(x.size), 0.5 * x, 0.1 * rng.standard_normal(x.size)):
        ours = float(Disturbance(16000, asymmetric=asymmetric).double()(tensor(y), tensor(x)))
        # Filter bank and threshold are single precision in the module, and 1e-9 is added under its root: 3e-5.
        assert ours == pytest.approx(plain_disturbance(y, x, asymmetric), rel=1e-4, abs=1e-4)
