from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unmuffle.errors import UnknownMethodError  # noqa: E402
from unmuffle.train import targets  # noqa: E402
from unmuffle.train.losses import si_sdr  # noqa: E402


def pair(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    s, n = rng.standard_normal((2, 1, 30, 17, 2))
    return torch.from_numpy(s), torch.from_numpy(n)


def power(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(-1)


def test_binary_mask(rng: np.random.Generator) -> None:
    s, n = pair(rng)
    mask = targets.ibm(s, n)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(mask + targets.ibm(n, s), torch.ones_like(mask))  # either one or the other is louder
    assert targets.ibm(s, n, 60.0).sum() == 0


def test_ratio_masks_of_speech_and_noise_share_the_power(rng: np.random.Generator) -> None:
    s, n = pair(rng)
    total = targets.irm(s, n) ** 2 + targets.irm(n, s) ** 2
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


def test_amplitude_mask_gives_the_magnitude(rng: np.random.Generator) -> None:
    s, n = pair(rng)
    mask = targets.iam(s, n)
    free = mask < targets.IAM_LIMIT
    assert torch.allclose((mask * power(s + n).sqrt())[free], power(s).sqrt()[free], atol=1e-6)
    assert mask.max() == targets.IAM_LIMIT


def test_phase_sensitive_mask_is_the_best_gain(rng: np.random.Generator) -> None:
    s, n = pair(rng)
    x = s + n
    best = power(targets.psm(s, n).unsqueeze(-1) * x - s)
    for gain in torch.linspace(0, 1, 41, dtype=torch.float64):
        assert (power(gain * x - s) >= best - 1e-9).all()


def test_complex_mask_is_exact(rng: np.random.Generator) -> None:
    s, n = pair(rng)
    squeezed = targets.cirm(s, n)
    assert squeezed.abs().max() <= targets.SQUEEZE_K
    back = targets.multiply(targets.unsqueeze_cirm(squeezed), s + n)
    assert torch.allclose(back, s, atol=1e-4)


def test_filter_of_one_tap_and_one_frame_is_the_quotient(rng: np.random.Generator) -> None:
    s, n = pair(rng)
    taps = targets.deep_filter(s, n, order=1, around=0, loading=0.0)
    assert torch.allclose(targets.apply_filter(taps, s + n), s, atol=1e-6)


def test_filter_finds_the_filter(rng: np.random.Generator) -> None:
    # Speech that is a filtered mixture: S_t = w0 X_t + w1 X_(t-1) + w2 X_(t-2), the same taps everywhere.
    x = torch.from_numpy(rng.standard_normal((1, 40, 5, 2)))
    wanted = torch.tensor([0.5 + 0.2j, -0.3j, 0.1 + 0j], dtype=torch.complex128)
    s = targets.apply_filter(wanted.expand(1, 40, 5, 3), x)
    taps = targets.deep_filter(s, x - s, order=3, around=6, loading=0.0)
    assert torch.allclose(taps, wanted.expand(1, 40, 5, 3), atol=1e-6)


def test_oracles_improve_and_rank(rng: np.random.Generator) -> None:
    time = np.arange(16000) / 16000
    voice = sum(np.sin(2 * np.pi * k * 130 * time) / k for k in range(1, 20)) * np.sin(2 * np.pi * 2 * time) ** 2
    speech = torch.from_numpy(0.1 * voice)[None]
    noisy = speech + 0.05 * torch.from_numpy(rng.standard_normal((1, 16000)))
    scores = {name: -float(si_sdr(targets.oracle(name, speech, noisy, 16000), speech)) for name in targets.TARGETS}
    before = -float(si_sdr(noisy, speech))
    assert all(v > before + 5 for v in scores.values())
    # The more an answer may say, the closer it comes.
    assert scores["cirm"] > 60
    assert scores["cirm"] > scores["deep-filter"] > scores["psm"] > scores["irm"] > scores["ibm"] - 1
    with pytest.raises(UnknownMethodError, match="ibm"):
        targets.oracle("ibn", speech, noisy, 16000)
