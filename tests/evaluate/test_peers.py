"""The rivals' published table is reproduced, to its last printed digit, on the unprocessed rows."""

from __future__ import annotations

import csv

import pytest
import soundfile
import soxr

from unmuffle.evaluate.registry import score, select
from unmuffle.signal.align import align

pytest.importorskip("pesq")
pytest.importorskip("pystoi")
pytest.importorskip("speechmos")

COLUMNS = {
    "pesq_wb": "pesq_wb",
    "stoi": "stoi",
    "estoi": "estoi",
    "sisdr": "si_sdr",
    "covl": "covl",
    "ovrl": "dnsmos_ovrl",
}


def rows(folder):
    with open(folder / "peers.csv", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["peer"] == "noisy"]


def check(folder, row):
    clean, rate = soundfile.read(folder / "clean" / f"{row['file']}.flac")
    noisy, _ = soundfile.read(folder / "noisy" / f"{row['file']}.flac")
    if rate != 16000:  # the table was made at 16 kHz throughout, SI-SDR included
        clean, noisy, rate = soxr.resample(clean, rate, 16000), soxr.resample(noisy, rate, 16000), 16000
    pair = align(clean, noisy, rate // 10)
    assert pair.delay == 0
    values, problems = score(select(COLUMNS.values()), pair.other, rate, reference=pair.reference)
    assert problems == {}
    for column, name in COLUMNS.items():
        # four printed decimals: half a unit of the last, and float32 networks
        assert values[name] == pytest.approx(float(row[column]), abs=6e-5), (row["file"], column)


@pytest.mark.parametrize("which", ["dev16", "dev48"])
def test_the_noisy_rows_of_some_files(shared_data, which):
    for row in rows(shared_data / which)[1:9:5]:
        check(shared_data / which, row)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["dev16", "dev48"])
def test_the_noisy_rows_of_all_files(shared_data, which):
    for row in rows(shared_data / which):
        check(shared_data / which, row)
