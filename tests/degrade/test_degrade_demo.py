"""The bundled demo recording is what its README says."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from unmuffle.degrade import active_snr_db
from unmuffle.io import probe, read
from unmuffle.signal.levels import active_speech_level, rms_dbfs

ASSETS = Path(str(files("unmuffle") / "assets"))


def test_the_pair() -> None:
    clean, rate = read(ASSETS / "demo_clean.flac")
    noisy, same_rate = read(ASSETS / "demo_noisy.flac")
    assert rate == same_rate == 16000
    assert clean.shape == noisy.shape
    assert clean.shape[0] == 1
    assert 8.0 < clean.shape[1] / rate < 14.0
    assert np.max(np.abs(noisy)) < 0.99
    assert active_snr_db(clean, noisy - clean, rate) == pytest.approx(5.0, abs=0.01)
    assert active_speech_level(clean, rate).level_dbfs == pytest.approx(-26.0, abs=0.05)
    # Noise alone before the first word, quieter than the speech.
    assert not np.any(clean[:, : rate // 2])
    assert -45 < rms_dbfs(noisy[:, : rate // 2]) < -26


@pytest.mark.parametrize("name", ["demo_clean.flac", "demo_noisy.flac"])
def test_small_and_sixteen_bit(name: str) -> None:
    assert (ASSETS / name).stat().st_size < 400_000
    assert probe(ASSETS / name).sample_format == "PCM_16"
