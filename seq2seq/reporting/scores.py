"""Scores of systems as tables for a terminal, in Markdown or LaTeX (booktabs), or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from tabulate import tabulate

from seq2seq.scoring import Score, Scores
from seq2seq.scoring.breakdowns import Breakdown, Bucket

SIGNIFICANT = 0.05


class Report(NamedTuple):
    """The scores of each system, their breakdowns, and remarks."""

    systems: Mapping[str, Scores]
    breakdowns: Sequence[Breakdown] = ()
    remarks: Sequence[str] = ()


class Layout(NamedTuple):
    """Templates of a format: its name in tabulate, title, signature, remark, escaped bar, and line break in a cell."""

    table: str
    title: str
    signature: str
    remark: str
    bar: str = "|"
    new_line: str = ", "


TEXT = Layout("simple", "{}", "{}  {}", "{}", new_line="\n")
MARKDOWN = Layout("github", "### {}", "- {}: `{}`", "- {}", bar="\\|")
LATEX = Layout("latex_booktabs", "% {}", "% {}: {}", "% {}")


def as_json(report: Report) -> str:
    """`{"hypotheses.de": {"BLEU": {"value": 37.3, "signature": "nrefs:1|…"}, …}, …}`.

    With breakdowns, a system also has `"breakdowns": {"source words": [{"bucket": "1–5", "size": 12, "scores":
    {"BLEU": {…}, …}}, …], …}`.
    """
    described = {}
    for system, scores in report.systems.items():
        parts = {each.by: list(map(_bucket, each.systems[system])) for each in report.breakdowns}
        described[system] = {**scores.as_dict(), **({"breakdowns": parts} if parts else {})}
    return json.dumps(described, indent=2, ensure_ascii=False)


def as_tables(layout: Layout, report: Report) -> str:
    """The scores, their signatures, breakdowns and remarks; a single system has lines instead of a table in TEXT."""
    scores = next(iter(report.systems.values()))
    width = max(map(len, scores)) if layout is TEXT else 0
    signatures = [layout.signature.format(f"{name:{width}}", score.signature) for name, score in scores.items()]
    if len(report.systems) == 1 and layout is TEXT:
        blocks = [str(scores)]
    else:
        blocks = [_table(layout, ["system", *scores], _rows(layout, report)), "\n".join(signatures)]
    for each in report.breakdowns:
        blocks += [layout.title.format(f"By {each.by}"), _breakdown(layout, each)]
    return "\n\n".join([*blocks, *(["\n".join(map(layout.remark.format, report.remarks))] if report.remarks else [])])


FORMATS: dict[str, Callable[[Report], str]] = {
    "text": partial(as_tables, TEXT),
    "json": as_json,
    "markdown": partial(as_tables, MARKDOWN),
    "latex": partial(as_tables, LATEX),
}


def _rows(layout: Layout, report: Report) -> list[list[str]]:
    """A row for each system; in TEXT, the p-value is below its score."""
    return [
        [system, *(layout.new_line.join(_parts(score)) for score in scores.values())]
        for system, scores in report.systems.items()
    ]


def _parts(score: Score) -> list[str]:
    """The score with its interval, and the p-value, with a star if it is significant."""
    if score.p_value is None:
        return [score.text().strip()]
    return [score.text().strip(), f"p = {score.p_value:.4f}{'*' if score.p_value < SIGNIFICANT else ''}"]


def _breakdown(layout: Layout, breakdown: Breakdown) -> str:
    """A row for each bucket and system."""
    several = len(breakdown.systems) > 1
    rows = []
    for same in zip(*breakdown.systems.values(), strict=True):
        for number, (system, bucket) in enumerate(zip(breakdown.systems, same, strict=True)):
            first = [bucket.label, str(bucket.size)] if number == 0 or layout is not TEXT else ["", ""]
            cells = [score.text().strip() for score in bucket.scores]
            rows.append([*first, *([system] if several else []), *cells])
    names = [score.name for buckets in breakdown.systems.values() for score in buckets[0].scores]
    headers = [breakdown.by, breakdown.counted, *(["system"] if several else []), *dict.fromkeys(names)]
    return _table(layout, headers, rows)


def _table(layout: Layout, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column and `system` are texts; all others are numbers."""
    cells = [[cell.replace("|", layout.bar) for cell in row] for row in rows]
    left = [number == 0 or name == "system" for number, name in enumerate(headers)]
    alignment = ["left" if each else "right" for each in left]
    return tabulate(cells, headers, layout.table, disable_numparse=True, colalign=alignment)


def _bucket(bucket: Bucket) -> dict[str, object]:
    scores = {score.name: score.as_dict() for score in bucket.scores}
    return {"bucket": bucket.label, "size": bucket.size, "scores": scores}
