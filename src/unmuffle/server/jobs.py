"""Long files: submit, ask how far it is, fetch the result, cancel. Finished jobs are forgotten after a while."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .crew import Crew, Place
from .faults import Fault, fault_of
from .spool import Spool

_log = logging.getLogger("unmuffle.server")

FINISHED = ("done", "failed", "cancelled")


@dataclass(eq=False)
class Job:
    """One file on its way.

    Attributes:
        id: 128 random bits; without keys, knowing it is what gives access.
        owner: who submitted it; nobody else is told that it exists.
        filename: what the client calls the file.
        status: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        done_s, total_s: seconds of sound done and in all, as far as known.
        result: what the worker said.
        fault: why it failed.
        readers: downloads of the result that are going on.
    """

    id: str
    owner: str
    filename: str
    folder: Path
    place: Place
    created: float = field(default_factory=time.time)
    finished: float | None = None
    status: str = "queued"
    done_s: float = 0.0
    total_s: float | None = None
    result: dict[str, Any] | None = None
    fault: Fault | None = None
    readers: int = 0
    task: asyncio.Task[None] | None = None


class Jobs:
    """All jobs of a server."""

    def __init__(self, crew: Crew, spool: Spool, most: int, ttl_s: float) -> None:
        self._crew = crew
        self._spool = spool
        self._most = most
        self._ttl_s = ttl_s
        self._jobs: dict[str, Job] = {}
        self.ended: dict[str, int] = dict.fromkeys(FINISHED, 0)

    def check_room(self) -> None:
        """Make sure that one more job can be remembered.

        Raises:
            Fault: 503.
        """
        self.sweep()
        if len(self._jobs) >= self._most:
            text = f"{len(self._jobs)} jobs are remembered; delete those that are done, or wait"
            raise Fault(503, "TooManyJobs", text, min(60.0, self._ttl_s))

    def submit(self, owner: str, filename: str, folder: Path, place: Place, task: dict[str, Any]) -> Job:
        """Begin a job; it owns the folder and the place from now on."""
        job = Job(secrets.token_urlsafe(16), owner, filename, folder, place)
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, task))
        return job

    async def _run(self, job: Job, task: dict[str, Any]) -> None:
        def progress(done: float, total: float | None) -> None:
            job.done_s, job.total_s = done, total

        try:
            job.result = await self._crew.work(job.place, task, progress)
            self._end(job, "done")
        except asyncio.CancelledError:
            self._end(job, "cancelled")
        except Exception as error:
            if not isinstance(error, Fault):
                _log.exception("job failed")
            job.fault = fault_of(error)
            self._end(job, "failed")
        finally:
            self._crew.leave(job.place)

    def _end(self, job: Job, status: str) -> None:
        job.status, job.finished = status, time.time()
        self.ended[status] += 1
        if status == "done":
            (job.folder / "upload").unlink(missing_ok=True)
        else:
            self._spool.remove(job.folder)

    def get(self, owner: str, number: str) -> Job:
        """A job of this owner.

        Raises:
            Fault: 404, there is none (or it is somebody else's, which is none of the asker's business).
        """
        self.sweep()
        job = self._jobs.get(number)
        if job is None or job.owner != owner:
            raise Fault(404, "NoSuchJob", "there is no such job; results are deleted some time after they are done")
        return job

    async def delete(self, job: Job) -> None:
        """Cancel a job and forget it; downloads that are going on finish."""
        if job.task is not None and not job.task.done():
            job.task.cancel()
            await asyncio.wait([job.task])
            if job.status not in FINISHED:  # cancelled before it ran at all
                self._end(job, "cancelled")
                self._crew.leave(job.place)
        self._jobs.pop(job.id, None)
        if not job.readers:
            self._spool.remove(job.folder)

    def release(self, job: Job) -> None:
        """A download has ended."""
        job.readers -= 1
        if not job.readers and job.id not in self._jobs:
            self._spool.remove(job.folder)

    def sweep(self) -> None:
        """Forget jobs that were finished long enough ago."""
        now = time.time()
        for job in list(self._jobs.values()):
            if job.finished is not None and now - job.finished > self._ttl_s and not job.readers:
                del self._jobs[job.id]
                self._spool.remove(job.folder)

    def view(self, job: Job) -> dict[str, Any]:
        """What the owner is told."""
        shown: dict[str, Any] = {
            "id": job.id,
            "status": job.place.state if job.status == "queued" and job.place.state == "running" else job.status,
            "filename": job.filename,
            "created": job.created,
            "done_s": job.done_s,
            "total_s": job.total_s,
            "position": self._crew.position(job.place) if job.status == "queued" else 0,
        }
        share = job.done_s / job.total_s if job.total_s else 0.0
        shown["progress"] = 1.0 if job.status == "done" else min(1.0, share)
        if job.finished is not None:
            shown["finished"] = job.finished
            shown["expires"] = job.finished + self._ttl_s
        if job.result is not None:
            shown["result"] = {k: v for k, v in job.result.items() if k != "path"}
        if job.fault is not None:
            shown.update(job.fault.body(), code=job.fault.status)
        return shown

    def counts(self) -> dict[str, int]:
        """Jobs in each state."""
        found = dict.fromkeys(("queued", "running", *FINISHED), 0)
        for job in self._jobs.values():
            found[self.view(job)["status"]] += 1
        return found

    @property
    def active(self) -> int:
        """Jobs that are not finished."""
        return sum(job.status not in FINISHED for job in self._jobs.values())

    async def close(self) -> None:
        """Cancel everything."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None and not job.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
