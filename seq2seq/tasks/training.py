"""One training run from a plain configuration: data, model, trainer; then scores, pictures, and the bundle."""

from __future__ import annotations

import inspect
import logging
import shlex
import signal
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from seq2seq import build
from seq2seq.allocation import keep_freed_memory
from seq2seq.bundle import load_bundle
from seq2seq.errors import Stopped, UserError
from seq2seq.record import Record
from seq2seq.secrets import hide
from seq2seq.tasks import configuration, kinds, resuming
from seq2seq.tasks.base import Kind, Outcome, TrainingTask
from seq2seq.tasks.callbacks import Pruned, Throughput, Watch, Watcher, check_monitors, make_callbacks
from seq2seq.tasks.checkpoints import END, Best, Continuing, DurableFiles, Seeded, naming_full_disk
from seq2seq.tasks.finish import finish
from seq2seq.tasks.loggers import finish_wandb, log_bundle, log_results, make_loggers
from seq2seq.tasks.provenance import provenance
from seq2seq.tasks.resuming import Start
from seq2seq.tasks.stopping import Stopping
from seq2seq.world import DATA, JOB, Lost, World, here, naming_lost

# The keys of every task's configuration; its model's nodes and its own groups come besides.
KEYS = (
    "name",
    "seed",
    "trust",
    "resume",
    "init_from",
    "task",
    "data",
    "optimizer",
    "scheduler",
    "trainer",
    "logger",
    "callbacks",
)


OWN = ("threads", "split_out_of_memory")
"""Keys of `trainer` that are not Lightning's."""


class Run(NamedTuple):
    """Everything that one run needs, ready to fit."""

    kind: Kind
    data: Any
    task: TrainingTask
    trainer: lightning.Trainer
    throughput: Throughput
    continuing: Continuing


class Surroundings(NamedTuple):
    """What decides how a run runs, beside its configuration."""

    begin: Start
    began: float  # by the monotonic clock, as if one process had done all
    stopping: Stopping
    watch: Watcher | None
    world: World = World()


class Fitted(NamedTuple):
    """What training came to, as run.json keeps it: a run that is killed while it is scored does not train again."""

    status: str  # finished, or interrupted by Ctrl-C
    best: str  # the name of the best checkpoint
    steps: int
    epochs: int
    seconds: float
    tokens_per_second: float


def train(
    config: Mapping[str, Any],
    folder: Path,
    overrides: Sequence[str],
    *,
    watch: Watcher | None = None,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Train as `config` says and leave everything in `folder`; returns what run.json then holds.

    With `resume`, a run that is there already goes on at its last checkpoint; one that is finished is left as it is.
    `overrides`, and `options` before them, are what the command line was. Ctrl-C ends the training, not the run: the
    best model so far is scored and bundled, and the status is "interrupted" (of several processes that train together,
    nothing is). SIGTERM and SIGUSR1 end the run with a checkpoint. `watch` is told of every validation, and may give
    the run up: then its status is "pruned", and it has no bundle. Other processes `assist`.

    Raises `UserError` for a mistake in the configuration or the data, before anything heavy where that is possible, and
    where the disk is full; `Stopped` after a signal.
    """
    kind, world = check(config), here()
    keep_freed_memory()
    quiet()
    known = resuming.earlier(folder, config["resume"])
    if known.get("status") in ("finished", "pruned"):
        print(f"{folder}: holds a finished run; nothing is left to do (to train it further: init_from={folder}/bundle)")
        return known
    begin = resuming.start(folder, config, known)
    record = Record(folder, name=config["name"], seed=config["seed"], overrides=list(overrides))
    record.update(status="running", error=None, options=list(options))
    began, exit_code = time.monotonic() - begin.seconds, 1
    try:
        with Stopping(together=world.size > 1) as stopping, naming_full_disk(folder):
            if begin is not resuming.END:
                world.tell(JOB, {"config": config, "folder": str(folder), "begin": begin.told()})
            run = prepare(kind, config, folder, Surroundings(begin, began, stopping, watch, world))
            record.update(parameters=sum(p.numel() for p in run.task.model.parameters()))
            announce(run, record.values["parameters"], folder, begin)
            fitted = Fitted(**known["trained"]) if begin is resuming.END else fit(run, begin)
            if fitted.status == "finished":
                record.update(trained=fitted._asdict())
            stopping.now()
            complete(run, fitted, config, folder, record)
        exit_code = 0
    except Pruned:
        record.update(status="pruned", seconds=time.monotonic() - began, **run.task.metrics)
        exit_code = 0
    except (KeyboardInterrupt, Stopped) as stop:
        with suppress(OSError):
            record.update(status="interrupted", error=str(stop) or "interrupted before there was a bundle")
        raise
    finally:
        finish_wandb(exit_code)
    return record.values


def assist(world: World) -> None:
    """What every process but the first does: train along as the first says, and write nothing.

    Raises `UserError` and `Stopped` as `train` does, and where the first process is gone.
    """
    told = world.told(JOB)
    if told is None:
        return
    config, folder, begin = told["config"], Path(told["folder"]), Start.heard(told["begin"])
    kind = check(config)
    keep_freed_memory()
    quiet()
    with Stopping(together=True) as stopping:
        fit(prepare(kind, config, folder, Surroundings(begin, time.monotonic(), stopping, None, world)), begin)


def complete(run: Run, fitted: Fitted, config: Mapping[str, Any], folder: Path, record: Record) -> None:
    """Score, draw, bundle and log what was trained."""
    came = {key: value for key, value in fitted._asdict().items() if key not in ("best", "steps", "epochs")}
    words = ["seq2seq", "train", *record.values["options"], *record.values["overrides"]]
    origin = provenance(config, run.data, {"steps": fitted.steps, "epochs": fitted.epochs}, shlex.join(words))
    best = run.continuing.path.with_name(fitted.best)
    found = finish(run.kind, Outcome(run.data, run.task, config, origin), best, folder, record.values | came)
    record.update(**(came | found))
    log_results(run.trainer.loggers, folder, found["tests"])
    log_bundle(run.trainer.loggers, folder / "bundle", config["name"])


def check(config: Mapping[str, Any]) -> Kind:
    """Raise `UserError` for whatever can be known to be wrong before data are read; returns the task's kind."""
    configuration.check(config)
    kind = kinds.find(config["task"])
    for key in config:
        build.check_key(key, (*KEYS, *build.NODES[kind.name], *kind.groups), "config", kind.name)
    check_monitors(config["callbacks"], kind.logged(config))
    known = list(inspect.signature(lightning.Trainer.__init__).parameters)
    for key in config["trainer"]:
        build.check_key(key, [*OWN, *known], "trainer", "Trainer")
    kind.check(config)
    return kind


def quiet() -> None:
    """Silence what Lightning says about setups that are meant to be as they are."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "num_workers",
        "LeafSpec",
        "Checkpoint directory",
        "Experiment logs directory",
        "dataloader is not resumable",  # it is: see TranslationData
        "log_every_n_steps",
        "sync_dist=True",  # what is logged is summed over all processes already
    ):
        warnings.filterwarnings("ignore", f".*{message}.*")


def prepare(kind: Kind, config: Mapping[str, Any], folder: Path, around: Surroundings) -> Run:
    """Read the data, build the model and the trainer."""
    if around.world.first:
        resuming.tidy(folder, around.begin)
    options = dict(config["trainer"])
    own = {key: options.pop(key, None) for key in OWN}
    if own["threads"]:
        torch.set_num_threads(own["threads"])
    lightning.seed_everything(config["seed"], verbose=False)
    data = kind.data(config)
    with around.world.first_alone(DATA):
        data.prepare_data()
    resuming.check_data(around.begin, data.fingerprint)
    task = kind.task(config, make_model(kind, config, data), data)
    task.splits = bool(own["split_out_of_memory"])
    if str(options["precision"]) in ("64", "64-true"):
        task.double()  # Lightning does so behind the loading of a checkpoint, which would round it
    callbacks = make_callbacks(
        config["callbacks"], folder, kind.logged(config), progress=options["enable_progress_bar"]
    )
    callbacks += kind.callbacks(config, data, folder)
    callbacks += [Watch(config["callbacks"]["checkpoint"]["monitor"], around.watch)] if around.watch else []
    facts = {"config": hide(dict(config), everything=True), "data": data.fingerprint}
    every = {key: config["callbacks"]["checkpoint"].get(key) for key in ("every_minutes", "every_steps")}
    continuing = Continuing(folder / "checkpoints", around.stopping, facts, began=around.began, **every)
    callbacks += [Seeded(config["seed"]), continuing]
    loggers = []
    if around.world.first:
        loggers = make_loggers(hide(config["logger"]), folder, config["name"], step=around.begin.step)
    for logger in loggers:
        logger.log_hyperparams({**hide(dict(config), everything=True), "name": config["name"]})
    trainer = lightning.Trainer(
        callbacks=callbacks,
        logger=loggers,
        default_root_dir=folder,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options | placed(around.world, options),
    )
    return Run(kind, data, task, trainer, next(c for c in callbacks if isinstance(c, Throughput)), continuing)


def placed(world: World, options: Mapping[str, Any]) -> dict[str, Any]:
    """Where Lightning trains, and how checkpoints are written. It is told where it is and does not look: it would start
    processes of its own, or on SLURM write a checkpoint and requeue the job, where `Continuing` does.

    Several processes train by `DistributedDataParallel`; every component gives all its parameters a gradient (a test
    holds that), and buffers only count what all processes know.
    """
    _check_devices(world, options)
    if world.size == 1:
        return {"plugins": [DurableFiles(), LightningEnvironment()]}
    return {
        "plugins": [DurableFiles(), TorchElasticEnvironment()],
        "devices": world.local_size,
        "num_nodes": world.size // world.local_size,
        "strategy": DDPStrategy(forward_sync_buffers=False, gradient_as_bucket_view=True),
    }


def _check_devices(world: World, options: Mapping[str, Any]) -> None:
    accelerator, there = options["accelerator"], torch.cuda.device_count()
    if accelerator not in ("gpu", "cuda") and not (accelerator == "auto" and there):
        return
    if world.size == 1 and str(options["devices"]) in ("auto", "-1") and there > 1:
        raise UserError(
            f"trainer.devices={options['devices']}: a process trains on one of the {there} GPUs; set it to 1, or start "
            f"processes that train together: torchrun --nproc-per-node {there} -m seq2seq train …"
        )
    if world.size > 1 and there < world.local_size:
        raise UserError(
            f"trainer.accelerator={accelerator}: {world.local_size} processes on this machine need as many GPUs, and "
            f"each must see all of them ({there} can be seen); start fewer, or set trainer.accelerator=cpu"
        )


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


def announce(run: Run, parameters: int, folder: Path, begin: Start) -> None:
    """Say what is about to be trained on what, and where its results will be."""
    print(f"data: {run.kind.describe(run.data)}\nmodel: {parameters:,} parameters\nfolder: {folder}", flush=True)
    if begin.checkpoint:
        print(f"goes on at step {begin.optimizer_steps:,}: {begin.checkpoint}", flush=True)


def fit(run: Run, begin: Start) -> Fitted:
    """Train, from the beginning or from a checkpoint on."""
    trainer = run.trainer
    try:
        with naming_lost():
            trainer.fit(run.task, datamodule=run.data, ckpt_path=begin.checkpoint, weights_only=True)
    except Stopped:
        here().tell_stopped()
        raise
    except Lost:
        _stop_with_others(run.continuing.stopping)
        raise
    except SystemExit:  # Lightning's answer to Ctrl-C, with SIGINT ignored from there on
        if not trainer.interrupted:
            raise
        if trainer.world_size > 1:  # nobody knows what the other processes were at: no best model can be agreed on
            raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run.continuing.sweep(trainer)
    return Fitted(
        status="interrupted" if trainer.interrupted else "finished",
        best=best_checkpoint(run),
        steps=trainer.global_step,
        epochs=trainer.current_epoch,
        seconds=time.monotonic() - run.continuing.began,
        tokens_per_second=run.throughput.average,
    )


def _stop_with_others(stopping: Stopping) -> None:
    """Raise `Stopped` where another process is gone because of a signal, that it may have heard first. Launchers send
    SIGTERM, too, when a process has made a mistake: that is no reason to begin again."""
    stopped = here().stopped()
    if stopped or (stopped is None and stopping.received is not None):
        stopping.stop()


def best_checkpoint(run: Run) -> str:
    """The name of the best checkpoint; where there was no validation yet, of one that is made of the last weights."""
    best = run.trainer.checkpoint_callback
    if isinstance(best, Best) and best.best_model_path:
        return Path(best.best_model_path).name
    run.trainer.save_checkpoint(run.continuing.path.with_name(END))
    return END
