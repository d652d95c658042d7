"""metrics.csv, which continues where a run resumes: without a gap, and with no step twice."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from seq2seq.runtime.atomic_files import atomic_write


class MetricsFile(CSVLogger):
    """Lightning's logger of metrics.csv in `folder`; rows from `step` on that an earlier process left are cut off.

    A process that was killed may have left half a row at the end: it comes after the last checkpoint, before which
    all rows are written, so it is cut off, too.
    """

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__(folder, name="", version="")
        self._step = step

    @property
    def experiment(self) -> Any:
        """The writer, made when it is first asked for, as Lightning does."""
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(self.log_dir)
            self._experiment.cut(self._step)
        return self._experiment


class _Writer(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """What is there is kept (Lightning would delete it)."""

    def cut(self, step: int) -> None:
        """Keep the rows of the steps before `step`, and their columns."""
        path = Path(self.metrics_file_path)
        if not path.exists():
            return
        rows = [row for row in self._rows() if (row.get("step") or "").isdigit() and int(row["step"]) < step]
        if not rows:
            path.unlink()
            return
        self.metrics_keys = list(rows[0])
        self._replace(self.metrics_keys, rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Lightning's writes into the file itself, which would be lost in a crash."""
        self._replace(fieldnames, self._rows())

    def _rows(self) -> list[dict[str, str]]:
        with open(self.metrics_file_path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _replace(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        with atomic_write(Path(self.metrics_file_path)) as path, path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
