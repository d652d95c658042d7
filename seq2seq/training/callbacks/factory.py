"""The callbacks of a run, made from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback, EMAWeightAveraging

from seq2seq.errors import UserError
from seq2seq.models.factory import check_key
from seq2seq.training.callbacks.best_models import Best, Patience
from seq2seq.training.callbacks.nonfinite import NotFinite
from seq2seq.training.callbacks.progress import progress_of
from seq2seq.training.callbacks.throughput import Throughput

KEYS = ("checkpoint", "early_stopping", "samples", "ema", "skipped_in_a_row")


def check_keys(config: Mapping[str, Any]) -> None:
    """Raise `UserError` for an unknown key of `callbacks`."""
    for key in config:
        check_key(str(key), KEYS, "callbacks", "callbacks")


def make_callbacks(config: Mapping[str, Any], folder: Path, *, progress: bool, label: str = "") -> list[Callback]:
    """Checkpoints, early stopping, throughput, moving average and progress of a configuration, in which every `monitor`
    and `mode` is settled. `label` is what progress calls the run where several print. Raises `UserError` for an unknown
    key."""
    check_keys(config)
    checkpoint, stopping = dict(config["checkpoint"]), dict(config["early_stopping"])
    for every in ("every_minutes", "every_steps"):  # `ResumeState`'s, not those of the best model
        if (value := checkpoint.pop(every, None)) is not None and value <= 0:
            raise UserError(f"callbacks.checkpoint.{every}={value} must be above 0, or null")
    name = "{epoch}-{step}-{" + checkpoint["monitor"] + ":.2f}"
    callbacks: list[Callback] = [
        Best(folder / "checkpoints", filename=name, enable_version_counter=False, **checkpoint),
        Throughput(),
        NotFinite(folder, config.get("skipped_in_a_row", 20)),
    ]
    if stopping.get("patience") is not None:
        callbacks.append(Patience(**stopping, strict=False))  # training may end before a validation
    callbacks += moving_average(config.get("ema") or {})  # after Throughput, whose count of tokens it would reset
    return callbacks + ([progress_of(checkpoint["monitor"], label=label)] if progress else [])


def moving_average(options: Mapping[str, Any]) -> list[Callback]:
    """Lightning's own exponential moving average of the weights, which takes their place in validation, in checkpoints
    and at the end; none for a `decay` of null. Buffers are copied: they count, and have no mean."""
    for key in options:
        check_key(str(key), ("decay", "update_every_n_steps"), "callbacks.ema", "ema")
    decay, every = options.get("decay"), options.get("update_every_n_steps", 1)
    if decay is not None and not (isinstance(decay, float) and 0 < decay < 1):
        raise UserError(f"callbacks.ema.decay={decay}: must be between 0 and 1, such as 0.999; null = no averaging")
    if not isinstance(every, int) or every < 1:
        raise UserError(f"callbacks.ema.update_every_n_steps={every}: must be a whole number of at least 1")
    if decay is None:
        return []
    return [EMAWeightAveraging(use_buffers=False, decay=decay, update_every_n_steps=every)]
