"""Atomic writes of folders, also while other processes write the same ones, and of small files in the cache."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seq2seq.errors import FULL, UserError
from seq2seq.runtime.atomic_files import atomic_write
from seq2seq.runtime.locks import try_lock

YOUNG = 60.0  # seconds in which another process may have created its folder but not locked it yet


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which is renamed to `target` at the end of the block.

    If another process has finished `target` meanwhile, that one stays. After an exception nothing remains. Unfinished
    folders of killed processes, which may be large, are deleted. Raises UserError where the parent folder cannot be
    written, or its disk is full.
    """
    prefix = f".{target.name[:16]}."
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent, prefix)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix))
    except OSError as error:
        raise _unwritable(target.parent, error) from None
    lock = _locked(temporary)
    try:
        yield temporary
        temporary.chmod(0o755)
        with suppress(OSError):  # another process was faster; its folder has the same content
            os.rename(temporary, target)
        if not target.is_dir():
            raise UserError(f"{target}: could not be made; is it a file, or its disk full?")
    except OSError as error:
        if error.errno in FULL:
            raise _unwritable(target.parent, error) from None
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _sweep(parent: Path, prefix: str) -> None:
    """Delete unfinished folders that no running process has locked; none where the system has no locks."""
    for left in [path for path in parent.iterdir() if path.name.startswith(prefix)]:
        with suppress(OSError):  # another process was faster
            if time.time() - left.stat().st_mtime > YOUNG and (lock := _locked(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """Lock a folder: a descriptor that holds the lock until it is closed, or None if it cannot be locked."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # the folder is gone, or the system cannot open folders
        return None
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def write_file(path: Path, text: str) -> None:
    """Write a small text file atomically. Raises UserError where its folder cannot be written."""
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: cannot be written ({error.strerror}); set SEQ2SEQ_CACHE to a folder that can")
