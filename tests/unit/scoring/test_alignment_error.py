"""The alignment error rate, by hand and through its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seq2seq.cli.main import main
from seq2seq.scoring.alignment_error import alignment_error


def test_by_hand() -> None:
    """A = {00, 11, 22, 31}, S = {00, 11, 33}, possible also 22: 3 of 4 are possible, 2 of 3 sure ones are there."""
    found = alignment_error([({(0, 0), (1, 1)}, {(0, 0), (1, 1)}, set()), ({(2, 2), (3, 1)}, {(3, 3)}, {(2, 2)})])
    assert (found.precision, found.recall) == (3 / 4, 2 / 3)
    assert found.aer == pytest.approx(1 - (2 + 3) / (4 + 3))


def test_without_links() -> None:
    assert alignment_error([([], [], [])]).aer == 0
    assert alignment_error([([], [(0, 0)], [])]).aer == 1


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gold").write_text("0-0 1-1\n\n2?2 3-3\n")
    Path("own").write_text("0-0 1-1 \n\n2-2 3-1\n")
    assert main(["alignment-error", "gold", "own", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == pytest.approx({"aer": 2 / 7, "precision": 3 / 4, "recall": 2 / 3, "links": 4, "sure": 3})
    assert main(["alignment-error", "gold", "own"]) == 0
    assert capsys.readouterr().out == "aer 0.2857  precision 0.7500  recall 0.6667  (4 links, 3 sure ones)\n"
    for name, text, message in (
        ("bad", "0-0\n0_1\n\n", "bad:2: '0_1' is no link; write SOURCE-TARGET"),
        ("short", "0-0\n", "short:2: ends before gold does"),
    ):
        Path(name).write_text(text)
        assert main(["alignment-error", "gold", name]) == 2
        assert message in capsys.readouterr().err
