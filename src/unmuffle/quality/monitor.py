"""Watching a running stream: a window of it now and then, measured in the background.

The audio thread copies blocks and does nothing else. When a window (10 s) is whole it is handed to the
:class:`Surveyor`, one thread for all streams, which has it measured in a process of its own (`unmuffle.quality.aside`,
about 60 ms of processor time), compares it with limits and with the baseline, and raises alerts. The surveyor takes at
most ``share`` of a core: it rests after each window, and a window that comes while others wait is dropped and counted,
never queued up. With many streams each is looked at less often; that is the price, and it is bounded.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ..errors import ParameterError
from ..signal.blocks import Samples
from .alerts import Alert, Webhook
from .aside import Aside
from .drift import Baseline, DriftWatch
from .fallback import MAIN, Switch
from .figures import NAMES, WINDOW_S, Figures

_log = logging.getLogger("unmuffle.quality")

LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "clipping": (-math.inf, 0.01),
    "artefacts": (-math.inf, 2.0),
    "speech_lost_db": (-math.inf, 6.0),
    "real_time_factor": (-math.inf, 0.9),
}
"""Lowest and highest value of a figure before it is an alert."""


@dataclass
class Summary:
    """What the surveyor has seen so far.

    Attributes:
        windows: measured.
        dropped: that came too soon after another.
        failed: that could not be measured.
        mean: running mean of each figure over the last twenty or so windows of all streams.
        alerts: raised, by kind.
        last: the last window.
    """

    windows: int = 0
    dropped: int = 0
    failed: int = 0
    mean: dict[str, float] = field(default_factory=dict)
    alerts: dict[str, int] = field(default_factory=dict)
    last: Figures | None = None


@dataclass(frozen=True)
class _Window:
    rate: int
    before: Samples
    after: Samples
    real_time_factor: float
    latency_ms: float
    done: Callable[[Figures], None] | None


class Surveyor:
    """Has windows of streams measured, from a thread of its own.

    Args:
        baseline: what the figures usually are; ``None`` for no watch on drift.
        limits: lowest and highest value of figures, over :data:`LIMITS`.
        webhook: where alerts go besides the log and the counters.
        share: of a core, at most.
        dnsmos: predict the opinion too (0.2 s of a core a window).
        room: windows that may wait.
    """

    def __init__(
        self,
        baseline: Baseline | None = None,
        *,
        limits: Mapping[str, tuple[float, float]] | None = None,
        webhook: Webhook | None = None,
        share: float = 0.02,
        dnsmos: bool = False,
        room: int = 2,
    ) -> None:
        if not 0 < share <= 1:
            raise ParameterError(f"share = {share!r} of a core; give more than 0, at most 1")
        self._limits = {**LIMITS, **(limits or {})}
        for name in self._limits:
            if name not in NAMES:
                raise ParameterError(f"there is no figure {name!r} to limit; there are: {', '.join(NAMES)}")
        self._watch = None if baseline is None else DriftWatch(baseline)
        self.webhook = webhook
        self._share = share
        self._aside = Aside()
        self._dnsmos = dnsmos
        self._queue: queue.Queue[_Window | None] = queue.Queue(room)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._summary = Summary()
        self._thread = threading.Thread(target=self._run, name="surveyor", daemon=True)
        self._thread.start()

    def summary(self) -> Summary:
        """A copy of the counters."""
        with self._lock:
            s = self._summary
            return Summary(s.windows, s.dropped, s.failed, dict(s.mean), dict(s.alerts), s.last)

    def drift(self) -> dict[str, float]:
        """How near each figure is to an alarm: 0 to 1; empty without a baseline."""
        return {} if self._watch is None else self._watch.levels()

    def offer(self, window: _Window) -> bool:
        """Hand over a window; never waits. False: it was dropped."""
        try:
            self._queue.put_nowait(window)
        except queue.Full:
            with self._lock:
                self._summary.dropped += 1
            return False
        return True

    def switched(self, switch: Switch, method: str) -> None:
        """A guarded stream changed its method (`unmuffle.quality.fallback`)."""
        if switch.to == MAIN:
            self._raise(Alert("recovered", method, f"{method} runs again", "info", {"at_s": switch.at_s}))
            return
        text = f"{method} failed ({switch.reason}); the stream went on with {switch.to}: {switch.detail}"
        self._raise(Alert("fallback", method, text, "error", {"reason": switch.reason, "at_s": switch.at_s}))

    def close(self) -> None:
        """End the thread; a window that is being measured is finished."""
        self._closing.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(5.0)
        self._aside.close()
        if self.webhook is not None:
            self.webhook.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                window = self._queue.get(timeout=1.0)
            except queue.Empty:
                continue
            if window is None:
                return
            try:
                self._survey(window)
            except Exception:  # one odd window must not end the watch
                _log.exception("a window could not be measured")
                with self._lock:
                    self._summary.failed += 1
            self._closing.wait(self._aside.used_s * (1.0 / self._share - 1.0))

    def _survey(self, window: _Window) -> None:
        found = self._aside.measure(
            window.after,
            window.rate,
            window.before,
            dnsmos=self._dnsmos,
            real_time_factor=window.real_time_factor,
            latency_ms=window.latency_ms,
        )
        with self._lock:
            summary = self._summary
            summary.windows += 1
            summary.last = found
            for name in NAMES[1:]:
                value = getattr(found, name)
                if math.isfinite(value):
                    old = summary.mean.get(name, value)
                    summary.mean[name] = old + 0.1 * (value - old)
        if window.done is not None:
            window.done(found)
        for name, (low, high) in self._limits.items():
            value = getattr(found, name)
            if math.isfinite(value) and not low <= value <= high:
                bound = high if value > high else low
                text = f"{name} is {value:.4g}; the limit is {bound:.4g}"
                self._raise(Alert("limit", name, text, details={"value": value, "limit": bound}))
        if self._watch is not None:
            for drifted in self._watch.update(found):
                text = (
                    f"{drifted.figure} has drifted {drifted.direction}: {drifted.now:.4g} over "
                    f"{drifted.windows} windows, usually {drifted.usual:.4g}"
                )
                details = {"usual": drifted.usual, "now": drifted.now, "windows": drifted.windows}
                self._raise(Alert("drift", drifted.figure, text, details=details))

    def _raise(self, alert: Alert) -> None:
        with self._lock:
            self._summary.alerts[alert.kind] = self._summary.alerts.get(alert.kind, 0) + 1
        _log.log(logging.INFO if alert.severity == "info" else logging.WARNING, "%s: %s", alert.kind, alert.message)
        if self.webhook is not None:
            self.webhook.send(alert)


class StreamMonitor:
    """Collects windows of one stream, for a surveyor. Used by the stream's own thread only.

    Args:
        surveyor: measures them.
        sample_rate, channels: of the input; channels are averaged.
        latency_samples: by which the output lags.
        every_s: from the beginning of one window to the next.
        done: called with the figures, in the surveyor's thread.

    Attributes:
        busy_s: processing time, to be added to by whoever measures it.
    """

    def __init__(
        self,
        surveyor: Surveyor,
        sample_rate: int,
        latency_samples: int,
        *,
        every_s: float = 60.0,
        done: Callable[[Figures], None] | None = None,
    ) -> None:
        if not every_s >= WINDOW_S:
            raise ParameterError(f"every_s = {every_s!r}; a window alone takes {WINDOW_S:g} s")
        self._surveyor = surveyor
        self._rate = sample_rate
        self._late = latency_samples
        self._size = round(WINDOW_S * sample_rate)
        self._every = round(every_s * sample_rate)
        self._done = done
        self.busy_s = 0.0
        self.reset()

    def reset(self) -> None:
        """The signal has ended: begin a new window."""
        self._sides: list[Samples] = [np.zeros((1, self._size), np.float32) for _ in range(2)]
        # Places in both signals, counted from the start of the window in the input.
        self._at = [0, -self._late]
        self._wait = 0
        self._busy_from = self.busy_s

    def push(self, before: Samples, after: Samples) -> None:
        """A block of ``(channels, n)`` input, and what came out for it, of any length."""
        for side, x in enumerate((before, after)):
            at = self._at[side]
            if at < self._size:  # else it only waits for the next window
                first, last = max(0, at), min(self._size, at + x.shape[1])
                if last > first:
                    part = x[:, first - at : last - at]
                    self._sides[side][0, first:last] = part[0] if len(part) == 1 else part.mean(axis=0)
            self._at[side] = at + x.shape[1]
        if self._at[1] >= self._size and self._at[0] >= self._size:
            if not self._wait:
                self._hand_over()
                self._wait = 1
            if self._at[0] >= self._every:
                # The next window begins with the next block; both counts go on from there.
                taken = self._at[0]
                self._at = [0, self._at[1] - taken]
                self._wait = 0
                self._busy_from = self.busy_s

    def _hand_over(self) -> None:
        factor = (self.busy_s - self._busy_from) / (self._at[0] / self._rate)
        latency_ms = 1000.0 * self._late / self._rate
        window = _Window(self._rate, self._sides[0], self._sides[1], factor, latency_ms, self._done)
        if self._surveyor.offer(window):
            self._sides = [np.zeros((1, self._size), np.float32) for _ in range(2)]
