"""Find the folders of a sweep's runs, which `hydra.sweep.subdir` names, at any depth below the sweep's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

RUN_FILE = "run.json"
TRACES = (RUN_FILE, "metrics.csv", "hparams.yaml", "bundle", "hydra")
"""A folder with any of them is a run, possibly a damaged one."""
SWEEP_FILE = "multirun.yaml"
"""The file that Hydra writes into the folder of a sweep."""


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return any((folder / name).exists() for name in TRACES)


def runs_in(folder: Path, *, other_sweeps: bool = True) -> list[Path]:
    """The folders of runs below a folder, at any depth, but not inside a run. Runs of sweeps whose folder is inside
    this one are included with `other_sweeps`; hidden folders are left out."""
    return list(_walk(folder, other_sweeps, {folder.resolve()}))


def jobs_of(sweep: Path, *, other_sweeps: bool = True) -> list[Path]:
    """The folders of `runs_in`, and those that Hydra created for a job that wrote nothing."""
    runs = runs_in(sweep, other_sweeps=other_sweeps)
    filled = {*runs, *(parent for run in runs for parent in run.parents)}
    return [*runs, *(each for each in _folders(sweep) if each.name.isdecimal() and each not in filled)]


def place_in(sweep: Path, folder: Path) -> str:
    """The path of a run's folder in its sweep's, such as `gru/1`."""
    return folder.relative_to(sweep).as_posix() if folder.is_relative_to(sweep) else folder.name


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError:  # no permission
        return []


def _walk(folder: Path, other_sweeps: bool, seen: set[Path]) -> Iterator[Path]:
    for each in _folders(folder):
        if is_run(each):
            yield each
        elif (other_sweeps or not (each / SWEEP_FILE).exists()) and (place := each.resolve()) not in seen:
            seen.add(place)  # a link may lead back
            yield from _walk(each, other_sweeps, seen)
