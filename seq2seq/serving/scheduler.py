"""Dynamic batching: requests that arrive together are computed as one batch, in one thread.

While a batch is computed, further requests wait in a queue; the next batch has lines of all waiting requests that may
be computed together (of the same `Group`, the oldest request's), up to the group's size. A request with more lines than
that is computed in several batches, between which others have their turn. A batch for which no client waits any longer
ends at its next `check_wanted`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Group(NamedTuple):
    """Items with the same `key` may be computed together, at most `size` of them, by any of their `compute`, which
    returns one result for each item. A result must not depend on the other items."""

    key: Hashable
    size: int
    compute: Callable[[list[Any]], list[Any]]


class QueueFullError(Exception):
    """The queue has no room for a request."""


class UnwantedError(Exception):
    """All requests of a batch were cancelled while it was computed."""


@dataclass(eq=False)
class Job:
    """The items of one request, and their results so far."""

    group: Group
    items: Sequence[Any]
    future: asyncio.Future[list[Any]]
    results: list[Any] = field(default_factory=list)

    @property
    def left(self) -> int:
        """The number of items without a result."""
        return len(self.items) - len(self.results)


_current = threading.local()  # .jobs: those of the batch that this thread computes


def check_wanted() -> None:
    """Raise `UnwantedError` if this thread computes a batch whose requests were all cancelled. Long computations call
    it now and then; in other threads it does nothing."""
    jobs: list[Job] = getattr(_current, "jobs", [])
    if jobs and all(job.future.done() for job in jobs):
        raise UnwantedError


class Scheduler:
    """Computes jobs in batches. `run` must be running as a task of the same event loop.

    Args:
        capacity: the most items that wait.
        wait: seconds that an idle scheduler waits for more jobs, so that those that arrive together are one batch.
        prepare: called first in the thread that computes.
        observe: called with the number of items of each batch.
    """

    def __init__(
        self,
        *,
        capacity: int,
        wait: float = 0.0,
        prepare: Callable[[], object] = lambda: None,
        observe: Callable[[int], object] = lambda size: None,
    ) -> None:
        self.capacity = capacity
        self.wait = wait
        self._observe = observe
        self._jobs: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "batches", prepare)

    @property
    def waiting(self) -> int:
        """The number of items that wait."""
        return sum(job.left for job in self._jobs)

    async def submit(self, group: Group, items: Sequence[Any]) -> list[Any]:
        """The results of the items, in order. When it is cancelled, they leave the queue.

        Raises `QueueFullError`, and what the group's `compute` raises for these items.
        """
        if not items:
            return []
        if self.waiting + len(items) > self.capacity:
            raise QueueFullError(f"{self.waiting} lines are waiting, and {self.capacity} may")
        job = Job(group, items, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._arrived.set()
        try:
            return await job.future
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    async def run(self) -> None:
        """Compute batches until cancelled."""
        try:
            while True:
                self._arrived.clear()
                if not self._jobs:
                    await self._arrived.wait()
                    await asyncio.sleep(self.wait)
                if self._jobs:
                    await self._round(self._take())
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> list[tuple[Job, int]]:
        """Take the jobs of the next batch out of the queue, each with its number of items in the batch."""
        group = self._jobs[0].group
        parts, room = [], group.size
        for job in [job for job in self._jobs if job.group.key == group.key]:
            if room:
                parts.append((job, min(room, job.left)))
                room -= parts[-1][1]
                self._jobs.remove(job)
        return parts

    async def _round(self, parts: list[tuple[Job, int]]) -> None:
        """Compute a batch. If it fails, each job is computed alone: an error is that of its own request."""
        parts = [(job, size) for job, size in parts if not job.future.done()]
        if not parts:
            return
        try:
            results = iter(await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, parts))
        except Exception as error:
            if len(parts) > 1:
                for part in parts:
                    await self._round([part])
            elif not (job := parts[0][0]).future.done():
                job.future.set_exception(error)
            return
        self._deliver(parts, results)

    def _compute(self, parts: list[tuple[Job, int]]) -> list[Any]:
        """The results of a batch; runs in the thread."""
        batch = [item for job, size in parts for item in job.items[len(job.results) :][:size]]
        self._observe(len(batch))
        _current.jobs = [job for job, _ in parts]
        try:
            return parts[0][0].group.compute(batch)
        finally:
            _current.jobs = []

    def _deliver(self, parts: list[tuple[Job, int]], results: Iterator[Any]) -> None:
        """Give each job its results; one that needs more waits again, after the others."""
        for job, size in parts:
            job.results += [next(results) for _ in range(size)]
            if job.future.done():
                continue
            if job.left:
                self._jobs.append(job)
            else:
                job.future.set_result(job.results)
