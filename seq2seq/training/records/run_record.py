"""run.json: what a run is and how it ended, written atomically; leaderboards read nothing else.

Whether the process that wrote "running" is still there, only a lock can tell: the file `.lock`, held from the first to
the last moment of a run. The operating system releases it however the process ends; between machines it works where the
file system has locks (NFS has, since version 4).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seq2seq.runtime.atomic_files import atomic_write
from seq2seq.runtime.locks import try_lock
from seq2seq.runtime.redaction import hide

LOCK = ".lock"


class Record:
    """The record of one run in `folder`, which is made if it does not exist. A record that is already there, of the
    same run, is continued. It holds no secret of the environment."""

    def __init__(self, folder: Path, *, name: str, seed: int, overrides: list[str]) -> None:
        self.path = folder / "run.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.values: dict[str, Any] = {"status": "running", "error": None, "test": {}, **read(folder)}
        self.values |= hide({"name": name, "seed": seed, "overrides": overrides})

    def update(self, **values: Any) -> None:
        """Set values and write the file anew, atomically."""
        self.values |= hide(values)
        with atomic_write(self.path) as partial:
            partial.write_text(json.dumps(self.values, indent=2, ensure_ascii=False) + "\n", "utf-8", newline="\n")


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Hold the run in `folder`, which is made, during the block; False where another process that lives holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as file:
        yield try_lock(file) is not False  # None where the file system has no locks


def read(folder: Path) -> dict[str, Any]:
    """The record of a run; empty where there is none that can be read."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
