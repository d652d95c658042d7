"""What the value of an option may be, by the option's place; components check their own (seq2seq/models/factory.py)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seq2seq.scoring import NAMES


class Rule(NamedTuple):
    """What a value must be, in words, and whether one is."""

    words: str
    fits: Callable[[Any], bool]

    def __or__(self, other: Rule) -> Rule:
        return Rule(f"{self.words}, or {other.words}", lambda value: self.fits(value) or other.fits(value))


def is_number(value: object) -> bool:
    """A finite number, and not a truth value, which Python takes for one."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def whole(least: int, most: int = 1 << 40) -> Rule:
    """A whole number of a range, both ends included."""
    span = f"from {least} to {most}" if most < 1 << 40 else f"of at least {least}"
    return Rule(
        f"a whole number {span}", lambda value: is_number(value) and isinstance(value, int) and least <= value <= most
    )


def number(least: float, most: float = math.inf) -> Rule:
    """A number of a range, both ends included."""
    span = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
    return Rule(f"a number {span}", lambda value: is_number(value) and least <= value <= most)


def above(least: float, most: float = math.inf) -> Rule:
    """A number that is larger than `least`, and at most `most`."""
    span = f"above {least:g}" + (f" and at most {most:g}" if most < math.inf else "")
    return Rule(f"a number {span}", lambda value: is_number(value) and least < value <= most)


def one_of(*names: str | int) -> Rule:
    """One of some words (or numbers that stand for words)."""
    words = f"one of {', '.join(map(str, names))}"
    return Rule(words, lambda value: isinstance(value, (str, int)) and not isinstance(value, bool) and value in names)


def list_of(rule: Rule, size: int | None = None) -> Rule:
    """A list, of so many items if that is given."""
    words = f"a list{'' if size is None else f' of {size}'}, each {rule.words}"

    def fits(value: Any) -> bool:
        right = isinstance(value, (list, tuple)) and (size is None or len(value) == size)
        return right and all(rule.fits(item) for item in value)

    return Rule(words, fits)


def like(values: Sequence[Any]) -> Rule:
    """What the YAML files have: null where they have it, else the same type; a number not below 0."""
    rules = {
        "bool": flag,
        "int": whole(0),
        "float": number(0),
        "str": text,
        "list": Rule("a list", lambda value: isinstance(value, (list, tuple))),
        "dict": Rule("options by name", lambda value: isinstance(value, dict)),
        "NoneType": null,
    }
    kinds = {type(value).__name__ for value in values}
    if kinds == {"NoneType"}:  # the files do not tell; who reads it checks it
        return Rule("anything", lambda value: True)
    kinds -= {"int"} if "float" in kinds else set()
    found = [rules[kind] for kind in sorted(kinds)]
    rule = found[0]
    for other in found[1:]:
        rule |= other
    return rule


null = Rule("null", lambda value: value is None)
flag = Rule("true or false", lambda value: isinstance(value, bool))
text = Rule("text", lambda value: isinstance(value, str) and bool(value))
inside = Rule("a number between 0 and 1", lambda value: is_number(value) and 0 < value < 1)
share = Rule("a number from 0 to below 1", lambda value: is_number(value) and 0 <= value < 1)
batches = whole(1) | above(0, 1)
part = whole(0) | number(0, 1)
better = one_of("auto", "min", "max")
UNITS = ("weeks", "days", "hours", "minutes", "seconds")
duration = Rule("DD:HH:MM:SS", lambda value: isinstance(value, str) and bool(re.fullmatch(r"\d+(:\d{2}){3}", value)))
duration |= Rule(
    f"numbers of {', '.join(UNITS)}",
    lambda value: isinstance(value, dict) and all(key in UNITS and number(0).fits(value[key]) for key in value),
)
PRECISIONS = ("16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true", "16", "bf16", "32", "64")

RULES: dict[str, Rule] = {
    "name": text,
    "seed": whole(0, (1 << 32) - 1),
    "trust": list_of(text),
    "resume": text | null,
    "init_from": text | null,
    "embedding.size": whole(1),
    "embedding.dropout": share,
    "embedding.word_dropout": share,
    "embedding.characters": Rule("sizes by name", lambda value: isinstance(value, dict) and bool(value)) | null,
    "labels.separator": text,
    "labels.none": text,
    "task.label_smoothing": share,
    "task.validation_beam_size": whole(1, 1000),
    "task.metrics": list_of(one_of(*NAMES)),
    "task.window": whole(1) | null,
    "task.truncate": whole(0) | null,
    "task.reset": share,
    "data.batch_tokens": whole(1, (1 << 31) - 1),
    "data.batch_size": whole(1, (1 << 31) - 1) | null,
    "data.max_length": whole(1, (1 << 31) - 1),
    "data.encoding_workers": whole(1, 1024),
    "data.vocabulary_size": whole(1) | null,
    "data.root": text | null,
    "optimizer.lr": above(0),
    "optimizer.eps": above(0),
    "optimizer.rho": share,
    "optimizer.betas": list_of(share, 2),
    "scheduler.mode": better | null,
    "scheduler.factor": inside,
    "search.beam_size": whole(1, 1000),
    "search.n_best": whole(1, 1000),
    "search.min_length": whole(0, 100_000),
    "search.max_length_ratio": number(0, 1000),
    "search.max_length_extra": whole(0, 100_000),
    "trainer.max_epochs": whole(-1) | null,
    "trainer.max_steps": whole(-1),
    "trainer.max_time": duration | null,
    "trainer.accelerator": one_of("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.devices": whole(1) | one_of("auto", "-1") | list_of(whole(0)),
    "trainer.precision": one_of(*PRECISIONS, 16, 32, 64),
    "trainer.gradient_clip_val": number(0) | null,
    "trainer.accumulate_grad_batches": whole(1),
    "trainer.check_val_every_n_epoch": whole(1) | null,
    "trainer.val_check_interval": batches,
    "trainer.limit_train_batches": part,
    "trainer.limit_val_batches": part,
    "trainer.num_sanity_val_steps": whole(-1),
    "trainer.log_every_n_steps": whole(1),
    "trainer.fast_dev_run": flag | whole(0),
    "trainer.min_epochs": whole(0) | null,
    "trainer.min_steps": whole(0) | null,
    "trainer.limit_test_batches": part | null,
    "trainer.limit_predict_batches": part | null,
    "trainer.overfit_batches": part,
    "trainer.gradient_clip_algorithm": one_of("norm", "value") | null,
    "trainer.deterministic": flag | one_of("warn") | null,
    "trainer.benchmark": flag | null,
    "trainer.profiler": one_of("simple", "advanced", "pytorch") | null,
    **dict.fromkeys((f"trainer.{key}" for key in ("inference_mode", "detect_anomaly", "sync_batchnorm")), flag),
    "trainer.reload_dataloaders_every_n_epochs": whole(0),
    "trainer.threads": whole(1, 4096) | null,
    **dict.fromkeys((f"logger.wandb.{key}" for key in ("project", "entity", "group", "name", "id")), text | null),
    "logger.wandb.tags": list_of(text) | null,
    "callbacks.checkpoint.mode": better | null,
    "callbacks.checkpoint.save_top_k": whole(-1),
    "callbacks.checkpoint.every_minutes": above(0) | null,
    "callbacks.checkpoint.every_steps": whole(1) | null,
    "callbacks.skipped_in_a_row": whole(1),
    "callbacks.early_stopping.mode": better | null,
    "callbacks.early_stopping.patience": whole(0) | null,
    "callbacks.ema.decay": inside | null,
    "callbacks.ema.update_every_n_steps": whole(1),
    "callbacks.samples": whole(0, 10_000) | null,
}
"""Those that the YAML files' values do not tell: see `like`, which holds for all others."""

TRAINER = """
fast_dev_run min_epochs min_steps limit_train_batches limit_test_batches overfit_batches
gradient_clip_algorithm deterministic benchmark inference_mode profiler detect_anomaly
sync_batchnorm reload_dataloaders_every_n_epochs limit_predict_batches
""".split()
"""Arguments of Lightning's Trainer that conf/trainer does not have."""

TOGETHER = "start processes that train together: torchrun --nproc-per-node N -m seq2seq train …"
ELSEWHERE = {
    "logger": "choose loggers by the group logger: logger=tensorboard",
    "callbacks": "the group callbacks has checkpoints, early stopping, samples and averaging",
    "plugins": "checkpoints are written by the project's own",
    "default_root_dir": "the folder of a run is hydra.run.dir",
    "enable_checkpointing": "callbacks.checkpoint=null keeps the last weights instead of the best",
    "enable_model_summary": "--cfg job shows what the model is made of, and the log its number of parameters",
    "use_distributed_sampler": "every process makes batches of its own already",
    "barebones": "it would take away what a run consists of; logger=null callbacks=null is the least there is",
    "model_registry": "the trained model is the folder bundle",
    "enable_autolog_hparams": "every logger is told the configuration",
    "strategy": TOGETHER,
    "num_nodes": TOGETHER,
}
"""Arguments of Lightning's Trainer that the project sets, and what to do instead."""
