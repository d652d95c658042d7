"""Dynamic batching: what arrives together is one batch, turns are fair, and an error or a cancellation is one job's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from seq2seq.serving.scheduler import Group, QueueFullError, Scheduler, UnwantedError, check_wanted

batches: list[list[Any]] = []


def compute(items: list[Any]) -> list[Any]:
    batches.append(items)
    if "bad" in items:
        raise ValueError("bad item")
    return [f"<{item}>" for item in items]


def scheduled(use: Callable[[Scheduler], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    async def main() -> Any:
        scheduler = Scheduler(**{"capacity": 100, "wait": 0.01} | options)
        running = asyncio.create_task(scheduler.run())
        try:
            return await asyncio.wait_for(use(scheduler), 10)
        finally:
            running.cancel()

    batches.clear()
    return asyncio.run(main())


GROUP = Group("a", 4, compute)


def test_what_arrives_together_is_one_batch_and_other_groups_another() -> None:
    async def use(scheduler: Scheduler) -> Any:
        jobs = [scheduler.submit(GROUP, [1, 2]), scheduler.submit(Group("b", 4, compute), [5])]
        return await asyncio.gather(*jobs, scheduler.submit(GROUP, [3]), scheduler.submit(GROUP, []))

    assert scheduled(use) == [["<1>", "<2>"], ["<5>"], ["<3>"], []]
    assert batches == [[1, 2, 3], [5]]


def test_a_large_request_is_split_and_small_ones_have_their_turn() -> None:
    async def use(scheduler: Scheduler) -> Any:
        order: list[str] = []

        async def job(name: str, items: list[Any]) -> list[Any]:
            results = await scheduler.submit(GROUP, items)
            order.append(name)
            return results

        results = await asyncio.gather(job("large", list(range(10))), job("small", ["x"]))
        return order, results

    order, (large, small) = scheduled(use)
    assert (order, small) == (["small", "large"], ["<x>"])
    assert large == [f"<{i}>" for i in range(10)]
    assert [len(batch) for batch in batches] == [4, 4, 3]


def test_an_error_is_that_of_its_own_request() -> None:
    async def use(scheduler: Scheduler) -> Any:
        jobs = [scheduler.submit(GROUP, [item]) for item in ("x", "bad", "y")]
        return await asyncio.gather(*jobs, return_exceptions=True)

    first, error, last = scheduled(use)
    assert (first, last) == (["<x>"], ["<y>"])
    assert isinstance(error, ValueError)


def test_a_full_queue_refuses_and_cancelled_jobs_leave_it() -> None:
    busy, done = threading.Event(), threading.Event()

    def slow(items: list[Any]) -> list[Any]:
        busy.set()
        assert done.wait(10)
        return items

    async def use(scheduler: Scheduler) -> Any:
        first = asyncio.create_task(scheduler.submit(Group("slow", 1, slow), ["first"]))
        await asyncio.to_thread(busy.wait, 10)
        waiting = [asyncio.create_task(scheduler.submit(GROUP, [item])) for item in ("kept", "cancelled")]
        await asyncio.sleep(0)
        assert scheduler.waiting == 2
        with pytest.raises(QueueFullError):
            await scheduler.submit(GROUP, ["too", "many"])
        waiting[1].cancel()
        await asyncio.sleep(0.01)
        assert scheduler.waiting == 1
        first.cancel()  # while its batch is computed
        done.set()
        return await waiting[0]

    assert scheduled(use, capacity=3) == ["<kept>"]
    assert batches == [["kept"]]


def test_a_batch_that_no_client_waits_for_ends_early() -> None:
    busy, cancelled = threading.Event(), threading.Event()
    ended: list[str] = []

    def steps(items: list[Any]) -> list[Any]:
        busy.set()
        assert cancelled.wait(10)
        try:
            check_wanted()
        except UnwantedError:
            ended.append("early")
            raise
        ended.append("late")
        return items

    async def use(scheduler: Scheduler, leaving: int) -> Any:
        group = Group("steps", 4, steps)
        jobs = [asyncio.create_task(scheduler.submit(group, [item])) for item in ("x", "y")]
        await asyncio.to_thread(busy.wait, 10)
        for job in jobs[:leaving]:
            job.cancel()
        await asyncio.sleep(0.01)
        cancelled.set()
        results = await asyncio.gather(*jobs, return_exceptions=True)
        return results, await scheduler.submit(GROUP, ["after"])

    for leaving in (1, 2):
        busy.clear()
        cancelled.clear()
        (_, last), after = scheduled(lambda scheduler, n=leaving: use(scheduler, n))
        assert (last == ["y"]) is (leaving == 1)
        assert after == ["<after>"]
    assert ended == ["late", "early"]
    check_wanted()  # outside of a batch
