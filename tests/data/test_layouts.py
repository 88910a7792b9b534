"""Each reader on a miniature tree of exactly the layout in which the collection comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmuffle.data import layouts, manifest
from unmuffle.errors import MediaNotFoundError, ParameterError


def plant(root: Path, *names: str, rate: int = 16000) -> None:
    """Tenths of a second of noise under these names."""
    rng = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(rate // 10), rate)


def rows(layout: layouts.Layout) -> set[tuple[str, str, str, str]]:
    """(file name, kind, split, speaker) of all clips."""
    return {(Path(c.path).name, c.kind, c.split, c.speaker) for c in layout.clips}


def pairs(layout: layouts.Layout) -> set[tuple[str, str, str]]:
    return {(Path(p.noisy).name, Path(p.clean).name, p.split) for p in layout.pairs}


def what(layout: layouts.Layout) -> str:
    return " | ".join(p.what for p in layout.problems)


def test_voicebank_demand(tmp_path: Path) -> None:
    for part, name in (("trainset_28spk", "p226_001"), ("trainset_28spk", "p287_424"), ("testset", "p232_001")):
        plant(tmp_path, f"clean_{part}_wav/{name}.wav", f"noisy_{part}_wav/{name}.wav", rate=48000)
    (tmp_path / "log_trainset_28spk.txt").write_text("p226_001 cafe 5\n")
    found = layouts.prepare("voicebank-demand", tmp_path)
    assert rows(found) == {
        ("p226_001.wav", "speech", "train", "vctk:p226"),
        ("p287_424.wav", "speech", "train", "vctk:p287"),
    }
    assert pairs(found) == {
        ("p226_001.wav", "p226_001.wav", "train"),
        ("p287_424.wav", "p287_424.wav", "train"),
        ("p232_001.wav", "p232_001.wav", "test"),
    }
    assert all("noisy_" in p.noisy and "clean_" in p.clean for p in found.pairs)
    assert found.problems == []
    assert all(c.sample_rate == 48000 and "CC BY" in c.licence for c in found.clips)
    # What is missing or broken is named.
    plant(tmp_path, "noisy_trainset_28spk_wav/p230_001.wav", "clean_trainset_28spk_wav/p231_001.wav")
    plant(tmp_path, "clean_trainset_28spk_wav/hello.wav", "noisy_trainset_28spk_wav/hello.wav")
    (tmp_path / "clean_trainset_28spk_wav" / "p233_001.wav").write_bytes(b"junk")
    plant(tmp_path, "clean_trainset_56spk_wav/p240_001.wav")
    text = what(layouts.prepare("voicebank-demand", tmp_path))
    for word in ("no clean file 'p230_001'", "no noisy file", "does not begin with a speaker", "cannot be read"):
        assert word in text
    assert "no such folder" in text


@pytest.mark.parametrize("form", ["wav48_silence_trimmed/{s}/{s}_001_mic1.flac", "wav48/{s}/{s}_001.wav"])
def test_vctk(tmp_path: Path, form: str) -> None:
    plant(tmp_path, *(f"VCTK-Corpus/{form}".format(s=s) for s in ("p225", "s5")), rate=48000)
    if "mic1" in form:
        plant(tmp_path, "VCTK-Corpus/wav48_silence_trimmed/p225/p225_001_mic2.flac")
        # Speaker p280 has no second microphone; p315 has nothing but text.
        (tmp_path / "VCTK-Corpus/wav48_silence_trimmed/p315").mkdir()
    (tmp_path / "VCTK-Corpus" / "speaker-info.txt").write_text("ID  AGE\n")
    found = layouts.prepare("vctk", tmp_path)
    assert {(k, s) for _, k, s, _ in rows(found)} == {("speech", "train")}
    assert {c.speaker for c in found.clips} == {"vctk:p225", "vctk:s5"}
    assert not any("mic2" in c.path for c in found.clips)
    if "mic1" in form:
        assert "no recordings of this speaker" in what(found)


def test_librispeech(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "LibriSpeech/train-clean-100/103/1240/103-1240-0000.flac",
        "LibriSpeech/train-other-500/20/205/20-205-0001.flac",
        "LibriSpeech/dev-clean/84/121123/84-121123-0000.flac",
        "LibriSpeech/test-clean/61/70968/61-70968-0000.flac",
    )
    (tmp_path / "LibriSpeech" / "train-clean-100" / "103" / "1240" / "103-1240.trans.txt").write_text("x")
    found = layouts.prepare("librispeech", tmp_path)
    assert rows(found) == {
        ("103-1240-0000.flac", "speech", "train", "libri:103"),
        ("20-205-0001.flac", "speech", "train", "libri:20"),
        ("84-121123-0000.flac", "speech", "valid", "libri:84"),
    }
    assert found.problems == []
    plant(
        tmp_path,
        "LibriSpeech/dev-clean/84/121123/odd.flac",
        "LibriSpeech/dev-clean/84/121123/85-121123-0000.flac",
    )
    text = what(layouts.prepare("librispeech", tmp_path))
    assert "READER-CHAPTER-NNNN" in text
    assert "another reader" in text


def test_librimix(tmp_path: Path) -> None:
    base = "Libri2Mix/wav16k/min"
    stem = "4077-13754-0001_5142-33396-0065.wav"
    for part in ("train-100", "dev", "test"):
        plant(tmp_path, *(f"{base}/{part}/{d}/{stem}" for d in ("mix_single", "mix_both", "s1", "s2", "noise")))
    (tmp_path / base / "metadata").mkdir()
    found = layouts.prepare("librimix", tmp_path)
    assert rows(found) == {
        (stem, kind, split, speaker)
        for split in ("train", "valid")
        for kind, speaker in (("speech", "libri:4077"), ("speech", "libri:5142"), ("noise", ""))
    }
    assert pairs(found) == {(stem, stem, split) for split in ("train", "valid", "test")}
    assert all("mix_single" in p.noisy and "/s1/" in p.clean for p in found.pairs)
    assert found.problems == []


def test_dns(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "datasets_fullband/clean_fullband/read_speech/book_00000_chp_0009_reader_06709_0.wav",
        "datasets_fullband/clean_fullband/emotional_speech/1001_DFA_ANG_XX.wav",
        "datasets_fullband/noise_fullband/-0KaFdLwmgI.wav",
        "datasets_fullband/impulse_responses/SLR26/simulated_rirs_48k/smallroom/Room001/Room001-00001.wav",
        "datasets/test_set/synthetic/no_reverb/noisy/clnsp1_train_69005_1_snr15_tl-21_fileid_158.wav",
        "datasets/test_set/synthetic/no_reverb/clean/clean_fileid_158.wav",
        "datasets/test_set/synthetic/with_reverb/noisy/clnsp2_wind_snr3_fileid_7.wav",
        "datasets/test_set/synthetic/with_reverb/clean/clean_fileid_7.wav",
    )
    found = layouts.prepare("dns", tmp_path)
    assert rows(found) == {
        ("book_00000_chp_0009_reader_06709_0.wav", "speech", "train", "dns:reader_06709"),
        ("1001_DFA_ANG_XX.wav", "speech", "train", "dns:emotional_speech"),
        ("-0KaFdLwmgI.wav", "noise", "train", ""),
        ("Room001-00001.wav", "room", "train", ""),
    }
    assert pairs(found) == {
        ("clnsp1_train_69005_1_snr15_tl-21_fileid_158.wav", "clean_fileid_158.wav", "test"),
        ("clnsp2_wind_snr3_fileid_7.wav", "clean_fileid_7.wav", "test"),
    }
    assert found.problems == []
    plant(tmp_path, "datasets/test_set/synthetic/no_reverb/noisy/x_fileid_9.wav")
    plant(tmp_path, "datasets/test_set/synthetic/no_reverb/clean/unnamed.wav")
    text = what(layouts.prepare("dns", tmp_path))
    assert "no clean file 'fileid_9'" in text
    assert "no fileid_N" in text


def test_chime4(tmp_path: Path) -> None:
    base = "CHiME4/data/audio/16kHz"
    plant(
        tmp_path,
        f"{base}/isolated/tr05_org/011_011C0201.wav",
        *(f"{base}/isolated/tr05_bus_simu/011_011C0201_BUS.CH{i}.wav" for i in range(1, 7)),
        f"{base}/isolated/tr05_bus_real/M03_050C0101_BUS.CH5.wav",
        f"{base}/isolated/dt05_org/F01_050C0101.wav",
        f"{base}/isolated/dt05_caf_simu/F01_050C0101_CAF.CH5.wav",
        f"{base}/isolated/et05_org/F05_440C0201.wav",
        f"{base}/isolated/et05_str_simu/F05_440C0201_STR.CH5.wav",
        *(f"{base}/backgrounds/BGD_150203_010_CAF.CH{i}.wav" for i in range(1, 7)),
        f"{base}/embedded/M03_141107_040_BUS.CH5.wav",
    )
    found = layouts.prepare("chime4", tmp_path)
    assert rows(found) == {
        ("011_011C0201.wav", "speech", "train", "wsj:011"),
        ("F01_050C0101.wav", "speech", "valid", "wsj:F01"),
        ("BGD_150203_010_CAF.CH1.wav", "noise", "train", ""),
        ("BGD_150203_010_CAF.CH5.wav", "noise", "train", ""),
    }
    assert {c.category for c in found.clips if c.kind == "noise"} == {"caf"}
    assert pairs(found) == {
        ("011_011C0201_BUS.CH5.wav", "011_011C0201.wav", "train"),
        ("F01_050C0101_CAF.CH5.wav", "F01_050C0101.wav", "valid"),
        ("F05_440C0201_STR.CH5.wav", "F05_440C0201.wav", "test"),
    }
    assert found.problems == []
    plant(tmp_path, f"{base}/isolated/tr05_ped_simu/099_099C0201_PED.CH5.wav")
    plant(tmp_path, f"{base}/isolated/tr05_caf_simu/011_011C0201_CAF.CH1.wav")
    text = what(layouts.prepare("chime4", tmp_path))
    assert "no clean file '099_099C0201'" in text
    assert "microphone 5" in text


def test_wham_noises(tmp_path: Path) -> None:
    plant(tmp_path, "wham_noise/tr/011a0101_0.061105_401c020r_-0.061105.wav", "wham_noise/cv/a.wav")
    plant(tmp_path, "wham_noise/tt/b.wav")
    (tmp_path / "wham_noise" / "metadata").mkdir()
    found = layouts.prepare("wham", tmp_path)
    assert {(k, s) for _, k, s, _ in rows(found)} == {("noise", "train"), ("noise", "valid")}
    assert not any("/tt/" in c.path for c in found.clips)


def test_wham_mixtures(tmp_path: Path) -> None:
    stem = "011a0101_0.061105_401c020r_-0.061105.wav"
    plant(tmp_path, *(f"wav16k/min/tr/{d}/{stem}" for d in ("mix_single", "mix_both", "s1", "s2", "noise")))
    found = layouts.prepare("wham", tmp_path)
    assert rows(found) == {
        (stem, "speech", "train", "wsj:011"),
        (stem, "speech", "train", "wsj:401"),
        (stem, "noise", "train", ""),
    }
    assert pairs(found) == {(stem, stem, "train")}


def test_plain_folders(small_tree: Path) -> None:
    found = layouts.prepare("folders", small_tree)
    assert len(found.clips) == 12 + 6 + 1 + 1
    assert {c.kind for c in found.clips} == set(manifest.KINDS)
    assert found.problems == []


@pytest.mark.parametrize("kind", sorted(layouts.LAYOUTS))
def test_a_folder_of_something_else(tmp_path: Path, kind: str) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(MediaNotFoundError, match="it should hold"):
        layouts.prepare(kind, tmp_path)
    with pytest.raises(MediaNotFoundError, match="no such folder"):
        layouts.prepare(kind, tmp_path / "none")


def test_an_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="librispeech"):
        layouts.prepare("librispech", tmp_path)


def test_a_layout_can_be_packed(tmp_path: Path) -> None:
    from unmuffle.data import pool

    plant(tmp_path, "LibriSpeech/train-clean-100/103/1240/103-1240-0000.flac")
    found = layouts.prepare("librispeech", tmp_path)
    manifest.write(tmp_path / "m.jsonl", found.clips)
    assert pool.pack(manifest.read(tmp_path / "m.jsonl"), tmp_path / "pool") == []
