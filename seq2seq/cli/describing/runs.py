"""Facts and progress of a training run, from its files, which are only read."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

from seq2seq.errors import UserError
from seq2seq.runtime.locks import try_lock
from seq2seq.runtime.strict_json import read_json
from seq2seq.training.records.run_record import LOCK

RUN, SETTINGS, METRICS, LAST = "run.json", "hparams.yaml", "metrics.csv", "checkpoints/last.ckpt"
LIMIT = 1 << 20  # most bytes of hparams.yaml
ROWS = 1_000_000  # most rows of metrics.csv that are read
JOBS = 10_000  # most folders of a sweep that are read
KEPT = ("parameters", "seconds", "tokens_per_second")
NEXT = {
    "finished": "seq2seq train init_from={bundle} … fine-tunes the model",
    "pruned": "pruned by a study; there is no bundle",
}


def describe_run(folder: Path) -> dict[str, Any]:
    """The facts of a run. Raises `UserError` if its run.json cannot be read."""
    record, settings = _record(folder), _settings(folder / SETTINGS)
    status, problems = _status(folder, record), []
    if status not in ("finished", "running", "pruned"):
        problems.append(str(record.get("error") or "its process ended before it did"))
    bundle = folder / "bundle"
    facts = {
        "run": str(folder),
        "name": record.get("name"),
        "status": status,
        "seed": record.get("seed"),
        "task": _at(settings, "task.name"),
        "progress": _progress(folder / METRICS, settings, record),
        **{key: record.get(key) for key in KEPT},
        "scores": _scores(record),
        "settings_given": _overrides(record),
        "all_settings": str(folder / SETTINGS) if settings else None,
        "bundle": str(bundle) if (bundle / "config.json").is_file() else "none yet",
        "next": _next(folder, status, bundle),
        "problems": problems,
    }
    return {key: value for key, value in facts.items() if value not in (None, {})}


def describe_sweep(folder: Path) -> dict[str, Any] | None:
    """The numbers of runs in a sweep's folder, by status; None if there are none."""
    jobs = [path.parent for _, path in zip(range(JOBS), folder.glob("*/run.json"), strict=False)]
    if not jobs:
        nested = next(folder.glob("*/*/run.json"), None)
        return (
            None
            if nested is None
            else {"sweep": str(folder), "folders": "runs are one level deeper"} | _hint(nested.parent.parent)
        )
    statuses: Counter[str] = Counter()
    for job in jobs:
        try:
            statuses[_status(job, _record(job))] += 1
        except UserError:
            statuses["unreadable"] += 1
    return {"sweep": str(folder), "runs": len(jobs), "status": dict(statuses)} | _hint(folder)


def _record(folder: Path) -> dict[str, Any]:
    content = read_json(folder / RUN)
    if not isinstance(content, dict):
        raise UserError(f"{folder / RUN}: is not a JSON object; the run's record is damaged")
    return content


def _hint(folder: Path) -> dict[str, str]:
    return {
        "compare": f"seq2seq leaderboard {quote(str(folder))}",
        "one_run": f"seq2seq info {quote(str(folder))}/NAME",
    }


def _status(folder: Path, record: Mapping[str, Any]) -> str:
    """The recorded status, or "killed" if that is "running" and no process has the run's lock."""
    status = str(record.get("status", "unknown"))
    return "killed" if status == "running" and not _held(folder / LOCK) else status


def _held(path: Path) -> bool:
    """Whether a running process has the lock; True if the system has no locks."""
    try:
        with path.open("rb") as file:
            return try_lock(file, shared=True) is not True
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _next(folder: Path, status: str, bundle: Path) -> str:
    if status == "running":
        return f"it is training now; its samples are in {folder / 'samples.tsv'}"
    if status in NEXT:
        return NEXT[status].format(bundle=quote(str(bundle)))
    resume = f"seq2seq train resume={quote(str(folder))}"
    return f"{resume} resumes it" + ("" if (folder / LAST).is_file() else "; no checkpoint: from the beginning")


def _overrides(record: Mapping[str, Any]) -> dict[str, str]:
    """The overrides of the command."""
    given = record.get("overrides")
    pairs = (str(text).partition("=") for text in given) if isinstance(given, list) else ()
    return {key: value or "(switched off)" for key, _, value in pairs} or {"(none)": "all are the defaults"}


def _scores(record: Mapping[str, Any]) -> dict[str, Any]:
    tests = record.get("tests") or ({"test": record["test"]} if record.get("test") else {})
    return {
        f"{split} {metric}": score
        for split, scores in (tests.items() if isinstance(tests, dict) else ())
        for metric, score in (scores.items() if isinstance(scores, dict) else ())
        if isinstance(score, dict)
    }


def _settings(path: Path) -> dict[str, Any]:
    """The content of hparams.yaml; empty if it is missing, too large or damaged."""
    import yaml

    with suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
        if path.stat().st_size <= LIMIT:
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
            return settings if isinstance(settings, dict) else {}
    return {}


def _at(settings: Mapping[str, Any], place: str) -> Any:
    """The value of a full key; None if it is missing, or not a string or number."""
    value: Any = settings
    for key in place.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, (str, int, float)) else None


def _progress(path: Path, settings: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Epoch and step of the last row, the metrics of the last validation, and the best value of the monitor."""
    monitor, mode = (_at(settings, f"callbacks.checkpoint.{key}") for key in ("monitor", "mode"))
    lower = mode == "min" or (mode != "max" and "loss" in str(monitor))
    last: dict[str, float] = {}
    validation: dict[str, float] = {}
    best: tuple[float, dict[str, float]] | None = None
    for row in _rows(path):
        last = row
        if any(key.startswith("val_") for key in row):
            validation = row
        value = row.get(str(monitor))
        if value is not None and (best is None or (value < best[0] if lower else value > best[0])):
            best = value, row
    if not last:
        return {"steps": "none was logged yet"}
    epochs, steps = (_at(settings, f"trainer.max_{each}") for each in ("epochs", "steps"))
    return {
        "epoch": _of(last.get("epoch"), epochs, 1),
        "step": _of(last.get("step"), steps if isinstance(steps, int) and steps > 0 else None, 1),
        "last_validation": {key: value for key, value in validation.items() if key not in ("epoch", "step")},
        "best": {str(monitor): best[0], "epoch": int(best[1].get("epoch", 0)) + 1} if best else {},
    }


def _of(value: float | None, end: Any, first: int) -> str | None:
    """`value` of `end`, for values that Lightning counts from 0."""
    return None if value is None else f"{int(value) + first:,}" + (f" of {end:,}" if isinstance(end, int) else "")


def _rows(path: Path) -> Iterator[dict[str, float]]:
    """The finite numbers of each row of metrics.csv, without an incomplete last row, which is being written."""
    with suppress(OSError, ValueError, csv.Error), path.open(encoding="utf-8", newline="") as file:
        for _, row in zip(range(ROWS), csv.DictReader(file), strict=False):
            if None in row.values():
                return
            numbers: dict[str, float] = {}
            for key, text in row.items():
                with suppress(ValueError, TypeError):
                    if math.isfinite(number := float(text)):
                        numbers[str(key)] = number
            yield numbers
