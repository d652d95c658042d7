"""Loggers by name. metrics.csv is always written: local files are the source of truth, the others are views of them."""

from __future__ import annotations

import csv
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from seq2seq.build import check_key
from seq2seq.tasks.metrics_file import MetricsFile

KINDS = ("csv", "tensorboard", "wandb")


def make_loggers(config: Mapping[str, Any], folder: Path, name: str, *, step: int = 0) -> list[Logger]:
    """One logger for each entry of the configuration, e.g. {csv: {}, wandb: {project: …}}; raises `UserError` for an
    unknown one. What a run that is gone on with at `step` had logged from there on is forgotten (TensorBoard hides it;
    wandb shows it twice)."""
    loggers: list[Logger] = [MetricsFile(folder, step)]
    for kind in config:
        check_key(str(kind), KINDS, "logger", "logger")
    if "tensorboard" in config:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard", purge_step=step or None))
    if "wandb" in config:
        options = config["wandb"]
        for key in options:
            check_key(str(key), ("project", "group", "tags"), "logger.wandb", "wandb")
        loggers.append(
            WandbLogger(
                name=name,
                id=_id(folder),
                save_dir=folder,
                project=options["project"],
                group=options["group"],
                tags=list(options["tags"]),
                offline=not online(),
                settings=_settings(),
            )
        )
    return loggers


def online() -> bool:
    """Whether wandb may talk to its server: WANDB_MODE decides, else whether someone logged in."""
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return mode == "online"
    import wandb

    return bool(wandb.api.api_key)


def _id(folder: Path) -> str:
    """The run's name for wandb's server, the same whenever the run is gone on with."""
    path = folder / "wandb" / "id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{secrets.token_hex(4)}\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _settings() -> Any:
    import wandb

    return wandb.Settings(silent=True, console="off")


def finish_wandb(exit_code: int) -> None:
    """End the wandb run, if there is one, so that nothing of it is left unwritten."""
    import sys

    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=exit_code)


def log_results(loggers: list[Logger], folder: Path, tests: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Give TensorBoard and wandb a run's pictures, heat maps of attention among them, and wandb its test scores."""
    pictures = sorted(folder.glob("*.png"))
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.log({f"pictures/{path.stem}": wandb.Image(str(path)) for path in pictures})
            logger.experiment.summary.update(
                {f"{split}/{name}": score["value"] for split, scores in tests.items() for name, score in scores.items()}
            )
        elif isinstance(logger, TensorBoardLogger):
            from matplotlib.image import imread

            for path in pictures:
                logger.experiment.add_image(f"pictures/{path.stem}", imread(path)[..., :3], 0, dataformats="HWC")


def log_leaderboard(folder: Path, options: Mapping[str, Any]) -> None:
    """Keep the leaderboard of the sweep in `folder` as a table and a picture, in a wandb run of the sweep's group.

    `options` are those of the configuration's `logger.wandb`. The run's own files are in `.leaderboard`, which is no
    job of the sweep's.
    """
    import wandb

    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    columns: list[str | int] = [*header]
    table = wandb.Table(columns, [[_value(cell) for cell in row] for row in rows], allow_mixed_types=True)
    group, own = options["group"] or folder.name, folder / ".leaderboard"
    with wandb.init(
        project=options["project"],
        group=group,
        tags=list(options["tags"]),
        name=f"leaderboard-{group}",
        job_type="leaderboard",
        id=_id(own),
        dir=own,
        mode="online" if online() else "offline",
        settings=_settings(),
    ) as run:
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
        if isinstance(logger, WandbLogger) and not logger._offline:
            import wandb

            artifact = wandb.Artifact(f"bundle-{name}", type="model")
            artifact.add_dir(str(folder))
            logger.experiment.log_artifact(artifact)
