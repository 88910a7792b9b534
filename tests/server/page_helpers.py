"""A real browser for the tests of the web page: Debian's Chromium, driven by Playwright, with a microphone made of a file."""

from __future__ import annotations

import base64
import os
import re
import shutil
import time
from contextlib import contextmanager

import numpy as np
import pytest
from server_helpers import PATIENCE

# The program itself: the wrapper script of the distribution reads settings that a test has no use for.
PLACES = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")


def chromium():
    """Where the browser is, or skip."""
    pytest.importorskip("playwright.sync_api", reason="the web page is tested with playwright (extra [test])")
    for place in (os.environ.get("UNMUFFLE_CHROMIUM", ""), *PLACES):
        found = shutil.which(place) if place else None
        if found:
            return found
    pytest.skip("no Chromium on this machine (apt-get install chromium, or set UNMUFFLE_CHROMIUM)")


@contextmanager
def browsing():
    """Yields a function that starts a browser; its microphone plays a WAV file in a loop, or is refused."""
    from playwright.sync_api import sync_playwright

    where = chromium()
    with sync_playwright() as playwright:
        started = []

        def launch(microphone=None):
            arguments = ["--no-sandbox"]
            if microphone is not None:
                arguments += [
                    "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}",
                    "--use-fake-ui-for-media-stream",
                ]  # fmt: skip
            browser = playwright.chromium.launch(executable_path=where, args=arguments, timeout=1000 * PATIENCE)
            started.append(browser)
            return browser

        try:
            yield launch
        finally:
            for browser in started:
                browser.close()


NO_SCORES = dict.fromkeys(("noise_dbfs", "speech_dbfs", "snr_db", "loudness_lufs", "true_peak_dbtp", "clipped_share", "dnsmos"))


class Watched:
    """A tab of its own that notes what must not happen: errors on the console, requests to other hosts."""

    def __init__(self, browser, url, scores=False, **context):
        self.url = url
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)  # a busy machine is no fault of the page
        self.errors, self.foreign, self.requests = [], [], []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        if not scores:  # seconds of the one worker for each file: only where they are what is tested
            self.page.route(re.compile(r"/scores\?"), lambda route: route.fulfill(json=NO_SCORES))
        self.page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url):
        self.requests.append(url)
        if not url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(url)

    def open(self, path="/"):
        self.page.goto(self.url + path)
        self.page.wait_for_selector("html[data-ready]")
        return self

    def wait(self, condition, timeout=PATIENCE):
        """Until an expression is true. (Playwright's own waiting evaluates strings in the page, which its policy forbids.)"""
        end = time.monotonic() + timeout
        while not self.page.evaluate(f"!!({condition})"):
            if time.monotonic() > end:
                said = self.page.evaluate("[...document.querySelectorAll('[role=alert], [role=status]')].map((e) => e.innerText)")
                raise AssertionError(f"never became true: {condition}; the page says {said}, the console {self.errors}")
            self.page.wait_for_timeout(40)

    def load(self, path, drawn=True):
        """Give the page a file and wait for what it shows."""
        before = self.page.evaluate("unmuffle.file.drawn ?? 0")
        self.page.set_input_files("#picker", str(path))
        self.wait("document.getElementById('result').checkVisibility()")
        if drawn:
            self.wait(f"(unmuffle.file.drawn ?? 0) > {before}")

    def floats(self, expression):
        """A Float32Array of the page, exactly."""
        text = self.page.evaluate(
            f"(() => {{ const x = {expression}; const b = new Uint8Array(x.buffer, x.byteOffset, x.byteLength);"
            " let s = ''; for (let i = 0; i < b.length; i += 8192) s += String.fromCharCode(...b.subarray(i, i + 8192));"
            " return btoa(s); })()"
        )
        return np.frombuffer(base64.b64decode(text), "<f4")

    def close(self, expected=()):
        """Close the tab; errors that a test provokes are given by what they contain."""
        self.context.close()
        rest = [e for e in self.errors if not any(part in e for part in expected)]
        assert not rest, rest
        assert not self.foreign, self.foreign


@contextmanager
def watched(browser, url, path="/", expected=(), **options):
    tab = Watched(browser, url, **options)
    try:
        yield tab.open(path) if path is not None else tab
    except BaseException:
        tab.context.close()
        raise
    tab.close(expected)
