"""A run finishes, resumes, survives broken files, and gives the same rows on any number of processes."""

from __future__ import annotations

import json
import math
import os
import time

import numpy as np
import pytest
import soundfile
from voices import noise_at, voice

from unmuffle.errors import MissingExtraError, ParameterError
from unmuffle.evaluate import runner
from unmuffle.evaluate.pairs import Pair, find_pairs
from unmuffle.evaluate.runner import Row, evaluate_pairs

METRICS = ["snr", "si_sdr", "delta_snr", "lsd"]


# Module-level, so that they can be sent to other processes.
def halve(x, rate):
    return 0.5 * x


def late(x, rate):
    return np.concatenate((np.zeros((x.shape[0], 40), x.dtype), x), axis=1)[:, : x.shape[1]]


def fails_on_loud(x, rate):
    if np.max(np.abs(x)) > 0.9:
        raise RuntimeError("too loud for me")
    return x


def dies_on_loud(x, rate):
    if np.max(np.abs(x)) > 0.9:
        os._exit(9)
    return x


def returns_nan(x, rate):
    return np.full_like(x, np.nan)


def returns_list(x, rate):
    return [1, 2, 3]


@pytest.fixture
def folder(tmp_path):
    for k, snr in enumerate((-5, 0, 10)):
        clean = voice(16000, 1.2, seed=k)
        name = f"{k:03d}_hiss_{snr}dB.wav"
        for kind, x in (("clean", clean), ("noisy", 0.7 * noise_at(clean, snr, seed=k) / 3)):
            (tmp_path / kind).mkdir(exist_ok=True)
            soundfile.write(tmp_path / kind / name, x, 16000, subtype="FLOAT")
    return tmp_path


@pytest.fixture
def pairs(folder):
    return find_pairs(folder / "clean", folder / "noisy").pairs


def test_rows_hold_scores_tags_and_a_zero_delay(pairs):
    rows = evaluate_pairs(pairs, metrics=METRICS)
    assert [r.file for r in rows] == [p.name for p in pairs]
    assert [r.tags["snr_db"] for r in rows] == [-5.0, 0.0, 10.0]
    for row, snr in zip(rows, (-5, 0, 10), strict=True):
        assert row.error is None
        assert row.method == "noisy"
        assert row.delay == 0
        assert row.values["si_sdr"] == pytest.approx(snr, abs=0.6)  # white noise is not quite orthogonal
        assert row.values["delta_snr"] == 0.0


def test_an_enhancer_runs_and_its_delay_is_found_and_removed(pairs):
    plain = evaluate_pairs(pairs, metrics=METRICS)
    rows = evaluate_pairs(pairs, enhance=late, label="late", metrics=METRICS)
    assert [r.delay for r in rows] == [40, 40, 40]
    assert all(r.enhance_s >= 0 for r in rows)
    for a, b in zip(rows, plain, strict=True):
        assert a.values["si_sdr"] == pytest.approx(b.values["si_sdr"], abs=0.1)  # 40 samples fewer
    off = evaluate_pairs(pairs, enhance=late, label="late", metrics=METRICS, max_delay_s=0)
    assert off[2].delay == 0
    assert off[2].values["si_sdr"] < rows[2].values["si_sdr"] - 10


def test_processes_give_the_same_rows(pairs):
    alone = evaluate_pairs(pairs, enhance=halve, metrics=METRICS)
    many = evaluate_pairs(pairs, enhance=halve, metrics=METRICS, workers=2)
    for a, b in zip(alone, many, strict=True):
        assert (a.file, a.key, a.values, a.delay) == (b.file, b.key, b.values, b.delay)


def test_finished_rows_are_skipped_and_changes_are_not(pairs, folder):
    results = folder / "out/rows.jsonl"
    calls = []

    def counted(x, rate):
        calls.append(1)
        return x

    def run(**changes):
        before = len(calls)
        options = {"enhance": counted, "label": "m", "metrics": METRICS, "results": results} | changes
        rows = evaluate_pairs(pairs, **options)
        return len(calls) - before, rows

    first, rows = run()
    again, kept = run()
    assert (first, again) == (3, 0)
    assert [r.values for r in kept] == [r.values for r in rows]
    assert run(config={"strength": 2})[0] == 3
    assert run(label="other")[0] == 3
    assert run(metrics=["snr"])[0] == 3
    assert run(score_rate=8000)[0] == 3
    x, rate = soundfile.read(pairs[1].noisy)
    soundfile.write(pairs[1].noisy, 0.9 * x, rate, subtype="FLOAT")
    assert run()[0] == 1


def test_a_cut_off_line_is_ignored_and_the_file_goes_on(pairs, folder):
    results = folder / "rows.jsonl"
    evaluate_pairs(pairs, metrics=["snr"], results=results)
    text = results.read_text()
    results.write_text(text[: len(text) - 30])
    seen = []
    rows = evaluate_pairs(pairs, metrics=["snr"], results=results, progress=lambda *a: seen.append(a[:2]))
    assert all(r.error is None for r in rows)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    whole = [line for line in results.read_text().splitlines() if line.endswith("}")]
    assert len(whole) == 3


def test_an_interrupted_run_keeps_what_was_done(pairs, folder):
    results = folder / "rows.jsonl"

    def stop(done, total, row):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_pairs(pairs, metrics=["snr"], results=results, progress=stop)
    assert len(results.read_text().splitlines()) == 2


def make_loud(pair):
    x, rate = soundfile.read(pair.noisy)
    soundfile.write(pair.noisy, 0.99 * x / np.max(np.abs(x)), rate, subtype="FLOAT")


def test_one_failing_file_is_a_row_with_its_reason_and_is_tried_again(pairs, folder):
    make_loud(pairs[1])
    results = folder / "rows.jsonl"
    rows = evaluate_pairs(pairs, enhance=fails_on_loud, label="m", metrics=["snr"], results=results)
    assert [r.error is None for r in rows] == [True, False, True]
    assert rows[1].error == "RuntimeError: too loud for me"
    assert rows[1].values == {}
    mended = evaluate_pairs(pairs, enhance=halve, label="m", metrics=["snr"], results=results)
    assert all(r.error is None for r in mended)


def test_a_process_that_dies_costs_one_file(pairs):
    make_loud(pairs[1])
    rows = evaluate_pairs(pairs, enhance=dies_on_loud, metrics=["snr"], workers=2)
    assert [r.error is None for r in rows] == [True, False, True]
    assert "process died" in rows[1].error


def test_broken_and_missing_files(pairs, folder):
    pairs[0].noisy.write_bytes(b"RIFF no sound in here")
    gone = Pair("gone", noisy=folder / "gone.wav", clean=pairs[1].clean)
    rows = evaluate_pairs([pairs[0], gone, pairs[2]], metrics=["snr"])
    assert "NotAudioError" in rows[0].error
    assert "FileNotFoundError" in rows[1].error
    assert rows[2].error is None


@pytest.mark.parametrize(("method", "word"), [(returns_nan, "NaN"), (returns_list, "expected floating")])
def test_an_output_that_is_none_is_named(pairs, method, word):
    row = evaluate_pairs(pairs[:1], enhance=method, metrics=["snr"])[0]
    assert word in (row.error or row.problems["snr"])


def test_a_silent_reference_gives_nan_and_a_reason(pairs):
    x, rate = soundfile.read(pairs[0].clean)
    soundfile.write(pairs[0].clean, 0 * x, rate)
    row = evaluate_pairs(pairs[:1], metrics=["snr", "clipping"])[0]
    assert row.error is None
    assert math.isnan(row.values["snr"])
    assert "silent" in row.problems["snr"]
    assert row.values["clipping"] == 0.0


def test_rates_channels_and_lengths_meet(folder, pairs):
    # the enhanced file is stereo at 48 kHz, 100 ms longer and 5 ms late
    import soxr

    (folder / "done").mkdir()
    for pair in pairs:
        x, _ = soundfile.read(pair.noisy)
        y = soxr.resample(np.concatenate((np.zeros(80), x, np.zeros(1600))), 16000, 48000)
        soundfile.write(folder / "done" / pair.noisy.name, np.stack([y, y], axis=1), 48000, subtype="FLOAT")
    triples = find_pairs(folder / "clean", folder / "noisy", folder / "done").pairs
    rows = evaluate_pairs(triples, metrics=["si_sdr", "delta_si_sdr"])
    for row in rows:
        assert (row.sample_rate, row.delay, row.method) == (16000, 80, "enhanced")
        assert row.values["delta_si_sdr"] == pytest.approx(0.0, abs=0.3)  # the band edge of two resamplings


def test_without_a_reference_the_blind_metrics_still_answer(folder):
    pairs = find_pairs(noisy=folder / "noisy").pairs
    row = evaluate_pairs(pairs[:1], metrics=["srmr", "snr"])[0]
    assert row.values["srmr"] > 0
    assert "reference" in row.problems["snr"]


def test_rows_survive_json(pairs):
    row = evaluate_pairs(pairs[:1], metrics=["snr", "noise_floor"], config={"a": 1})[0]
    assert math.isnan(row.values["noise_floor"])
    back = Row.from_json(json.loads(json.dumps(row.to_json(), allow_nan=False)))
    assert back.values["snr"] == row.values["snr"]
    assert math.isnan(back.values["noise_floor"])
    assert (back.file, back.tags, back.config) == (row.file, row.tags, row.config)


def test_a_missing_package_is_told_before_the_first_file(pairs, monkeypatch):
    monkeypatch.setattr(runner.importlib.util, "find_spec", lambda name: None)
    begin = time.process_time()
    with pytest.raises(MissingExtraError, match=r"unmuffle\[pesq\]"):
        evaluate_pairs(pairs, metrics=["pesq_wb"])
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"workers": -1},
        {"max_delay_s": -0.1},
        {"score_rate": 1000},
        {"metrics": ["nope"]},
        {"config": {"f": halve}},
    ],
)
def test_bad_options_are_named(pairs, options):
    with pytest.raises(ParameterError):
        evaluate_pairs(pairs, **{"metrics": ["si_sdr"], **options})
