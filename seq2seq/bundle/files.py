"""The files of a bundle: written atomically, read with checksums; links out of the folder are refused."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.strict_json import read_json
from seq2seq.text import TOKENIZER_FILES

MODEL, CONFIG, METRICS, CARD, CHECKSUMS = (
    "model.safetensors",
    "config.json",
    "metrics.json",
    "README.md",
    "checksums.json",
)
LIMIT = 64 << 20  # most bytes of any file but the weights


def verify(folder: Path) -> None:
    """Compare all files with their checksums. Raises `UserError` for a file that differs, is missing or not listed."""
    known = read_object(folder / CHECKSUMS)
    there = {name for name in TOKENIZER_FILES if (folder / name).exists()}
    for name in sorted({MODEL, CONFIG, METRICS, *there, *known}):
        path = folder / name
        if name not in known or Path(name).name != name:
            raise UserError(f"{folder / CHECKSUMS}: {name!r} should not be, or is missing; copy the bundle again")
        check_place(path)
        if name != MODEL and path.stat().st_size > LIMIT:
            raise UserError(f"{path}: has more than {LIMIT:,} bytes, which no such file has")
        if digest_of(path) != known[name]:
            raise UserError(f"{path}: is not as it was saved (its checksum differs); copy the bundle again")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises `UserError` for another file."""
    check_place(path)
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a JSON object; copy the bundle again")
    return content


def check_place(path: Path) -> None:
    """Raise `UserError` unless this is a regular file, and not a link to one outside its folder."""
    if not path.is_file():
        raise UserError(f"{path}: is missing, or is no file; copy the bundle again")
    if path.resolve().parent != path.parent.resolve():
        raise UserError(f"{path}: is a link out of the bundle; copy the files themselves into it (cp -L)")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object; a number that is not finite becomes null."""
    text = json.dumps(_finite(content), ensure_ascii=False, allow_nan=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def replacing(folder: Path, sign: str = CHECKSUMS, what: str = "a bundle") -> Iterator[Path]:
    """Yield an empty folder to fill, which replaces the bundle `folder` (or another folder with a file `sign`) at the
    end of the block. Raises `UserError` if `folder` is something else, or cannot be written."""
    folder = folder.resolve()
    if folder.exists() and not (folder / sign).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: is not {what} and is not replaced; choose another folder, or remove it yourself")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    made, old = work / "new", work / "old"
    try:
        made.mkdir()
        yield made
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(made, folder)
        except BaseException:
            if old.exists():
                os.rename(old, folder)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
