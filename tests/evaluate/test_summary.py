"""Tables hold the means of what they say, and files are whole."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from unmuffle.errors import OutputError, ParameterError
from unmuffle.evaluate.runner import Row
from unmuffle.evaluate.summary import summarise, to_markdown, write_csv, write_json


def row(file, method="m", error=None, snr=0.0, noise="rain", **values):
    return Row(file, method, file + method, values=values, tags={"snr_db": snr, "noise": noise}, error=error)


ROWS = [
    row("a", snr=-5.0, pesq_wb=1.0, lsd=4.0),
    row("b", snr=10.0, pesq_wb=2.0, lsd=2.0, noise="dog"),
    row("c", snr=10.0, pesq_wb=math.nan, lsd=3.0),
    row("d", snr=10.0, error="RuntimeError: no"),
    row("a", "other", snr=-5.0, pesq_wb=3.0, lsd=9.0),
]


def test_means_count_only_what_was_scored():
    line = summarise(ROWS)[0]
    assert (line["method"], line["files"], line["errors"]) == ("m", 4, 1)
    assert (line["pesq_wb"], line["pesq_wb_count"]) == (1.5, 2)
    assert (line["lsd"], line["lsd_count"]) == (3.0, 3)
    assert line["lsd_low"] <= 3.0 <= line["lsd_high"]


def test_splits_are_sorted_by_number():
    lines = summarise(ROWS, by=["snr_db"])
    assert [(x["method"], x["snr_db"], x["files"]) for x in lines] == [
        ("m", -5.0, 1),
        ("m", 10.0, 3),
        ("other", -5.0, 1),
    ]
    assert len(summarise(ROWS, by=["snr_db", "noise"])) == 4
    assert {x["room"] for x in summarise(ROWS, by=["room"])} == {""}
    with pytest.raises(ParameterError, match="method"):
        summarise(ROWS, by=["method"])


def test_a_tag_may_not_hide_a_metric(tmp_path):
    rows = [Row("a", "m", "k", values={"snr": 3.0}, tags={"snr": "loud"})]
    with pytest.raises(ParameterError, match="snr"):
        summarise(rows, by=["snr"])
    write_csv(tmp_path / "t.csv", rows)
    with open(tmp_path / "t.csv", newline="") as stream:
        line = next(csv.DictReader(stream))
    assert (line["snr"], line["tag_snr"]) == ("3", "loud")


def test_the_best_is_sought_among_equals():
    rows = [row(f, m, snr=s, pesq_wb=v) for f, m, s, v in [
        ("a", "x", 0.0, 1.0), ("a", "y", 0.0, 2.0), ("b", "x", 9.0, 4.0), ("b", "y", 9.0, 3.0), ("c", "x", 20.0, 4.5),
    ]]  # fmt: skip
    text = to_markdown(summarise(rows, by=["snr_db"]), intervals=False)
    assert text.count("**") == 4
    assert "| y | 0 | 1 | 0 | **2.000** |" in text
    assert "| x | 9 | 1 | 0 | **4.000** |" in text


def test_a_cell_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(0)
    rows = [row(str(k), pesq_wb=float(rng.random())) for k in range(20)]
    alone = summarise(rows)[0]
    with_others = summarise([*rows, *ROWS[4:], row("z", "x", lsd=1.0)])[0]
    assert (alone["pesq_wb_low"], alone["pesq_wb_high"]) == (
        with_others["pesq_wb_low"],
        with_others["pesq_wb_high"],
    )


def test_markdown_marks_the_best_in_the_right_direction():
    text = to_markdown(summarise(ROWS), intervals=False).splitlines()
    assert text[0] == "| method | files | errors | pesq_wb (MOS-LQO) ↑ | lsd (dB) ↓ |"
    assert text[2] == "| m | 4 | 1 | 1.500 | **3.00** |"
    assert text[3] == "| other | 1 | 0 | **3.000** | 9.00 |"
    assert "±" in to_markdown(summarise(ROWS))
    assert to_markdown([]) == ""


def test_markdown_survives_odd_names():
    text = to_markdown(summarise([row("a", "x|y", lsd=math.nan)]))
    assert r"x\|y" in text
    assert text.splitlines()[2].endswith("| - |")


def test_csv_and_json_hold_every_row(tmp_path):
    write_csv(tmp_path / "new/t.csv", ROWS)
    with open(tmp_path / "new/t.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 5
    assert lines[0]["pesq_wb"] == "1"
    assert lines[2]["pesq_wb"] == ""
    assert lines[3]["error"] == "RuntimeError: no"
    assert lines[1]["noise"] == "dog"
    write_json(tmp_path / "t.json", ROWS, [summarise(ROWS), summarise(ROWS, by=["snr_db"])])
    data = json.loads((tmp_path / "t.json").read_text())
    assert len(data["rows"]) == 5
    assert data["rows"][2]["values"]["pesq_wb"] is None
    assert len(data["tables"][1]) == 3


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "t.csv"
    target.write_text("old")
    import os

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError):
        write_csv(target, ROWS)
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
