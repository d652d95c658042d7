"""Compare the configurations of a sweep: runs that differ in their seed only are averaged."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

from tabulate import tabulate

from seq2seq.errors import UserError
from seq2seq.reporting.tables import LOWER_IS_BETTER, Row, fit, label, metric_names, ranked_by, varied_keys
from seq2seq.reporting.wording import finite
from seq2seq.scoring.seeds import TESTS, Summary, summarize

TEST_NAMES = {"welch": "Welch's t-test", "permutation": "permutation test"}
SIGNIFICANT = 0.05


class Configuration(NamedTuple):
    """The finished runs of one configuration: values, summary, and p-value against the baseline, by metric."""

    name: str
    settings: dict[str, str]
    runs: list[str]
    values: dict[str, list[float]]
    summaries: dict[str, Summary]
    p_values: dict[str, float | None]


class Comparison(NamedTuple):
    """Configurations, sorted by the mean of `metric`, the best first; `notes` explain the numbers, and what is left
    out."""

    over: tuple[str, ...]
    metrics: list[str]
    metric: str
    configurations: list[Configuration]
    notes: list[str]


def repeated(rows: Sequence[Row], over: Sequence[str] = ("seed",)) -> bool:
    """Whether any configuration has several finished runs that differ in the settings `over` only."""
    groups = _groups([row for row in rows if row["status"] == "finished"], over)
    return set(over) <= set(varied_keys(rows)) and any(len(group) > 1 for group in groups.values())


def compare(rows: Sequence[Row], over: Sequence[str], baseline: str | None = None, test: str = "welch") -> Comparison:
    """Group the rows of `leaderboard.collect` by their settings without `over`.

    Each configuration is tested against `baseline`, the label of one (`cell=gru`), by default the best one that has
    several runs.

    Raises:
        UserError: the jobs do not differ in a setting of `over`, no finished job has a score, or `baseline` is no
            configuration's label.
    """
    varied = varied_keys(rows)
    if astray := [key for key in over if key not in varied]:
        raise UserError(
            f"--over {astray[0]}: the jobs do not differ in it; they differ in {', '.join(varied) or 'nothing'}"
        )
    metric = ranked_by(rows)
    counted = [row for row in rows if row["status"] == "finished" and finite(row.get(metric))]
    if not counted:
        raise UserError(f"--over {' '.join(over)}: no finished run has a score")
    metrics = [name for name in metric_names(rows) if any(finite(row[name]) for row in counted)] or [metric]
    compared = [_configuration(group, over, metrics) for group in _groups(counted, over).values()]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    compared.sort(key=lambda each: sign * each.summaries[metric].mean)
    against = _find(compared, baseline)
    for each in compared:
        if each is not against:
            shared = each.values.keys() & against.values.keys()
            each.p_values.update({name: TESTS[test](each.values[name], against.values[name]) for name in shared})
    notes = [
        f"mean, sample deviation and 95% t interval of the mean of n finished runs, which differ in {', '.join(over)}"
    ]
    if len(compared) > 1:
        reading = f"two-sided, each pair by itself, not corrected for their number; *: p < {SIGNIFICANT}"
        notes.append(f"p: {TEST_NAMES[test]} against {against.name}, {reading}; a single run has no p")
    return Comparison(tuple(over), metrics, metric, compared, [*notes, *_left_out(rows, counted, metrics)])


def terminal(comparison: Comparison, width: int) -> str:
    """A table with the ranking metric of each configuration, in `width` characters if possible, and the notes."""
    metric = comparison.metric
    rows: list[Row] = []
    for each in comparison.configurations:
        numbers = _numbers(each, metric)
        cells = dict(zip(("n", metric, "sd", "95%", "p"), (str(each.summaries[metric].n), *numbers), strict=True))
        rows.append({"varied": each.settings, **cells})
    table = fit(rows, [*varied_keys(rows), "n", metric, "sd", "95%", "p"], width, ("95%", "sd"))
    notes = [fill(note, width) for note in comparison.notes]
    return "\n".join([f"over {' '.join(comparison.over)} (leaderboard.over.csv and .png):", table, "", *notes])


def markdown(comparison: Comparison) -> str:
    """A Markdown section with the mean and deviation of every metric, and the ranking metric's interval and p-value."""
    metric, compared = comparison.metric, comparison.configurations
    keys = list(dict.fromkeys(key for each in compared for key in each.settings))
    rows = []
    for each in compared:
        means = [" ± ".join(filter(None, _numbers(each, name)[:2])) for name in comparison.metrics]
        cells = [*(each.settings.get(key, "") for key in keys), str(each.summaries[metric].n), *means]
        rows.append([cell.replace("|", "\\|") for cell in [*cells, *_numbers(each, metric)[2:]]])
    headers = [*keys, "n", *(f"{name} (mean ± sd)" for name in comparison.metrics), f"{metric} 95%", f"{metric} p"]
    alignment = ["left" if name in keys else "right" for name in headers]
    table = tabulate(rows, headers, "github", disable_numparse=True, colalign=alignment)
    return "\n".join([f"## Over {' '.join(comparison.over)}", "", table, "", *(f"- {n}" for n in comparison.notes), ""])


def write_csv(comparison: Comparison, path: Path) -> None:
    """Write all numbers without rounding, one line for each configuration."""
    keys = list(dict.fromkeys(key for each in comparison.configurations for key in each.settings))
    columns = [f"{name} {what}" for name in comparison.metrics for what in ("n", "mean", "sd", "low", "high", "p")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*keys, *columns, "runs"])
        for each in comparison.configurations:
            cells = [cell for name in comparison.metrics for cell in _full(each, name)]
            writer.writerow([*(each.settings.get(key) for key in keys), *cells, " ".join(each.runs)])


def _groups(rows: Sequence[Row], over: Sequence[str]) -> dict[tuple[tuple[str, str], ...], list[Row]]:
    """Rows by their settings, without those in `over`."""
    groups: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        settings = tuple(sorted((key, value) for key, value in row["varied"].items() if key not in over))
        groups.setdefault(settings, []).append(row)
    return groups


def _configuration(rows: Sequence[Row], over: Sequence[str], metrics: Sequence[str]) -> Configuration:
    settings = {key: value for key, value in rows[0]["varied"].items() if key not in over}
    values = {name: [row[name] for row in rows if finite(row[name])] for name in metrics}
    values = {name: numbers for name, numbers in values.items() if numbers}
    name = label({"varied": settings, "run": "all"})
    summaries = {name: summarize(numbers) for name, numbers in values.items()}
    return Configuration(name, settings, [row["run"] for row in rows], values, summaries, {})


def _find(compared: Sequence[Configuration], name: str | None) -> Configuration:
    if name is None:
        return next((each for each in compared if len(each.runs) > 1), compared[0])
    for each in compared:
        if set(name.split()) == set(each.name.split()):
            return each
    raise UserError(
        f"--baseline {name!r}: no such configuration; choose from {'; '.join(each.name for each in compared)}"
    )


def _left_out(rows: Sequence[Row], counted: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """Notes on runs that are left out, and on metrics that were not computed in the same way in all runs."""
    runs = {row["run"] for row in counted}
    absent = [f"{row['run']} ({row['status']})" for row in rows if row["run"] not in runs]
    notes = [f"not counted: {', '.join(absent)}"] if absent else []
    for name in metrics:
        ways = {_way(row["signatures"][name]) for row in counted if name in row["signatures"]}
        if len(ways) > 1:
            notes.append(f"{name} was computed in {len(ways)} ways ({'; '.join(sorted(ways))}): do not compare it")
    return notes


def _way(signature: str) -> str:
    """A signature without the bootstrap's number and seed, which do not affect the score."""
    return "|".join(part for part in signature.split("|") if part.partition(":")[0] not in ("bs", "seed"))


def _numbers(each: Configuration, metric: str) -> list[str]:
    """Mean, deviation, interval and p-value as text; empty if there is none."""
    summary, p_value = each.summaries.get(metric), each.p_values.get(metric)
    if summary is None:
        return ["", "", "", ""]
    deviation = "" if summary.deviation is None else f"{summary.deviation:.2f}"
    interval = "" if summary.interval is None else "[{:.2f}, {:.2f}]".format(*summary.interval)
    p_text = "" if p_value is None else f"{p_value:.4f}{'*' if p_value < SIGNIFICANT else ' '}"
    return [f"{summary.mean:.2f}", deviation, interval, p_text]


def _full(each: Configuration, metric: str) -> list[float | None]:
    summary = each.summaries.get(metric)
    if summary is None:
        return [0, None, None, None, None, None]
    return [summary.n, summary.mean, summary.deviation, *(summary.interval or (None, None)), each.p_values.get(metric)]
