"""One training run from a plain configuration: prepared, trained, scored, drawn and bundled."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from seq2seq.errors import Stopped
from seq2seq.nn import matmul_library
from seq2seq.runtime.distributed import JOB, PeerLost, Rank, current_rank, naming_lost
from seq2seq.runtime.malloc import keep_freed_memory
from seq2seq.runtime.threads import available_cpus
from seq2seq.training.base import Outcome, Task, load_task
from seq2seq.training.callbacks import restarts
from seq2seq.training.callbacks.best_models import Best, Patience
from seq2seq.training.callbacks.checkpoints import END, naming_full_disk
from seq2seq.training.callbacks.signals import Stopping
from seq2seq.training.callbacks.watch import Pruned, Watcher
from seq2seq.training.configuration import monitoring, schema, validation_interval
from seq2seq.training.finish import finish
from seq2seq.training.lightning_errors import naming_lightning
from seq2seq.training.optimization import out_of_memory
from seq2seq.training.records.loggers import log_bundle, log_results
from seq2seq.training.records.provenance import provenance
from seq2seq.training.records.run_record import Record
from seq2seq.training.records.wandb_logger import finish_run
from seq2seq.training.setup import Run, RunContext, make_trainer, prepare, quiet
from seq2seq.training.start import init_from, resuming, vectors
from seq2seq.training.start.resuming import Start


class Fitted(NamedTuple):
    """The result of training, as run.json keeps it: a run that is killed while it is scored does not train again."""

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
    trial: nn.Module | None = None,
) -> dict[str, Any]:
    """Train as `config` says and leave everything in `folder`; returns what run.json then holds.

    With `resume`, a run that is there already is resumed from its last checkpoint; one that is finished is left as it
    is. `overrides`, and `options` before them, are the command line. `trial` is what `schema.check` returned for this
    configuration, if it was called. Ctrl-C ends the training, not the run: the best model so far is scored and bundled,
    and the status is "interrupted" (where several processes train together, nothing is). SIGTERM and SIGUSR1 end the
    run with a checkpoint. `watch` is called after every validation, and may end the run: then its status is "pruned",
    and it has no bundle. Processes of other ranks `assist`.

    Raises `UserError` for a mistake in the configuration or the data, before anything heavy where that is possible, and
    where the disk is full; `Stopped` after a signal.
    """
    task = check(config, trial)
    keep_freed_memory()
    earlier = resuming.earlier(folder, config["resume"])
    if earlier.get("status") in ("finished", "pruned"):
        print(f"{folder}: holds a finished run; nothing is left to do (to train it further: init_from={folder}/bundle)")
        return earlier
    begin = resuming.start(folder, config, earlier)
    record = Record(folder, name=config["name"], seed=config["seed"], overrides=list(overrides))
    matmul_library.use(earlier.get("products"))
    record.update(status="running", error=None, options=list(options), products=matmul_library.name())
    exit_code, rank = 1, current_rank()
    try:
        with Stopping(together=rank.world_size > 1) as stopping, naming_full_disk(folder):
            context = RunContext(begin, time.monotonic() - begin.seconds, stopping, watch, rank)
            _train(task, config, folder, context, record)
        exit_code = 0
    except (KeyboardInterrupt, Stopped) as stop:
        with suppress(OSError):
            record.update(status="interrupted", error=str(stop) or "interrupted before there was a bundle")
        raise
    finally:
        finish_run(exit_code)
    return record.values


def _train(task: Task, config: Mapping[str, Any], folder: Path, context: RunContext, record: Record) -> None:
    """Train, unless training is done already, then score and bundle; a run that `watch` ends is recorded as pruned."""
    begin = context.begin
    if begin is not resuming.END:
        job = {"config": config, "folder": str(folder), "begin": begin.as_list(), "products": matmul_library.name()}
        context.rank.broadcast(JOB, job)
    run = prepare(task, config, folder, context)
    settled = run.settled.config
    parameters = sum(parameter.numel() for parameter in run.module.model.parameters())
    record.update(parameters=parameters, monitor=monitoring.best_by(settled))
    if precision := settled["trainer"].get("float32_matmul_precision"):
        record.update(float32_matmul_precision=precision)
    announce(run, parameters, folder, begin)
    try:
        fitted = Fitted(**record.values["trained"]) if begin is resuming.END else fit(run, begin)
    except Pruned:
        record.update(status="pruned", seconds=time.monotonic() - context.began, **run.module.metrics)
        return
    if fitted.status == "finished":
        record.update(trained=fitted._asdict())
    context.stopping.now()
    complete(run, fitted, settled, folder, record)


def assist(rank: Rank) -> None:
    """Train in a process of another rank than 0: with the job that rank 0 broadcasts, writing nothing.

    Raises `UserError` and `Stopped` as `train` does, and where the process of rank 0 has ended.
    """
    job = rank.receive(JOB)
    if job is None:
        return
    config, folder, begin = job["config"], Path(job["folder"]), Start.from_list(job["begin"])
    task = check(config)
    keep_freed_memory()
    matmul_library.use(job["products"])
    with Stopping(together=True) as stopping:
        fit(prepare(task, config, folder, RunContext(begin, time.monotonic(), stopping, None, rank)), begin)


def complete(run: Run, fitted: Fitted, config: Mapping[str, Any], folder: Path, record: Record) -> None:
    """Score, draw, bundle and log what was trained."""
    training = {key: value for key, value in fitted._asdict().items() if key not in ("best", "steps", "epochs")}
    words = ["seq2seq", "train", *record.values["options"], *record.values["overrides"]]
    origin = provenance(config, run.data, {"steps": fitted.steps, "epochs": fitted.epochs}, shlex.join(words))
    best = run.resume_state.path.with_name(fitted.best)
    outcome = Outcome(run.data, run.module, config, origin)
    results = finish(run.task, outcome, best, folder, record.values | training)
    record.update(**(training | results))
    log_results(run.trainer.loggers, folder, results["tests"])
    log_bundle(run.trainer.loggers, folder / "bundle", config["name"])


def check(config: Mapping[str, Any], trial: nn.Module | None = None) -> Task:
    """Return the task of a configuration; raises `UserError` for every mistake that can be found before data are
    read. `trial` is what `schema.check` returned, if it was called already: that part needs no Lightning."""
    trial = schema.check(config) if trial is None else trial
    task = load_task(config["task"])
    monitoring.check(config, task.logged(config), task.best_by(config))
    validation_interval.check(config["trainer"])
    restarts.check(config)
    task.check(config, trial)
    init_from.check(config)
    vectors.check(config)
    quiet()
    if (rank := current_rank()).world_size == 1:
        make_trainer(config["trainer"], rank, logger=False, enable_checkpointing=False)  # Lightning refuses it now
    return task


def announce(run: Run, parameters: int, folder: Path, begin: Start) -> None:
    """Print what is about to be trained on what, and where its results will be."""
    together = f", trained by {size} processes" if (size := run.trainer.world_size) > 1 else ""
    print(f"data: {run.task.describe(run.data)}\nmodel: {parameters:,} parameters{together}")
    print(f"threads: {torch.get_num_threads()} (CPUs available: {available_cpus()})\nfolder: {folder}", flush=True)
    for remark in run.settled.remarks:
        print(remark, flush=True)
    config = run.settled.config
    more = [warning] if (warning := run.task.remark(config, run.data)) else []
    for warning in (*run.settled.warnings, *validation_interval.warnings(config), *more):
        print(f"seq2seq: warning: {warning}", file=sys.stderr, flush=True)
    if begin.checkpoint:
        print(f"resumes from step {begin.optimizer_steps:,}: {begin.checkpoint}", flush=True)


def fit(run: Run, begin: Start) -> Fitted:
    """Train, from the beginning or from a checkpoint on."""
    trainer = run.trainer
    try:
        with naming_lightning(), naming_lost(), out_of_memory.named(run.module):
            trainer.fit(run.module, datamodule=run.data, ckpt_path=begin.checkpoint, weights_only=True)
    except Stopped:
        current_rank().broadcast_stopped()
        raise
    except PeerLost:
        _stop_with_others(run.resume_state.stopping)
        raise
    except SystemExit:  # Lightning's answer to Ctrl-C, with SIGINT ignored from there on
        if not trainer.interrupted:
            raise
        if trainer.world_size > 1:  # the steps of the other processes are not known, nor is a common best model
            raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run.resume_state.sweep(trainer)
    _explain_end(run)
    return Fitted(
        status="interrupted" if trainer.interrupted else "finished",
        best=best_checkpoint(run),
        steps=trainer.global_step,
        epochs=trainer.current_epoch,
        seconds=time.monotonic() - run.resume_state.began,
        tokens_per_second=run.throughput.average,
    )


def _explain_end(run: Run) -> None:
    """Print why training ended before its limit, and what is bundled where nothing was validated."""
    if not run.trainer.is_global_zero:
        return
    for each in run.trainer.early_stopping_callbacks:
        if isinstance(each, Patience) and each.explanation:
            print(f"stopped early: {each.explanation}", flush=True)
    best = run.trainer.checkpoint_callback
    if not (isinstance(best, Best) and best.best_model_path):
        kept = isinstance(best, Best) and best.save_top_k != 0
        reason = "nothing was validated" if kept else "no best model was kept"
        print(f"{reason}: the model is that of the last step, {run.trainer.global_step:,}", flush=True)


def _stop_with_others(stopping: Stopping) -> None:
    """Raise `Stopped` where another process has ended because of a signal, which this process may have received first.
    Launchers send SIGTERM, too, when a process has made a mistake: that is no reason to resume."""
    stopped = current_rank().stopped()
    if stopped or (stopped is None and stopping.received is not None):
        stopping.stop()


def best_checkpoint(run: Run) -> str:
    """The name of the best checkpoint; where there was no validation yet, of one that is made of the last weights."""
    best = run.trainer.checkpoint_callback
    if isinstance(best, Best) and best.best_model_path:
        return Path(best.best_model_path).name
    run.trainer.save_checkpoint(run.resume_state.path.with_name(END))
    return END
