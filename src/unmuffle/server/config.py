"""Every setting of the server, with its unit in its name and its default beside it."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field, fields
from urllib.parse import urlsplit

from ..errors import ParameterError
from ..quality.figures import WINDOW_S
from ..signal.blocks import MAX_CHANNELS
from .keys import NO_KEYS, Keys


@dataclass(frozen=True)
class ServerConfig:
    """How a server behaves; immutable.

    Attributes:
        host, port: where it listens; port 0 lets the system choose.
        model: a network file (.onnx) that the methods ``auto`` and ``model`` mean; clients never name files.
        keys: API keys; none means that everybody who reaches the port may use it.
        origins: web origins (``https://example.org``, ``*`` for all) whose pages may use it. Empty: on a loopback
            address no check, elsewhere only pages from the very same host.
        spool_dir: where uploads and results wait; default: the system's temporary folder.
        max_upload_bytes: of one upload.
        max_duration_s: decoded sound of one upload; a few bytes can hold days of silence.
        max_whole_s: the same for methods that keep the whole signal in memory.
        max_channels: of uploads and streams.
        workers: files enhanced at a time, each in a process of its own; 0: one a core.
        queue: files that may wait for a worker.
        max_jobs: jobs that are remembered, finished ones included.
        job_ttl_s: how long a finished job and its result are kept.
        job_timeout_s: longest that one file may take.
        stream_load: cores' worth of work that streams may be admitted to. One process runs Python code on one
            core at a time, so more than 1 helps only methods that need more than 1 ms for a frame and compute
            outside of it; all others together get 0.9 at most.
        late_share: share of late frames above which no new stream is admitted.
        max_streams: live streams at a time, whatever they cost.
        max_requests: HTTP requests at a time.
        threads: in which streams run; 0: one a core, at most 4.
        max_message_bytes: of one WebSocket message.
        max_ahead_s: how far a stream may run ahead of real time before the server stops reading.
        hello_timeout_s, idle_timeout_s: until the first message of a stream, and between two.
        header_timeout_s, body_timeout_s: for a request's header, and between two pieces of its body.
        min_upload_bytes_s: an upload slower than this, once ``body_timeout_s`` are over, is ended.
        send_timeout_s: for a client to take what is sent to it.
        drain_s: how long a stopping server lets streams and requests finish.
        retry_after_s: what a refused client is told to wait.
        key_streams: live streams at a time of one key (without keys: of one address); 0: no limit.
        key_requests_per_min: requests of one key (without keys: of one address); 0: no limit.
        behind_s: how far a method may fall behind real time before its stream goes to another; 0: never.
        quality_every_s: a window of each stream is measured this often; 0: never.
        baseline: JSON file of what the figures usually are, for the watch on drift.
        webhook: where alerts go besides the log and ``/metrics``.
        cache: a folder or ``redis://`` address for results of files; none are kept without it.
        cache_bytes: its size limit (in Redis: of one result); 0: the usual one.
        cache_ttl_s: how long results are kept in it.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    model: str | None = None
    keys: Keys = NO_KEYS
    origins: tuple[str, ...] = ()
    spool_dir: str | None = None
    max_upload_bytes: int = 2 << 30
    max_duration_s: float = 4 * 3600.0
    max_whole_s: float = 900.0
    max_channels: int = 8
    workers: int = 0
    queue: int = 16
    max_jobs: int = 100
    job_ttl_s: float = 3600.0
    job_timeout_s: float = 3600.0
    stream_load: float = 0.8
    late_share: float = 0.05
    max_streams: int = 1000
    max_requests: int = 200
    threads: int = 0
    max_message_bytes: int = 1 << 20
    max_ahead_s: float = 10.0
    hello_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 20.0
    min_upload_bytes_s: float = 1024.0
    send_timeout_s: float = 20.0
    drain_s: float = 30.0
    retry_after_s: int = 5
    key_streams: int = 0
    key_requests_per_min: int = 0
    behind_s: float = 0.5
    quality_every_s: float = 60.0
    baseline: str | None = None
    webhook: str | None = field(default=None, repr=False)
    cache: str | None = field(default=None, repr=False)
    cache_bytes: int = 0
    cache_ttl_s: float = 30 * 86400.0

    def __post_init__(self) -> None:
        may_be_zero = {"port", "workers", "queue", "threads", "key_streams", "key_requests_per_min", "late_share"}
        may_be_zero |= {"behind_s", "quality_every_s", "cache_bytes"}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, (int, float)) and not (value > 0 or (value == 0 and each.name in may_be_zero)):
                raise ParameterError(f"{each.name} = {value!r}; give a number above 0")
        if 0 < self.quality_every_s < WINDOW_S:
            raise ParameterError(f"quality_every_s = {self.quality_every_s:g}; a window alone takes {WINDOW_S:g} s")
        if self.port > 65535:
            raise ParameterError(f"port = {self.port}; give 0 to 65535")
        if self.max_channels > MAX_CHANNELS:
            raise ParameterError(f"max_channels = {self.max_channels}; give 1 to {MAX_CHANNELS}")
        if self.spool_dir is not None and not os.path.isdir(self.spool_dir):
            raise ParameterError(f"the spool folder {self.spool_dir!r} does not exist; create it first")
        for origin in self.origins:
            parts = urlsplit(origin)
            plain = parts.scheme and parts.netloc and not (parts.path or parts.query or parts.fragment)
            if origin not in ("*", "null") and not plain:
                raise ParameterError(f"origin {origin!r}; write it like https://example.org, without a path")

    @property
    def loopback(self) -> bool:
        """Can only this computer reach it?"""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def worker_count(self) -> int:
        """Worker processes, with 0 resolved."""
        return self.workers or max(1, os.cpu_count() or 1)

    @property
    def thread_count(self) -> int:
        """Threads for streams, with 0 resolved."""
        return self.threads or min(4, max(1, os.cpu_count() or 1))
