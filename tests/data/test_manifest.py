from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from unmuffle.data import manifest
from unmuffle.data.manifest import Clip
from unmuffle.errors import MediaNotFoundError, ParameterError


def test_round_trip(tmp_path: Path) -> None:
    clips = [
        Clip(str(tmp_path / "a.wav"), "speech", "train", "anna", "", "CC0", 1.5, 16000, 7000.0),
        Clip(str(tmp_path / "b.wav"), "noise", "valid", category="fan"),
    ]
    manifest.write(tmp_path / "m.jsonl", clips)
    assert manifest.read(tmp_path / "m.jsonl") == clips
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.jsonl"]


def test_relative_paths_are_those_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "x/a.wav", "kind": "noise"}\n\n')
    assert manifest.read(tmp_path / "m.jsonl")[0].path == str(tmp_path / "x" / "a.wav")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("{", "not JSON"),
        ("[1]", "object"),
        ('{"path": "a.wav"}', "kind"),
        ('{"path": "a.wav", "kind": "speech", "spaeker": "x"}', "spaeker"),
        ('{"path": "a.wav", "kind": "song"}', "song"),
        ('{"path": "a.wav", "kind": "noise", "split": "test"}', "test"),
        ('{"path": "a.wav", "kind": "noise", "duration_s": "long"}', "long"),
        ('{"path": "", "kind": "noise"}', "no file name"),
        ('{"path": 7, "kind": "noise"}', "no file name"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, word: str) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "ok.wav", "kind": "noise"}\n' + line + "\n")
    with pytest.raises(ParameterError, match=word) as caught:
        manifest.read(tmp_path / "m.jsonl")
    assert "line 2" in str(caught.value)


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="no such manifest"):
        manifest.read(tmp_path / "none.jsonl")


def test_from_folders(small_tree: Path) -> None:
    clips = manifest.from_folders(speech=[small_tree / "speech"], noise=[small_tree / "noise"], licence="CC0")
    speech = [c for c in clips if c.kind == "speech"]
    assert len(speech) == 12
    assert {c.speaker for c in speech} == {f"speech:speaker{i}" for i in range(6)}
    assert all(c.duration_s == 1.5 and c.sample_rate == 16000 and c.licence == "CC0" for c in speech)
    assert {c.category for c in clips if c.kind == "noise"} == {"fan", "rain", "street"}
    assert manifest.check(clips, decode=True) == []


def test_folders_that_are_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="no such folder"):
        manifest.from_folders(noise=[tmp_path / "none"])
    with pytest.raises(MediaNotFoundError, match="no audio files"):
        manifest.from_folders(noise=[tmp_path])


def test_check_reports_everything(small_tree: Path, tmp_path: Path) -> None:
    good = small_tree / "noise" / "fan" / "fana.wav"
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.touch()
    text.write_text("this is no audio")
    clips = [
        Clip(str(good), "noise"),
        Clip(str(good), "noise"),
        Clip(str(good), "music", duration_s=9.0),
        Clip(str(good), "speech"),
        Clip(str(tmp_path / "gone.wav"), "noise"),
        Clip(str(empty), "noise"),
        Clip(str(text), "noise"),
        Clip(str(good), "speech", "train", "anna"),
        Clip(str(good), "speech", "valid", "anna"),
    ]
    found = " | ".join(p.what for p in manifest.check(clips, decode=True))
    for what in (
        "no such file",
        "empty file",
        "cannot be read",
        "lasts 1.20 s, the manifest says 9.00 s",
        "without a speaker",
        "in both splits",
        "times",
    ):
        assert what in found


def test_from_csv_leaves_measuring_sets_out(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        "path,kind,split,speaker,category,sample_rate,duration_s,licence\n"
        "a.opus,speech,train,anna,,16000,2.0,CC0\n"
        "b.opus,noise,train,,rain,48000,3.0,CC BY\n"
        "c.wav,speech,dev16,ben,,16000,5.0,CC0\n"
        "d.flac,array,test,,,16000,5.0,CC0\n"
    )
    clips = manifest.from_csv(tmp_path / "manifest.csv")
    assert [Path(c.path).name for c in clips] == ["a.opus", "b.opus"]
    assert clips[0].top_hz == 8000.0
    (tmp_path / "bad.csv").write_text("path,kind\n")
    with pytest.raises(ParameterError, match="no column"):
        manifest.from_csv(tmp_path / "bad.csv")


def test_the_split_keeps_speakers_and_recordings_together() -> None:
    clips = [Clip(f"/x/{s}-{i}.wav", "speech", speaker=f"s{s}") for s in range(300) for i in range(3)]
    clips += [Clip(f"/n/door{k}-{i}.wav", "noise") for k in range(300) for i in range(3)]
    split = manifest.split_validation(clips, 0.1)
    for key in (lambda c: c.speaker, lambda c: Path(c.path).stem[:-2] if c.kind == "noise" else ""):
        sides: dict[str, set[str]] = {}
        for clip in split:
            if key(clip):
                sides.setdefault(key(clip), set()).add(clip.split)
        assert all(len(v) == 1 for v in sides.values())
    held = [c for c in split if c.split == "valid"]
    # 600 names at 10 %: 60 +- 7.3; four standard deviations.
    assert 3 * 30 < len(held) < 3 * 90
    # The choice for a name does not depend on the rest of the list.
    again = manifest.split_validation(clips[:30], 0.1)
    assert again == split[:30]
    with pytest.raises(ParameterError):
        manifest.split_validation(clips, 1.0)


def test_the_real_pool(shared_data: Path) -> None:
    clips = manifest.split_validation(manifest.from_csv(shared_data / "manifest.csv"))
    assert {c.kind for c in clips} == set(manifest.KINDS)
    assert all(c.split == "train" or c.split == "valid" for c in clips)
    assert not any("dev16" in c.path or "dev48" in c.path for c in clips)
    assert manifest.check(clips[:20], decode=False) == []
    facts = soundfile.info(clips[0].path)
    # The manifest rounds to a hundredth of a second; Opus adds up to a packet (20 ms).
    assert abs(facts.frames / facts.samplerate - clips[0].duration_s) < 0.04
    assert "speech" in manifest.summary(clips)


def names(clips: list[Clip], split: str) -> list[str]:
    return [c.path for c in clips if c.split == split]


def test_something_is_always_held_out_and_something_always_left() -> None:
    for seed in range(30):
        two = [Clip(f"{s}{k}.wav", "speech", speaker=s, duration_s=1.0 + (s == "b")) for s in "ab" for k in range(3)]
        clips, notes = manifest.hold_out(two, seed=seed)
        assert notes == []
        assert {len(names(clips, "valid")), len(names(clips, "train"))} == {3}
        assert len({c.speaker for c in clips if c.split == "valid"}) == 1
        # Takes of one recording: some of its files, with a word of warning.
        takes, notes = manifest.hold_out([Clip(f"{k}.wav", "noise") for k in range(40)], seed=seed)
        assert len(names(takes, "valid")) == 2
        assert "one recording: 2 of 40 files" in notes[0]
    alone, notes = manifest.hold_out([Clip("a.wav", "noise")])
    assert names(alone, "train") == ["a.wav"]
    assert "0 of 1 files" in notes[0]


def test_a_collections_own_split_stays() -> None:
    clips = [Clip("a.wav", "speech", "valid", "a"), *(Clip(f"{k}.wav", "speech", speaker=str(k)) for k in range(50))]
    assert names(manifest.hold_out(clips, 0.5)[0], "valid") == ["a.wav"]
    assert manifest.hold_out(clips[1:], 0.0)[0] == clips[1:]


def test_a_manifest_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unmuffle.errors import OutputError

    (tmp_path / "m.jsonl").write_text("precious")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"No space left.*intact"):
        manifest.write(tmp_path / "m.jsonl", [Clip("a.wav", "noise")])
    assert [p.name for p in tmp_path.iterdir()] == ["m.jsonl"]
    assert (tmp_path / "m.jsonl").read_text() == "precious"
