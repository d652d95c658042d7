"""Loggers by name. metrics.csv is always written: local files are the source of truth, the others are views of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from seq2seq.build import check_key

KINDS = ("csv", "tensorboard", "wandb")


def make_loggers(config: Mapping[str, Any], folder: Path, name: str) -> list[Logger]:
    """One logger for each entry of the configuration, e.g. {csv: {}, wandb: {project: …}}; raises `UserError` for an
    unknown one."""
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    for kind in config:
        check_key(str(kind), KINDS, "logger", "logger")
    if "tensorboard" in config:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    if "wandb" in config:
        options = config["wandb"]
        for key in options:
            check_key(str(key), ("project", "group", "tags"), "logger.wandb", "wandb")
        loggers.append(
            WandbLogger(
                name=name,
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


def _settings() -> Any:
    import wandb

    return wandb.Settings(silent=True, console="off")


def finish_wandb(exit_code: int) -> None:
    """End the wandb run, if there is one, so that nothing of it is left unwritten."""
    import sys

    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=exit_code)


def log_bundle(loggers: list[Logger], folder: Path, name: str) -> None:
    """Keep the bundle as a wandb artifact, when online."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and not logger._offline:
            import wandb

            artifact = wandb.Artifact(f"bundle-{name}", type="model")
            artifact.add_dir(str(folder))
            logger.experiment.log_artifact(artifact)
