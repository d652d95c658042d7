"""`scheduler.restart`: where the learning rate is reduced, training returns to the weights of the best checkpoint.

Denkowski & Neubig, "Stronger Baselines for Trustable Results in Neural Machine Translation", 2017, §3.1: annealing with
restarts. The optimizer begins anew: its moments are of the weights that are given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from seq2seq.bundle.weights import read_checkpoint
from seq2seq.errors import UserError


def check(config: Mapping[str, Any]) -> None:
    """Raise `UserError` where there is no best checkpoint to return to, or one that is not of the trained weights."""
    if not config["scheduler"].get("restart"):
        return
    callbacks = config["callbacks"]
    if not callbacks["checkpoint"].get("save_top_k", 1):
        raise UserError(
            "scheduler.restart=true: returns to the best checkpoint, and callbacks.checkpoint.save_top_k=0 keeps none; "
            "set it to 1"
        )
    if (callbacks.get("ema") or {}).get("decay") is not None:
        raise UserError(
            "scheduler.restart=true: checkpoints with callbacks.ema hold the moving average, not the weights that are "
            "trained; use one of the two"
        )


def restarts(config: Mapping[str, Any]) -> list[Callback]:
    """The callback, where a configuration asks for it."""
    return [Restart()] if config["scheduler"].get("restart") else []


class Restart(Callback):
    """Returns to the best checkpoint before the next training batch: it is written by then, and so is one that the
    validation that reduced the rate may have found. A checkpoint in between says that the return is due."""

    def __init__(self) -> None:
        self.due = False
        self._rate = 0.0

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Remember the rate before this validation."""
        self._rate = _rate(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Compare the rate; the task has stepped the schedule by now."""
        self.due = self.due or _rate(trainer) < self._rate

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, index: int
    ) -> None:
        """Return to the best checkpoint, if that is due."""
        best = trainer.checkpoint_callback
        if not self.due or not isinstance(best, ModelCheckpoint) or not best.best_model_path:
            return
        self.due = False
        module.load_state_dict(read_checkpoint(Path(best.best_model_path), mapped=False)["state_dict"])
        for optimizer in trainer.optimizers:
            optimizer.state.clear()
        if trainer.is_global_zero:
            print(f"learning rate {_rate(trainer):.3g}: restarts from {best.best_model_path}", flush=True)

    def state_dict(self) -> dict[str, Any]:
        """Whether a return is due."""
        return {"due": self.due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.due = state_dict["due"]


def _rate(trainer: lightning.Trainer) -> float:
    return float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else 0.0
