"""Work in several processes: order, bounds, and one clear error whatever happens to a process."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing import active_children

import pytest

from seq2seq.errors import UserError
from seq2seq.runtime.paths import PACKAGE
from seq2seq.runtime.worker_pool import AHEAD, in_order


def ours():
    """The processes that are left, without those that joblib keeps for other tests."""
    return [process for process in active_children() if not process.name.startswith("Loky")]


class Worker:
    """Squares a number; the words do what they say."""

    def __init__(self, fails: bool = False) -> None:
        if fails:
            raise UserError("cannot begin")

    def __call__(self, item: int | str) -> tuple[int, int]:
        if item == "deaf":
            return 0, int(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
        if item == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "mistake":
            raise UserError("line 7: is wrong")
        if item == "fault":
            raise KeyError("inside")
        assert isinstance(item, int)
        time.sleep(0.05 * (item == 0))  # the first one is late
        return item * item, os.getpid()


def test_results_come_in_order_and_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items():
        for item in range(60):
            taken.append(item)
            yield item

    pids = set()
    for done, (item, (square, pid)) in enumerate(in_order(Worker, items(), 2)):
        assert (item, square) == (done, done * done)
        assert len(taken) - done <= AHEAD * 2 + 1
        pids.add(pid)
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert not ours()


def test_before_a_pause_everything_is_finished() -> None:
    seen: list[int] = []

    def items():
        for item in range(6):
            yield item
            if item % 2:
                yield None
                assert seen == list(range(item + 1))

    for item, _ in in_order(Worker, items(), 2):
        seen.append(item)
    assert seen == list(range(6))


@pytest.mark.parametrize(
    ("make", "item", "error", "message"),
    [
        (Worker, "die", UserError, r"a worker process died \(SIGKILL\); .*fewer workers"),
        (Worker, "mistake", UserError, "^line 7: is wrong$"),
        (Worker, "fault", RuntimeError, "(?s)in a worker process:.*test_worker_pool.py.*KeyError: 'inside'"),
        (partial(Worker, fails=True), 1, UserError, "^cannot begin$"),
    ],
)
def test_what_happens_in_a_process_is_one_error_here(make, item, error, message) -> None:
    with pytest.raises(error, match=message):
        list(in_order(make, [1, 2, item, 3, 4, 5, 6], 2))
    assert not ours()


def test_who_stops_listening_leaves_no_process() -> None:
    results = in_order(Worker, iter(range(10**9)), 2)
    assert next(results)[0] == 0
    results.close()
    assert not ours()


@pytest.mark.slow
def test_no_process_hears_what_a_terminal_sends_to_all_of_them() -> None:
    code = "from tests.unit.runtime.test_worker_pool import *; "
    code += "print([done for _, (_, done) in in_order(Worker, ['deaf'] * 2, 2)])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.stdout == "[1, 1]\n", done.stderr


def test_processes_end_with_the_one_that_started_them() -> None:
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        for _, (_, worker) in in_order(Worker, iter(range(10**9)), 1):
            os.write(writing, b"%d\n" % worker)
    worker = int(os.read(reading, 100).split(b"\n")[0])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for _ in range(200):
        if not alive(worker):
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


def alive(pid: int) -> bool:
    """Whether it is there, and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
