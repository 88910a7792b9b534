from __future__ import annotations

import errno
import pickle
from pathlib import Path

import numpy as np
import pytest

from unmuffle.data.mix import MixConfig, Mixer
from unmuffle.data.pool import Pool
from unmuffle.data.render import Rendered, render
from unmuffle.errors import MediaNotFoundError, OutputError, ParameterError

CONFIG = MixConfig(seconds=0.4, noise_share=0.2)


def test_rendered_mixtures_are_the_mixtures(small_pool: Pool, tmp_path: Path) -> None:
    mixer = Mixer(small_pool, CONFIG)
    calls: list[tuple[int, int]] = []
    render(mixer, tmp_path, 2, 5, progress=lambda *a: calls.append(a))
    assert calls[-1] == (10, 10)
    back = Rendered(tmp_path)
    assert (back.sample_rate, back.length, back.config) == (16000, 6400, CONFIG)
    for epoch in range(2):
        for index in range(5):
            a, b = mixer.item(epoch, index), back.item(epoch, index)
            assert (a.band_hz, a.snr_db) == (b.band_hz, b.snr_db)
            for x, y in ((a.noisy, b.noisy), (a.target, b.target)):
                assert y.dtype == np.float32
                # Half a step of int16 at the signal's own peak.
                assert np.max(np.abs(x - y)) <= 0.51 * np.max(np.abs(x)) / 32767
    # Later epochs begin again.
    assert np.array_equal(back.item(2, 3).noisy, back.item(0, 3).noisy)
    copy = pickle.loads(pickle.dumps(back))
    assert np.array_equal(copy.item(1, 1).noisy, back.item(1, 1).noisy)


def test_processes_render_the_same(small_pool: Pool, tmp_path: Path) -> None:
    mixer = Mixer(small_pool, CONFIG)
    render(mixer, tmp_path / "one", 1, 20)
    render(mixer, tmp_path / "two", 1, 20, workers=2)
    for name in ("rendered.i16", "rendered.f64", "rendered.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_was_broken_off_is_not_read(small_pool: Pool, tmp_path: Path) -> None:
    mixer = Mixer(small_pool, CONFIG)
    render(mixer, tmp_path, 1, 3)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(mixer, tmp_path, 1, 3, progress=stop)
    with pytest.raises(MediaNotFoundError, match="no rendered mixtures"):
        Rendered(tmp_path)


def test_a_full_disk(small_pool: Pool, tmp_path: Path) -> None:
    def full(done: int, total: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        render(Mixer(small_pool, CONFIG), tmp_path, 1, 3, progress=full)


def test_damaged_or_wrong(small_pool: Pool, tmp_path: Path) -> None:
    mixer = Mixer(small_pool, CONFIG)
    with pytest.raises(ParameterError, match="1 or more"):
        render(mixer, tmp_path, 0, 3)
    render(mixer, tmp_path, 1, 3)
    with pytest.raises(ParameterError, match="3 were rendered"):
        Rendered(tmp_path).item(0, 3)
    (tmp_path / "rendered.i16").write_bytes(b"short")
    with pytest.raises(ParameterError, match="render again"):
        Rendered(tmp_path)
    (tmp_path / "rendered.json").write_text('{"format": 7}')
    with pytest.raises(ParameterError, match="format 7"):
        Rendered(tmp_path)
