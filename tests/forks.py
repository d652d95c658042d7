"""Processes of their own that do not import torch and Lightning again: forks of one that has imported them.

A fork has its own number, signals, environment, exit code, standard output and error, as a process that was started
from the beginning has, for a tenth of the time. What depends on how the interpreter starts and ends is tested with real
commands.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any
from unittest import mock

ROOT = Path(__file__).parents[1]
PATIENCE = 900
"""Seconds that a process may take on a machine that others use as well, before a test gives it up."""
IMPORTED = ["tests.forks", "tests.prepared"]


@cache
def server() -> Any:
    """The process that is forked. It is started where Python finds this checkout, and with the level of messages that
    `seq2seq train` sets before it imports torch."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with mock.patch.dict(os.environ, PYTHONPATH=path, TORCH_CPP_LOG_LEVEL="ERROR", OMP_NUM_THREADS="1"):
        forkserver.ensure_running()
    return context


class _Sent:
    """A file descriptor that goes to the fork: duplicated when it is pickled on the way."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self.descriptor),)


def _received(duplicate: Any) -> int:
    return int(duplicate.detach())


def _run(arguments: list[str], environment: dict[str, str], folder: str, out: int, err: int) -> None:
    """What the fork does: `python ARGUMENTS`."""
    for number, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if arguments[0] == "-m":
        sys.path.insert(0, folder)
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.path.insert(0, folder)
        sys.argv = ["-c", *arguments[2:]]
        exec(arguments[1], {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(arguments[0]).parent))
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


class Fork:
    """As `subprocess.Popen([sys.executable, *arguments], stdout=PIPE, stderr=PIPE, text=True)`; with `merge` stderr is
    stdout."""

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        merge: bool = False,
    ) -> None:
        self.args = [str(each) for each in arguments]
        (read, out), (read_error, err) = os.pipe(), os.pipe()
        self.stdout: IO[str] = open(read, encoding="utf-8")  # noqa: SIM115
        self.stderr: IO[str] = open(read_error, encoding="utf-8")  # noqa: SIM115
        given = (self.args, dict(os.environ if env is None else env), str(cwd or ROOT))
        self._process = server().Process(target=_run, args=(*given, _Sent(out), _Sent(out if merge else err)))
        self._process.start()
        for descriptor in (out, err):
            os.close(descriptor)
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote until its end; one that does not end in time is killed."""
        with ThreadPoolExecutor(2) as pool:
            out, err = (pool.submit(stream.read) for stream in (self.stdout, self.stderr))
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            return out.result(), err.result()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
