"""A file is there with its whole content or not at all, also after a crash of the machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from seq2seq.runtime.atomic_files import LEFT, atomic_write


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, done = os.replace, []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append(Path("replaced")), replace(old, new)))
    with atomic_write(tmp_path / "a", durable=True) as temporary:
        temporary.write_bytes(b"new")
    assert done == [temporary, Path("replaced"), tmp_path]
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("durable", [False, True])
def test_a_failure_leaves_the_old_file(tmp_path: Path, durable: bool) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with suppress(ZeroDivisionError), atomic_write(tmp_path / "a", durable=durable) as temporary:
        temporary.write_bytes(b"half of")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_bytes() == b"old"
    assert list(tmp_path.glob(LEFT)) == []
