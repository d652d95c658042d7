"""The report of runs as one self-contained HTML page.

All content of runs is escaped by jinja2, and the page's Content-Security-Policy allows only its two scripts, and no
requests.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq import __version__
from seq2seq.reporting import interactive, style
from seq2seq.reporting.contents import Comparison, Contents, InspectedSource, Options, gather
from seq2seq.reporting.forms import ERRORS, Forms, rows
from seq2seq.reporting.inspection import Inspected
from seq2seq.reporting.leaderboard import compare
from seq2seq.reporting.runs import Notes, Run, differing
from seq2seq.reporting.series import Chart, Lengths, last_step
from seq2seq.reporting.tables import table
from seq2seq.reporting.tested import differences, edits
from seq2seq.reporting.wording import shorten
from seq2seq.runtime.atomic_files import atomic_write

PAGE = Path(__file__).parent / "page"
PATTERNS = {"solid": "", "dash": "8 4", "dot": "2 4", "dashdot": "8 3 2 3"}
"""SVG's stroke-dasharray for each of Plotly's dash styles."""
TEXTS = ("run", "status", "error")  # columns of the leaderboard that are not numbers
ORIGIN = ("seed", "data", "data_fingerprint", "steps", "epochs", "threads")
VERSIONS = ("seq2seq", "torch", "lightning", "python", "platform")


def write_report(paths: Sequence[Path], output: Path, options: Options) -> Notes:
    """Write the report of the runs in `paths`, the folders of runs or sweeps, atomically.

    Returns:
        Notes on missing content, which the page shows, too.

    Raises:
        UserError: there are no runs.
    """
    contents = gather(paths, options)
    page = render(contents)
    with atomic_write(output) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    return contents.notes


def render(contents: Contents) -> str:
    """The HTML page of a report's content."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scripts = [get_plotlyjs(), (PAGE / "report.js").read_text(encoding="utf-8")]
    return environment.get_template("report.html").render(
        _context(contents),
        css=Markup((PAGE / "report.css").read_text(encoding="utf-8")),  # not escaped, as it is a file of this package
        scripts=[{"text": Markup(script), "hash": _policy_hash(script)} for script in scripts],
    )


def _policy_hash(script: str) -> str:
    """The hash source that allows exactly this inline script (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _context(contents: Contents) -> dict[str, Any]:
    runs, names = contents.runs, [group.name for group in contents.groups]
    of = {run.folder: number for number, group in enumerate(contents.groups) for run in group.runs}
    return {
        "version": __version__,
        "title": _title(runs),
        "lead": _lead(runs),
        "notes": contents.notes,
        "runs": [{"name": run.name, "group": of[run.folder], "command": run.provenance.get("command")} for run in runs],
        "groups": [
            {"name": name, "colour": style.series(i), "pattern": PATTERNS[style.dash(i)]}
            for i, name in enumerate(names)
        ],
        "leaderboards": [_leaderboard(task, [run for run in runs if run.task == task], of) for task in contents.tasks],
        "signatures": sorted({item for run in runs for item in run.row["signatures"].items() if item[1]}),
        "curves_hint": _curves_hint(contents),
        "charts": [_chart(chart, names, last_step(contents.charts)) for chart in contents.charts],
        "lengths": [_lengths(contents.place(each.task, split), each, names) for split, each in contents.lengths],
        "comparisons": [
            _comparison(contents.place(each.tests[0].run.task, each.split), each, of) for each in contents.comparisons
        ],
        "forms": [_forms(contents.place(each.tests[0].run.task, each.tests[0].split), each) for each in contents.forms],
        "inspected": [_inspected(each, of) for each in contents.inspected],
        "differing": {key: [_value(value) for value in values] for key, values in differing(runs).items()},
        "origin": dict(_origin(runs)),
    }


def _title(runs: Sequence[Run]) -> str:
    names = [run.name for run in runs]
    return shorten(", ".join(names), 80) if len(runs) <= 3 else f"{len(runs)} runs"


def _lead(runs: Sequence[Run]) -> str:
    """Tasks, data and languages of the runs, as far as they are known."""
    tasks = dict.fromkeys(run.task.replace("_", " ") for run in runs if run.task)
    data = dict.fromkeys(str(run.provenance["data"]) for run in runs if "data" in run.provenance)
    sides = [tuple(run.provenance.get(f"{side}_language") for side in ("source", "target")) for run in runs]
    pairs = dict.fromkeys(f"{source} → {target}" for source, target in sides if source and target)
    return " · ".join(", ".join(words) for words in (tasks, data, pairs) if words)


def _leaderboard(task: str, runs: Sequence[Run], of: Mapping[Path, int]) -> dict[str, Any]:
    """A table of the columns that have a value for any run."""
    named = {run.folder: run.name for run in runs}
    rows = [{**row, "run": named[row["folder"]], "varied": {}} for row in compare(list(named))]
    headers, *cells = table(rows)
    used = [column for column in range(len(headers)) if any(row[column] for row in cells)]
    return {
        "task": task.replace("_", " ") or "of no known task",
        "headers": [{"text": headers[column], "number": headers[column] not in TEXTS} for column in used],
        "rows": [
            {"group": of[row["folder"]], "cells": [line[column] for column in used]}
            for row, line in zip(rows, cells, strict=True)
        ],
    }


def _curves_hint(contents: Contents) -> str:
    band = "Runs that differ only in their seed are one line, their mean, in a band of one standard deviation. "
    several = any(len(group.runs) > 1 for group in contents.groups)
    return band * several + "Training's numbers are running means. Drag to enlarge, double-click to go back."


def _chart(chart: Chart, names: Sequence[str], last: float) -> dict[str, Any]:
    rows = []
    for line in chart.lines:
        best = {"max": line.values.argmax(), "min": line.values.argmin()}.get(chart.best)
        places = [-1] if best is None else [int(best), -1]
        cells = [(f"{line.values[place]:.4g}", f"{line.steps[place]:,.0f}") for place in places]
        rows.append({"group": line.group, "cells": [text for pair in cells for text in pair]})
    figure = interactive.curves_figure(chart, names, last)
    return {"title": chart.title, "best": chart.best, "figure": figure, "rows": rows}


def _lengths(place: str, lengths: Lengths, names: Sequence[str]) -> dict[str, Any]:
    rows = [
        {
            "group": bars.group,
            "cells": [
                f"{value:.2f}" + (f" ± {spread:.2f}" if any(bars.spread) else "")
                for value, spread in zip(bars.values, bars.spread, strict=True)
            ],
        }
        for bars in lengths.bars
    ]
    words = [f"{words} ({count:,})" for words, count in zip(lengths.words, lengths.sentences, strict=True)]
    figure = interactive.lengths_figure(lengths, names)
    return {"title": f"{lengths.metric} on {place}", "figure": figure, "words": words, "rows": rows}


def _comparison(place: str, comparison: Comparison, of: Mapping[Path, int]) -> dict[str, Any]:
    first = comparison.tests[0]
    lines = []
    for line in comparison.lines:
        reference = first.references[line]
        outputs = [
            {
                "name": test.run.name,
                "group": of[test.run.folder],
                "parts": differences(test.outputs[line], reference),
                "edits": _count(edits(test.outputs[line], reference)),
            }
            for test in comparison.tests
        ]
        source = first.sources[line] if first.sources else None
        lines.append({"number": line + 1, "source": source, "reference": reference, "outputs": outputs})
    return {"title": f"{comparison.why} ({place})", "lines": lines}


def _count(number: int) -> str:
    return "the same" if not number else f"{number} edit" + "s" * (number > 1)


def _forms(place: str, forms: Forms) -> dict[str, Any]:
    first = forms.tests[0]
    errors = [
        [str(i + 1), first.sources[i], first.references[i], *(test.outputs[i] for test in forms.tests)]
        for i in forms.errors[:ERRORS]
    ]
    confused = [
        [test.run.name, reference or "nothing", output or "nothing", str(count)]
        for test, pairs in zip(forms.tests, forms.confusions, strict=True)
        for (reference, output), count in pairs
    ]
    return {
        "place": place,
        "tables": [list(rows(breakdown)) for breakdown in forms.breakdowns],
        "names": [test.run.name for test in forms.tests],
        "errors": errors,
        "wrong": len(forms.errors),
        "confused": confused,
    }


def _inspected(inspected: InspectedSource, of: Mapping[Path, int]) -> dict[str, Any]:
    models = [
        {
            "name": run.name,
            "group": of[run.folder],
            "tokens": list(_tokens(answer)),
            "figure": interactive.attention_figure(answer.attention) if answer.attention else None,
        }
        for run, answer in inspected.answers
    ]
    return {"source": inspected.source, "models": models}


def _tokens(answer: Inspected) -> Iterator[dict[str, Any]]:
    for i, (token, log_prob) in enumerate(zip(answer.tokens, answer.log_probs, strict=True)):
        p = math.exp(log_prob)
        attended = ""
        if answer.attention:
            weights, source = answer.attention.weights[i], answer.attention.source_tokens
            attended = ", ".join(f"{source[j]} {weights[j]:.2f}" for j in weights.argsort()[::-1][:3])
        yield {
            "token": token,
            "p": f"{p:.3f}",
            "percent": f"{100 * p:.0f}",
            "log_prob": f"{log_prob:.2f}".replace("-", "−"),
            "attended": attended,
        }


def _origin(runs: Sequence[Run]) -> Iterator[tuple[str, list[str | None]]]:
    """Rows of what affects the runs' results next to their settings, if any run has it."""
    yield "folder", [str(run.folder) for run in runs]
    for key in (*ORIGIN, *VERSIONS):
        values = [run.provenance.get(key, run.config.get(key)) for run in runs]
        if any(value is not None for value in values):
            shown = [value[:16] if key == "data_fingerprint" and isinstance(value, str) else value for value in values]
            yield key.replace("_", " "), [_value(value) for value in shown]


def _value(value: object) -> str | None:
    return None if value is None else shorten(str(value), 300)
