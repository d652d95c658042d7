"""Where the runs of a sweep are: `hydra.sweep.subdir` names their folders, at any depth below the sweep's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

RUN_FILE = "run.json"
TRACES = (RUN_FILE, "metrics.csv", "hparams.yaml", "bundle", "hydra")
"""Any of them makes a folder a run, be it a broken one."""
SWEEP_FILE = "multirun.yaml"
"""What Hydra writes into the folder of a sweep."""


def is_run(folder: Path) -> bool:
    """Whether a run was begun in a folder."""
    return any((folder / name).exists() for name in TRACES)


def runs_in(folder: Path, *, other_sweeps: bool = True) -> list[Path]:
    """The folders of the runs below a folder, at any depth, but none inside of a run; those of sweeps that have their
    folder inside of this one only with `other_sweeps`. Hidden folders are left out."""
    return list(_walk(folder, other_sweeps, {folder.resolve()}))


def jobs_of(sweep: Path, *, other_sweeps: bool = True) -> list[Path]:
    """`runs_in`, and the folders that Hydra numbered for a job of which nothing was written."""
    found = runs_in(sweep, other_sweeps=other_sweeps)
    filled = {*found, *(parent for run in found for parent in run.parents)}
    return [*found, *(each for each in _folders(sweep) if each.name.isdecimal() and each not in filled)]


def place_in(sweep: Path, folder: Path) -> str:
    """A run's folder as it is called in its sweep: `gru/1`."""
    return folder.relative_to(sweep).as_posix() if folder.is_relative_to(sweep) else folder.name


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError:  # it may not be read
        return []


def _walk(folder: Path, other_sweeps: bool, seen: set[Path]) -> Iterator[Path]:
    for each in _folders(folder):
        if is_run(each):
            yield each
        elif (other_sweeps or not (each / SWEEP_FILE).exists()) and (place := each.resolve()) not in seen:
            seen.add(place)  # a link may lead back
            yield from _walk(each, other_sweeps, seen)
