"""Readers of the folder layouts in which the well-known speech collections come.

========================  =====================================================================
``voicebank-demand``      ``{clean,noisy}_{trainset_28spk,trainset_56spk,testset}_wav/pNNN_MMM.wav``
                          (also without ``_28spk``), with ``log_*.txt`` of noise kinds
``vctk``                  ``wav48_silence_trimmed/pNNN/pNNN_MMM_mic1.flac`` (0.92), or
                          ``wav48/pNNN/pNNN_MMM.wav`` (0.80)
``librispeech``           ``train-clean-100/READER/CHAPTER/READER-CHAPTER-NNNN.flac``, ...
``librimix``              ``Libri{2,3}Mix/wav{8k,16k}/{min,max}/{train-*,dev,test}/{mix_*,s1,s2,noise}/``
``dns``                   ``clean_fullband/..``, ``noise_fullband/``, ``impulse_responses/``
                          (or ``clean``, ``noise``), and ``test_set/synthetic/{no_reverb,with_reverb}``
``chime4``                ``data/audio/16kHz/{isolated/{tr05,dt05}_{org,bus_simu,..},backgrounds}``
``wham``                  ``{tr,cv,tt}/*.wav`` of the noises, or ``wav{8k,16k}/{min,max}/{tr,cv,tt}/{mix_*,s1,noise}``
``folders``               ``speech/ noise/ music/ rooms/``, any of them, any depth
``csv``                   ``manifest.csv`` with a line for each file: its rows of split ``train``
========================  =====================================================================

Each gives clips for training and validation (the collection's own split where it has one), pairs of
noisy and clean files, and what is missing or broken. **Test parts give pairs only**: nothing of them
gets into a manifest.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MediaNotFoundError, ParameterError
from .manifest import SUFFIXES, Clip, Problem, from_csv, from_folders


@dataclass(frozen=True)
class Pair:
    """A noisy recording and its clean counterpart; ``split`` is train, valid or test."""

    noisy: str
    clean: str
    split: str


@dataclass
class Layout:
    """What was found in a collection, and the licence under which its publishers give it."""

    licence: str = ""
    clips: list[Clip] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


_SPLITS = {
    "train": "train",
    "tr": "train",
    "tr05": "train",
    "dev": "valid",
    "cv": "valid",
    "dt05": "valid",
    "test": "test",
    "tt": "test",
    "et05": "test",
}


def prepare(kind: str, folder: str | Path) -> Layout:
    """Read a collection.

    Args:
        kind: one of :data:`LAYOUTS`.
        folder: where it was unpacked: the folder that holds what the table above shows, or one of
            the folders around it.

    Raises:
        ParameterError: no such layout.
        MediaNotFoundError: the folder is missing, or nothing of that layout is in it.
    """
    if kind not in LAYOUTS:
        near = difflib.get_close_matches(kind, LAYOUTS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ParameterError(f"no layout is called {kind!r}{hint}; there are: {', '.join(LAYOUTS)}")
    root = Path(folder)
    if not root.is_dir():
        raise MediaNotFoundError(f"{root}: no such folder")
    found = LAYOUTS[kind](root)
    if not found.clips and not found.pairs:
        raise MediaNotFoundError(f"{root}: nothing of a {kind} collection in it; it should hold {_WANTED[kind]}")
    return found


_DEPTH = 5  # of CHiME4/data/audio/16kHz/isolated, and one to spare


# -- helpers -------------------------------------------------------------------------------------


def _audio(folder: Path, *, deep: bool = True) -> list[Path]:
    """Audio files of a folder, sorted; none if it is not there."""
    files = folder.rglob("*") if deep else folder.glob("*")
    return sorted(f for f in files if f.suffix.lower() in SUFFIXES and f.is_file())


def _find(root: Path, *names: str) -> list[Path]:
    """Folders of one of these names: the root itself, or up to :data:`_DEPTH` levels below."""
    if root.name in names:
        return [root]
    out: list[Path] = []
    level = [root]
    for _ in range(_DEPTH):
        below = sorted(d for p in level for d in p.iterdir() if d.is_dir() and not d.name.startswith("."))
        out += [d for d in below if d.name in names]
        level = [d for d in below if d.name not in names]
    return out


def _clip(layout: Layout, file: Path, kind: str, split: str, *, speaker: str = "", category: str = "") -> None:
    """Add a clip, or what is wrong with it. Test material is never added."""
    import soundfile

    if split not in ("train", "valid"):
        return
    try:
        facts = soundfile.info(str(file))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        layout.problems.append(Problem(str(file), f"cannot be read: {error}"))
        return
    if not facts.frames:
        layout.problems.append(Problem(str(file), "no samples"))
        return
    layout.clips.append(
        Clip(
            str(file.resolve()),
            kind,
            split,
            speaker,
            category,
            layout.licence,
            round(facts.frames / facts.samplerate, 3),
            int(facts.samplerate),
        )
    )


def _match(
    layout: Layout, noisy: Iterable[Path], clean: dict[str, Path], split: str, key: Callable[[Path], str]
) -> None:
    """Pair files by key; noisy files without a clean one are problems."""
    used = set()
    for file in noisy:
        name = key(file)
        if name in clean:
            layout.pairs.append(Pair(str(file.resolve()), str(clean[name].resolve()), split))
            used.add(name)
        else:
            layout.problems.append(Problem(str(file), f"no clean file {name!r} for it"))
    for name in sorted(set(clean) - used):
        layout.problems.append(Problem(str(clean[name]), "no noisy file for it"))


# -- the collections -----------------------------------------------------------------------------


def _voicebank(root: Path) -> Layout:
    layout = Layout("CC BY 4.0 (VoiceBank+DEMAND, Edinburgh DataShare 10283/2791)")
    names = [f"clean_{part}_wav" for part in ("trainset_28spk", "trainset_56spk", "trainset", "testset")]
    for clean_folder in _find(root, *names):
        part = clean_folder.name[len("clean_") : -len("_wav")]
        split = "test" if part == "testset" else "train"
        noisy_folder = clean_folder.with_name(f"noisy_{part}_wav")
        clean = {f.stem: f for f in _audio(clean_folder)}
        if noisy_folder.is_dir():
            _match(layout, _audio(noisy_folder), clean, split, lambda f: f.stem)
        else:
            layout.problems.append(Problem(str(noisy_folder), "no such folder"))
        for name, file in clean.items():
            speaker = re.match(r"p\d+", name)
            if speaker is None:
                layout.problems.append(Problem(str(file), "its name does not begin with a speaker (p226_...)"))
                continue
            _clip(layout, file, "speech", split, speaker=f"vctk:{speaker[0]}")
    return layout


def _vctk(root: Path) -> Layout:
    layout = Layout("CC BY 4.0 (VCTK, Edinburgh DataShare 10283/3443)")
    folders = _find(root, "wav48_silence_trimmed") or _find(root, "wav48")
    for folder in folders:
        for speaker in sorted(d for d in folder.iterdir() if d.is_dir()):
            # The two microphones heard the same words: one of them is enough, the first where both are.
            files = _audio(speaker)
            first = [f for f in files if not f.stem.endswith("_mic2")]
            for file in first or files:
                _clip(layout, file, "speech", "train", speaker=f"vctk:{speaker.name}")
            if not files:
                layout.problems.append(Problem(str(speaker), "no recordings of this speaker"))
    return layout


_LIBRI_PARTS = tuple(
    f"{kind}-{grade}"
    for kind, grade in (
        ("train", "clean-100"),
        ("train", "clean-360"),
        ("train", "other-500"),
        ("dev", "clean"),
        ("dev", "other"),
        ("test", "clean"),
        ("test", "other"),
    )
)


def _librispeech(root: Path) -> Layout:
    layout = Layout("CC BY 4.0 (LibriSpeech, OpenSLR 12)")
    for folder in _find(root, *_LIBRI_PARTS):
        split = _SPLITS[folder.name.split("-")[0]]
        for file in _audio(folder):
            parts = file.stem.split("-")
            if len(parts) != 3 or not all(p.isdigit() for p in parts):
                layout.problems.append(Problem(str(file), "its name is not READER-CHAPTER-NNNN"))
                continue
            if file.parent.name != parts[1] or file.parent.parent.name != parts[0]:
                layout.problems.append(Problem(str(file), "it lies in the folder of another reader or chapter"))
                continue
            _clip(layout, file, "speech", split, speaker=f"libri:{parts[0]}")
    return layout


def _librimix(root: Path) -> Layout:
    layout = Layout("CC BY 4.0 (LibriMix: LibriSpeech, OpenSLR 12) and CC BY-NC 4.0 (WHAM! noise)")
    for folder in _find(root, "train-100", "train-360", "dev", "test"):
        split = _SPLITS[folder.name.split("-")[0]]
        _mixture_parts(layout, folder, split, lambda stem, i: f"libri:{stem.split('_')[i].split('-')[0]}")
    return layout


def _mixture_parts(layout: Layout, folder: Path, split: str, speaker: Callable[[str, int], str]) -> None:
    """Clips and pairs of a folder with mix_single, s1, s2, s3 and noise in it."""
    sources = [d for d in (folder / f"s{i}" for i in (1, 2, 3)) if d.is_dir()]
    for i, source in enumerate(sources):
        for file in _audio(source):
            _clip(layout, file, "speech", split, speaker=speaker(file.stem, i))
    if (folder / "noise").is_dir():
        for file in _audio(folder / "noise"):
            _clip(layout, file, "noise", split, category=folder.name)
    if (folder / "mix_single").is_dir():
        if not sources:
            layout.problems.append(Problem(str(folder / "s1"), "no such folder"))
            return
        _match(
            layout, _audio(folder / "mix_single"), {f.stem: f for f in _audio(sources[0])}, split, lambda f: f.stem
        )


def _dns(root: Path) -> Layout:
    layout = Layout("CC BY 4.0 and others, file by file (DNS Challenge)")
    held_out: set[Path] = set()
    for folder in _find(root, "no_reverb", "with_reverb"):
        held_out.add(folder)
        clean = {}
        for file in _audio(folder / "clean"):
            number = re.search(r"fileid_\d+", file.stem)
            if number is None:
                layout.problems.append(Problem(str(file), "its name has no fileid_N"))
            else:
                clean[number[0]] = file

        def number_of(file: Path) -> str:
            found = re.search(r"fileid_\d+", file.stem)
            return found[0] if found else file.stem

        _match(layout, _audio(folder / "noisy"), clean, "test", number_of)
    for names, kind in (
        (("clean_fullband", "clean"), "speech"),
        (("noise_fullband", "noise"), "noise"),
        (("impulse_responses",), "room"),
    ):
        for folder in _find(root, *names):
            if any(h == folder or h in folder.parents for h in held_out):
                continue
            files = _audio(folder)
            if not files:
                layout.problems.append(Problem(str(folder), "no recordings in it"))
            for file in files:
                reader = re.search(r"reader_\d+", file.stem)
                near = file.parent.relative_to(folder).parts
                label = "/".join(near) or folder.name
                speaker = f"dns:{reader[0] if reader else label}" if kind == "speech" else ""
                _clip(layout, file, kind, "train", speaker=speaker, category="" if kind == "speech" else label)
    return layout


def _chime4(root: Path) -> Layout:
    layout = Layout("LDC licence of WSJ0 (CHiME-4); noises CC BY-SA 2.0")
    for folder in _find(root, "isolated"):
        for part in sorted(d for d in folder.iterdir() if d.is_dir()):
            group, _, kind = part.name.partition("_")
            if group not in _SPLITS:
                continue
            split = _SPLITS[group]
            if kind == "org":
                for file in _audio(part):
                    _clip(layout, file, "speech", split, speaker=f"wsj:{file.stem.split('_')[0]}")
            elif kind.endswith("_simu"):
                clean_folder = folder / f"{group}_org"
                if not clean_folder.is_dir():
                    why = f"no such folder, so {part.name} has no clean files"
                    layout.problems.append(Problem(str(clean_folder), why))
                    continue
                clean = {f.stem: f for f in _audio(clean_folder)}
                # Microphone 5 is the one in front, which the challenge takes as the reference.
                heard = [f for f in _audio(part) if f.name.upper().endswith(".CH5.WAV")]
                if not heard:
                    layout.problems.append(Problem(str(part), "no recordings of microphone 5 (*.CH5.wav)"))
                for file in heard:
                    name = file.name.split(".")[0].rsplit("_", 1)[0]
                    if name in clean:
                        layout.pairs.append(Pair(str(file.resolve()), str(clean[name].resolve()), split))
                    else:
                        layout.problems.append(Problem(str(file), f"no clean file {name!r} for it"))
    for folder in _find(root, "backgrounds"):
        for file in _audio(folder):
            # The microphones hear one noise; 2 faces backwards and 0 is the talker's own.
            if file.name.upper().endswith((".CH1.WAV", ".CH5.WAV")):
                place = file.name.split(".")[0].rsplit("_", 1)[-1].lower()
                _clip(layout, file, "noise", "train", category=place)
    return layout


def _wham(root: Path) -> Layout:
    layout = Layout("CC BY-NC 4.0 (WHAM! noise); speech: LDC licence of WSJ0")
    for folder in _find(root, "tr", "cv", "tt"):
        split = _SPLITS[folder.name]
        if any((folder / part).is_dir() for part in ("s1", "noise", "mix_single")):
            _mixture_parts(layout, folder, split, lambda stem, i: f"wsj:{stem.split('_')[2 * i][:3]}")
        else:
            for file in _audio(folder):
                _clip(layout, file, "noise", split, category="wham")
    return layout


def _folders(root: Path) -> Layout:
    layout = Layout()
    for name in ("speech", "noise", "music", "rooms"):
        if (root / name).is_dir():
            if not _audio(root / name):
                layout.problems.append(Problem(str(root / name), "no recordings in it"))
                continue
            wanted: dict[str, Any] = {name: [root / name]}
            found = from_folders(**wanted)
            layout.clips += [c for c in found if c.duration_s]
            layout.problems += [Problem(c.path, "cannot be read") for c in found if not c.duration_s]
    return layout


def _csv(root: Path) -> Layout:
    layout = Layout()
    if (root / "manifest.csv").is_file():
        clips = from_csv(root / "manifest.csv")
        layout.clips = [c for c in clips if Path(c.path).is_file()]
        layout.problems = [Problem(c.path, "no such file") for c in clips if not Path(c.path).is_file()]
    return layout


LAYOUTS: dict[str, Callable[[Path], Layout]] = {
    "voicebank-demand": _voicebank,
    "vctk": _vctk,
    "librispeech": _librispeech,
    "librimix": _librimix,
    "dns": _dns,
    "chime4": _chime4,
    "wham": _wham,
    "folders": _folders,
    "csv": _csv,
}
"""Name -> reader."""

_WANTED = {
    "voicebank-demand": "clean_trainset_28spk_wav/ and noisy_trainset_28spk_wav/",
    "vctk": "wav48_silence_trimmed/ or wav48/",
    "librispeech": "train-clean-100/, dev-clean/ or another part",
    "librimix": "train-100/, train-360/, dev/ or test/ with mix_single/, s1/, noise/",
    "dns": "clean_fullband/, noise_fullband/ or test_set/synthetic/no_reverb/",
    "chime4": "isolated/ or backgrounds/",
    "wham": "tr/, cv/ or tt/",
    "folders": "speech/, noise/, music/ or rooms/",
    "csv": "manifest.csv",
}
