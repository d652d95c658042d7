"""When a run validates. `trainer.val_check_interval` counts optimizer steps; Lightning would count batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback

from seq2seq.errors import UserError

NEVER = 1 << 62
"""Batches after which Lightning is to validate, where it is not to."""


class EverySteps(Callback):
    """Validates whenever `every` optimizer steps are done: of the epoch, or `across` epochs.

    Before each decision of Lightning's loop it sets the interval to 1 batch where a validation is due, else to `NEVER`.
    """

    def __init__(self, every: int, *, across: bool) -> None:
        self.every, self.across = every, across

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Raise `UserError` where an epoch has fewer steps, so that there would be no validation at all."""
        steps = _steps(trainer, trainer.num_training_batches)
        if not self.across and trainer.enable_validation and self.every > steps:
            raise UserError(
                f"trainer.val_check_interval={self.every}: an epoch has only {steps:.0f} optimizer steps; lower it, or "
                "set trainer.check_val_every_n_epoch=null to count steps across epochs"
            )
        trainer.val_check_batch = NEVER

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Set the interval; batches that are accumulated into one are one step."""
        loop = trainer.fit_loop.epoch_loop
        steps = trainer.global_step if self.across else _steps(trainer, loop.batch_progress.current.ready)
        due = not loop._should_accumulate() and steps % self.every == 0
        trainer.val_check_batch = 1 if due else NEVER


def _steps(trainer: lightning.Trainer, batches: float) -> float:
    """The optimizer steps of so many batches of an epoch; its last one may be of fewer batches."""
    return math.ceil(batches / trainer.accumulate_grad_batches) if math.isfinite(batches) else batches


def interval(trainer: Mapping[str, Any]) -> list[Callback]:
    """What counts optimizer steps, where `trainer.val_check_interval` is a number of them."""
    every = trainer.get("val_check_interval")
    if not isinstance(every, int):
        return []
    return [EverySteps(every, across=trainer.get("check_val_every_n_epoch", 1) is None)]


def lightning_options(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The options that `EverySteps` replaces: Lightning refuses an interval longer than an epoch."""
    return {"val_check_interval": 1} if interval(trainer) else {}


def check(trainer: Mapping[str, Any]) -> None:
    """Raise `UserError` where shares of an epoch are to be counted across epochs."""
    every = trainer.get("val_check_interval", 1.0)
    if trainer.get("check_val_every_n_epoch", 1) is None and not isinstance(every, int):
        raise UserError(
            f"trainer.check_val_every_n_epoch=null: validates every trainer.val_check_interval optimizer steps, which "
            f"must be a whole number then, not {every}"
        )


def warnings(config: Mapping[str, Any]) -> Iterator[str]:
    """One line where it can be known that nothing will be validated."""
    trainer = config["trainer"]
    every, epochs = trainer.get("check_val_every_n_epoch", 1), trainer.get("max_epochs")
    steps_between, steps = trainer.get("val_check_interval", 1.0), trainer.get("max_steps", -1)
    if trainer.get("limit_val_batches") == 0:
        reason = "trainer.limit_val_batches=0"
    elif every and epochs and 0 < epochs < every:
        reason = f"trainer.check_val_every_n_epoch={every} is more than trainer.max_epochs={epochs}"
    elif isinstance(steps_between, int) and 0 < steps < steps_between:
        reason = f"trainer.val_check_interval={steps_between} is more than trainer.max_steps={steps}"
    else:
        return
    yield (
        f"{reason}: nothing is validated, so no model is the best, nothing stops training early, and the bundle holds "
        "the weights of the last step"
    )
