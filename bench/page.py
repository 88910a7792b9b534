"""How long does the web page keep people waiting?

    python bench/page.py [--runs 11]

A server and Chromium on this machine (loopback), a fresh browser context for each run, so nothing is cached. From the
navigation: first text on the screen, and ready (methods and limits known, a file can be dropped). From the click on
*Try the sample* (11.2 s of sound at 16 kHz): sound that can be played, and pictures. From the stop of the slider:
waveforms and spectrograms of the new strength, and its scores (asked for at once). The first run fills the server's
caches and is told apart.
"""

from __future__ import annotations

import common  # first: one thread

import argparse  # isort: skip
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

SERVER = """
from unmuffle.server.config import ServerConfig
from unmuffle.server.run import serve
serve(ServerConfig(port=0), told=lambda url: print(url, flush=True))
"""
CASES = {
    "painted": "first text on the screen",
    "ready": "methods and limits known, a file can be dropped",
    "played": "sample: sound that can be played",
    "drawn": "sample: waveforms and spectrograms",
    "redrawn": "slider: new waveforms and spectrograms",
    "scored": "slider: scores of the new strength, 11 s with DNSMOS",
}
TARGET_S = 2.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=11)
    options.add_argument("--chromium", default="/usr/lib/chromium/chromium")
    options.add_argument("--no-save", action="store_true")
    args = options.parse_args()
    from playwright.sync_api import sync_playwright

    before = common.load_average()
    environment = {**os.environ, "PYTHONPATH": str(common.ROOT / "src")}
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
            rows = [_once(browser, url) for _ in range(args.runs + 1)]
            browser.close()
    finally:
        server.terminate()
        server.wait()
    results: dict[str, Any] = {"runs": args.runs, "first": rows[0]}
    for name in CASES:
        values = sorted(row[name] for row in rows[1:])
        results[name] = {"median_s": statistics.median(values), "low_s": values[0], "high_s": values[-1]}
    print(json.dumps(results, indent=1))
    if not args.no_save:
        common.save("page", ("playwright", "fastapi", "uvicorn"), results, load_before=before)


def _once(browser: Any, url: str) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    times: dict[str, float] = {}

    def until(name: str, condition: str, since: float) -> None:
        while not page.evaluate(f"!!({condition})"):
            if time.perf_counter() - since > 60:
                raise SystemExit(f"{name}: never")
            time.sleep(0.005)
        times[name] = time.perf_counter() - since

    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    until("ready", "document.documentElement.dataset.ready", begun)
    until("painted", "performance.getEntriesByName('first-contentful-paint').length", begun)
    times["painted"] = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1e3
    begun = time.perf_counter()
    page.click("#sample")
    until("played", "unmuffle.file.sound", begun)
    until("drawn", "unmuffle.file.drawn", begun)
    drawn = page.evaluate("unmuffle.file.drawn")
    begun = time.perf_counter()
    page.fill("#strength", "12")
    until("redrawn", f"unmuffle.file.drawn > {drawn}", begun)
    page.click("#score-again")  # and wait, so that the next run finds a worker that is free
    until("scored", "unmuffle.file.scores && !document.getElementById('scores').innerText.includes('…')", begun)
    context.close()
    return times


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    rows = [
        [what, f"{found[n]['median_s']:.3f}", f"{found[n]['low_s']:.3f}", f"{found[n]['high_s']:.3f}"]
        for n, what in CASES.items()
    ]
    lines = ["## Web page", "", f"Seconds, wall clock, {found['runs']} times in a browser that has nothing cached.", ""]
    lines += [*common.table(["until", ">median", ">shortest", ">longest"], rows), ""]
    lines.append(common.verdict("page that can be used", found["ready"]["median_s"], TARGET_S, unit=" s"))
    return [*lines, "", common.provenance(data), ""]


if __name__ == "__main__":
    main()
