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

from seq2seq import __version__, build
from seq2seq.bundle import load_bundle
from seq2seq.corpora import Corpus, TranslationData
from seq2seq.errors import UserError
from seq2seq.models import EncoderDecoder
from seq2seq.record import Record
from seq2seq.search import SearchOptions
from seq2seq.tasks import optimization
from seq2seq.tasks.callbacks import Samples, Throughput, make_callbacks
from seq2seq.tasks.finish import Outcome, finish
from seq2seq.tasks.loggers import finish_wandb, log_bundle, make_loggers
from seq2seq.tasks.translation import TranslationTask
from seq2seq.text import BOS, EOS, PAD, TokenizerTrainer

KEYS = (
    *("name", "seed", "trust", "init_from", "task", "data", "tokenizer", "optimizer", "scheduler", "trainer"),
    *("logger", "callbacks", "search", *build.MODEL_NODES),
)


class Run(NamedTuple):
    """Everything that one run needs, ready to fit."""

    data: TranslationData
    model: EncoderDecoder
    task: TranslationTask
    trainer: lightning.Trainer
    throughput: Throughput


def train(config: Mapping[str, Any], folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Train as `config` says and leave everything in `folder`; returns what run.json then holds.

    Ctrl-C ends the training, not the run: the best model so far is scored and bundled, and the status is "interrupted".
    Raises `UserError` for a mistake in the configuration or the data, before anything heavy where that is possible.
    """
    check(config)
    quiet()
    if (folder / "run.json").exists():
        raise UserError(f"{folder}: already holds a run; choose another folder with hydra.run.dir=…")
    record = Record(folder, name=config["name"], seed=config["seed"], overrides=list(overrides))
    record.update(status="running", error=None)
    began, exit_code = time.time(), 1
    try:
        run = prepare(config, folder)
        record.update(parameters=sum(p.numel() for p in run.model.parameters()))
        announce(run, record.values["parameters"], folder)
        status = fit(run)
        values = {"status": status, "seconds": time.time() - began, "tokens_per_second": run.throughput.average}
        outcome = Outcome(run.data, run.task, best_checkpoint(run.trainer), config, provenance(config, run, overrides))
        record.update(**(values | finish(outcome, folder, record.values | values)))
        log_bundle(run.trainer.loggers, folder / "bundle", config["name"])
        exit_code = 0
    except KeyboardInterrupt:
        record.update(status="interrupted", error="interrupted before there was a bundle")
        raise
    finally:
        finish_wandb(exit_code)
    return record.values


def check(config: Mapping[str, Any]) -> None:
    """Raise `UserError` for whatever can be known to be wrong before data are read."""
    for key in config:
        build.check_key(key, KEYS, "config", "train")
    optimization.check(config["optimizer"], config["scheduler"])
    for key in config["task"]:
        build.check_key(key, ("label_smoothing", "validation_beam_size"), "task", "translation")
    if not 0 <= config["task"]["label_smoothing"] < 1:
        raise UserError(f"task.label_smoothing={config['task']['label_smoothing']} must be at least 0 and below 1")
    search_options(config["search"])
    known = list(inspect.signature(lightning.Trainer.__init__).parameters)
    for key in config["trainer"]:
        build.check_key(key, ["threads", *known], "trainer", "Trainer")
    build.encoder_decoder(config, 8, 8, config["trust"])


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


def search_options(config: Mapping[str, Any], **changes: Any) -> SearchOptions:
    """The group `search` as options; raises `UserError` for an unknown key or value."""
    for key in config:
        build.check_key(str(key), list(inspect.signature(SearchOptions).parameters), "search", "search")
    return SearchOptions(**{"bos": BOS, "eos": EOS, "pad": PAD, **config, **changes})


def prepare(config: Mapping[str, Any], folder: Path) -> Run:
    """Read the data, build the model and the trainer."""
    options = dict(config["trainer"])
    if threads := options.pop("threads", None):
        torch.set_num_threads(threads)
    lightning.seed_everything(config["seed"], verbose=False)
    data = make_data(config)
    data.prepare_data()
    model = make_model(config, data)
    sources, references = data.text("val")
    task = TranslationTask(
        model,
        optimizer=config["optimizer"],
        scheduler=config["scheduler"],
        search=search_options(config["search"], beam_size=config["task"]["validation_beam_size"], n_best=1),
        label_smoothing=config["task"]["label_smoothing"],
        target_tokenizer=data.tokenizers.target,
        references=references,
    )
    callbacks = make_callbacks(config["callbacks"], folder, progress=options["enable_progress_bar"])
    if config["callbacks"].get("samples"):
        callbacks.append(Samples(folder, sources, references, config["callbacks"]["samples"]))
    loggers = make_loggers(config["logger"], folder, config["name"])
    for logger in loggers:
        logger.log_hyperparams(dict(config))
    trainer = lightning.Trainer(
        callbacks=callbacks, logger=loggers, enable_model_summary=False, use_distributed_sampler=False, **options
    )
    return Run(data, model, task, trainer, next(c for c in callbacks if isinstance(c, Throughput)))


def make_data(config: Mapping[str, Any]) -> TranslationData:
    """The data of a configuration; a run that starts from a bundle keeps the bundle's tokenizers."""
    options = {key: value for key, value in config["data"].items() if key not in ("corpus", "vocabulary_size", "root")}
    known = [
        name
        for name in inspect.signature(TranslationData).parameters
        if name not in ("corpus", "tokenizer", "tokenizers", "seed")
    ]
    for key in options:
        build.check_key(key, known, "data", "TranslationData")
    corpus = build.factory(config["data"]["corpus"], "data.corpus", (), config["trust"], Corpus)()
    trainer = build.factory(config["tokenizer"], "tokenizer", (), config["trust"], TokenizerTrainer)()
    start = config["init_from"]
    tokenizers = None if start is None else load_bundle(Path(start), trusted=config["trust"]).tokenizers
    return TranslationData(corpus, trainer, seed=config["seed"], tokenizers=tokenizers, **options)


def make_model(config: Mapping[str, Any], data: TranslationData) -> EncoderDecoder:
    """A new model for the data's vocabularies, with the weights of `init_from` if there is one."""
    sizes = len(data.tokenizers.source), len(data.tokenizers.target)
    model = build.encoder_decoder(config, *sizes, trusted=config["trust"])
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
    found = run.data.statistics
    print(
        f"data: {run.data.corpus.name}, {found['pairs']:,} pairs to train on "
        f"({found['dropped_empty']:,} empty and {found['dropped_long']:,} over-long ones dropped), "
        f"{found['vocabulary']['source']:,} source and {found['vocabulary']['target']:,} target pieces\n"
        f"model: {parameters:,} parameters\nfolder: {folder}",
        flush=True,
    )


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
