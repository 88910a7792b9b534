"""A network that cannot learn one batch by heart cannot learn anything."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unmuffle.train import nets  # noqa: E402
from unmuffle.train.losses import si_sdr  # noqa: E402
from unmuffle.train.stft import Stft  # noqa: E402

# Small, so that the test is quick.
SIZES = {
    "dense": {"hidden": 64},
    "mask-lstm": {"hidden": 48, "layers": 1},
    "unet": {"channels": 4, "depth": 3},
    "dccrn": {"width": 0.12, "hidden": 16},
    "conv-tasnet": {"N": 32, "B": 16, "H": 24, "X": 3, "R": 2, "Sc": 16},
    "demucs": {"H": 8},
    "wavenet": {"channels": 16, "layers": 5, "stacks": 2, "wide": 32, "narrow": 16},
}


@pytest.mark.parametrize("name", sorted(set(nets.NETS) - {"array-mask"}))  # which gives masks, not sound
def test_one_batch_is_learned_to_20_db(name: str, rng: np.random.Generator) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nets.make(name, SIZES.get(name, {}))
    stft = Stft(net.spec.at(net.sample_rate))
    time = np.arange(8000) / 16000
    clean = np.stack([sum(np.sin(2 * np.pi * k * f * time) / k for k in range(1, 10)) for f in (140.0, 205.0)])
    clean *= 0.1 * np.sin(2 * np.pi * 2 * time) ** 2
    # Noise above 3 kHz, where this voice has nothing: also gains of wide bands can take it away.
    spectrum = np.fft.rfft(rng.standard_normal(clean.shape))
    spectrum[:, : 3000 // 2] = 0.0
    noisy = clean + 0.08 * np.fft.irfft(spectrum)
    t, x = (torch.from_numpy(a.astype(np.float32)) for a in (clean, noisy))
    optimiser = torch.optim.Adam(net.parameters(), 4e-3)
    best = -100.0
    for _ in range(600):
        y = nets.through(net, stft, x)
        loss = si_sdr(y, t)
        best = max(best, -float(loss.detach()))
        if best > 20.0:
            break
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    assert -float(si_sdr(x, t)) < 5.0
    assert best > 20.0
