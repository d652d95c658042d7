"""The leaderboard as text: CSV with all values, Markdown, and a table that fits into a terminal."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from seq2seq.reporting.wording import compact, duration, finite, one_line, shorten

Row = dict[str, Any]
"""A job: `run`, its `folder`, `varied` (its overrides that not all jobs share), `status`, `error`, `monitor` (the
logged metric that selected its model), NUMBERS, metrics, and `signatures` and `intervals` (low, high) by metric."""

NUMBERS = ("parameters", "val_loss", "val_perplexity", "tokens_per_second", "seconds", "seed")
FIXED = ("run", "folder", "varied", "status", "error", "monitor", "signatures", "intervals", *NUMBERS)
HEADERS = {"val_loss": "val loss", "val_perplexity": "val ppl", "parameters": "params", "tokens_per_second": "tok/s"}
LOWER_IS_BETTER = (
    *("TER", "WER", "WER-words", "PER", "Levenshtein", "bits per character", "perplexity", "val_loss", "MSE", "MAE"),
)
INTERVALS = "[low, high]: 95% interval, bootstrap over the lines of the test set"
DISPENSABLE = ("seconds", "TER", "chrF", "tokens_per_second", "parameters", "val_loss")
"""Columns that are left out in a narrow terminal, in this order."""
MARGIN = " ±95%"
"""Suffix of a metric's name, for the column with half the width of its interval."""


def label(row: Row) -> str:
    """The name of a job: its varied overrides, or its folder if there are none."""
    return " ".join(f"{key}={value}" for key, value in row["varied"].items()) or f"({row['run']})"


def metric_names(rows: Sequence[Row]) -> list[str]:
    """The test metrics of a collected sweep, BLEU first."""
    return sorted((name for name in rows[0] if name not in FIXED), key=lambda name: name != "BLEU")


def ranked_by(rows: Sequence[Row]) -> str:
    """The metric that ranks the jobs: the test metric that selected the model of each; else the first test metric that
    any job has and that is not 0 for all; else the validation loss, or ""."""
    names = [*_shared_monitor(rows), *metric_names(rows), "val_loss"]
    known = [name for name in names if any(finite(row.get(name)) for row in rows)]
    telling = (name for name in known if any(finite(row.get(name)) and row[name] != 0 for row in rows))
    return next(telling, next(iter(known), ""))


def _shared_monitor(rows: Sequence[Row]) -> list[str]:
    """The test metric that selected the models of all jobs whose monitor is known; empty if they differ or it is
    none."""
    logged = {str(row["monitor"]).removeprefix("val_").lower() for row in rows if row.get("monitor")}
    return [name for name in metric_names(rows) if {name.lower()} == logged]


def varied_keys(rows: Sequence[Row]) -> list[str]:
    """The settings in which the jobs of a sweep differ; each is a column."""
    return list(dict.fromkeys(key for row in rows for key in row["varied"]))


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write all values without rounding, one line for each job, with the interval and signature of each metric."""
    signatures = {name: f"{name} signature" for name in metric_names(rows)}
    ends = [(name, end) for name in metric_names(rows) if _sure(rows, name) for end in (0, 1)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = _columns(rows)
        writer.writerow([*columns, *(f"{name} {('low', 'high')[end]}" for name, end in ends), *signatures.values()])
        for row in rows:
            intervals = [row["intervals"].get(name, (None, None))[end] for name, end in ends]
            texts = [row["signatures"].get(name) for name in signatures]
            writer.writerow([*(_value(name, row) for name in columns), *intervals, *texts])


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table of scores with their intervals, and below it the signature of each metric."""
    columns = _columns(rows)
    cells = [[(_cell(name, row) + _interval(name, row)).replace("|", "\\|") for name in columns] for row in rows]
    table = tabulate(cells, _headers(columns), "github", disable_numparse=True, colalign=_alignment(columns, rows))
    signatures = dict.fromkeys((name, row["signatures"].get(name)) for name in metric_names(rows) for row in rows)
    notes = [f"- {name}: `{text}`" for name, text in signatures if text]
    notes += [f"- {INTERVALS}"] if any(row["intervals"] for row in rows) else []
    return "\n".join([table, "", *notes]).rstrip() + "\n"


def table(rows: Sequence[Row]) -> list[list[str]]:
    """The headers, then the cells of each row, as text: all columns, for other pages."""
    columns = _columns(rows)
    return [_headers(columns), *([_cell(name, row) + _interval(name, row) for name in columns] for row in rows)]


def terminal(rows: Sequence[Row], width: int) -> str:
    """A table that fits into `width` characters if possible, and below it a line for each job with an error.

    Columns that do not fit are left out in the order of DISPENSABLE; then cells are wrapped.
    """
    columns = [name for name in _columns(rows) if name not in ("error", "val_perplexity")]
    if "seed" not in varied_keys(rows):
        columns.remove("seed")
    metric = ranked_by(rows)
    if _sure(rows, metric):
        columns.insert(columns.index(metric) + 1, metric + MARGIN)
    table = fit(rows, columns, width, (*DISPENSABLE, metric + MARGIN))
    notes = [f"{row['run']}: {row['status']}: {one_line(row['error'])}" for row in rows if row["error"]]
    if MARGIN.strip() in table:
        notes.append(f"{MARGIN.strip()}: half the interval of a bootstrap over the lines of the test set")
    return "\n".join([table, *([""] if notes else []), *(shorten(note, width) for note in notes)])


def fit(rows: Sequence[Row], columns: Sequence[str], width: int, dispensable: Sequence[str] = ()) -> str:
    """A table that fits into `width` characters if possible, by leaving out dispensable columns and wrapping
    settings."""
    table = _fixed_width(rows, columns, 32)
    for name in dispensable:
        if _width(table) <= width:
            break
        columns = [column for column in columns if column != name]
        table = _fixed_width(rows, columns, 32)
    for longest in (24, 18, 14, 10, 8, 6, 5, 4):
        if _width(table) <= width:
            break
        table = _fixed_width(rows, columns, longest)
    return table


def _sure(rows: Sequence[Row], metric: str) -> bool:
    """Whether any job has an interval of this metric."""
    return any(metric in row["intervals"] for row in rows)


def _interval(name: str, row: Row) -> str:
    return " [{:.2f}, {:.2f}]".format(*row["intervals"][name]) if name in row["intervals"] else ""


def _columns(rows: Sequence[Row]) -> list[str]:
    """The names of all columns, settings first; a seed that varies is one of the settings only."""
    varied = varied_keys(rows)
    numbers = [name for name in ("val_loss", *NUMBERS) if name not in varied]
    return ["run", *varied, "status", *metric_names(rows), *dict.fromkeys(numbers), "error"]


def _headers(columns: Sequence[str]) -> list[str]:
    return [MARGIN.strip() if name.endswith(MARGIN) else HEADERS.get(name, name) for name in columns]


def _fixed_width(rows: Sequence[Row], columns: Sequence[str], longest: int) -> str:
    """A table whose settings are wrapped after `longest` characters; the header of `encoder.depth` is `depth`."""
    last = [name.rpartition(".")[2] for name in columns]
    short = [part if last.count(part) == 1 else name for part, name in zip(last, columns, strict=True)]
    cells = [_headers(short), *([_cell(name, row) for name in columns] for row in rows)]
    breakable = {"run", *varied_keys(rows)}
    widest = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths = [min(width, longest) if name in breakable else width for width, name in zip(widest, columns, strict=True)]
    cells.insert(1, ["-" * width for width in widths])  # rows, because tabulate pads headers by two spaces
    alignment = _alignment(columns, rows)
    return tabulate(cells, (), "plain", disable_numparse=True, colalign=alignment, maxcolwidths=widths)


def _alignment(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    texts = {"run", "status", "error", *varied_keys(rows)}
    return ["left" if name in texts else "right" for name in columns]


def _width(table: str) -> int:
    return max(map(len, table.split("\n")))


def _value(name: str, row: Row) -> Any:
    return row[name] if name in row and name not in row["varied"] else row["varied"].get(name)


def _cell(name: str, row: Row) -> str:
    """A value as text for a table."""
    if name.endswith(MARGIN):
        interval = row["intervals"].get(name.removesuffix(MARGIN))
        return f"{(interval[1] - interval[0]) / 2:.2f}" if interval else ""
    value = _value(name, row)
    if value is None:
        return ""
    if name in ("parameters", "tokens_per_second") and finite(value):
        return compact(value)
    if name == "seconds" and finite(value):
        return duration(value)
    if isinstance(value, float):
        return f"{value:.3f}" if name == "val_loss" else f"{value:.2f}"
    return shorten(one_line(str(value)), 200)
