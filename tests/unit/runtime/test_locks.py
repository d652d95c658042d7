"""Locks: one holder at a time, released when the file is closed, and unknown where the system has none."""

import os
import sys

import pytest

from seq2seq.errors import UserError
from seq2seq.runtime.locks import is_still, try_lock
from seq2seq.training.records.run_record import claim


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "lock"
    with path.open("ab") as first:
        assert try_lock(first) is True
        with path.open("ab") as second:
            assert try_lock(second) is False
        assert is_still(first, path)
        path.unlink()
        assert not is_still(first, path)
        path.touch()
        assert not is_still(first, path)
    with path.open("ab") as third:
        assert try_lock(third) is True


def test_folders(tmp_path):
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert [try_lock(first), try_lock(second)] == [True, False]
    os.close(first)
    assert try_lock(second) is True
    os.close(second)


def test_without_locks_no_process_is_blocked(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "portalocker", None)
    with claim(tmp_path) as mine, claim(tmp_path) as also:
        assert (mine, also) == (True, True)


def test_an_output_that_another_process_writes_is_refused(tmp_path):
    from seq2seq.inference.files.partial import _open

    with _open(tmp_path / "out.partial", 0), pytest.raises(UserError, match="another process is writing it"):
        _open(tmp_path / "out.partial", 0)
