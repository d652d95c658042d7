"""A pool of worker processes that yields results in the order of their items, with a bounded number in memory.

`concurrent.futures.ProcessPoolExecutor` is not sufficient: it hides the exit code of a dead worker and exceptions of an
initializer, cannot kill running workers, and leaves them running if the parent is killed.

The processes are spawned, not forked. (So a script that uses them needs `if __name__ == "__main__":`, see the Python
documentation, "multiprocessing: the spawn and forkserver start methods"; the commands do not.) A process has one item
at a time, and waits while this process writes to it, so there is no deadlock.
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
"""Items per process that may be started before an earlier one is finished."""


def in_order(
    make: Callable[[], Callable[[Item], Result]], items: Iterable[Item | None], workers: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with its result, in order; `make` is called once in each process and returns the function to
    apply.

    `make`, items and results are pickled. An item None means that the next one may take long to arrive: items that were
    started are finished first. However the iteration ends, no process remains, even if this one is killed.

    Raises, in place of the result:
        UserError: a process raised it, or died.
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
    """The processes, and the items in progress."""

    def __init__(self) -> None:
        self._processes: dict[Connection, Any] = {}
        self._free: list[Connection] = []
        self._busy: dict[Connection, int] = {}
        self._items: deque[Item] = deque()  # started and not yielded yet
        self._first = 0  # the number of the first of them
        self._done: dict[int, tuple[bool, Any]] = {}  # True and a result, or False and an exception

    def start(self, make: Callable[[], Callable[[Item], Result]], workers: int) -> None:
        """Start `workers` processes, each of which calls `make`."""
        context = multiprocessing.get_context("spawn")
        with _block_sigint():
            for _ in range(workers):
                connection, child_end = context.Pipe()
                process = context.Process(target=_serve, args=(child_end, make), daemon=True)
                self._processes[connection] = process
                process.start()
                child_end.close()  # so that the pipe ends when the process dies
                self._free.append(connection)

    @property
    def held(self) -> int:
        """The number of items that were started and not yielded yet."""
        return len(self._items)

    def begin(self, item: Item) -> Iterator[tuple[Item, Result]]:
        """Send an item to a free process; while there is none, yield results that are ready."""
        while not self._free:
            self._receive()
            yield from self._ready()
        connection = self._free.pop()
        with suppress(OSError):  # the process has died, which `_receive` will detect
            connection.send(item)
        self._busy[connection] = self._first + len(self._items)
        self._items.append(item)

    def results(self, count: int) -> Iterator[tuple[Item, Result]]:
        """Yield the next `count` results, and further ones that are ready."""
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
        with suppress(ValueError):  # not the code of a signal
            how = signal.Signals(-code).name
        return UserError(
            f"a worker process died ({how}); if the machine ran out of memory, use fewer workers or smaller batches"
        )

    def close(self) -> None:
        """Kill all worker processes."""
        for process in self._processes.values():
            if process.pid is not None:
                process.kill()
                process.join()


@contextmanager
def _block_sigint() -> Iterator[None]:
    """Block SIGINT in processes started in the block: a terminal sends Ctrl-C to all, and the parent kills them."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # otherwise starting the first worker does it, and unblocks SIGINT
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
