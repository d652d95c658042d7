"""The results of a sweep: every job, failed ones included, in one table (CSV, Markdown, terminal) and one figure."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.reporting import configurations
from seq2seq.reporting.sweep_folders import RUN_FILE, jobs_of, place_in
from seq2seq.reporting.tables import LOWER_IS_BETTER, NUMBERS, Row, markdown, ranked_by, terminal, write_csv
from seq2seq.reporting.wording import finite
from seq2seq.runtime.atomic_files import atomic_write
from seq2seq.runtime.old_names import current_override

STATUSES = ("finished", "pruned", "interrupted", "running", "failed", "unreadable")


def leaderboard(
    folder: Path,
    over: Sequence[str] = (),
    baseline: str | None = None,
    test: str = "welch",
    *,
    other_sweeps: bool = True,
) -> list[Row]:
    """Collect a sweep, write `leaderboard.csv`, `.md` and `.png` into its folder, and print the table.

    Runs that differ in the settings `over` only (by default the seed) are also averaged and compared, by
    `configurations.compare`; the result is printed, is in `leaderboard.md`, and in full in `leaderboard.over.csv` and
    `.png`. Without `other_sweeps`, sweeps whose folders are inside this one are left out.

    Returns:
        The rows of `collect`, best first.

    Raises:
        UserError: `folder` is missing, is a run, or has no job; or what `configurations.compare` raises.
    """
    from seq2seq.reporting.bars import leaderboard_figure, over_figure
    from seq2seq.reporting.style import save

    rows, text = collect(folder, other_sweeps=other_sweeps), ""
    keys = over or (("seed",) if configurations.repeated(rows) else ())
    comparison = configurations.compare(rows, keys, baseline, test) if keys else None
    if baseline is not None and comparison is None:
        raise UserError(f"--baseline {baseline}: needs several runs of a configuration; give --over KEY")
    with atomic_write(folder / "leaderboard.csv") as path:
        write_csv(rows, path)
    save(leaderboard_figure(rows), folder / "leaderboard.png")
    width = shutil.get_terminal_size().columns
    print(terminal(rows, width))
    if comparison is not None:
        with atomic_write(folder / "leaderboard.over.csv") as path:
            configurations.write_csv(comparison, path)
        save(over_figure(comparison), folder / "leaderboard.over.png")
        print(f"\n{configurations.terminal(comparison, width)}")
        text = f"\n{configurations.markdown(comparison)}"
    with atomic_write(folder / "leaderboard.md") as path:
        path.write_text(markdown(rows) + text, encoding="utf-8", newline="\n")
    return rows


def collect(folder: Path, *, other_sweeps: bool = True) -> list[Row]:
    """One row for each job of a sweep's folder, sorted by the metric of `tables.ranked_by`, then by validation loss,
    the best first.

    A row has the keys `run` (its folder, such as `gru/1`), `varied` (by key, the overrides that not all jobs have),
    `status`, `error`, `monitor`, `NUMBERS`, `signatures` and `intervals` by metric, and a key for each test metric of
    any job. Missing values are None. A job whose `run.json` is missing or damaged has the status `unreadable`, and the
    reason as error.

    Raises:
        UserError: `folder` is missing, is a run, or has no job.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of a sweep, as printed by seq2seq train -m")
    if (folder / RUN_FILE).exists():
        raise UserError(f"{folder}: this is one run, not a sweep; give the folder that holds its runs")
    jobs = jobs_of(folder, other_sweeps=other_sweeps)
    if not jobs:
        raise UserError(f"{folder}: there is no job in it; give the folder of a sweep, with one sub-folder a job")
    return compare(jobs, folder)


def compare(folders: Sequence[Path], sweep: Path | None = None) -> list[Row]:
    """The rows of `collect` for any runs, the best first; `folder` is the run's folder. The names of a sweep's runs are
    their paths in its folder."""
    rows = [_job(folder, place_in(sweep, folder) if sweep else folder.name) for folder in folders]
    rows.sort(key=lambda row: _natural(row["run"]))
    metrics = list(dict.fromkeys(name for row in rows for name in row["signatures"]))
    metrics.sort(key=lambda name: name != "BLEU")
    readable = [set(row["overrides"]) for row in rows if row["status"] != "unreadable"]
    shared = set.intersection(*readable) if readable else set()
    for row in rows:
        differing = [override for override in row.pop("overrides") if override not in shared]
        row["varied"] = {key.lstrip("+"): value for key, _, value in (text.partition("=") for text in differing)}
        row.update({metric: row.get(metric) for metric in metrics})
    metric = ranked_by(rows)
    return sorted(rows, key=lambda row: _rank(row, metric))


def _job(folder: Path, name: str) -> Row:
    row: Row = {
        "run": name,
        "folder": folder,
        "overrides": [],
        "status": "unreadable",
        "error": None,
        "monitor": None,
        "signatures": {},
        "intervals": {},
    }
    row.update(dict.fromkeys(NUMBERS))
    try:
        return row | _checked(json.loads((folder / RUN_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return row | {"error": f"no {RUN_FILE}"}
    except (OSError, ValueError, RecursionError) as error:
        return row | {"error": f"{RUN_FILE}: {error}"}


def _checked(run: Any) -> Row:
    """The values of a `run.json`. Raises ValueError for a missing or invalid one."""
    if not isinstance(run, dict) or run.get("status") not in STATUSES:
        raise ValueError(f"it has no status of {', '.join(STATUSES[:-1])}")
    overrides, test = run.get("overrides") or [], run.get("test") or {}
    if not isinstance(overrides, list) or not isinstance(test, dict):
        raise ValueError("overrides must be a list, and test a mapping")
    row = {
        "status": run["status"],
        "error": run.get("error") and str(run["error"]),
        "monitor": run.get("monitor") and str(run["monitor"]),
        "overrides": [current_override(str(override)) for override in overrides],
    }
    for name in NUMBERS:
        row[name] = _number(name, run.get(name))
    scores = {name: score if isinstance(score, dict) else {"value": score} for name, score in test.items()}
    row |= {name: _number(name, score.get("value")) for name, score in scores.items()}
    row["signatures"] = {name: str(score.get("signature") or "") for name, score in scores.items()}
    ends = {
        name: [_number(f"{name} {end}", score.get(end)) for end in ("low", "high")] for name, score in scores.items()
    }
    return row | {"intervals": {name: tuple(both) for name, both in ends.items() if all(map(finite, both))}}


def _number(name: str, value: object) -> int | float | None:
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64:
        return value
    raise ValueError(f"{name} is {value!r}, not a number")


def _rank(row: Row, metric: str) -> tuple[bool, float, bool, float, int]:
    value, loss = row.get(metric), row["val_loss"]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return (
        not finite(value),
        sign * value if finite(value) else 0.0,
        not finite(loss),
        loss if finite(loss) else 0.0,
        STATUSES.index(row["status"]),
    )


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A sort key that puts job 2 before job 10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
