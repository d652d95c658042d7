"""The status of the jobs of a sweep, which are identified by their overrides, and what remains to be done for each."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from seq2seq.cli.arguments import quoted
from seq2seq.errors import UserError
from seq2seq.reporting.sweep_folders import place_in, runs_in
from seq2seq.runtime.old_names import current_override
from seq2seq.runtime.redaction import hide
from seq2seq.training.records.run_record import LOCK, Record, claim, read

KEPT = (LOCK, "hydra")  # files that are already those of the new start
NOT_COMPARED = ("resume",)  # keys that do not affect the result of a run


class JobStatus(Enum):
    """Whether a job of a sweep must run, must run again, or is done."""

    MISSING = "missing"
    BROKEN = "broken"  # failed, interrupted or killed
    FINISHED = "finished"  # or pruned by a study


def job_status(folder: Path) -> JobStatus:
    """The status of the run in `folder`, which this process must have claimed, by its record."""
    status = read(folder).get("status")
    if status in ("finished", "pruned"):
        return JobStatus.FINISHED
    return JobStatus.BROKEN if (folder / "run.json").exists() else JobStatus.MISSING


def identity(overrides: Sequence[str]) -> frozenset[str]:
    """The identity of a job: its overrides, in any order, without those in NOT_COMPARED."""
    return frozenset(
        current_override(text) for text in overrides if text.lstrip("+~").partition("=")[0] not in NOT_COMPARED
    )


def overrides_of(folder: Path) -> list[str] | None:
    """The overrides of the job in `folder`: from its record, or from Hydra's if it was killed before it had one."""
    overrides = read(folder).get("overrides")
    if not isinstance(overrides, list):
        try:
            overrides = yaml.safe_load((folder / "hydra" / "overrides.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return None
    return [str(text) for text in overrides] if isinstance(overrides, list) else None


def by_overrides(sweep: Path) -> dict[frozenset[str], Path]:
    """The folders of a sweep's jobs, by identity; of two equal jobs the finished one."""
    folders = [path for path in runs_in(sweep, other_sweeps=False) if overrides_of(path) is not None]
    folders.sort(key=lambda folder: job_status(folder) is JobStatus.FINISHED)
    return {identity(overrides_of(folder) or ()): folder for folder in folders}


def place(jobs: Sequence[list[str]], sweep: Path, *, numbered: bool) -> list[list[str]]:
    """The jobs of a sweep that are not finished, as lists of overrides.

    If `numbered`, an override is added for the job's folder: its previous one, or else the next free number.
    """
    known = by_overrides(sweep)
    free = count(1 + max((int(path.name) for path in sweep.glob("*") if path.name.isdecimal()), default=-1))
    placed = []
    for job in jobs:
        folder = known.get(identity(job))
        if folder is None or job_status(folder) is not JobStatus.FINISHED:
            name = place_in(sweep, folder) if folder else str(next(free)) if numbered else None
            placed.append([*job, f"hydra.sweep.subdir={quoted(name)}"] if name else job)
    return placed


def name_after_sweep(config: dict[str, Any], folder: Path, sweep: Path) -> None:
    """Set the names by which loggers group the jobs of a sweep: the sweep's folder and the job's."""
    job = place_in(sweep, folder).replace("/", "-")
    config["name"] = f"{config['name']}-{job}"
    if (config["logger"] or {}).get("wandb") is not None:
        from seq2seq.training.configuration.wandb_options import sweep_names

        config["logger"]["wandb"] = sweep_names(config["logger"]["wandb"], run=job, sweep=sweep.resolve().name)


def restart(config: dict[str, Any], folder: Path) -> None:
    """Prepare a broken run for another start: it resumes from its checkpoint if it can, else its files are deleted."""
    if "resume" in config and read(folder):
        config["resume"] = "auto"
        return
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def record_failure(folder: Path, overrides: Sequence[str], error: Exception, *, name: str, seed: int) -> None:
    """Write the error to run.json, unless that belongs to another run, or to an earlier start of this one."""
    known = read(folder)
    if known and (known["status"] != "running" or identity(known["overrides"]) != identity(overrides)):
        return
    with suppress(OSError):  # on a full disk, the original error must be shown
        Record(folder, name=name, seed=seed, overrides=list(overrides)).update(
            status="failed", error=hide(error_message(error), everything=True)
        )


def error_message(error: Exception) -> str:
    """The message of an error, after the name of its class unless it is a `UserError`."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def mark_stale_as_failed(sweep: Path) -> None:
    """Set the status of "running" runs whose process is gone to "failed"."""
    for folder in runs_in(sweep, other_sweeps=False):
        values = read(folder)
        if values.get("status") != "running":
            continue
        with claim(folder) as claimed:
            if claimed:
                record = Record(folder, name=values["name"], seed=values["seed"], overrides=values["overrides"])
                record.update(status="failed", error="its process ended before it did")
