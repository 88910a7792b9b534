"""Score many files: every pair is enhanced, aligned and measured, on as many processes as you like.

What happens to one pair
    1. The files are read; channels stay for the enhancer.
    2. The enhancer, any picklable ``f(samples, sample_rate) -> samples``, makes the output from the noisy
       file; without one the ``enhanced`` file is the output, or else the noisy file itself (the baseline).
    3. Output and noisy file are brought to the reference's rate, or all of them to ``score_rate``. To compare
       with tables made at 16 kHz use ``score_rate=16000``: SNR, SI-SDR and LSD depend on it.
    4. Channels are averaged; the delay of the output against the reference is found (at most
       ``max_delay_s``) and removed, and everything is cut to the common stretch. The delay is reported: a
       method that claims to be aligned should show 0.
    5. The metrics answer. One that cannot (silence, no pauses, too short) gives NaN and its reason.

What a run promises
    * A file that fails gives a row with ``error`` and the run goes on; also when the C code of a metric
      takes its process down (with ``workers > 1``).
    * Every finished row is appended at once to ``results`` (JSON lines). Stop the run at any moment; the
      next one with the same file skips what is done. A row's key is the SHA-256 over the contents of the
      files, the method's label and configuration, the metrics, the scoring options and the version: change
      one of them and the row is computed anew. Rows with an error are tried again. A half-written last
      line is ignored.
    * Rows come back in the order of the pairs, whatever the number of workers.

The label and config name what the callable does; the runner cannot look inside it. Two different callables
under one label and config would share their rows.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import InputError, MissingExtraError, ParameterError, ShapeError
from ..io.media import read
from ..signal.align import MIN_CONFIDENCE, find_delay
from ._inputs import to_rate
from .pairs import Pair, Tag
from .registry import METRICS, Metric, score, select

Enhance = Callable[[NDArray[np.float32], int], NDArray[np.floating[Any]]]
Samples = NDArray[np.floating[Any]]

_FORMAT = 1  # raise when the meaning of a row changes: old rows are then computed anew
_PACKAGES = {"metrics": ("pystoi",), "pesq": ("pesq",), "dnsmos": ("speechmos", "onnxruntime")}


@dataclass(frozen=True)
class Row:
    """The result for one file."""

    file: str
    method: str
    key: str
    values: Mapping[str, float] = field(default_factory=dict)
    """Metric -> score; NaN where it could not answer."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Metric -> why it could not answer."""
    tags: Mapping[str, Tag] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = math.nan
    sample_rate: int = 0
    """Rate at which the scores were taken."""
    delay: int = 0
    """Samples (at ``sample_rate``) by which the output came late."""
    delay_confidence: float = math.nan
    enhance_s: float = math.nan
    """Wall-clock time of the enhancer; NaN if none ran."""
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data["values"] = {k: _number(v) for k, v in self.values.items()}
        for name in ("seconds", "delay_confidence", "enhance_s"):
            data[name] = _number(data[name])
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """The inverse of `to_json`."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        known["values"] = {k: math.nan if v is None else float(v) for k, v in known.get("values", {}).items()}
        for name in ("seconds", "delay_confidence", "enhance_s"):
            known[name] = math.nan if known.get(name) is None else float(known[name])
        return cls(**known)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class _Job:
    """What a worker needs for one pair; picklable."""

    pair: Pair
    key: str
    enhance: Enhance | None
    label: str
    config: Mapping[str, Any]
    metrics: tuple[str, ...]
    score_rate: int | None
    max_delay_s: float


def evaluate_pairs(
    pairs: Sequence[Pair],
    *,
    enhance: Enhance | None = None,
    label: str | None = None,
    config: Mapping[str, Any] | None = None,
    metrics: Iterable[str] | None = None,
    score_rate: int | None = None,
    max_delay_s: float = 0.1,
    results: str | os.PathLike[str] | None = None,
    workers: int = 1,
    progress: Callable[[int, int, Row], None] | None = None,
) -> list[Row]:
    """Score every pair and return one row for each, in order.

    Args:
        pairs: from `find_pairs`.
        enhance: picklable ``f(samples, sample_rate)``, float32 ``(channels, samples)`` in and out.
        label: name of the method in the table; default "enhanced" or "noisy".
        config: what else identifies the method (parameters, weights hash), JSON values.
        metrics: names from `METRICS`, "all", or ``None`` for `DEFAULT`.
        score_rate: bring everything to this rate before scoring; ``None`` keeps the reference's.
        max_delay_s: largest delay looked for, either way; 0 turns the alignment off.
        results: JSON-lines file to append to and to resume from.
        workers: processes; 1 runs here, 0 takes one per core. Processes are spawned: a script needs the usual
            ``if __name__ == "__main__":`` around the call.
        progress: called as ``progress(done, total, row)`` after every row, resumed ones included.
    """
    chosen = select(metrics)
    require(chosen)
    if workers < 0:
        raise ParameterError(f"workers is {workers}; give 1 or more, or 0 for one per core")
    if not 0.0 <= max_delay_s <= 10.0:
        raise ParameterError(f"max_delay_s is {max_delay_s}; give 0 to 10 seconds")
    if score_rate is not None and not 8000 <= score_rate <= 192_000:
        raise ParameterError(f"score_rate is {score_rate}; give 8000 to 192000 Hz")
    settings = dict(config or {})
    try:
        json.dumps(settings, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"config must hold plain JSON values: {error}") from error

    done = _finished(Path(results)) if results is not None else {}
    rows: dict[int, Row] = {}
    jobs: dict[int, _Job] = {}
    total, seen = len(pairs), 0
    names = tuple(metric.name for metric in chosen)
    writer = _Appender(Path(results)) if results is not None else None

    def arrived(index: int, row: Row, *, fresh: bool) -> None:
        nonlocal seen
        rows[index] = row
        seen += 1
        if fresh and writer is not None:
            writer.append(row)
        if progress is not None:
            progress(seen, total, row)

    try:
        for index, pair in enumerate(pairs):
            name = label or ("enhanced" if enhance is not None or pair.enhanced is not None else "noisy")
            options = (names, score_rate, max_delay_s)
            try:
                key = _key(pair, name, settings, options)
            except OSError as error:
                why = f"{type(error).__name__}: {error}"
                row = Row(pair.name, name, "", tags=dict(pair.tags), config=settings, error=why)
                arrived(index, row, fresh=True)
                continue
            if key in done:
                # the numbers are kept; what is known about the file may have been mended since
                arrived(index, _retagged(done[key], pair), fresh=False)
            else:
                jobs[index] = _Job(pair, key, enhance, name, settings, names, score_rate, max_delay_s)
        count = workers or os.cpu_count() or 1
        for index, row in _serial(jobs) if count == 1 else _parallel(jobs, count):
            arrived(index, row, fresh=True)
    finally:
        if writer is not None:
            writer.close()
    return [rows[index] for index in range(total)]


def require(metrics: Iterable[Metric]) -> None:
    """Raise `MissingExtraError` before the first file if a package that a metric needs is not installed."""
    for metric in metrics:
        for package in _PACKAGES.get(metric.extra or "", ()):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(f"metric {metric.name}", str(metric.extra))


def _retagged(row: Row, pair: Pair) -> Row:
    return replace(row, file=pair.name, tags=dict(pair.tags))


def _key(pair: Pair, label: str, config: Mapping[str, Any], options: Sequence[Any]) -> str:
    digest = hashlib.sha256()
    for kind, path in (("clean", pair.clean), ("noisy", pair.noisy), ("enhanced", pair.enhanced)):
        digest.update(f"\0{kind}\0".encode())
        if path is not None:
            with open(path, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
            digest.update(str(path.stat().st_size).encode())
    rest = json.dumps([label, config, list(options), __version__, _FORMAT], sort_keys=True)
    digest.update(rest.encode())
    return digest.hexdigest()


def _finished(path: Path) -> dict[str, Row]:
    """Rows of an earlier run by key, without those that failed."""
    done: dict[str, Row] = {}
    if not path.is_file():
        return done
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            try:
                row = Row.from_json(json.loads(line))
            except (ValueError, TypeError, AttributeError):
                continue  # a line that was cut off, or not ours
            if row.key and row.error is None:
                done[row.key] = row
    return done


class _Appender:
    """Whole lines onto the end of a file, each handed to the system at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(path, "ab+")
        self._stream.seek(0, os.SEEK_END)
        if self._stream.tell():
            self._stream.seek(-1, os.SEEK_END)
            if self._stream.read(1) != b"\n":  # the last run was stopped in the middle of a line
                self._stream.write(b"\n")

    def append(self, row: Row) -> None:
        line = json.dumps(row.to_json(), allow_nan=False, default=str)
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


def _serial(jobs: Mapping[int, _Job]) -> Iterator[tuple[int, Row]]:
    for index, job in jobs.items():
        yield index, _run(job)


def _parallel(jobs: Mapping[int, _Job], workers: int) -> Iterator[tuple[int, Row]]:
    """Rows as they come. If a process dies, what was under way is repeated, one process for each."""
    context = multiprocessing.get_context("spawn")  # a forked process could hold another thread's locks
    left = dict(jobs)
    while left:
        suspects: list[int] = []
        pool = ProcessPoolExecutor(min(workers, len(left)), mp_context=context)
        try:
            futures: dict[Future[Row], int] = {}
            waiting = iter(list(left.items()))
            try:
                # few at a time: what is queued when a process dies need not be repeated alone
                for index, job in waiting:
                    futures[pool.submit(_run, job)] = index
                    if len(futures) >= 2 * workers:
                        for result in _drain(futures, left, FIRST_COMPLETED):
                            yield result
                while futures:
                    for result in _drain(futures, left, FIRST_COMPLETED):
                        yield result
            except BrokenProcessPool:
                suspects = list(futures.values()) or [next(iter(left))]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        for index in suspects:
            yield index, _alone(left.pop(index), context)


def _drain(futures: dict[Future[Row], int], left: dict[int, _Job], when: str) -> Iterator[tuple[int, Row]]:
    finished, _ = wait(futures, return_when=when)
    for future in finished:
        row = future.result()  # BrokenProcessPool leaves the rest in `futures`
        index = futures.pop(future)
        del left[index]
        yield index, row


def _alone(job: _Job, context: Any) -> Row:
    """One job in a process of its own; if that dies too, the job is to blame."""
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_run, job).result()
        except BrokenProcessPool:
            return _failed(job, "the process died while this file was worked on")


def _failed(job: _Job, why: str) -> Row:
    return Row(job.pair.name, job.label, job.key, tags=dict(job.pair.tags), config=dict(job.config), error=why)


def _run(job: _Job) -> Row:
    """One pair, from files to row; never raises."""
    try:
        return _measure(job)
    except Exception as error:  # a method or a library broke on this file: that is its result
        return _failed(job, f"{type(error).__name__}: {error}")


def _measure(job: _Job) -> Row:
    pair = job.pair
    clean, clean_rate = _load(pair.clean)
    noisy, noisy_rate = _load(pair.noisy)
    enhance_s = math.nan
    if job.enhance is not None:
        if noisy is None:
            raise InputError(f"{pair.name} has no noisy file to enhance")
        begin = time.perf_counter()
        output: Samples | None = np.asarray(job.enhance(np.array(noisy, dtype=np.float32), noisy_rate))
        enhance_s = time.perf_counter() - begin
        output_rate = noisy_rate
        if output is None or output.ndim not in (1, 2) or output.dtype.kind != "f":
            shape = None if output is None else f"{output.dtype} {output.shape}"
            raise ShapeError(f"{job.label} returned {shape}; expected floating-point (channels, samples)")
    elif pair.enhanced is not None:
        output, output_rate = _load(pair.enhanced)
    else:
        output, output_rate = noisy, noisy_rate
    if output is None:
        raise InputError(f"{pair.name} has no file to score")

    rate = job.score_rate or (clean_rate if clean is not None else output_rate)
    reference = None if clean is None else _mono(clean, clean_rate, rate)
    before = None if noisy is None else _mono(noisy, noisy_rate, rate)
    degraded = _mono(output, output_rate, rate)
    delay, confidence = 0, math.nan
    if reference is not None:
        delay, confidence = _delay(reference, degraded, job.max_delay_s, rate)
        early, _ = _delay(reference, before, job.max_delay_s, rate) if before is not None else (0, 0.0)
        reference, degraded, before = _common(reference, (degraded, delay), (before, early))
    chosen = [METRICS[name] for name in job.metrics]
    values, problems = score(chosen, degraded, rate, reference=reference, noisy=before)
    return Row(
        pair.name,
        job.label,
        job.key,
        values=values,
        problems=problems,
        tags=dict(pair.tags),
        config=dict(job.config),
        seconds=degraded.size / rate,
        sample_rate=rate,
        delay=delay,
        delay_confidence=confidence,
        enhance_s=enhance_s,
    )


def _load(path: Path | None) -> tuple[NDArray[np.float32] | None, int]:
    return (None, 0) if path is None else read(path)


def _mono(x: Samples, old: int, new: int) -> NDArray[np.float64]:
    flat = np.asarray(x if x.ndim == 1 else x.mean(axis=0, dtype=np.float64), dtype=np.float64)
    if flat.size == 0:
        raise ShapeError("a file without samples cannot be scored")
    return to_rate(flat, old, new)


def _delay(reference: Samples, other: Samples, max_delay_s: float, rate: int) -> tuple[int, float]:
    """The delay if it is believed, else 0."""
    bound = round(max_delay_s * rate)
    if bound == 0:
        return 0, math.nan
    delay, confidence = find_delay(reference, other, bound)
    return (delay if confidence >= MIN_CONFIDENCE else 0), confidence


def _common(
    reference: NDArray[np.float64],
    degraded: tuple[NDArray[np.float64], int],
    noisy: tuple[NDArray[np.float64] | None, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """The stretch of the reference that all of them cover, from each without its delay."""
    present = [(x, d) for x, d in (degraded, noisy) if x is not None]
    start = max([0] + [-d for _, d in present])
    stop = min([reference.size] + [x.size - d for x, d in present])
    if stop <= start:
        raise ShapeError("the files have no stretch in common: is this the right reference?")
    cut = [x[start + d : stop + d] for x, d in present]
    return reference[start:stop], cut[0], cut[1] if len(cut) > 1 else None
