from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmuffle.data import manifest, pool
from unmuffle.data.manifest import Clip
from unmuffle.errors import MediaNotFoundError, ParameterError


def test_clips_come_back_scaled_to_their_peak(small_tree: Path, small_pool: pool.Pool) -> None:
    for entry in small_pool.entries:
        x, _ = soundfile.read(entry.path, dtype="float32")
        y = small_pool.read(entry)
        assert y.dtype == np.float32
        assert y.shape == x.shape
        gain = 0.98 * 32767 / 32768 / np.max(np.abs(x))
        # Half a step of int16, and float32 rounding.
        assert np.max(np.abs(y - gain * x)) < 0.51 / 32768 + 1e-6


def test_slices(small_pool: pool.Pool) -> None:
    entry = small_pool.of("speech", "train")[3]
    whole = small_pool.read(entry)
    assert np.array_equal(small_pool.read(entry, 100, 50), whole[100:150])
    assert np.array_equal(small_pool.read(entry, entry.length - 10, 50), whole[-10:])


def test_splits(small_pool: pool.Pool) -> None:
    assert {e.speaker for e in small_pool.of("speech", "valid")} == {"speech:speaker2", "speech:speaker5"}
    assert len(small_pool.of("speech", "train")) == 8
    assert {e.category for e in small_pool.of("noise", "valid")} == {"street"}


def test_rates_are_converted_and_rooms_keep_one_channel(tmp_path: Path) -> None:
    time = np.arange(48000) / 48000
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time)
    soundfile.write(tmp_path / "tone.wav", np.stack((tone, tone), 1), 48000)
    impulse = np.zeros((480, 2))
    impulse[10, 0], impulse[20, 1] = 0.5, 0.5
    soundfile.write(tmp_path / "room.wav", impulse, 48000)
    clips = [Clip(str(tmp_path / "tone.wav"), "noise", sample_rate=48000), Clip(str(tmp_path / "room.wav"), "room")]
    pool.pack(clips, tmp_path / "p", 16000)
    packed = pool.Pool(tmp_path / "p")
    x = packed.read(packed.entries[0])
    assert x.size == 16000
    spectrum = np.abs(np.fft.rfft(x * np.hanning(x.size)))
    assert np.argmax(spectrum) == 1000
    assert packed.entries[0].band_hz == 8000.0
    room = packed.read(packed.entries[1])
    # One direct sound at 10 / 3 samples; that of the other channel, at 20 / 3, is not there.
    assert np.argmax(np.abs(room)) == 3
    assert abs(room[7]) < 0.3


@pytest.mark.parametrize("rate", [24000, 44100, 48000])
def test_all_of_the_new_band_is_kept_and_nothing_folds_into_it(tmp_path: Path, rate: int) -> None:
    time = np.arange(2 * rate) / rate
    for name, hertz in (("below", 7850.0), ("above", 8200.0)):
        soundfile.write(tmp_path / f"{name}.wav", 0.5 * np.sin(2 * np.pi * hertz * time), rate, subtype="FLOAT")
    low, high = (pool.decode(tmp_path / f"{name}.wav", 16000)[1000:-1000] for name in ("below", "above"))
    assert abs(np.sqrt(np.mean(low**2)) / (0.5 / np.sqrt(2)) - 1.0) < 0.01
    assert np.sqrt(np.mean(high**2)) < 0.003


def test_broken_clips_are_left_out_and_named(tmp_path: Path, small_tree: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF....")
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(100), 16000)
    good = small_tree / "noise" / "fan" / "fana.wav"
    clips = [Clip(str(p), "noise") for p in (broken, silent, good, tmp_path / "gone.wav")]
    calls: list[tuple[int, int]] = []
    failed = pool.pack(clips, tmp_path / "p", progress=lambda *a: calls.append(a))
    assert [Path(p).name for p in failed] == ["broken.wav", "silent.wav", "gone.wav"]
    assert len(pool.Pool(tmp_path / "p").entries) == 1
    assert calls == [(3, 4)]
    with pytest.raises(ParameterError, match="none of the 1 clips"):
        pool.pack(clips[:1], tmp_path / "q")
    with pytest.raises(ParameterError, match="empty"):
        pool.pack([], tmp_path / "q")


def test_a_broken_off_pool_is_no_pool(tmp_path: Path, small_tree: Path) -> None:
    clips = manifest.from_folders(noise=[small_tree / "noise"])
    pool.pack(clips, tmp_path)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.pack(clips, tmp_path, progress=stop)
    with pytest.raises(MediaNotFoundError, match="not a packed pool"):
        pool.Pool(tmp_path)


def test_damaged_pools(tmp_path: Path, small_tree: Path) -> None:
    pool.pack(manifest.from_folders(noise=[small_tree / "noise"]), tmp_path)
    samples = (tmp_path / "noise.i16").read_bytes()
    (tmp_path / "noise.i16").write_bytes(samples[:-10])
    with pytest.raises(ParameterError, match="shorter than its index"):
        pool.Pool(tmp_path)
    (tmp_path / "index.json").write_text('{"format": 99}')
    with pytest.raises(ParameterError, match="format 99"):
        pool.Pool(tmp_path)


def test_a_worker_maps_the_files_anew(small_pool: pool.Pool) -> None:
    data = pickle.dumps(small_pool)
    assert len(data) < 2000  # the folder's name, not the samples
    copy = pickle.loads(data)
    assert np.array_equal(copy.read(copy.entries[0]), small_pool.read(small_pool.entries[0]))
