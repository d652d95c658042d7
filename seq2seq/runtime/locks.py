"""Locks that the operating system releases however a process ends. Between machines they work where the file system has
locks (NFS has, since version 4)."""

from __future__ import annotations

import os
from typing import IO, Any


def try_lock(file: IO[Any] | int, *, shared: bool = False) -> bool | None:
    """Lock an open file (or a descriptor, also of a folder) until it is closed, without waiting; `shared` with others
    that only look.

    True: it is locked now. False: another process holds the lock. None: the system has no locks here.
    """
    try:
        import portalocker
    except ImportError:  # it asks the operating system for a module that is not there
        return None
    try:
        portalocker.lock(file, (portalocker.LOCK_SH if shared else portalocker.LOCK_EX) | portalocker.LOCK_NB)
    except portalocker.AlreadyLocked:
        return False
    except (portalocker.LockException, OSError):
        return None
    return True


def is_still(file: IO[Any], path: os.PathLike[str]) -> bool:
    """Whether the open file is the one that `path` names now."""
    return os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path))
