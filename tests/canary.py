"""Traces of an attack: a file, a secret in a message, a forbidden act that Python's own audit reports.

Audit hooks (PEP 578) see what happens inside of libraries, too; they cannot be removed, so one hook serves all tests.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECRET = "canary-7f3a91c2-secret"
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.link",
    "os.symlink",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.",
    "shutil.",
    "pty.spawn",
    "urllib.",
    "webbrowser.",
    "runpy.",
)
MEMORY = 400 << 20
"""Bytes by which an attack may raise the peak of memory: the limits of the readers, with room for libraries."""

_seen: list[str] | None = None
_others: set[int] = set()
"""Threads that ran before the block: those of another test's library may still be closing their files."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None or threading.get_ident() in _others:
        return
    if event.startswith(FORBIDDEN) or (event == "open" and _writes(*arguments)):
        _seen.append(f"{event}{arguments!r}")


def _writes(_: object, mode: str | None, flags: int | None) -> bool:
    return bool(set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


sys.addaudithook(_hook)


@contextmanager
def watched() -> Iterator[None]:
    """Nothing is executed, written, sent or unpickled in this block, and its memory is bounded."""
    global _seen, _others
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a first import writes files, too
    _others = {thread.ident for thread in threading.enumerate() if thread.ident} - {threading.get_ident()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    gc.disable()  # finalizers of what other tests have left
    _seen = []
    try:
        yield
    finally:
        acts, _seen = _seen, None
        gc.enable()
        sys.dont_write_bytecode = before
    assert acts == [], acts
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - peak < MEMORY


class Bomb:
    """A pickle that makes the file `path` when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def bomb(path: Path) -> bytes:
    """Such a pickle."""
    return pickle.dumps(Bomb(path))
