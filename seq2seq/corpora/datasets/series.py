"""Windows of a table whose rows are time steps, each with the value that follows: prices, sensors, the weather."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seq2seq.corpora import readers
from seq2seq.corpora.features import FeatureCorpus
from seq2seq.corpora.store import Frames
from seq2seq.errors import UserError
from seq2seq.text.numbers import written

PRICES = "goog.npz"  # of matplotlib's sample data: open, high, low, close of 1,047 days
Table = NDArray[np.float64]


class Series(FeatureCorpus):
    """Windows [T, F] of `window` rows and F `columns`, and the `predicted` column `horizon` rows after each.

    `file` is CSV with a header; None is the table of prices that matplotlib carries. With `returns` the columns are
    changes of logarithms. The splits are by time: the targets of val come after those of train, those of the test after
    both. Raises `UserError`, with file and line, for what is no number, and for a table that is too short.
    """

    source_language, target_language = "series", "numbers"

    def __init__(
        self,
        columns: Sequence[str],
        predicted: str,
        file: str | None = None,
        *,
        window: int = 20,
        horizon: int = 1,
        returns: bool = False,
        val_share: float = 0.15,
        test_share: float = 0.2,
    ) -> None:
        self.names, self.predicted, self.file = list(columns), predicted, file
        self.window, self.horizon, self.returns = window, horizon, returns
        for key, value in (("window", window), ("horizon", horizon)):
            if value < 1:
                raise UserError(f"data.corpus.{key}={value}: must be at least 1")
        if predicted not in self.names:
            raise UserError(
                f"data.corpus.predicted={predicted}: is none of data.corpus.columns, {', '.join(self.names)}"
            )
        if not (0 < val_share < 1 and 0 < test_share < 1 and val_share + test_share < 1):
            raise UserError(
                f"data.corpus.val_share={val_share}, test_share={test_share}: must be above 0, and leave some for train"
            )
        self._borders = (0.0, 1 - val_share - test_share, 1 - test_share, 1.0)

    @property
    def name(self) -> str:
        """The file's name, or that of the prices."""
        return f"Series {Path(self.file).name if self.file else 'GOOG 2004-2008'}"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val and test."""
        return ("train", "val", "test")

    def files(self, split: str) -> tuple[Path, ...]:
        """The one file that all splits are read from."""
        return (Path(self.file).expanduser() if self.file else _prices(),)

    def examples(self, split: str) -> Iterator[tuple[Frames, str]]:
        """The windows of a split and the number after each, as text."""
        table, column = self._table, self.names.index(self.predicted)
        for end in self._ends(split, len(table)):
            after = table[end + self.horizon - 1, column]
            yield table[end - self.window : end].astype(np.float32), written([float(np.float32(after))])

    def last_values(self, split: str) -> list[float]:
        """The predicted column in the last row of each window: what says that nothing will change. (Of returns: 0.)"""
        column, table = self.names.index(self.predicted), self._table
        ends = self._ends(split, len(table))
        return [0.0 if self.returns else float(table[end - 1, column]) for end in ends]

    def _ends(self, split: str, rows: int) -> range:
        """The rows that windows of a split end before; each split has targets of its own."""
        place = self.splits.index(split)
        first, count = self.window, rows - self.window - self.horizon + 1
        begin, end = (first + round(share * count) for share in self._borders[place : place + 2])
        if count < 3 or begin >= end:
            raise UserError(
                f"{self.files(split)[0]}: {rows} rows are too few for windows of {self.window} in the split {split!r}; "
                "lower data.corpus.window, or raise its share"
            )
        return range(begin, end)

    @property
    def _table(self) -> Table:
        (path,) = self.files("train")
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            changed = 0
        return _read(path, tuple(self.names), self.file is not None, self.returns, changed)


@lru_cache(maxsize=1)
def _read(path: Path, columns: tuple[str, ...], is_csv: bool, returns: bool, changed: int) -> Table:
    """The table of a file, which has last `changed` then."""
    table = _rows(path, columns) if is_csv else _columns(path, columns)
    if not returns:
        return table
    if (table <= 0).any():
        raise UserError(f"{path}: data.corpus.returns=true needs numbers above 0; set it to false")
    return np.diff(np.log(table), axis=0)


def _rows(path: Path, columns: Sequence[str]) -> Table:
    """The columns of a CSV file."""
    reader = csv.reader(readers.lines(path))
    header = [name.strip() for name in next(reader, [])]
    for name in columns:
        if name not in header:
            raise UserError(f"{path}:1: has no column {name!r}; it has {', '.join(header) or 'nothing'}")
    places = [header.index(name) for name in columns]
    rows = []
    for number, row in enumerate(reader, 2):
        try:
            rows.append([float(row[place]) for place in places])
        except (ValueError, IndexError):
            where = " or ".join(columns)
            raise UserError(f"{path}:{number}: has no number in {where}; complete it, or take the line out") from None
        if not np.isfinite(rows[-1]).all():
            raise UserError(f"{path}:{number}: has a number that is not finite; complete it, or take the line out")
    return np.array(rows, np.float64).reshape(-1, len(columns))


def _columns(path: Path, columns: Sequence[str]) -> Table:
    """The columns of matplotlib's table."""
    table = np.load(path)["price_data"]
    known = [name for name in table.dtype.names if name != "date"]
    for name in columns:
        if name not in known:
            raise UserError(f"data.corpus.columns: the prices have no {name!r}, but {', '.join(known)}")
    return np.stack([table[name].astype(np.float64) for name in columns], 1)


def _prices() -> Path:
    from matplotlib.cbook import get_sample_data

    return Path(get_sample_data(PRICES, asfileobj=False))
