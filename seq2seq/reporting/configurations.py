"""Configurations instead of runs: a sweep where the runs that differ in their seed only are taken together."""

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
    """The finished runs of one configuration: by metric their values, what these say, and p against the baseline."""

    name: str
    settings: dict[str, str]
    runs: list[str]
    values: dict[str, list[float]]
    summaries: dict[str, Summary]
    p_values: dict[str, float | None]


class Comparison(NamedTuple):
    """Configurations, the best first by the mean of `metric`; `notes` say how to read them, and what is left out."""

    over: tuple[str, ...]
    metrics: list[str]
    metric: str
    configurations: list[Configuration]
    notes: list[str]


def repeated(rows: Sequence[Row], over: Sequence[str] = ("seed",)) -> bool:
    """Whether some configuration has several finished runs, which differ in `over` only."""
    groups = _groups([row for row in rows if row["status"] == "finished"], over)
    return set(over) <= set(varied_keys(rows)) and any(len(group) > 1 for group in groups.values())


def compare(rows: Sequence[Row], over: Sequence[str], baseline: str | None = None, test: str = "welch") -> Comparison:
    """Take the rows of `leaderboard.collect` together over some of their settings.

    Each configuration is tested against `baseline`, the label of one (`cell=gru`), or else against the best that has
    several runs.

    Raises:
        UserError: the jobs do not differ in such a setting, no finished one has a score, or no configuration is so
            called.
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
    found = [_configuration(group, over, metrics) for group in _groups(counted, over).values()]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    found.sort(key=lambda each: sign * each.summaries[metric].mean)
    against = _find(found, baseline)
    for each in found:
        if each is not against:
            shared = each.values.keys() & against.values.keys()
            each.p_values.update({name: TESTS[test](each.values[name], against.values[name]) for name in shared})
    notes = [
        f"mean, sample deviation and 95% t interval of the mean of n finished runs, which differ in {', '.join(over)}"
    ]
    if len(found) > 1:
        reading = f"two-sided, each pair by itself, not corrected for their number; *: p < {SIGNIFICANT}"
        notes.append(f"p: {TEST_NAMES[test]} against {against.name}, {reading}; a single run has no p")
    return Comparison(tuple(over), metrics, metric, found, [*notes, *_left_out(rows, counted, metrics)])


def terminal(comparison: Comparison, width: int) -> str:
    """The ranking metric of each configuration, in `width` characters if that can be, and the notes."""
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
    """A section with the mean and deviation of every metric, and interval and p-value of the ranking one."""
    metric, found = comparison.metric, comparison.configurations
    keys = list(dict.fromkeys(key for each in found for key in each.settings))
    rows = []
    for each in found:
        means = [" ± ".join(filter(None, _numbers(each, name)[:2])) for name in comparison.metrics]
        cells = [*(each.settings.get(key, "") for key in keys), str(each.summaries[metric].n), *means]
        rows.append([cell.replace("|", "\\|") for cell in [*cells, *_numbers(each, metric)[2:]]])
    headers = [*keys, "n", *(f"{name} (mean ± sd)" for name in comparison.metrics), f"{metric} 95%", f"{metric} p"]
    alignment = ["left" if name in keys else "right" for name in headers]
    table = tabulate(rows, headers, "github", disable_numparse=True, colalign=alignment)
    return "\n".join([f"## Over {' '.join(comparison.over)}", "", table, "", *(f"- {n}" for n in comparison.notes), ""])


def write_csv(comparison: Comparison, path: Path) -> None:
    """Everything in full, one line a configuration."""
    keys = list(dict.fromkeys(key for each in comparison.configurations for key in each.settings))
    columns = [f"{name} {what}" for name in comparison.metrics for what in ("n", "mean", "sd", "low", "high", "p")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*keys, *columns, "runs"])
        for each in comparison.configurations:
            cells = [cell for name in comparison.metrics for cell in _full(each, name)]
            writer.writerow([*(each.settings.get(key) for key in keys), *cells, " ".join(each.runs)])


def _groups(rows: Sequence[Row], over: Sequence[str]) -> dict[tuple[tuple[str, str], ...], list[Row]]:
    """Rows by their settings without those that are gone over."""
    groups: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        settings = tuple(sorted((key, value) for key, value in row["varied"].items() if key not in over))
        groups.setdefault(settings, []).append(row)
    return groups


def _configuration(rows: Sequence[Row], over: Sequence[str], metrics: Sequence[str]) -> Configuration:
    settings = {key: value for key, value in rows[0]["varied"].items() if key not in over}
    values = {name: [row[name] for row in rows if finite(row[name])] for name in metrics}
    values = {name: found for name, found in values.items() if found}
    name = label({"varied": settings, "run": "all"})
    summaries = {name: summarize(found) for name, found in values.items()}
    return Configuration(name, settings, [row["run"] for row in rows], values, summaries, {})


def _find(found: Sequence[Configuration], name: str | None) -> Configuration:
    if name is None:
        return next((each for each in found if len(each.runs) > 1), found[0])
    for each in found:
        if set(name.split()) == set(each.name.split()):
            return each
    raise UserError(f"--baseline {name!r}: no such configuration; choose from {'; '.join(each.name for each in found)}")


def _left_out(rows: Sequence[Row], counted: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """Runs that do not count, and metrics that were not computed in the same way in all runs."""
    runs = {row["run"] for row in counted}
    absent = [f"{row['run']} ({row['status']})" for row in rows if row["run"] not in runs]
    notes = [f"not counted: {', '.join(absent)}"] if absent else []
    for name in metrics:
        ways = {_way(row["signatures"][name]) for row in counted if name in row["signatures"]}
        if len(ways) > 1:
            notes.append(f"{name} was computed in {len(ways)} ways ({'; '.join(sorted(ways))}): do not compare it")
    return notes


def _way(signature: str) -> str:
    """A signature without what was drawn for its interval, which does not change the score."""
    return "|".join(part for part in signature.split("|") if part.partition(":")[0] not in ("bs", "seed"))


def _numbers(each: Configuration, metric: str) -> list[str]:
    """Mean, deviation, interval, p-value as one reads them; empty where there is none."""
    found, p_value = each.summaries.get(metric), each.p_values.get(metric)
    if found is None:
        return ["", "", "", ""]
    deviation = "" if found.deviation is None else f"{found.deviation:.2f}"
    interval = "" if found.interval is None else "[{:.2f}, {:.2f}]".format(*found.interval)
    p_text = "" if p_value is None else f"{p_value:.4f}{'*' if p_value < SIGNIFICANT else ' '}"
    return [f"{found.mean:.2f}", deviation, interval, p_text]


def _full(each: Configuration, metric: str) -> list[float | None]:
    found = each.summaries.get(metric)
    if found is None:
        return [0, None, None, None, None, None]
    return [found.n, found.mean, found.deviation, *(found.interval or (None, None)), each.p_values.get(metric)]
