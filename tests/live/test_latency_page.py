"""docs/latency.md is what was measured, and what was measured is what is declared."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_bench_found():
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "latency.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_delay_was_found_where_it_is_declared():
    rows = json.loads((ROOT / "bench" / "results" / "latency.json").read_text(encoding="utf-8"))["results"]
    assert len(rows) > 100
    assert [r for r in rows if r["declared_samples"] != r["measured_samples"]] == []
    for row in rows:
        parts = ("capture", "waiting", "overlap", "look_ahead", "resampling", "worker", "play_out")
        # Figures have five significant digits: a sum of seven of them is right to a hundredth of a millisecond.
        assert abs(sum(row[f"{part}_ms"] for part in parts) - row["sum_ms"]) < 0.02, row
