"""A network that cannot learn one batch by heart cannot learn anything."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unmuffle.train import nets  # noqa: E402
from unmuffle.train.losses import si_sdr  # noqa: E402
from unmuffle.train.stft import Stft  # noqa: E402

SIZES = {"live": {"hidden": 128}}


@pytest.mark.parametrize("name", sorted(nets.NETS))
def test_one_batch_is_learned_to_20_db(name: str, rng: np.random.Generator) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nets.make(name, SIZES.get(name, {}))
    stft = Stft(net.spec.at(net.sample_rate))
    time = np.arange(8000) / 16000
    clean = np.stack([sum(np.sin(2 * np.pi * k * f * time) / k for k in range(1, 10)) for f in (140.0, 205.0)])
    clean *= 0.1 * np.sin(2 * np.pi * 2 * time) ** 2
    noisy = clean + 0.05 * rng.standard_normal(clean.shape)  # about 0 dB
    t, x = (torch.from_numpy(a.astype(np.float32)) for a in (clean, noisy))
    spectrum = stft(x).unsqueeze(1)
    optimiser = torch.optim.Adam(net.parameters(), 4e-3)
    best = -100.0
    for _ in range(600):
        y = stft.inverse(net(spectrum, *net.initial(2))[0][:, 0], 8000)
        loss = si_sdr(y, t)
        best = max(best, -float(loss.detach()))
        if best > 20.0:
            break
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    assert -float(si_sdr(x, t)) < 3.0
    assert best > 20.0
