"""Windows of a table by hand, splits by time, and numbers as targets of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq.corpora.datasets.series import Series
from seq2seq.corpora.features import NumberFiles
from seq2seq.errors import UserError


def table(folder: Path, rows: int = 20) -> Path:
    path = folder / "t.csv"
    lines = ["time, a ,b", *(f"{i},{i + 1},{100 - i}" for i in range(rows))]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def series(path: Path, **changes: Any) -> Series:
    options = {
        "columns": ["a", "b"],
        "predicted": "b",
        "window": 3,
        "horizon": 2,
        "val_share": 0.25,
        "test_share": 0.25,
    }
    return Series(file=str(path), **{**options, **changes})


def test_windows_and_what_follows_them(tmp_path: Path) -> None:
    corpus = series(table(tmp_path))
    found = {split: list(corpus.examples(split)) for split in corpus.splits}
    frames, after = found["train"][0]
    assert frames.tolist() == [[1, 100], [2, 99], [3, 98]]
    assert after == "96"  # two rows after the last, 98
    assert corpus.last_values("train")[0] == 98
    targets = [float(text) for split in corpus.splits for _, text in found[split]]
    assert targets == [float(value) for value in range(96, 80, -1)]  # each once, those of the test last
    assert [len(found[split]) for split in corpus.splits] == [8, 4, 4]


def test_returns_are_changes_of_logarithms(tmp_path: Path) -> None:
    frames, after = next(series(table(tmp_path), returns=True, horizon=1).examples("train"))
    expected = np.diff(np.log([[1, 100], [2, 99], [3, 98], [4, 97], [5, 96]]), axis=0)
    np.testing.assert_allclose(frames, expected[:3], rtol=1e-6)
    assert float(after) == pytest.approx(expected[3, 1], rel=1e-6)
    assert series(table(tmp_path), returns=True).last_values("test")[0] == 0


def test_the_prices_that_matplotlib_carries() -> None:
    corpus = Series(["open", "high", "low", "close"], "close")
    examples = list(corpus.examples("test"))
    assert len(examples) == 205
    assert examples[0][0].shape == (20, 4)
    assert float(examples[0][1]) == pytest.approx(examples[1][0][-1, 3])


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"predicted": "c"}, None, r"data.corpus.predicted=c: is none of data.corpus.columns, a, b"),
        ({"columns": ["a", "c"], "predicted": "a"}, None, r"t.csv:1: has no column 'c'; it has time, a, b"),
        ({}, "7,x,1", r"t.csv:22: has no number in a or b"),
        ({}, "7,inf,1", r"t.csv:22: has a number that is not finite"),
        ({"window": 30}, None, r"20 rows are too few for windows of 30"),
        ({"returns": True}, "7,0,1", r"returns=true needs numbers above 0"),
        ({"window": 0}, None, r"data.corpus.window=0: must be at least 1"),
        ({"test_share": 0.9}, None, r"test_share=0.9: must be above 0, and leave some for train"),
    ],
)
def test_what_is_no_series(tmp_path: Path, changes: dict[str, Any], line: str | None, message: str) -> None:
    path = table(tmp_path)
    if line:
        path.write_text(path.read_text() + f"{line}\n")
    with pytest.raises(UserError, match=message):
        list(series(path, **changes).examples("train"))


def test_numbers_as_targets_of_files(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for target, text in ((1.5, "1.5"), ([1, 2], "1 2"), ("3 4.25", "3 4.25")):
        path.write_text(json.dumps({"features": [[1.0]], "target": target}) + "\n")
        assert [text for _, text in NumberFiles("numbers", str(path), str(path)).examples("val")] == [text]
    path.write_text(json.dumps({"features": [[1.0]], "target": "low"}) + "\n")
    with pytest.raises(UserError, match=r"t.jsonl:1: its target: 'low' is not numbers"):
        list(NumberFiles("numbers", str(path), str(path)).examples("val"))
    np.savez(tmp_path / "t.npz", features=np.ones((2, 3, 1)), targets=np.array([[1.0, 2], [3, 4]]))
    found = NumberFiles("numbers", str(tmp_path / "t.npz"), str(tmp_path / "t.npz"))
    assert [text for _, text in found.examples("train")] == ["1 2", "3 4"]
