"""Files find their partners, and what is known about them is found where it is written."""

from __future__ import annotations

import json

import pytest

from unmuffle.errors import MediaError, MediaNotFoundError, ParameterError
from unmuffle.evaluate.pairs import find_pairs, tags_from_name


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("000_machines_tools_-5dB", {"snr_db": -5.0, "noise": "machines_tools"}),
        ("051_wind_0dB", {"snr_db": 0.0, "noise": "wind"}),
        ("book_12_snr-5_tl-20", {"snr_db": -5.0}),
        ("clnsp_snr12.5_x", {"snr_db": 12.5}),
        ("snr_10dB_a", {"snr_db": 10.0}),
        ("rain__clip 3", {"noise": "rain"}),
        ("dog_bark__x_snr7", {"snr_db": 7.0, "noise": "dog_bark"}),
        ("p232_001", {}),
        ("hydrogen_3dBm", {}),
        ("unsnr5", {}),
    ],
)
def test_names_are_read(name, tags):
    assert tags_from_name(name) == tags


def test_relative_paths_pair_across_extensions(tmp_path):
    touch(tmp_path / "clean", "a/x.wav", "b/x.wav", "only_clean.wav")
    touch(tmp_path / "noisy", "a/x.flac", "b/x.flac", "only_noisy.flac", "notes.txt", ".hidden.wav")
    found = find_pairs(tmp_path / "clean", tmp_path / "noisy")
    assert [p.name for p in found.pairs] == ["a/x", "b/x"]
    assert found.pairs[0].clean == tmp_path / "clean/a/x.wav"
    assert found.pairs[0].noisy == tmp_path / "noisy/a/x.flac"
    assert sorted(found.unmatched) == ["clean: only_clean", "noisy: only_noisy"]


def test_a_stem_that_is_unique_pairs_across_folders(tmp_path):
    touch(tmp_path / "clean", "deep/er/x.wav", "a/dup.wav", "b/dup.wav")
    touch(tmp_path / "noisy", "x.wav", "dup.wav")
    found = find_pairs(tmp_path / "clean", tmp_path / "noisy")
    assert [p.name for p in found.pairs] == ["x"]
    assert "noisy: dup" in found.unmatched


def test_three_folders_and_single_files(tmp_path):
    for kind in ("clean", "noisy", "done"):
        touch(tmp_path / kind, "x.wav")
    pair = find_pairs(tmp_path / "clean", tmp_path / "noisy", tmp_path / "done").pairs[0]
    assert pair.enhanced == tmp_path / "done/x.wav"
    single = find_pairs(enhanced=tmp_path / "done/x.wav", clean=tmp_path / "clean/x.wav").pairs[0]
    assert (single.noisy, single.name) == (None, "x")


def test_manifest_then_sidecar_then_name(tmp_path):
    touch(tmp_path, "001_rain_5dB.wav", "002_rain_5dB.wav", "003_rain_5dB.wav")
    (tmp_path / "002_rain_5dB.json").write_text(json.dumps({"snr_db": "7", "room": "hall", "extra": [1]}))
    (tmp_path / "m.csv").write_text("file,snr,noise_class\n003_rain_5dB.wav,9,storm\n")
    tags = [p.tags for p in find_pairs(noisy=tmp_path, manifest=tmp_path / "m.csv").pairs]
    assert tags[0] == {"snr_db": 5.0, "noise": "rain"}
    assert tags[1] == {"snr_db": 7.0, "noise": "rain", "room": "hall"}
    assert tags[2] == {"snr_db": 9.0, "noise": "storm"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", '[{"file": "x", "snr": 3}]'),
        ("m.json", '{"x": {"snr": 3}}'),
        ("m.jsonl", '{"path": "noisy/x.flac", "snr": 3}\n\n'),
    ],
)
def test_the_other_manifests(tmp_path, name, text):
    touch(tmp_path / "in", "x.wav")
    (tmp_path / name).write_text(text)
    assert find_pairs(noisy=tmp_path / "in", manifest=tmp_path / name).pairs[0].tags == {"snr_db": 3.0}


def test_what_cannot_be_is_named(tmp_path):
    touch(tmp_path, "a/x.wav", "a/x.flac", "b/x.wav")
    with pytest.raises(ParameterError, match="two extensions"):
        find_pairs(noisy=tmp_path / "a")
    with pytest.raises(ParameterError, match="nothing to score"):
        find_pairs(tmp_path / "b")
    with pytest.raises(MediaNotFoundError, match="nowhere"):
        find_pairs(noisy=tmp_path / "nowhere")
    with pytest.raises(ParameterError, match="mixture"):
        find_pairs(tmp_path / "b/x.wav", tmp_path / "b")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(MediaError, match="JSON"):
        find_pairs(noisy=tmp_path / "b", manifest=tmp_path / "bad.json")
    with pytest.raises(MediaNotFoundError, match="manifest"):
        find_pairs(noisy=tmp_path / "b", manifest=tmp_path / "none.csv")
