"""Before training: the data are read, the model and Lightning's trainer are made."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from seq2seq.bundle.format import load_bundle
from seq2seq.errors import UserError
from seq2seq.models import factory, vocabulary_transfer
from seq2seq.runtime.distributed import DATA, Rank, current_rank
from seq2seq.runtime.redaction import hide
from seq2seq.runtime.threads import limit_threads
from seq2seq.training.base import Task
from seq2seq.training.callbacks import restarts
from seq2seq.training.callbacks.checkpoints import DurableFiles, ResumeState, Seeded
from seq2seq.training.callbacks.factory import make_callbacks
from seq2seq.training.callbacks.signals import Stopping
from seq2seq.training.callbacks.throughput import Throughput
from seq2seq.training.callbacks.watch import Watch, Watcher
from seq2seq.training.configuration import monitoring, validation_interval
from seq2seq.training.configuration.accelerators import set_float32_precision
from seq2seq.training.configuration.monitoring import Settled
from seq2seq.training.lightning_errors import naming_lightning
from seq2seq.training.optimization.freezing import freeze
from seq2seq.training.optimization.out_of_memory import BatchSplitter
from seq2seq.training.records.loggers import make_loggers
from seq2seq.training.start import resuming, vectors
from seq2seq.training.start.resuming import Start
from seq2seq.training.task_module import TaskModule

OWN = ("threads", "validation_lines", "split_out_of_memory", "float32_matmul_precision", "cuda_graphs")
"""Keys of `trainer` that are not Lightning's."""


class Run(NamedTuple):
    """Everything that one run needs, ready to fit."""

    task: Task
    data: Any
    module: TaskModule
    trainer: lightning.Trainer
    throughput: Throughput
    resume_state: ResumeState
    settled: Settled


class RunContext(NamedTuple):
    """What a run depends on in addition to its configuration."""

    begin: Start
    began: float  # by the monotonic clock, as if one process had done all
    stopping: Stopping
    watch: Watcher | None
    rank: Rank


def quiet() -> None:
    """Silence Lightning's warnings about setups that are intended."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "num_workers",
        "LeafSpec",
        "Checkpoint directory",
        "Experiment logs directory",
        "dataloader is not resumable",  # it is: see TranslationData
        "log_every_n_steps",
        "could not find the monitored key",  # training may end before a validation
        "sync_dist=True",  # what is logged is summed over all processes already
    ):
        warnings.filterwarnings("ignore", f".*{message}.*")


def prepare(task: Task, config: Mapping[str, Any], folder: Path, context: RunContext) -> Run:
    """Read the data, build the model and the trainer."""
    if context.rank.is_zero:
        resuming.tidy(folder, context.begin)
    options = config["trainer"]
    limit_threads(options.get("threads"), context.rank.local_world_size)
    set_float32_precision(options.get("float32_matmul_precision"))
    lightning.seed_everything(config["seed"], verbose=False)
    data = task.data(config)
    with context.rank.zero_first(DATA):
        data.prepare_data()
    resuming.check_data(context.begin, data.fingerprint)
    settled = monitoring.settle(task, config, data, context.begin.monitors)
    facts, config = {**settled.config, "task": config["task"]}, settled.config
    module = task.module(config, make_model(task, config, data), data)
    module.splitter = BatchSplitter(module) if options.get("split_out_of_memory") else None
    if str(options["precision"]) in ("64", "64-true"):
        module.double()  # Lightning does so after loading a checkpoint, which would round it
    resume_state = make_resume_state(facts, data, folder, context)
    callbacks = make_callbacks(
        config["callbacks"],
        folder,
        progress=options["enable_progress_bar"],
        label=folder.name if config["name"].endswith(f"-{folder.name}") else "",  # so a sweep names its runs
    )
    callbacks += task.callbacks(config, data, folder)
    callbacks += [*validation_interval.interval(options), *restarts.restarts(config)]
    callbacks += [Watch(config["callbacks"]["checkpoint"]["monitor"], context.watch)] if context.watch else []
    trainer = make_trainer(
        options,
        context.rank,
        callbacks=[*callbacks, Seeded(config["seed"]), resume_state],
        logger=described_loggers(config, folder, context.begin) if context.rank.is_zero else [],
        default_root_dir=folder,
    )
    throughput = next(c for c in callbacks if isinstance(c, Throughput))
    return Run(task, data, module, trainer, throughput, resume_state, settled)


def make_trainer(options: Mapping[str, Any], rank: Rank, **more: Any) -> lightning.Trainer:
    """Lightning's trainer with the options of `trainer`, and `more` of its arguments. Raises `UserError` for what
    Lightning refuses."""
    given = {key: value for key, value in options.items() if key not in OWN}
    if given.get("devices") == -1:
        given["devices"] = "auto"  # the same, and Lightning refuses -1 on a CPU
    with naming_lightning():
        return lightning.Trainer(
            enable_model_summary=False,
            use_distributed_sampler=False,
            **given | placed(rank, options) | validation_interval.lightning_options(options),
            **more,
        )


def make_resume_state(config: Mapping[str, Any], data: Any, folder: Path, context: RunContext) -> ResumeState:
    """Make the callback that writes the checkpoints to resume from, which hold configuration and data fingerprint."""
    facts = {"config": hide(dict(config), everything=True), "data": data.fingerprint}
    every = {key: config["callbacks"]["checkpoint"].get(key) for key in ("every_minutes", "every_steps")}
    return ResumeState(folder / "checkpoints", context.stopping, facts, began=context.began, **every)


def described_loggers(config: Mapping[str, Any], folder: Path, begin: Start) -> list[Logger]:
    """The loggers, to which the configuration was logged."""
    loggers = make_loggers(config["logger"], folder, config["name"], step=begin.step)
    for logger in loggers:
        logger.log_hyperparams({**hide(dict(config), everything=True), "name": config["name"]})
    return loggers


def placed(rank: Rank, options: Mapping[str, Any]) -> dict[str, Any]:
    """Where Lightning trains, and how checkpoints are written. The environment is given, since Lightning would
    otherwise start processes of its own, or on SLURM write a checkpoint and requeue the job, where `ResumeState` does.

    Several processes train by `DistributedDataParallel`; every component gives all its parameters a gradient (tests
    hold that), and buffers only count what all processes know.
    """
    _check_devices(rank, options)
    if rank.world_size == 1:
        return {"plugins": [DurableFiles(), LightningEnvironment()]}
    return {
        "plugins": [DurableFiles(), TorchElasticEnvironment()],
        "devices": rank.local_world_size,
        "num_nodes": rank.world_size // rank.local_world_size,
        "strategy": DDPStrategy(forward_sync_buffers=False, gradient_as_bucket_view=True),
    }


def _check_devices(rank: Rank, options: Mapping[str, Any]) -> None:
    accelerator, there = options["accelerator"], torch.cuda.device_count()
    if accelerator not in ("gpu", "cuda") and not (accelerator == "auto" and there):
        return
    if rank.world_size == 1 and str(options["devices"]) in ("auto", "-1") and there > 1:
        raise UserError(
            f"trainer.devices={options['devices']}: a process trains on one of the {there} GPUs; set it to 1, or start "
            f"processes that train together: torchrun --nproc-per-node {there} -m seq2seq train …"
        )
    if rank.world_size > 1 and there < rank.local_world_size:
        raise UserError(
            f"trainer.accelerator={accelerator}: {rank.local_world_size} processes on this machine need as many GPUs, "
            f"and each must see all of them ({there} can be seen); start fewer, or set trainer.accelerator=cpu"
        )


def make_model(task: Task, config: Mapping[str, Any], data: Any) -> nn.Module:
    """A new model of the data's sizes, with the weights of `init_from` if there is one."""
    model = factory.model(task.name, config, task.sizes(data), config["trust"])
    if config["init_from"] is not None:
        start = load_bundle(Path(config["init_from"]), trusted=config["trust"])
        try:
            if how := config.get("init_vocabulary"):
                origins = vocabulary_transfer.transfer(model, start.model, start.tokenizers, data.tokenizers, how)
                if current_rank().is_zero:
                    print(vocabulary_transfer.described(origins, how, data.tokenizers), flush=True)
            else:
                model.load_state_dict(start.model.state_dict())
        except RuntimeError as error:
            raise UserError(
                f"init_from={config['init_from']}: its weights do not fit this model; use the overrides it was trained "
                f"with ({str(error).splitlines()[1].strip()})"
            ) from None
    for line in vectors.place(model, config, data.tokenizers):
        if current_rank().is_zero:
            print(line, flush=True)
    freeze(model, config.get("freeze", ()))
    return model
