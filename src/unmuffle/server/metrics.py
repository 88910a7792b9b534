"""What is counted, in Prometheus' text format under ``/metrics``. All label values come from small fixed sets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import nan
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.process_collector import ProcessCollector

from ..quality.alerts import KINDS
from ..quality.figures import NAMES

if TYPE_CHECKING:
    from ..quality.monitor import Surveyor
    from .state import State

_LATENCY_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Latency:
    """Histogram of the time from a frame's arrival to its answer's departure.

    Counted by one thread, thousands of times a second, so without the locks and labels of the library's own.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(_LATENCY_S) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one frame."""
        self._counts[bisect_left(_LATENCY_S, seconds)] += 1
        self._sum += seconds

    def observe_all(self, seconds: Sequence[float]) -> None:
        """Count several."""
        for each in seconds:
            self._counts[bisect_left(_LATENCY_S, each)] += 1
        self._sum += sum(seconds)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """For the registry."""
        name, text = "unmuffle_stream_latency_seconds", "From a frame's arrival to its answer's departure"
        bounds = [*map(repr, _LATENCY_S), "+Inf"]
        yield HistogramMetricFamily(
            name, text, list(zip(bounds, map(float, accumulate(self._counts)), strict=True)), self._sum
        )


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("unmuffle_requests", "HTTP requests answered", ["route", "status"], registry=registry)
        self.uploaded = Counter("unmuffle_uploaded_bytes", "Bytes of files received", registry=registry)
        self.errors = Counter("unmuffle_errors", "Errors told to clients", ["kind"], registry=registry)
        self.files_audio = Counter("unmuffle_files_audio_seconds", "Sound enhanced in files", registry=registry)
        self.files_busy = Counter("unmuffle_files_busy_seconds", "Time spent on files", registry=registry)
        self.streams_total = Counter("unmuffle_streams_opened", "Streams admitted", registry=registry)
        self.refused = Counter("unmuffle_streams_refused", "Streams refused", ["kind"], registry=registry)
        self.frames = Counter("unmuffle_stream_frames", "Frames of streams answered", registry=registry)
        self.overruns = Counter("unmuffle_stream_overruns", "Frames answered too late", registry=registry)
        self.stream_audio = Counter("unmuffle_stream_audio_seconds", "Sound enhanced in streams", registry=registry)
        self.switches = Counter(
            "unmuffle_stream_switches", "Streams that changed their method", ["to", "reason"], registry=registry
        )
        self.cache = Counter("unmuffle_cache_requests", "Files asked of the cache", ["state"], registry=registry)
        for state in ("hit", "miss"):
            self.cache.labels(state)
        self.latency = Latency()
        registry.register(self.latency)

    def watch(self, state: State) -> None:
        """Add what is read from the server's state when it is asked for."""

        def gauge(name: str, text: str, read: object) -> None:
            Gauge(name, text, registry=self.registry).set_function(read)  # type: ignore[arg-type]

        gauge("unmuffle_streams", "Streams that run", lambda: state.capacity.streams)
        gauge("unmuffle_streams_seated", "Streams that are worked off in a crowd", lambda: len(state.seats))
        gauge("unmuffle_load_admitted", "Cores' worth of streams admitted", lambda: state.capacity.admitted)
        gauge("unmuffle_load_limit", "Cores' worth that streams may take", lambda: state.config.stream_load)
        gauge("unmuffle_load_observed", "Cores that the process uses", lambda: state.capacity.observed)
        gauge("unmuffle_message_cost_seconds", "Cost of moving a message", lambda: state.capacity.message_s)
        gauge("unmuffle_late_share", "Share of late frames of late", lambda: state.capacity.late)
        gauge("unmuffle_real_time_factor", "Processor time of streams per second of sound", state.real_time_factor)
        gauge("unmuffle_file_places", "Files that are uploaded, wait or are worked on", lambda: state.crew.taken)
        gauge("unmuffle_file_workers_busy", "Workers at work", lambda: state.crew.busy)
        self._watch_quality(state.surveyor)
        jobs = Gauge("unmuffle_jobs", "Jobs that are remembered", ["status"], registry=self.registry)
        for status in state.jobs.counts():
            jobs.labels(status).set_function(lambda status=status: state.jobs.counts()[status])  # type: ignore[misc]

    def _watch_quality(self, surveyor: Surveyor) -> None:
        registry = self.registry
        quality = Gauge("unmuffle_quality", "Running mean of a figure over streams", ["figure"], registry=registry)
        drift = Gauge("unmuffle_quality_drift", "1: the figure has drifted", ["figure"], registry=registry)
        windows = Gauge("unmuffle_quality_windows", "Windows of streams", ["state"], registry=registry)
        alerts = Gauge("unmuffle_alerts", "Alerts raised since the start", ["kind"], registry=registry)
        told = Gauge("unmuffle_webhook_alerts", "Alerts for the webhook", ["state"], registry=registry)
        for name in NAMES[1:]:
            quality.labels(name).set_function(lambda name=name: surveyor.summary().mean.get(name, nan))  # type: ignore[misc]
        for name in surveyor.drift():
            drift.labels(name).set_function(lambda name=name: surveyor.drift().get(name, 0.0))  # type: ignore[misc]
        for name in ("windows", "dropped", "failed"):
            windows.labels("measured" if name == "windows" else name).set_function(
                lambda name=name: getattr(surveyor.summary(), name)  # type: ignore[misc]
            )
        for name in KINDS:
            alerts.labels(name).set_function(lambda name=name: surveyor.summary().alerts.get(name, 0))  # type: ignore[misc]
        for name in ("sent", "failed", "dropped", "held_back") if surveyor.webhook is not None else ():
            told.labels(name).set_function(lambda name=name: getattr(surveyor.webhook, name))  # type: ignore[misc]

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)
