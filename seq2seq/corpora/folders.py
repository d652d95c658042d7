"""Atomic writes of folders, also while other processes make the same ones, and of small files in the cache."""

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

YOUNG = 60.0  # seconds: within them, a folder that nobody has locked may have been made just now


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` at the end of the block.

    Who comes second, keeps the first one's. After an exception nothing remains. Raises UserError where the place cannot
    be written, or is full. What a process that was killed has left of the same folder, which may be large, is deleted.
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
        with suppress(OSError):  # not empty: another process was faster, and what it made is the same
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
    """Delete the unfinished folders that no process is at any more; where the system cannot tell, none."""
    for left in [path for path in parent.iterdir() if path.name.startswith(prefix)]:
        with suppress(OSError):  # another process was faster
            if time.time() - left.stat().st_mtime > YOUNG and (lock := _locked(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that keeps others from locking the folder until it is closed; None where that cannot be had."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # gone, or a system that does not open folders
        return None
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def write_file(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: cannot be written ({error.strerror}); set SEQ2SEQ_CACHE to a folder that can")
