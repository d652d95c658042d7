"""One training run from a plain configuration: data, model, trainer; then scores, pictures, and the bundle."""

from __future__ import annotations

import inspect
import logging
import platform
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from seq2seq import __version__, build
from seq2seq.allocation import keep_freed_memory
from seq2seq.bundle import load_bundle
from seq2seq.errors import UserError
from seq2seq.record import Record
from seq2seq.secrets import hide
from seq2seq.tasks import configuration, kinds
from seq2seq.tasks.base import Kind, Outcome, TrainingTask
from seq2seq.tasks.callbacks import Pruned, Throughput, Watch, Watcher, check_monitors, make_callbacks
from seq2seq.tasks.finish import finish
from seq2seq.tasks.loggers import finish_wandb, log_bundle, log_results, make_loggers

# The keys of every task's configuration; its model's nodes and its own groups come besides.
KEYS = (
    "name",
    "seed",
    "trust",
    "init_from",
    "task",
    "data",
    "optimizer",
    "scheduler",
    "trainer",
    "logger",
    "callbacks",
)


class Run(NamedTuple):
    """Everything that one run needs, ready to fit."""

    kind: Kind
    data: Any
    task: TrainingTask
    trainer: lightning.Trainer
    throughput: Throughput


def train(
    config: Mapping[str, Any], folder: Path, overrides: Sequence[str], *, watch: Watcher | None = None
) -> dict[str, Any]:
    """Train as `config` says and leave everything in `folder`; returns what run.json then holds.

    Ctrl-C ends the training, not the run: the best model so far is scored and bundled, and the status is "interrupted".
    `watch` is told of every validation, and may give the run up: then its status is "pruned", and it has no bundle.
    Raises `UserError` for a mistake in the configuration or the data, before anything heavy where that is possible.
    """
    kind = check(config)
    keep_freed_memory()
    quiet()
    if (folder / "run.json").exists():
        raise UserError(f"{folder}: already holds a run; choose another folder with hydra.run.dir=…")
    record = Record(folder, name=config["name"], seed=config["seed"], overrides=list(overrides))
    record.update(status="running", error=None)
    began, exit_code = time.time(), 1
    try:
        run = prepare(kind, config, folder, watch)
        record.update(parameters=sum(p.numel() for p in run.task.model.parameters()))
        announce(run, record.values["parameters"], folder)
        status = fit(run)
        values = {"status": status, "seconds": time.time() - began, "tokens_per_second": run.throughput.average}
        outcome = Outcome(run.data, run.task, config, provenance(config, run, overrides))
        found = finish(run.kind, outcome, best_checkpoint(run.trainer), folder, record.values | values)
        record.update(**(values | found))
        log_results(run.trainer.loggers, folder, found["tests"])
        log_bundle(run.trainer.loggers, folder / "bundle", config["name"])
        exit_code = 0
    except Pruned:
        record.update(status="pruned", seconds=time.time() - began, **run.task.metrics)
        exit_code = 0
    except KeyboardInterrupt:
        record.update(status="interrupted", error="interrupted before there was a bundle")
        raise
    finally:
        finish_wandb(exit_code)
    return record.values


def check(config: Mapping[str, Any]) -> Kind:
    """Raise `UserError` for whatever can be known to be wrong before data are read; returns the task's kind."""
    configuration.check(config)
    kind = kinds.find(config["task"])
    for key in config:
        build.check_key(key, (*KEYS, *build.NODES[kind.name], *kind.groups), "config", kind.name)
    check_monitors(config["callbacks"], kind.logged(config))
    known = list(inspect.signature(lightning.Trainer.__init__).parameters)
    for key in config["trainer"]:
        build.check_key(key, ["threads", *known], "trainer", "Trainer")
    kind.check(config)
    return kind


def quiet() -> None:
    """Silence what Lightning says about setups that are meant to be as they are."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        "num_workers",
        "LeafSpec",
        "Checkpoint directory",
        "Experiment logs directory",
        "log_every_n_steps",
    ):
        warnings.filterwarnings("ignore", f".*{message}.*")


def prepare(kind: Kind, config: Mapping[str, Any], folder: Path, watch: Watcher | None = None) -> Run:
    """Read the data, build the model and the trainer."""
    options = dict(config["trainer"])
    if threads := options.pop("threads", None):
        torch.set_num_threads(threads)
    lightning.seed_everything(config["seed"], verbose=False)
    data = kind.data(config)
    data.prepare_data()
    task = kind.task(config, make_model(kind, config, data), data)
    callbacks = make_callbacks(
        config["callbacks"], folder, kind.logged(config), progress=options["enable_progress_bar"]
    )
    callbacks += kind.callbacks(config, data, folder)
    callbacks += [Watch(config["callbacks"]["checkpoint"]["monitor"], watch)] if watch else []
    loggers = make_loggers(hide(config["logger"]), folder, config["name"])
    for logger in loggers:
        logger.log_hyperparams({**hide(dict(config), everything=True), "name": config["name"]})
    trainer = lightning.Trainer(
        callbacks=callbacks, logger=loggers, enable_model_summary=False, use_distributed_sampler=False, **options
    )
    return Run(kind, data, task, trainer, next(c for c in callbacks if isinstance(c, Throughput)))


def make_model(kind: Kind, config: Mapping[str, Any], data: Any) -> nn.Module:
    """A new model of the data's sizes, with the weights of `init_from` if there is one."""
    model = build.model(kind.name, config, kind.sizes(data), config["trust"])
    if config["init_from"] is not None:
        start = load_bundle(Path(config["init_from"]), trusted=config["trust"]).model
        try:
            model.load_state_dict(start.state_dict())
        except RuntimeError as error:
            raise UserError(
                f"init_from={config['init_from']}: its weights do not fit this model; use the overrides it was trained "
                f"with ({str(error).splitlines()[1].strip()})"
            ) from None
    return model


def announce(run: Run, parameters: int, folder: Path) -> None:
    """Say what is about to be trained on what, and where its results will be."""
    print(f"data: {run.kind.describe(run.data)}\nmodel: {parameters:,} parameters\nfolder: {folder}", flush=True)


def fit(run: Run) -> str:
    """Train; returns "finished", or "interrupted" after Ctrl-C."""
    try:
        run.trainer.fit(run.task, datamodule=run.data)
    except SystemExit:  # Lightning's answer to Ctrl-C, with SIGINT ignored from there on
        if not run.trainer.interrupted:
            raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return "interrupted" if run.trainer.interrupted else "finished"


def best_checkpoint(trainer: lightning.Trainer) -> Path | None:
    """The best checkpoint's file; None where there was no validation yet."""
    callback = trainer.checkpoint_callback
    path = callback.best_model_path if isinstance(callback, ModelCheckpoint) else ""
    return Path(path) if path else None


def provenance(config: Mapping[str, Any], run: Run, overrides: Sequence[str]) -> dict[str, Any]:
    """Where a model comes from: versions, seed, threads, the data's hash and the command."""
    return {
        "seq2seq": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": version("pytorch-lightning"),
        "seed": config["seed"],
        "threads": torch.get_num_threads(),
        "data": run.data.corpus.name,
        "data_fingerprint": run.data.fingerprint,
        "data_statistics": run.data.statistics,
        "source_language": run.data.corpus.source_language,
        "target_language": run.data.corpus.target_language,
        "steps": run.trainer.global_step,
        "epochs": run.trainer.current_epoch,
        "command": shlex.join(["seq2seq", "train", *overrides]),
        "platform": sys.platform,
    }
