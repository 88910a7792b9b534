"""What the scripts that make shipped files share: scores on the development sets, and rows of a card."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from unmuffle.enhancers.base import Enhancer, run_offline
from unmuffle.evaluate.pesq import pesq_wb
from unmuffle.evaluate.si_sdr import si_sdr
from unmuffle.evaluate.stoi import estoi, stoi
from unmuffle.signal.resample import convert

PARTS = ("dev16", "dev48")
METRICS = {"pesq_wb": 3, "stoi": 3, "estoi": 3, "si_sdr": 1, "dnsmos_ovrl": 3}
DATA = {
    "speech": "3.5 h, 424 labels: speechocean762, LibriSpeech excerpts (CC BY 4.0), Picovoice speech-to-intent "
    "(Apache-2.0), Kathleen, Nathalie (CC0), words of art4apps, GCompris (CC BY-SA)",
    "noise": "2.1 h and music 0.4 h, 125 rooms: see the model card",
}


def measured(enhancer: Enhancer, folder: Path, *, dnsmos: bool, limit: int | None = None) -> dict[str, float]:
    """Means over the pairs of a set, scored at 16 kHz as they come."""
    found = []
    for clean in sorted((folder / "clean").iterdir())[:limit]:
        s, rate = soundfile.read(clean, dtype="float32")
        x, _ = soundfile.read(folder / "noisy" / clean.name, dtype="float32")
        y = run_offline(enhancer, x, rate)
        if rate != 16_000:
            s, y = convert(s, rate, 16_000), convert(y, rate, 16_000)
        row = [f(s, y, 16_000) for f in (pesq_wb, stoi, estoi, si_sdr)]
        if dnsmos:
            from unmuffle.evaluate.dnsmos import dnsmos as judge

            row.append(float(judge(y, 16_000).ovrl))
        found.append(row)
    means = dict(zip(METRICS, np.mean(found, axis=0).tolist(), strict=False))
    print(folder.name, enhancer.name, means, flush=True)
    return means


def rows(
    data: Path, rivals: dict[str, str], measures: dict[str, dict[str, dict[str, float]]], name: str
) -> list[str]:
    """Lines of a card's table: of each set the rivals (means of ``peers.csv``), then ours, the one of the card last."""
    lines = []
    for part in PARTS:
        peers: dict[str, list[list[float]]] = defaultdict(list)
        with (data / part / "peers.csv").open(encoding="utf-8") as table:
            for r in csv.DictReader(table):
                values = [r.get(k, "") for k in ("pesq_wb", "stoi", "estoi", "sisdr", "ovrl")]
                peers[r["peer"]].append([float(v) if v else float("nan") for v in values])
        entries: list[tuple[str, Any]] = [
            (f"{rivals[p]}, {part}", np.nanmean(peers[p], axis=0)) for p in rivals if p in peers
        ]
        for who, scores in measures.items():
            title = f"**{who}, {part}**" if who == name else f"`{who}`, {part}"
            entries.append((title, list(scores[part].values())))
        for who, values in entries:
            cells = [f"{v:.{places}f}" for v, places in zip(values, METRICS.values(), strict=False)]
            lines.append("| " + " | ".join([who, *cells, *["-"] * (len(METRICS) - len(cells))]) + " |")
    return lines
