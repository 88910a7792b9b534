"""Whole sets: names, files, exact SNR on disk, independence of pairs, replay to the byte."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from degrade_signals import RATE, speech_like

from unmuffle.degrade import DAMAGES, Codec, Noise, Pipeline, Spec, from_record, make_set, replay, replay_file
from unmuffle.degrade.base import to_json
from unmuffle.degrade.snr import active_snr_db
from unmuffle.degrade.spec import Material
from unmuffle.errors import MediaError, MediaNotFoundError, ParameterError
from unmuffle.io import read, write

EVERYTHING = (
    "rir:target=early; room:t60=0.2..0.3; band:high=6000..7000; gain:shape=drift; clip:sdr=15..20;"
    "codec:name=opus|mp3,bitrate=16..32; noise:snr=0..10,count=1..3; babble:snr=10,talkers=2;"
    "hum:snr=20; wind:snr=10; clicks:rate=3; loss:rate=0.1,fill=zero|repeat; dc:offset=0.01"
)


def test_layout_and_names(folders: Path, tmp_path: Path) -> None:
    pairs = make_set(
        folders / "clean",
        tmp_path / "set",
        "noise:snr=-5..15",
        noise_dir=folders / "noise",
        seed=1,
        per_file=2,
    )
    assert len(pairs) == 6
    for pair in pairs:
        assert pair.name == f"{pair.name.split('__')[0]}__{pair.noise_class}_snr{pair.snr_db:.1f}"
        assert pair.noise_class in ("rain", "engine", "street")
        noisy, rate = read(pair.noisy)
        clean, _ = read(pair.clean)
        assert rate == RATE
        assert noisy.shape == clean.shape
        # Measured again on the 16-bit files themselves, against the unrounded SNR of the record.
        assert pair.snr_db is not None
        assert active_snr_db(clean, noisy - clean, RATE) == pytest.approx(pair.snr_db, abs=0.01)
        assert json.loads(pair.record.read_text())["snr_db"] == pair.snr_db
    with (tmp_path / "set" / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["name"] for r in rows] == [p.name for p in pairs]
    assert all((tmp_path / "set" / r[k]).is_file() for r in rows for k in ("noisy", "clean", "record"))
    assert not [p for p in (tmp_path / "set").rglob("*") if ".part" in p.name]


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_replay_of_everything_gives_the_same_bytes(folders: Path, tmp_path: Path, subtype: str) -> None:
    pairs = make_set(
        folders / "clean",
        tmp_path / "set",
        EVERYTHING,
        noise_dir=folders / "noise",
        rooms_dir=folders / "rooms",
        seed=3,
        subtype=subtype,
    )
    for pair in pairs[:2]:
        replay_file(pair.record, tmp_path / "noisy.wav", tmp_path / "target.wav")
        assert (tmp_path / "noisy.wav").read_bytes() == pair.noisy.read_bytes()
        assert (tmp_path / "target.wav").read_bytes() == pair.clean.read_bytes()


def test_same_seed_same_set_and_another_seed_another(folders: Path, tmp_path: Path) -> None:
    def make(name: str, seed: int) -> list[bytes]:
        pairs = make_set(folders / "clean", tmp_path / name, "noise:snr=0..20,color=pink", seed=seed)
        return [p.noisy.read_bytes() for p in pairs]

    assert make("a", 1) == make("b", 1)
    assert make("a", 1) != make("c", 2)


def test_pairs_do_not_depend_on_their_neighbours(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(folders / "clean" / "bert_1.wav", tmp_path / "one")
    alone = make_set(tmp_path / "one", tmp_path / "a", "noise:snr=0..20,color=pink", seed=1)
    among = make_set(folders / "clean", tmp_path / "b", "noise:snr=0..20,color=pink", seed=1)
    assert alone[0].noisy.read_bytes() == among[1].noisy.read_bytes()


def test_babble_is_of_other_speakers(folders: Path, tmp_path: Path) -> None:
    for pair in make_set(folders / "clean", tmp_path / "set", "babble:talkers=2", seed=1):
        step = json.loads(pair.record.read_text())["record"]["drawn"]["steps"][0]
        voices = {Path(s["file"]).stem for s in step["drawn"]["sources"]}
        assert voices.isdisjoint({pair.name.split("__")[0]})
        assert len(voices) == 2


def test_loud_mixtures_keep_within_full_scale(folders: Path, tmp_path: Path) -> None:
    for pair in make_set(folders / "clean", tmp_path / "set", "noise:snr=-30,color=white", seed=1):
        noisy, clean = read(pair.noisy)[0], read(pair.clean)[0]
        assert np.max(np.abs(noisy)) < 1.0
        # The target was scaled along, so it sits 30 dB down on a 16-bit grid: still 0.01 dB.
        assert active_snr_db(clean, noisy - clean, RATE) == pytest.approx(-30.0, abs=0.01)


def test_another_rate(folders: Path, tmp_path: Path) -> None:
    pairs = make_set(
        folders / "clean",
        tmp_path / "set",
        "codec:name=mulaw,bitrate=64",
        sample_rate=8000,
        per_file=1,
        seed=1,
    )
    assert read(pairs[0].noisy)[1] == 8000
    assert pairs[0].name == "anna_1__mulaw"
    replay_file(pairs[0].record, tmp_path / "n.wav", tmp_path / "t.wav")


def test_moved_folders_and_changed_files(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders, tmp_path / "old")
    old, new = tmp_path / "old", tmp_path / "new"
    pair = make_set(old / "clean", tmp_path / "set", "noise:class=rain", noise_dir=old / "noise", seed=1)[0]
    shutil.move(old, new)
    out = (tmp_path / "n.wav", tmp_path / "t.wav")
    with pytest.raises(MediaNotFoundError):
        replay_file(pair.record, *out)
    replay_file(pair.record, *out, moved={str(old): str(new)})
    assert out[0].read_bytes() == pair.noisy.read_bytes()
    write(new / "noise" / "rain__a.wav", np.full(RATE, 0.1, np.float32), RATE, "PCM_16")
    with pytest.raises(ParameterError, match="has changed"):
        replay_file(pair.record, *out, moved={str(old): str(new)})


def test_record_alone_replays(folders: Path) -> None:
    clean = speech_like(1.5)
    material = Material(
        tuple(map(str, sorted((folders / "noise").iterdir()))),
        tuple(map(str, sorted((folders / "rooms").iterdir()))),
        tuple(map(str, sorted((folders / "clean").iterdir()))),
    )
    rng = np.random.default_rng(2)
    for seed in range(3):
        pipeline = Spec.parse(EVERYTHING).draw(np.random.default_rng(seed), material)
        damaged = pipeline.apply(clean, RATE, rng)
        record = json.loads(to_json(damaged.record))
        assert from_record(record) == pipeline
        again = replay(record, clean)
        assert again.noisy.tobytes() == damaged.noisy.tobytes()
        assert again.target.tobytes() == damaged.target.tobytes()
        assert again.record == damaged.record


def test_every_damage_is_known_to_the_replay() -> None:
    for kind, cls in DAMAGES.items():
        assert cls.kind == kind


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({}, "needs 'damage'"),
        ({"damage": "melt", "parameters": {}}, "unknown damage"),
        ({"damage": "dc", "parameters": {"offest": 1}}, "no parameter 'offest'"),
    ],
)
def test_foreign_records(record: dict, says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        from_record(record)
    with pytest.raises(ParameterError):
        replay({"damage": "dc", "parameters": {}}, np.zeros(5, np.float32))


def test_bad_calls(folders: Path, tmp_path: Path) -> None:
    clean = folders / "clean"
    with pytest.raises(ParameterError, match="per_file"):
        make_set(clean, tmp_path / "x", "clip", per_file=0)
    with pytest.raises(ParameterError, match="subtype"):
        make_set(clean, tmp_path / "x", "clip", subtype="MP3")
    with pytest.raises(ParameterError, match="lies in"):
        make_set(clean, clean / "out", "clip")
    with pytest.raises(MediaNotFoundError):
        make_set(tmp_path / "nowhere", tmp_path / "x", "clip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="no audio files"):
        make_set(tmp_path / "empty", tmp_path / "x", "clip")
    with pytest.raises(ParameterError, match="folder of recordings"):
        make_set(clean, tmp_path / "x", "noise:snr=5")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ParameterError, match="no record"):
        replay_file(tmp_path / "bad.json", tmp_path / "n.wav", tmp_path / "t.wav")
    with pytest.raises(MediaError):
        replay_file(tmp_path / "none.json", tmp_path / "n.wav", tmp_path / "t.wav")


def test_pipeline_is_a_damage(rng: np.random.Generator) -> None:
    nested = Pipeline((Pipeline((Noise(),)), Codec("mulaw", 64)))
    damaged = nested.apply(speech_like(1.0), RATE, rng)
    assert replay(damaged.record, speech_like(1.0)).noisy.tobytes() == damaged.noisy.tobytes()
