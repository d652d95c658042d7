"""The best models of a run by a metric of its validations, and the end of a run that no longer improves.

A model is better than another by the metric; where that is the same (an exact match of 0% in the first epochs, an
accuracy of 100% in the last ones), by a lower validation loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor

LOSS = "val_loss"


def _loss(metrics: Mapping[str, Tensor]) -> float:
    """The validation loss, ∞ where it is not known or not a number."""
    loss = float(metrics.get(LOSS, math.inf))
    return math.inf if math.isnan(loss) else loss


class _AtValidations(Callback):
    """Knows whether there was a validation since the last check: an epoch that ends without one has the metrics of the
    one before, and other weights."""

    _validated = False

    @property
    def state_key(self) -> str:
        """That of Lightning's class, so that checkpoints do not depend on this class; it names the monitored metric."""
        lightning_class = next(base for base in type(self).__mro__ if base.__module__.startswith("pytorch_lightning"))
        return super().state_key.replace(type(self).__qualname__, lightning_class.__qualname__, 1)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note that there are new metrics to compare."""
        self._validated = not trainer.sanity_checking
        super().on_validation_end(trainer, pl_module)

    def _look(self) -> bool:
        """Whether there is a validation that was not compared yet; from now on it was."""
        pending, self._validated = self._validated, False
        return pending


class Best(_AtValidations, ModelCheckpoint):
    """Lightning's keeper of the best models, which breaks ties by the validation loss, and compares each validation
    once. It removes no file: the last checkpoint may still refer to it, see `ResumeState`.

    `losses` are those of the kept models, by path. Its state holds names, not paths, so that a run's folder can be
    moved.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.losses: dict[str, float] = {}

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Compare after each validation where steps decide when (Lightning takes an interval of 1 step for 1.0)."""
        super().setup(trainer, pl_module, stage)
        if isinstance(trainer.val_check_interval, int):
            self._save_on_train_epoch_end = False

    def _save_topk_checkpoint(self, trainer: lightning.Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        if self._look():
            super()._save_topk_checkpoint(trainer, monitor_candidates)

    def check_monitor_top_k(self, trainer: lightning.Trainer, current: Tensor | None = None) -> bool:
        """Whether a model is to be kept: it is better than the worst that is kept, or there is room."""
        if current is None or super().check_monitor_top_k(trainer, current):
            return current is not None
        worst = self.kth_best_model_path
        tied = bool(self.best_k_models) and bool(current == self.best_k_models[worst])
        return tied and _loss(trainer.callback_metrics) < self.losses.get(worst, -math.inf)

    def _update_best_and_save(self, *arguments: Any) -> None:
        """Lightning notes a best model before it is written; where the writing is interrupted, undo that."""
        before = {**self.__dict__, "best_k_models": dict(self.best_k_models)}
        try:
            super()._update_best_and_save(*arguments)
        except BaseException:
            self.__dict__.update(before)
            raise

    def _save_checkpoint(self, trainer: lightning.Trainer, filepath: str) -> None:
        """Rank the models with their losses first, so that the checkpoint says which one is the best."""
        if filepath in self.best_k_models:
            known = {**self.losses, filepath: _loss(trainer.callback_metrics)}
            self.losses = {path: loss for path, loss in known.items() if path in self.best_k_models}
            self._rank()
        super()._save_checkpoint(trainer, filepath)

    def _rank(self) -> None:
        sign = 1 if self.mode == "min" else -1
        values = {path: sign * float(value) for path, value in self.best_k_models.items()}
        ranked = sorted(values, key=lambda path: (values[path], self.losses.get(path, -math.inf)))
        self.best_model_path, self.best_model_score = ranked[0], self.best_k_models[ranked[0]]
        if len(ranked) == self.save_top_k or self.save_top_k == -1:
            self.kth_best_model_path, self.kth_value = ranked[-1], self.best_k_models[ranked[-1]]

    def _remove_checkpoint(self, trainer: lightning.Trainer, filepath: str) -> None:
        """Do nothing; `ResumeState` removes files."""

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state, with file names in place of paths."""
        state = {**super().state_dict(), "losses": self.losses}
        return self._renamed(state, lambda name: Path(name).name) | {"dirpath": None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore paths in this run's folder, and the last score, which Lightning does not restore."""
        self.current_score = state_dict["current_score"]
        folder = Path(str(self.dirpath))
        state = self._renamed({"losses": {}, **state_dict}, lambda name: str(folder / name))
        self.losses = state["losses"]
        super().load_state_dict(state | {"dirpath": self.dirpath, "last_model_path": ""})

    @staticmethod
    def _renamed(state: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
        names = {key: rename(state[key]) if state[key] else "" for key in ("best_model_path", "kth_best_model_path")}
        by_name = {key: {rename(n): v for n, v in state[key].items()} for key in ("best_k_models", "losses")}
        return {**state, **names, **by_name}


class Patience(_AtValidations, EarlyStopping):
    """Lightning's early stopping, for which a lower validation loss is an improvement, too, where the metric is the
    same; it compares each validation once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.best_loss = -math.inf  # of the best score; -∞: nothing is lower
        self._loss = math.inf

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Check after validations only where steps are counted, as `Best` does."""
        super().setup(trainer, pl_module, stage)
        if isinstance(trainer.val_check_interval, int):
            self._check_on_train_epoch_end = False

    def _run_early_stopping_check(self, trainer: lightning.Trainer) -> None:
        if self._look():
            self._loss = _loss(trainer.callback_metrics)
            super()._run_early_stopping_check(trainer)

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        if bool(current == self.best_score.to(current.device)) and self._loss < self.best_loss:
            self.best_loss, self.wait_count = self._loss, 0
            return False, None
        should_stop, reason = super()._evaluate_stopping_criteria(current)
        if self.wait_count == 0 and not should_stop:
            self.best_loss = self._loss
        return should_stop, reason

    @property
    def explanation(self) -> str | None:
        """Why it ended the run, in one line; None where it did not."""
        if self.stopping_reason == EarlyStoppingReason.NON_FINITE_METRIC:
            return f"{self.monitor} is not a finite number"
        if self.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED:
            best = f"the best is {float(self.best_score):.4g}"
            return f"{self.monitor} has not improved in {self.wait_count} validations ({best})"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state, and the loss of the best score."""
        return {**super().state_dict(), "best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; older checkpoints have no loss."""
        super().load_state_dict(state_dict)
        self.best_loss = state_dict.get("best_loss", -math.inf)
