"""What the value of an option may be, by the option's place, as types that pydantic checks; components check their own
(seq2seq/models/components.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import Field, Strict, TypeAdapter, ValidationError

from seq2seq.errors import UserError
from seq2seq.scoring import NAMES
from seq2seq.training.optimization.freezing import PARTS

LARGEST = 1 << 40
"""A larger value of a count is a mistake."""


def integer(least: int, most: int = LARGEST) -> Any:
    """The type of a whole number of a range, both ends included."""
    return Annotated[int, Field(strict=True, ge=least, le=most)]


def number(**bounds: Any) -> Any:
    """The type of a finite number between bounds: ge, gt, le, lt."""
    return Annotated[float, Field(strict=True, allow_inf_nan=False, **bounds)]


def list_of(item: Any, size: int | None = None) -> Any:
    """The type of a list, of so many items if that is given."""
    return Annotated[list[item], Field(min_length=size, max_length=size)]


def one_of(*names: str | int) -> Any:
    """The type of one of these words, or of numbers that mean words."""
    return Literal[names]


Flag = Annotated[bool, Strict()]
Text = Annotated[str, Field(strict=True, min_length=1)]
Share = number(ge=0, lt=1)
Inside = number(gt=0, lt=1)
Batches = integer(1) | number(gt=0, le=1)
Part = integer(0) | number(ge=0, le=1)
Better = one_of("auto", "min", "max")
PRECISIONS = ("16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true", "16", "bf16", "32", "64")
Sizes = Annotated[dict[str, Any], Field(min_length=1, description="sizes by name")]
Widths = Annotated[
    dict[str, Annotated[int, Field(strict=True, ge=0)]],
    Field(min_length=1, description="widths by name, whole numbers: {pos: 16}"),
]
FilesBySide = Annotated[
    dict[Literal["source", "target"], Text | None], Field(description="files by side: {source: FILE, target: FILE}")
]
Clock = Annotated[str, Field(strict=True, pattern=r"^\d+(:\d{2}){3}$", description="DD:HH:MM:SS")]
Unit = Literal["weeks", "days", "hours", "minutes", "seconds"]
Duration = dict[Unit, Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]]
WORDS = {"boolean": "true or false", "string": "text", "object": "options by name", "null": "null"}
BY_TYPE = {
    "bool": Flag,
    "int": integer(0),
    "float": number(ge=0),
    "str": Text,
    "list": list[Any],
    "dict": dict[str, Any],
    "NoneType": None,
}


def like(values: Sequence[Any]) -> Any:
    """The type of the values that the YAML files have for an option; numbers are not below 0."""
    names = {type(value).__name__ for value in values}
    if names <= {"NoneType"}:  # the files do not show its type; its reader checks it
        return Any
    return Union[tuple(BY_TYPE[name] for name in sorted(names - ({"int"} if "float" in names else set())))]  # noqa: UP007


def check_value(place: str, value: object, rule: Any) -> None:
    """Raise `UserError`, with what it must be, for a value that is not of the type `rule`."""
    try:
        _adapter(rule).validate_python(value)
    except ValidationError:
        raise UserError(f"{place}={value!r}: must be {in_words(_adapter(rule).json_schema())}") from None


@cache
def _adapter(rule: Any) -> Any:  # TypeAdapter[Any], which beartype does not know
    """A validator of a type; making it takes a hundred times as long as a check."""
    return TypeAdapter(rule, config={"strict": True})


def in_words(schema: Mapping[str, Any]) -> str:
    """A JSON schema as a phrase: `a whole number of at least 1, or null`."""
    match schema:
        case {"description": text}:
            return str(text)
        case {"anyOf": options}:
            return ", or ".join(map(in_words, options))
        case {"enum": values}:
            return f"one of {', '.join(map(str, values))}"
        case {"const": value}:
            return f"one of {value}"
        case {"type": "array"}:
            size = f" of {schema['minItems']}" if "minItems" in schema else ""
            return f"a list{size}" + (f", each {in_words(schema['items'])}" if schema.get("items") else "")
        case {"type": "object", "propertyNames": {"enum": names}}:
            return f"numbers of {', '.join(names)}"
        case {"type": ("integer" | "number") as kind}:
            return ("a whole number" if kind == "integer" else "a number") + _span(schema)
        case {"type": kind}:
            return str(WORDS[str(kind)])
    return "anything"


def _span(schema: Mapping[str, Any]) -> str:
    bounds = {"minimum": "of at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    told = [f"{words} {schema[key]:.10g}" for key, words in bounds.items() if schema.get(key, LARGEST) != LARGEST]
    return "".join(f" {each}" for each in [" and ".join(told)] if each)


RULES: dict[str, Any] = {
    "name": Text,
    "seed": integer(0, (1 << 32) - 1),
    "trust": list_of(Text),
    "resume": Text | None,
    "init_from": Text | None,
    "init_vocabulary": one_of("extend", "match", "replace") | None,
    "freeze": list_of(one_of(*PARTS)),
    "embedding.size": integer(1),
    "embedding.dropout": Share,
    "embedding.word_dropout": Share,
    "embedding.characters": Sizes | None,
    "embedding.factors": Widths | None,
    "embedding.factors_combine": one_of("concat", "sum"),
    "embedding.vectors": FilesBySide | None,
    "embedding.freeze_vectors": list_of(one_of("source", "target")),
    "extra_encoders": Annotated[dict[str, Any] | None, Field(description="encoders by name, or null")],
    "labels.separator": Text,
    "labels.none": Text,
    "task.label_smoothing": Share,
    "task.loss": one_of("likelihood", "risk"),
    "task.r_drop": number(ge=0),
    "task.risk.samples": integer(1, 10_000),
    "task.risk.sharpness": number(gt=0),
    "task.validation_beam_size": integer(1, 1000),
    "task.metrics": list_of(one_of(*NAMES)),
    "task.window": integer(1) | None,
    "task.truncate": integer(0) | None,
    "task.reset": Share,
    "data.batch_tokens": integer(1, (1 << 31) - 1),
    "data.batch_size": integer(1, (1 << 31) - 1) | None,
    "data.max_length": integer(1, (1 << 31) - 1),
    "data.encoding_workers": integer(1, 1024),
    "data.vocabulary_size": integer(1) | None,
    "data.protect": integer(0, 1000),
    "data.root": Text | None,
    "optimizer.lr": number(gt=0),
    "optimizer.eps": number(gt=0),
    "optimizer.rho": Share,
    "optimizer.betas": list_of(Share, 2),
    "scheduler.mode": Better | None,
    "scheduler.factor": Inside,
    "scheduler.every": integer(1),
    "search.beam_size": integer(1, 1000),
    "search.n_best": integer(1, 1000),
    "search.min_length": integer(0, 100_000),
    "search.max_length_ratio": number(ge=0, le=1000),
    "search.max_length_extra": integer(0, 100_000),
    "trainer.max_epochs": integer(-1) | None,
    "trainer.max_steps": integer(-1),
    "trainer.max_time": Clock | Duration | None,
    "trainer.accelerator": one_of("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.devices": integer(1) | one_of("auto", -1) | list_of(integer(0)),
    "trainer.precision": one_of(*PRECISIONS, 16, 32, 64),
    "trainer.gradient_clip_val": number(ge=0) | None,
    "trainer.accumulate_grad_batches": integer(1),
    "trainer.check_val_every_n_epoch": integer(1) | None,
    "trainer.val_check_interval": Batches,
    "trainer.limit_train_batches": Part,
    "trainer.limit_val_batches": Part,
    "trainer.num_sanity_val_steps": integer(-1),
    "trainer.log_every_n_steps": integer(1),
    "trainer.fast_dev_run": Flag | integer(0),
    "trainer.min_epochs": integer(0) | None,
    "trainer.min_steps": integer(0) | None,
    "trainer.limit_test_batches": Part | None,
    "trainer.limit_predict_batches": Part | None,
    "trainer.overfit_batches": Part,
    "trainer.gradient_clip_algorithm": one_of("norm", "value") | None,
    "trainer.deterministic": Flag | one_of("warn") | None,
    "trainer.benchmark": Flag | None,
    "trainer.profiler": one_of("simple", "advanced", "pytorch") | None,
    **dict.fromkeys((f"trainer.{key}" for key in ("inference_mode", "detect_anomaly", "sync_batchnorm")), Flag),
    "trainer.reload_dataloaders_every_n_epochs": integer(0),
    "trainer.threads": integer(1, 4096) | None,
    "trainer.validation_lines": integer(1) | None,
    "trainer.float32_matmul_precision": one_of("highest", "high") | None,
    **dict.fromkeys((f"logger.wandb.{key}" for key in ("project", "entity", "group", "name", "id")), Text | None),
    "logger.wandb.tags": list_of(Text) | None,
    "callbacks.checkpoint.mode": Better | None,
    "callbacks.checkpoint.save_top_k": integer(-1),
    "callbacks.checkpoint.every_minutes": number(gt=0) | None,
    "callbacks.checkpoint.every_steps": integer(1) | None,
    "callbacks.skipped_in_a_row": integer(1),
    "callbacks.early_stopping.mode": Better | None,
    "callbacks.early_stopping.patience": integer(0) | None,
    "callbacks.ema.decay": Inside | None,
    "callbacks.ema.update_every_n_steps": integer(1),
    "callbacks.samples": integer(0, 10_000) | None,
}
"""Those that do not follow from the YAML files' values: see `like`, which holds for all others."""

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
