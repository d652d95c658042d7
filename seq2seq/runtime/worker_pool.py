"""A pool of worker processes that yields results in the order of their items and holds a bounded number of them.

`concurrent.futures.ProcessPoolExecutor` does not serve: it hides the exit code of a worker that died and the exception
of an initializer, ends running workers only when they are done, and leaves them where the parent is killed.

The processes are spawned, so that they share nothing with this one but what they are sent. (A script that reaches this
needs `if __name__ == "__main__":`, see the Python documentation, "multiprocessing: the spawn and forkserver start
methods"; a command line does not.) A process has one item at a time: it waits while this one writes to it, and so
neither side can block the other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from seq2seq.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Items per process that may be begun while an earlier one is not done."""


def in_order(
    make: Callable[[], Callable[[Item], Result]], items: Iterable[Item | None], workers: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with its result, in order; `make`, called once a process, returns the function that is applied.

    `make`, items and results travel by pickle. An item None says that the next one may take long to come: what was
    begun is finished first. However the iteration ends, no process remains, also where this one is killed.

    Raises, in place of the result:
        UserError: what a process raised, or that one died.
        RuntimeError: another exception in a process, with its traceback.
    """
    with closing(_Pool[Item, Result]()) as pool:
        pool.start(make, workers)
        for item in items:
            if item is None:
                yield from pool.results(pool.held)
            else:
                yield from pool.results(pool.held - AHEAD * workers + 1)
                yield from pool.begin(item)
        yield from pool.results(pool.held)


class _Pool(Generic[Item, Result]):
    """The processes, and the items that they are working on."""

    def __init__(self) -> None:
        self._processes: dict[Connection, Any] = {}
        self._free: list[Connection] = []
        self._busy: dict[Connection, int] = {}
        self._items: deque[Item] = deque()  # begun and not yielded
        self._first = 0  # the number of the first of them
        self._done: dict[int, tuple[bool, Any]] = {}  # a result, or the exception in its place

    def start(self, make: Callable[[], Callable[[Item], Result]], workers: int) -> None:
        """Start the processes."""
        context = multiprocessing.get_context("spawn")
        with _block_sigint():
            for _ in range(workers):
                connection, child_end = context.Pipe()
                process = context.Process(target=_serve, args=(child_end, make), daemon=True)
                self._processes[connection] = process
                process.start()
                child_end.close()  # so that a process that dies ends its pipe
                self._free.append(connection)

    @property
    def held(self) -> int:
        """How many items were begun and not yielded."""
        return len(self._items)

    def begin(self, item: Item) -> Iterator[tuple[Item, Result]]:
        """Give an item to a process, when one is free; yields what is ready meanwhile."""
        while not self._free:
            self._receive()
            yield from self._ready()
        connection = self._free.pop()
        with suppress(OSError):  # it has died: that is its answer
            connection.send(item)
        self._busy[connection] = self._first + len(self._items)
        self._items.append(item)

    def results(self, count: int) -> Iterator[tuple[Item, Result]]:
        """The next `count` results, and what else is ready."""
        target = self._first + count
        while self._first < target:
            self._receive()
            yield from self._ready()

    def _ready(self) -> Iterator[tuple[Item, Result]]:
        while self._first in self._done:
            fine, result = self._done.pop(self._first)
            if not fine:
                raise result
            self._first += 1
            yield self._items.popleft(), result

    def _receive(self) -> None:
        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            number = self._busy.pop(connection)
            try:
                self._done[number] = fine, _ = connection.recv()
                self._free += [connection] * fine
            except (EOFError, OSError):
                self._done[number] = False, self._died(connection)

    def _died(self, connection: Connection) -> UserError:
        process = self._processes[connection]
        process.join()
        code = process.exitcode
        how = f"exit code {code}"
        with suppress(ValueError):  # the code is that of no signal
            how = signal.Signals(-code).name
        return UserError(
            f"a worker process died ({how}); if the machine ran out of memory, use fewer workers or smaller batches"
        )

    def close(self) -> None:
        """Kill the processes, whatever they are working on."""
        for process in self._processes.values():
            if process.pid is not None:
                process.kill()
                process.join()


@contextmanager
def _block_sigint() -> Iterator[None]:
    """Block SIGINT in the processes that the block starts: a terminal sends Ctrl-C to all, and the parent ends them."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # otherwise the worker that starts first does it, and takes SIGINT off the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, make: Callable[[], Callable[[Any], Any]]) -> None:
    """Run a worker process: receive items and send results until the pipe is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function = make()
        while True:
            connection.send((True, function(connection.recv())))
    except (EOFError, ConnectionError):
        return  # the parent has ended
    except UserError as error:
        connection.send((False, error))
    except Exception:
        connection.send((False, RuntimeError(f"in a worker process:\n{traceback.format_exc()}")))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
