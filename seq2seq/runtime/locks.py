"""File locks that the operating system releases when a process ends, in any way. They also work between machines if the
file system supports locks (NFS does, since version 4)."""

from __future__ import annotations

import os
from typing import IO, Any


def try_lock(file: IO[Any] | int, *, shared: bool = False) -> bool | None:
    """Try to lock an open file, or a descriptor (also of a folder), until it is closed; does not block. Several
    processes can have a `shared` lock.

    True: it is locked now. False: another process has the lock. None: the system does not support locks for it.
    """
    try:
        import portalocker
    except ImportError:  # it needs fcntl or pywin32, which the system does not have
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
