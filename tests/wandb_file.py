"""Reads what wandb wrote offline: its own protobuf messages, out of a log in LevelDB's format.

wandb 0.31 has no reader in Python any more (its Go core reads the files), but the format is the old one: a header of
7 bytes, then blocks of 32 KiB with fragments of records, each after its checksum, length and type
(https://github.com/google/leveldb/blob/main/doc/log_format.md; wandb's checksum is zlib's CRC-32 of type and data).
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK, HEADER, FULL, LAST = 32768, 7, 1, 4


def without_account(monkeypatch: Any, home: Path) -> None:
    """Make wandb start anew as on a machine without a login: an empty HOME, and no variable of its own."""
    import wandb

    wandb.teardown()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(home))


class WandbRun(NamedTuple):
    """One run as wandb's server would be told of it."""

    run: Any  # the message: run_id, display_name, run_group, job_type, …
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None


def records(path: Path) -> Iterator[bytes]:
    """The records of a file, whole and with a right checksum."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, parts = HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # no room for a header: padding
            place += BLOCK - place % BLOCK
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, place)
        part = data[place + HEADER : place + HEADER + length]
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == checksum
        parts, place = parts + part, place + HEADER + length
        if kind in (FULL, LAST):
            yield parts
            parts = b""


def read(folder: Path) -> WandbRun:
    """The only offline run in `folder`/wandb."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = WandbRun(None, {}, [], {}, None)
    for data in records(path):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found = found._replace(run=record.run)
            found.config.update(_items(record.run.config.update))
        elif kind == "config":
            found.config.update(_items(record.config.update))
        elif kind == "history":
            found.history.append(_items(record.history.item))
        elif kind == "summary":
            found.summary.update(_items(record.summary.update))
        elif kind == "exit":
            found = found._replace(exit_code=record.exit.exit_code)
    return found


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
