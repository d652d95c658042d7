"""Loggers by name. metrics.csv is always written: local files are the source of truth, the others are views of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from seq2seq.models.factory import check_key
from seq2seq.training.configuration.wandb_options import LONGEST, resolve
from seq2seq.training.records.metrics_file import MetricsFile
from seq2seq.training.records.wandb_logger import RunLogger, finish_run, start_run

KINDS = ("csv", "tensorboard", "wandb")


def make_loggers(config: Mapping[str, Any], folder: Path, name: str, *, step: int = 0) -> list[Logger]:
    """One logger for each entry of the configuration, e.g. {csv: {}, wandb: {project: …}}; raises `UserError` for an
    unknown one. What a run that resumes from `step` had logged after it is forgotten (TensorBoard hides it;
    wandb shows it twice)."""
    loggers: list[Logger] = [MetricsFile(folder, step)]
    for kind in config:
        check_key(str(kind), KINDS, "logger", "logger")
    if "tensorboard" in config:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard", purge_step=step or None))
    if "wandb" in config:
        run = start_run(resolve(config["wandb"]), folder, name=name)
        loggers += [RunLogger(run, folder)] if run is not None else []
    return loggers


def log_results(loggers: list[Logger], folder: Path, tests: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Give TensorBoard and wandb a run's pictures, heat maps of attention among them, and wandb its test scores."""
    pictures = sorted(folder.glob("*.png"))
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.attempt(partial(_log_to_wandb, logger.experiment, pictures, tests))
        elif isinstance(logger, TensorBoardLogger):
            from matplotlib.image import imread

            for path in pictures:
                logger.experiment.add_image(f"pictures/{path.stem}", imread(path)[..., :3], 0, dataformats="HWC")


def _log_to_wandb(run: Any, pictures: Iterable[Path], tests: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    import wandb

    run.log({f"pictures/{path.stem}": wandb.Image(str(path)) for path in pictures})
    run.summary.update(
        {f"{split}/{name}": score["value"] for split, scores in tests.items() for name, score in scores.items()}
    )


def log_leaderboard(folder: Path, options: Mapping[str, Any]) -> None:
    """Keep the leaderboard of the sweep in `folder` as a table and a picture, in a wandb run of the sweep's group.

    `options` are those of the configuration's `logger.wandb`. The run's own files are in `.leaderboard`, which is no
    job of the sweep's.
    """
    resolved = resolve(options)
    group, run_id = resolved.group or folder.name[:LONGEST], resolved.id and f"{resolved.id}-leaderboard"
    resolved = resolved._replace(group=group, name=None, id=run_id)
    own, name = folder / ".leaderboard", f"leaderboard-{group}"
    if (run := start_run(resolved, own, name=name, job_type="leaderboard")) is not None:
        RunLogger(run, own).attempt(partial(_log_table, run, folder))
        finish_run(0)


def _log_table(run: Any, folder: Path) -> None:
    import wandb

    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    columns: list[str | int] = [*header]
    table = wandb.Table(columns, [[_value(cell) for cell in row] for row in rows], allow_mixed_types=True)
    run.log({"leaderboard": table, "pictures/leaderboard": wandb.Image(str(folder / "leaderboard.png"))})


def _value(cell: str) -> float | str | None:
    """A cell of a CSV file as a number, where it is one."""
    try:
        return float(cell)
    except ValueError:
        return cell or None


def log_bundle(loggers: list[Logger], folder: Path, name: str) -> None:
    """Keep the bundle as a wandb artifact, when online."""
    for logger in loggers:
        if isinstance(logger, RunLogger) and logger.online:
            logger.attempt(partial(_log_artifact, logger.experiment, folder, name))


def _log_artifact(run: Any, folder: Path, name: str) -> None:
    import wandb

    artifact = wandb.Artifact(f"bundle-{name}", type="model")
    artifact.add_dir(str(folder))
    run.log_artifact(artifact)
