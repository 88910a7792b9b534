from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unmuffle.data.mix import MixConfig, Mixer, active_rms
from unmuffle.data.pool import Entry, Pool
from unmuffle.errors import ParameterError

PLAIN = {
    "room_share": 0.0,
    "eq_share": 0.0,
    "speed_share": 0.0,
    "band_share": 0.0,
    "clip_share": 0.0,
    "codec_share": 0.0,
    "loss_share": 0.0,
    "clean_share": 0.0,
    "noise_share": 0.0,
    "seconds": 2.0,
}
"""A mixture of a voice and noises and nothing else."""


def db(x: float) -> float:
    return float(20 * np.log10(x))


def test_shapes_types_and_range(small_pool: Pool) -> None:
    mixer = Mixer(small_pool, MixConfig(seconds=1.3))
    for i in range(60):
        m = mixer.item(0, i)
        for x in (m.noisy, m.target):
            assert x.dtype == np.float32
            assert x.shape == (20800,)
            assert np.isfinite(x).all()
            assert np.max(np.abs(x)) <= 1.0
        assert 0 < m.band_hz <= 8000


def test_the_same_place_gives_the_same_mixture_anywhere(small_pool: Pool) -> None:
    config = MixConfig(seconds=1.0, seed=5)
    first = Mixer(small_pool, config)
    forward = [first.item(2, i).noisy for i in range(6)]
    second = Mixer(Pool(small_pool.folder), config)
    backward = [second.item(2, i).noisy for i in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))
    # In another process, with another hash seed.
    code = (
        "import sys, zlib\nfrom unmuffle.data.mix import *\nfrom unmuffle.data.pool import Pool\n"
        "m = Mixer(Pool(sys.argv[1]), MixConfig(seconds=1.0, seed=5))\n"
        "print(zlib.crc32(m.item(2, 3).noisy.tobytes()))"
    )
    import os
    import zlib

    env = {**os.environ, "PYTHONHASHSEED": "77"}
    out = subprocess.run(
        [sys.executable, "-c", code, str(small_pool.folder)], env=env, capture_output=True, text=True, check=True
    )
    assert int(out.stdout) == zlib.crc32(forward[3].tobytes())


def test_every_place_epoch_split_and_seed_differs(small_pool: Pool) -> None:
    config = MixConfig(seconds=1.0)
    seen = {
        Mixer(small_pool, c, split).item(e, i).noisy.tobytes()
        for c in (config, MixConfig(seconds=1.0, seed=1))
        for split in ("train", "valid")
        for e in range(2)
        for i in range(3)
    }
    assert len(seen) == 24


def test_snr_and_level_are_what_was_drawn(small_pool: Pool) -> None:
    config = MixConfig(**PLAIN, snr_low_db=3.0, snr_high_db=3.0, level_low_db=-40.0, level_high_db=-30.0)
    mixer = Mixer(small_pool, config)
    for i in range(10):
        m = mixer.item(0, i)
        noise = m.noisy - m.target
        speech = active_rms(m.target, 16000)
        assert m.snr_db == 3.0
        # float32 rounding of a difference of signals.
        assert db(speech) - db(float(np.sqrt(np.mean(noise**2)))) == pytest.approx(3.0, abs=0.05)
        assert -40.05 < db(speech) < -29.95


def test_snr_range_is_filled(small_pool: Pool) -> None:
    mixer = Mixer(small_pool, MixConfig(**PLAIN))
    values = [mixer.item(0, i).snr_db for i in range(80)]
    assert -5 <= min(values) < 0
    assert 20 < max(values) <= 25


def test_clean_only_and_noise_only(small_pool: Pool) -> None:
    clean = Mixer(small_pool, MixConfig(**{**PLAIN, "clean_share": 1.0})).item(0, 0)
    assert np.array_equal(clean.noisy, clean.target)
    assert clean.snr_db == np.inf
    noise = Mixer(small_pool, MixConfig(**{**PLAIN, "noise_share": 1.0})).item(0, 0)
    assert not noise.target.any()
    assert np.sqrt(np.mean(noise.noisy**2)) > 1e-4
    assert noise.snr_db == -np.inf


def test_a_room_adds_a_tail_to_the_input_only(small_pool: Pool) -> None:
    config = {**PLAIN, "clean_share": 1.0, "room_share": 1.0, "measured_share": 0.0}
    mixer = Mixer(small_pool, MixConfig(**config))
    tails = []
    for i in range(8):
        m = mixer.item(0, i)
        tail = m.noisy - m.target
        tails.append(db(float(np.sqrt(np.mean(tail**2) / np.mean(m.target**2)))))
        # The target is not late: the best match of input and target lies at lag 0.
        spectrum = np.fft.rfft(m.noisy, 65536) * np.conj(np.fft.rfft(m.target, 65536))
        lag = int(np.argmax(np.fft.irfft(spectrum)))
        assert lag == 0
    # Rooms of 0.12 s hardly have a tail beyond 50 ms, those of 0.65 s do.
    assert min(tails) < -12 < max(tails) < 6


def test_band_limit_silences_both_above_it_and_says_so(small_pool: Pool) -> None:
    mixer = Mixer(small_pool, MixConfig(**{**PLAIN, "band_share": 1.0}))
    for i in range(12):
        m = mixer.item(0, i)
        assert m.band_hz in (3400.0, 4000.0, 5500.0, 7000.0, 7200.0)
        power = np.abs(np.fft.rfft(m.noisy * np.hanning(m.noisy.size))) ** 2
        hertz = np.fft.rfftfreq(m.noisy.size, 1 / 16000)
        above = power[hertz > m.band_hz + 60].sum() / power.sum()
        assert above < 1e-4  # the filter's skirt ends at the limit; what is left is its circular edge


class White:
    """Clips of white noise, voices among them: all bins are alike."""

    folder, sample_rate = Path("white"), 16000

    def of(self, kind: str, split: str) -> list[Entry]:
        if kind not in ("speech", "noise"):
            return []
        return [Entry(kind, split, "somebody", "something", 8000.0, 0, 64000, "", "")]

    def read(self, entry: Entry, start: int = 0, length: int | None = None) -> np.ndarray:
        rng = np.random.default_rng((len(entry.kind), start))
        return (0.1 * rng.standard_normal(min(entry.length - start, length or entry.length))).astype(np.float32)


def test_a_converters_edge_takes_the_top_from_all_or_from_the_noise() -> None:
    mixer = Mixer(White(), MixConfig(**{**PLAIN, "synthetic_share": 0.0, "babble_share": 0.0, "edge_share": 1.0}))

    def top(x: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(x * np.hanning(x.size))) ** 2
        hertz = np.linspace(0.0, 8000.0, power.size)
        return 10.0 * float(np.log10(power[hertz > 7960].mean() / power[(hertz > 5000) & (hertz < 6500)].mean()))

    voices = []
    for i in range(40):
        m = mixer.item(0, i)
        assert top(m.noisy - m.target) < -3.0
        voices.append(top(m.target))
    lost = [v < -3.0 for v in voices]
    assert 10 <= sum(lost) <= 30
    assert all(abs(v) < 2.0 for v, gone in zip(voices, lost, strict=True) if not gone)


def test_no_edges_is_the_same_mixture_as_ever(small_pool: Pool) -> None:
    """The share takes no chance when it is zero: what older recipes mixed stays as it was."""
    never, always = Mixer(small_pool, MixConfig(seed=5)), Mixer(small_pool, MixConfig(seed=5, edge_share=1e-12))
    assert np.array_equal(never.item(0, 1).noisy, Mixer(small_pool, MixConfig(seed=5)).item(0, 1).noisy)
    assert not np.array_equal(never.item(0, 1).noisy, always.item(0, 1).noisy)


def test_the_band_of_a_slowed_voice_shrinks(small_pool: Pool) -> None:
    mixer = Mixer(small_pool, MixConfig(**{**PLAIN, "speed_share": 1.0}))
    bands = [mixer.item(0, i).band_hz for i in range(30)]
    assert min(bands) >= 0.85 * 8000
    assert max(bands) == 8000.0
    assert min(bands) < 7600


@pytest.mark.parametrize("share", ["clip_share", "codec_share", "loss_share"])
def test_equipment_changes_the_input_and_not_the_target(small_pool: Pool, share: str) -> None:
    config = {**PLAIN, "clean_share": 1.0, share: 1.0}
    changed = 0
    for i in range(5):
        m = Mixer(small_pool, MixConfig(**config)).item(0, i)
        plain = Mixer(small_pool, MixConfig(**{**config, share: 0.0})).item(0, i)
        scale = np.max(np.abs(m.target)) / np.max(np.abs(plain.target))
        assert np.allclose(m.target, plain.target * scale, atol=1e-6)
        changed += not np.allclose(m.noisy, m.target, atol=1e-5)
        if share == "loss_share":
            frames = m.noisy[: m.noisy.size // 320 * 320].reshape(-1, 320)
            lost = ~frames.any(axis=1)
            kept = plain.noisy[: frames.size].reshape(-1, 320) * scale
            assert np.allclose(frames[~lost], kept[~lost], atol=1e-6)
    assert changed >= 4


def test_splits_do_not_share_voices(small_pool: Pool) -> None:
    for split in ("train", "valid"):
        mixer = Mixer(small_pool, MixConfig(seconds=1.0), split)
        voices = {e.speaker for group in mixer._voices.groups for e in group}
        assert voices == {e.speaker for e in small_pool.of("speech", split)}


def test_active_level() -> None:
    x = np.zeros(16000, np.float32)
    x[4000:8000] = 0.25 * np.sign(np.sin(np.arange(4000)))
    assert active_rms(x, 16000) == pytest.approx(0.25, rel=0.03)  # two frames at the ends are half full
    assert active_rms(np.zeros(16000, np.float32), 16000) == 0.0
    assert active_rms(np.zeros(0, np.float32), 16000) == 0.0


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"room_share": 1.5}, "room_share"),
        ({"snr_low_db": 10.0, "snr_high_db": 0.0}, "snr_low_db"),
        ({"seconds": 0.0}, "seconds"),
        ({"music_share": 0.6, "babble_share": 0.6}, "music_share"),
        ({"clean_share": 0.6, "noise_share": 0.6}, "clean_share"),
        ({"whisper_share": 0.6, "song_share": 0.6}, "whisper_share"),
    ],
)
def test_bad_recipes(values: dict[str, float], word: str) -> None:
    with pytest.raises(ParameterError, match=word):
        MixConfig(**values)


def test_a_pool_without_noise_is_refused(tmp_path: Path, small_tree: Path) -> None:
    from unmuffle.data import manifest, pool

    pool.pack(manifest.from_folders(speech=[small_tree / "speech"]), tmp_path)
    with pytest.raises(ParameterError, match="no noise"):
        Mixer(Pool(tmp_path))
    with pytest.raises(ParameterError, match="split"):
        Mixer(Pool(tmp_path), split="test")
