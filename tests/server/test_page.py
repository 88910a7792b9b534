"""The web page in a real browser: what it shows, plays and saves is what the library says.

Half of this is marked slow, for no other reason than that each takes a second or two.
"""

import itertools
import json
import os
import re
import sys
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from page_helpers import browsing, watched
from server_helpers import CODE, DEFAULTS, PATIENCE, Running, running

from unmuffle import enhance, enhance_file
from unmuffle.enhancers.registry import load
from unmuffle.io import read, write
from unmuffle.signal.levels import loudness_lufs

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")


def voiced(seconds, rate, channels=1, seed=4):
    """Bursts of a buzz in steady noise: something to keep and something to remove."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 140 * k * t + k) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 1.3 * t) > 0)
    return (0.08 * buzz + 0.02 * rng.standard_normal((channels, len(t)))).astype(np.float32)


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A stereo recording of two seconds."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    write(path, voiced(2.0, 22050, 2), 22050, "PCM_16")
    return path


@pytest.fixture(scope="module")
def launch():
    with browsing() as made:
        yield made


@pytest.fixture(scope="module")
def browser(launch, tmp_path_factory):
    microphone = tmp_path_factory.mktemp("mic") / "mic.wav"
    write(microphone, voiced(4.0, 48000, seed=5), 48000, "PCM_16")
    return launch(microphone)


@pytest.fixture
def tab(browser, server):
    with watched(browser, server.url) as made:
        yield made


# -- files -----------------------------------------------------------------------------------------------


def test_a_file_is_shown_before_after_and_removed(tab, talk):
    tab.load(talk)
    x, rate = read(talk)
    y = enhance(x, rate)
    for c in range(2):
        assert np.array_equal(tab.floats(f"unmuffle.file.sound.before[{c}]"), x[c])
        assert np.array_equal(tab.floats(f"unmuffle.file.sound.after[{c}]"), y[c])
    page = tab.page
    assert page.inner_text("#result-title") == "talk.wav"
    assert "22.05 kHz, stereo" in page.inner_text("#result-facts")
    assert page.inner_text("#length") == "0:02.0"
    # The pictures differ from each other, and none is blank.
    pictures = [page.evaluate(f"document.querySelector('[data-track={t}] canvas').toDataURL()") for t in ("before", "after", "removed")]
    assert len({*pictures}) == 3
    colours = page.evaluate(
        "[...document.querySelectorAll('.track canvas')].map((c) => new Set(new Uint32Array("
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size)"
    )
    assert min(colours) > 50
    waves = page.evaluate("[...document.querySelectorAll('.wave > div')].map((d) => d.shadowRoot.querySelectorAll('canvas').length)")
    assert len(waves) == 3
    assert min(waves) >= 1
    style = page.evaluate("getComputedStyle(document.querySelector('.wave > div').shadowRoot.querySelector('.scroll')).overflowY")
    assert style == "hidden"  # its style sheet was let in


def test_the_slider_mixes_as_the_library_does(tab, talk):
    tab.load(talk, drawn=False)
    page = tab.page
    x, rate = read(talk)
    for value, text, db in (("12", "at most 12 dB", 12.0), ("0", "unchanged", 0.0), ("41", "full", np.inf)):
        page.fill("#strength", value)
        assert page.inner_text("#strength-text") == text
        assert page.get_attribute("#strength", "aria-valuetext") == text
        wanted = enhance(x, rate, strength_db=db)
        got = mixed(tab, "after")
        assert np.array_equal(got, wanted[1])
        # After and removed are all there was.
        assert np.abs(mixed(tab, "removed") + got - x[1]).max() < 1e-7
    page.fill("#strength", "6")
    page.check("input[value=removed]", force=True)
    g = 10 ** (-6 / 20)
    assert page.evaluate("unmuffle.file.player.factors") == pytest.approx([1 - g, g - 1])


def mixed(tab, listen):
    """A channel of a track, as the page would save it."""
    tab.page.evaluate(
        f"import('/page/mix.js').then(({{ mixed }}) => {{ const {{ db, sound }} = unmuffle.file;"
        f" globalThis.mixedNow = mixed('{listen}', db, sound.before, sound.after)[1]; }})"
    )
    return tab.floats("globalThis.mixedNow")


def test_before_and_after_are_equally_loud_in_the_loop(tab, talk):
    tab.load(talk)
    tab.wait("unmuffle.file.sound.energies")
    page = tab.page
    x, rate = read(talk)
    page.fill("#strength", "20")
    for box, seconds in (("#loop-from", "0.3"), ("#loop-to", "1.6")):
        page.fill(box, seconds)
        page.keyboard.press("Tab")
    assert page.is_checked("#loop")
    assert page.evaluate("unmuffle.file.loop") == [0.3, 1.6]
    y = enhance(x, rate, strength_db=20.0)
    a, b = round(0.3 * rate), round(1.6 * rate)
    difference = loudness_lufs(x[:, a:b], rate) - loudness_lufs(y[:, a:b], rate)
    said = float(re.search(r"before is played ([\d.]+) dB softer", page.inner_text("#match-text"))[1])
    # 0.1 dB for rounding; 0.2 because the page's filter has heard what came before the loop, the library's has not.
    assert said == pytest.approx(difference, abs=0.3)
    g = 10 ** (-20 / 20)
    assert page.evaluate("unmuffle.file.player.factors") == pytest.approx([g, 1 - g])
    page.focus("#loop-to")
    page.keyboard.press("1")  # a digit in a box is a digit
    assert page.evaluate("unmuffle.file.listen") == "after"
    page.focus("#play")
    page.keyboard.press("1")
    assert page.evaluate("unmuffle.file.player.factors") == pytest.approx([10 ** (-said / 20), 0], rel=0.01)
    page.uncheck("#match")
    assert page.evaluate("unmuffle.file.player.factors") == [1, 0]


def test_a_loop_is_played_round_and_round(tab, talk):
    tab.load(talk)
    page = tab.page
    box = page.locator("[data-track=after] .wave").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 30)
    page.mouse.down()
    for share in (0.3, 0.35, 0.4):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 30)
    page.mouse.up()
    assert page.is_checked("#loop")
    first, last = page.evaluate("unmuffle.file.loop")
    assert (first, last) == pytest.approx((0.5, 0.8), abs=0.06)
    page.click("#play")
    tab.wait("unmuffle.file.player.playing && unmuffle.file.player.position > 0.45")
    places, end = [], time.monotonic() + PATIENCE
    while sum(b < a for a, b in itertools.pairwise(places)) < 2 and time.monotonic() < end:
        places.append(page.evaluate("unmuffle.file.player.position"))
    assert min(places) >= first - 1e-6
    assert max(places) <= last + 1e-6
    assert any(b < a for a, b in itertools.pairwise(places))  # it went back at least once
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.click("#play")
    assert not page.evaluate("unmuffle.file.player.playing")


def test_what_is_downloaded_is_what_the_command_line_writes(tab, talk, tmp_path):
    tab.load(talk, drawn=False)
    page = tab.page
    page.fill("#strength", "9")
    with page.expect_download() as waiting:
        page.click("#download")
    assert waiting.value.suggested_filename == "talk.enhanced.wav"
    waiting.value.save_as(tmp_path / "page.wav")
    enhance_file(talk, tmp_path / "library.wav", strength_db=9.0)
    assert (tmp_path / "page.wav").read_bytes() == (tmp_path / "library.wav").read_bytes()

    page.select_option("#format", "flac")
    with page.expect_download() as waiting:
        page.click("#download")
    assert waiting.value.suggested_filename == "talk.enhanced.flac"
    waiting.value.save_as(tmp_path / "page.flac")
    assert np.array_equal(read(tmp_path / "page.flac")[0], read(tmp_path / "library.wav")[0])

    with page.expect_download() as waiting:
        page.click("#download-removed")
    waiting.value.save_as(tmp_path / "removed.wav")
    x, rate = read(talk)
    removed, _ = read(tmp_path / "removed.wav")
    assert np.abs(removed + enhance(x, rate, strength_db=9.0) - x).max() < 1e-7


@pytest.mark.slow
def test_presets_and_methods_are_asked_for(tab, talk):
    page = tab.page
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "/listen" in r.url else None)
    tab.load(talk, drawn=False)
    page.check("#preset-hum", force=True)
    tab.wait("!document.getElementById('work').checkVisibility()")
    page.click("#more summary")
    page.select_option("#method", "wiener")
    tab.wait("!document.getElementById('work').checkVisibility()")
    assert [urlsplit(url).query for url in asked] == [
        "filename=talk.wav&method=auto", "filename=talk.wav&method=auto&repair=dehum%2Clow-cut",
        "filename=talk.wav&method=wiener&repair=dehum%2Clow-cut",
    ]  # fmt: skip
    x, rate = read(talk)
    wanted = enhance(x, rate, "wiener", repair=("dehum", "low-cut"))
    assert np.array_equal(tab.floats("unmuffle.file.sound.after[0]"), wanted[0])
    assert "Wiener" in page.inner_text("#method-summary")
    options = page.locator("#method option").all_inner_texts()
    assert {"identity", "log-mmse", "wpe-batch"} <= {*options}


@pytest.mark.slow
def test_scores_stand_beside_each_other(browser, server, talk):
    with watched(browser, server.url, scores=True) as tab:
        tab.load(talk, drawn=False)
        tab.wait("unmuffle.file.scores")
        lines = tab.page.inner_text("#scores").splitlines()
        rows = {row.split("\t")[0]: row.split("\t")[1:] for row in lines if "\t" in row}
        before, after = (float(v.split()[0].replace("−", "-")) for v in rows["Noise floor, dBFS"])
        assert after < before - 3
        assert "(better)" in tab.page.text_content("#scores")
        tab.page.fill("#strength", "3")
        assert tab.page.is_visible("#score-again")


@pytest.mark.slow
def test_the_sample_and_a_dropped_file(tab, talk):
    page = tab.page
    page.click("#sample")
    tab.wait("unmuffle.file.sound?.file.name === 'sample.flac'")
    assert page.evaluate("unmuffle.file.player.duration") == pytest.approx(11.167, abs=0.01)
    data = list(talk.read_bytes())
    page.evaluate(
        "(data) => { const held = new DataTransfer(); held.items.add(new File([new Uint8Array(data)], 'dropped.wav'));"
        " document.getElementById('drop').dispatchEvent(new DragEvent('drop', { dataTransfer: held, bubbles: true })); }",
        data,
    )
    tab.wait("unmuffle.file.sound?.file.name === 'dropped.wav'")
    assert page.evaluate("unmuffle.file.player.duration") == pytest.approx(2.0)


# -- what goes wrong -------------------------------------------------------------------------------------


def test_too_large_is_said_before_and_by_the_server(browser, server, tmp_path):
    big = tmp_path / "big.wav"
    big.write_bytes(b"RIFF" + bytes(3_000_001))
    with watched(browser, server.url, expected=["413"]) as tab:
        sent = len(tab.requests)
        tab.page.set_input_files("#picker", str(big))
        assert "this server takes 3.0 MB" in tab.page.inner_text("#failure-text")
        assert len(tab.requests) == sent  # nothing was uploaded
        tab.page.evaluate("unmuffle.file.know({ upload_bytes: 1e12 }, { default: 'classic', methods: [] })")
        tab.page.set_input_files("#picker", str(big))
        tab.wait("document.getElementById('failure-text').textContent.includes('more than 3000000 bytes')")
        assert tab.page.is_visible("#again")


@pytest.mark.slow
def test_no_sound_and_no_file(browser, server, tmp_path):
    (tmp_path / "letter.wav").write_text("Dear Sir or Madam" * 100)
    (tmp_path / "empty.wav").write_bytes(b"")
    with watched(browser, server.url) as tab:
        tab.page.set_input_files("#picker", str(tmp_path / "empty.wav"))
        assert tab.page.inner_text("#failure-text") == "empty.wav is empty."
        tab.page.set_input_files("#picker", str(tmp_path / "letter.wav"))
        tab.wait("document.getElementById('failure-text').textContent.includes('letter.wav')")
        assert tab.page.get_attribute("#failure", "role") == "alert"
        tab.page.click("#dismiss")
        assert not tab.page.is_visible("#failure")


@pytest.mark.slow
def test_work_can_be_cancelled(tab, tmp_path):
    # A minute of work, kilobytes of upload.
    write(tmp_path / "long.flac", np.zeros((4, 110 * 48000), np.float32), 48000, "PCM_16")
    tab.page.click("#more summary")
    tab.page.select_option("#method", "omlsa")
    tab.page.set_input_files("#picker", str(tmp_path / "long.flac"))
    tab.page.wait_for_selector("#cancel:visible")
    tab.page.click("#cancel")
    tab.wait("!document.getElementById('work').checkVisibility()")
    assert not tab.page.is_visible("#failure")
    assert not tab.page.is_visible("#result")


@pytest.mark.slow
def test_a_server_that_goes_and_comes_back(browser, tmp_path, talk):
    first = Running(tmp_path)
    try:
        with watched(browser, first.url, expected=["ERR_CONNECTION", "503"]) as tab:
            page = tab.page
            tab.load(talk, drawn=False)
            tab.wait("unmuffle.file.scores")  # given by the test, not by the server
            first.stop()
            page.check("#preset-wind", force=True)
            tab.wait("document.getElementById('offline').checkVisibility()")
            assert "does not answer" in page.inner_text("#failure-text")
            assert page.is_visible("#result")  # what was there is still there
            with running(tmp_path, port=first.port):
                page.wait_for_selector("#offline", state="hidden")
                page.click("#again")
                tab.wait("!document.getElementById('failure').checkVisibility() && unmuffle.file.sound.view.filename === 'talk.wav'")
    finally:
        first.stop()


@pytest.mark.slow
def test_a_key_is_asked_for_and_used_everywhere(browser, tmp_path, talk):
    key = "correct-horse-battery"
    with running(tmp_path, keys=[f"alice:{key}"]) as server, watched(browser, server.url, path=None, expected=["401"]) as tab:
        page = tab.page
        page.goto(server.url)
        page.wait_for_selector("#key-form:visible")
        page.keyboard.type("wrong-but-long-enough")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-error:not(:empty)")
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.wait_for_selector("html[data-ready]")
        tab.load(talk, drawn=False)
        with page.expect_download() as waiting:
            page.click("#download")
        assert waiting.value.failure() is None
        page.click("#tab-live")
        page.click("#live-start")
        tab.wait("unmuffle.live.running?.ready")
        assert not page.evaluate("localStorage.length")
        assert all(key not in url for url in tab.requests)
        page.reload()
        page.wait_for_selector("html[data-ready]")  # the tab remembers


# -- the microphone --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_recording_is_what_the_microphone_heard(tab):
    page = tab.page
    page.click("#record")
    tab.wait("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
    page.wait_for_timeout(2500)
    page.click("#record")
    tab.wait("unmuffle.file.sound?.file.name === 'recording.wav'")
    got = tab.floats("unmuffle.file.sound.before[0]")
    rate = page.evaluate("unmuffle.file.sound.rate")
    assert is_the_microphone(got, rate)


def enveloped(x, rate):
    """Level in steps of 10 ms."""
    size = rate // 100
    return np.sqrt(np.mean(x[: len(x) // size * size].reshape(-1, size) ** 2, axis=1))


def is_the_microphone(x, rate):
    """Is it the file in a loop, wherever it was? By its envelope, in some second: a busy browser loses sound now and then."""
    heard, played = enveloped(x, rate), enveloped(np.tile(voiced(4.0, 48000, seed=5)[0], 3), 48000)
    seconds = [heard[i : i + 100] for i in range(0, len(heard) - 99, 25)]
    if not seconds:
        pytest.skip(f"this machine is too busy for live sound: {len(x) / rate:.2f} s of it came")
    return max(best_match(second, played) for second in seconds) > 0.9


def best_match(part, whole):
    """The highest correlation of a part with any stretch of the whole."""
    spans = np.lib.stride_tricks.sliding_window_view(whole, len(part))
    centred = spans - spans.mean(axis=1, keepdims=True)
    own = part - part.mean()
    return float(np.max(centred @ own / (np.linalg.norm(centred, axis=1) * np.linalg.norm(own) + 1e-12)))


# An audio context at 16 kHz instead of the sound card's rate: less to do for a busy machine.
FEWER_SAMPLES = """() => { globalThis.AudioContext = class extends AudioContext {
  constructor(options) { super({ ...options, sampleRate: 16000 }); } }; }"""


def in_time(tab, condition):
    """Wait for what needs sound that comes in time, or skip where other programs take the processor away."""
    try:
        tab.wait(condition, 60.0)
    except AssertionError:
        load = os.getloadavg()[0]
        if load > (os.cpu_count() or 1):
            pytest.skip(f"this machine is too busy for live sound: {load:.0f} programs wait for {os.cpu_count()} cores")
        raise


def test_live_samples_are_those_of_the_library(browser, server):
    with watched(browser, server.url, "/#live") as tab:
        page = tab.page
        page.select_option("#live-method", "wiener")
        # A fixed delay, longer than anybody would choose: other programs on the machine must not make drop-outs.
        page.evaluate("document.getElementById('live-buffer').append(new Option('1 s', '1000'))")
        page.evaluate(FEWER_SAMPLES)
        page.select_option("#live-buffer", "1000")
        page.check("#live-record")
        page.click("#live-start")
        in_time(tab, "unmuffle.live.last.wet")
        page.wait_for_timeout(2500)
        in_time(tab, "unmuffle.live.recorded.before.length > 1000")
        delay, latency, dropouts = page.evaluate("(({ delay, latency, dropouts }) => [delay, latency, dropouts])(unmuffle.live.last)")
        rate, start, begun, block = page.evaluate(
            "[unmuffle.live.recorded.rate, unmuffle.live.recorded.start, unmuffle.live.running.begun, unmuffle.live.running.block]"
        )
        page.evaluate("import('/page/microphone.js').then(({ join }) => { for (const side of ['before', 'after'])"
                      " globalThis[side] = join(unmuffle.live.recorded[side]); })")  # fmt: skip
        before, after = tab.floats("globalThis.before"), tab.floats("globalThis.after")
        assert "Running: wiener" in page.inner_text("#live-state")
        assert re.match(r"[\d.]+ ms", page.inner_text("#live-total"))
        assert page.inner_text("#live-dropouts")[0].isdigit()
        page.click("#live-start")
        assert page.inner_text("#live-state") == "Not running."

    assert block == round(0.01 * rate)
    stream = load("wiener").stream(rate, block_size=block)
    assert latency == stream.block_latency_samples
    assert delay == rate
    # `before` is the input as it was when `after` was made of it: recorded sample p is input p + start - delay - latency.
    first = begun * block + delay + latency - start
    x = before[first:]
    x = x[: len(x) // block * block]
    wanted = np.concatenate([stream.process_block(part) for part in np.split(x, len(x) // block)])
    got = after[begun * block + delay - start :][: len(wanted)]
    n = min(len(got), len(wanted))
    got, wanted, dry = got[:n], wanted[:n], before[begun * block + delay - start :][:n]
    # Late blocks are replaced by the input at the same delay, and faded from: nothing lies outside the two.
    low, high = np.minimum(wanted, dry), np.maximum(wanted, dry)
    assert ((got >= low - 1e-6) & (got <= high + 1e-6)).all()
    # All that has been played for 10 ms without a gap is the library's, to the last bit.
    gap = (got == dry) & (got != wanted)
    gap[:latency] = True  # the stream has not begun
    near = np.convolve(gap, np.ones(round(0.01 * rate) + 129), "full")[:n] > 0.5
    assert np.array_equal(got[~near], wanted[~near])
    if not dropouts:
        begins = np.flatnonzero(got != dry)[0]  # what comes too late at the very start is no drop-out
        assert not gap[max(begins, latency) :].any()
    if near.mean() > 0.9:
        pytest.skip(f"this machine is too busy for live sound: {dropouts} drop-outs; what was played was right")
    assert np.std(wanted) < np.std(dry)
    assert is_the_microphone(x, rate)


BREAKABLE = """
import os, sys
from unmuffle.enhancers.spectral import suppressor
step = suppressor._SuppressorKernel.step_bins
def broken(self, spectrum, state):
    if self.method.name == "wiener" and os.path.exists({marker!r}):
        raise MemoryError("out of memory")
    return step(self, spectrum, state)
suppressor._SuppressorKernel.step_bins = broken
"""


@pytest.mark.parametrize("back", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_method_that_fails_is_told_on_the_page(browser, tmp_path, back):
    marker = tmp_path / "broken"
    (tmp_path / "spool").mkdir()
    settings = json.dumps({**DEFAULTS, "spool_dir": str(tmp_path / "spool")})
    server = Running(tmp_path, command=[sys.executable, "-c", BREAKABLE.format(marker=str(marker)) + CODE, settings])
    try:
        with watched(browser, server.url, "/#live") as tab:
            page = tab.page
            page.evaluate(FEWER_SAMPLES)
            page.select_option("#live-method", "wiener")
            page.click("#live-start")
            in_time(tab, "unmuffle.live.last.wet")
            marker.touch()
            in_time(tab, "unmuffle.live.last.switched?.to === 'spare'")
            assert page.inner_text("#live-state") == "wiener has failed: classic goes on at the same delay."
            assert page.is_visible("#live-state")
            assert not page.is_visible("#live-failure")  # nothing that the listener has to do
            assert page.evaluate("unmuffle.live.last.after > 0.001")
            if back:  # it is tried again after ten seconds
                marker.unlink()
                in_time(tab, "unmuffle.live.last.switched.to === 'main'")
                assert page.inner_text("#live-state").startswith("Running: wiener")
    finally:
        server.stop()


@pytest.mark.slow
def test_live_goes_on_when_the_server_is_gone_and_back(browser, tmp_path):
    first = Running(tmp_path)
    try:
        with watched(browser, first.url, "/#live", expected=["ERR_CONNECTION_REFUSED", "WebSocket connection"]) as tab:
            page = tab.page
            page.evaluate(FEWER_SAMPLES)
            page.click("#live-start")
            in_time(tab, "unmuffle.live.last.wet")
            first.process.kill()
            in_time(tab, "unmuffle.live.last.lost > 0 && !unmuffle.live.last.wet")
            assert "connection is lost" in page.inner_text("#live-state")
            in_time(tab, "unmuffle.live.last.after > 0.001")  # the input is heard meanwhile
            with running(tmp_path, port=first.port):
                in_time(tab, "unmuffle.live.last.wet")
                assert "Running" in page.inner_text("#live-state")
                assert page.evaluate("unmuffle.live.last.dropouts") >= 1
                page.check("#live-bypass")
                page.fill("#live-strength", "6")
                in_time(tab, "unmuffle.live.last.stats")
                page.click("#live-start")
    finally:
        first.stop()


def test_no_permission_for_the_microphone(launch, server):
    # Without the flag that answers for the user, a browser without a face refuses.
    with watched(launch(), server.url) as tab:
        page = tab.page
        page.click("#record")
        page.wait_for_selector("#failure:visible")
        assert "icrophone" in page.inner_text("#failure-text")
        page.click("#tab-live")
        page.click("#live-start")
        page.wait_for_selector("#live-failure:visible")
        assert "icrophone" in page.inner_text("#live-failure")
        assert page.inner_text("#live-start") == "Start"
        assert page.is_enabled("#live-start")


# -- for everybody -----------------------------------------------------------------------------------------


def test_everything_can_be_done_with_the_keyboard(tab):
    page = tab.page

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)

    def focused():
        return page.evaluate("document.activeElement.id || document.activeElement.value || document.activeElement.tagName")

    press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press("Tab")
    assert focused() == "tab-file"
    press("ArrowRight")
    assert (focused(), page.is_visible("#panel-live"), page.is_visible("#panel-file")) == ("tab-live", True, False)
    press("ArrowLeft")
    assert page.get_attribute("#tab-file", "aria-selected") == "true"
    order = []
    for _ in range(5):
        press("Tab")
        order.append(focused())
    assert order == ["choose", "record", "sample", "preset-noise", "SUMMARY"]
    page.focus("#sample")
    press("Enter")
    tab.wait("document.getElementById('result').checkVisibility()")
    assert focused() == "result-title"
    press("3")
    assert page.evaluate("unmuffle.file.listen") == "removed"
    press("Tab", "Space")
    tab.wait("unmuffle.file.player.playing")
    press("Space")
    tab.wait("!unmuffle.file.player.playing")
    press("Tab")
    assert focused() == "removed"
    press("ArrowLeft")
    assert page.evaluate("unmuffle.file.listen") == "after"
    press("Tab")
    assert focused() == "strength"
    press("ArrowLeft", "ArrowLeft")
    assert page.inner_text("#strength-text") == "at most 39 dB"
    press("End")
    assert page.inner_text("#strength-text") == "full"  # right is stronger
    press("l")
    assert page.is_checked("#loop")
    seen = set()
    for _ in range(30):
        press("Tab")
        seen.add(focused())
    assert {"position", "loop", "loop-from", "loop-to", "loop-whole", "match", "format", "download", "download-removed"} <= seen
    # What has the focus can be seen: an outline of its own or of what it belongs to.
    page.focus("#download")
    press("Shift+Tab")
    press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


NAMES = """
() => [...document.querySelectorAll('button, input, select, canvas, [role=tab], [role=tabpanel], [role=radiogroup], progress, table, section[aria-labelledby], fieldset')]
  .filter((e) => !e.getAttribute('aria-label')?.trim()
    && !(e.getAttribute('aria-labelledby') ?? '').split(' ').some((id) => document.getElementById(id)?.textContent.trim())
    && ![...(e.labels ?? [])].some((l) => l.textContent.trim())
    && !(['BUTTON'].includes(e.tagName) && e.textContent.trim())
    && !(e.tagName === 'FIELDSET' && e.querySelector('legend')?.textContent.trim())
    && !(e.tagName === 'TABLE' && e.querySelector('th')))
  .map((e) => e.outerHTML.slice(0, 120))
"""

# WCAG 2.1: relative luminance; text of every visible element against the first opaque ground behind it.
CONTRAST = """
() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.checkVisibility({ visibilityProperty: true })) continue;
    if (e.closest('.visually-hidden, .skip, .axis, noscript, option') || e.closest(':disabled')) continue;
    const style = getComputedStyle(e), [a, b] = [light(parse(style.color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${e.tagName} ${e.id} ${e.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}
"""


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_names_roles_and_contrast(browser, server, talk, scheme):
    with watched(browser, server.url, color_scheme=scheme) as tab:
        page = tab.page
        tab.load(talk)
        tab.wait("unmuffle.file.scores")
        page.click("#more summary")
        for panel in ("file", "live"):
            page.click(f"#tab-{panel}")
            page.mouse.move(5, 600)
            tab.wait("document.getAnimations().every((a) => a.playState !== 'running')")  # colours fade in
            assert page.evaluate(CONTRAST) == []
            assert page.evaluate(NAMES) == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len({*ids})
        for attribute in ("aria-labelledby", "aria-describedby", "aria-controls", "for"):
            for value in page.evaluate(f"[...document.querySelectorAll('[{attribute}]')].map((e) => e.getAttribute('{attribute}'))"):
                assert {*value.split()} <= {*ids}, (attribute, value)
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.querySelectorAll('main, header, footer').length") == 3
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(14,")
        assert dark is (scheme == "dark")


@pytest.mark.parametrize("width", [320, pytest.param(768, marks=pytest.mark.slow)])
def test_nothing_is_cut_off_on_a_narrow_screen(browser, server, talk, width):
    with watched(browser, server.url, viewport={"width": width, "height": 700}) as tab:
        tab.load(talk)
        for panel in ("file", "live"):
            tab.page.click(f"#tab-{panel}")
            wide = tab.page.evaluate(
                "[...document.querySelectorAll('main *')].filter((e) => e.checkVisibility() && !e.closest('.visually-hidden')"
                " && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"
            )
            assert wide == []
            assert tab.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_is_small_and_asks_for_little(tab):
    assert len(tab.requests) < 30
    sizes = tab.page.evaluate("performance.getEntriesByType('resource').reduce((sum, e) => sum + e.encodedBodySize, 0)")
    assert 50_000 < sizes < 250_000
