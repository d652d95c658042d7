"""The monitored metric reported to a function, which may end the run: how a study prunes its trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback

Watcher = Callable[[int, float], bool]
"""From a validation's number, counted from 0, and the monitored value, to whether the run is to end."""


class Pruned(Exception):  # noqa: N818  (no error: what was asked for)
    """A run was ended by its `Watcher`."""


class Watch(Callback):
    """Passes the monitored metric to a `Watcher` after every validation, and raises `Pruned` where it returns True.

    Optuna's own callback does the same for its trials, but comes in a package of integrations with every framework.
    """

    def __init__(self, monitor: str, watcher: Watcher) -> None:
        self.monitor, self.watcher, self.validations = monitor, watcher, 0

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Call the `Watcher`; what was logged at the end of the validation is known by now."""
        if trainer.sanity_checking:
            return
        number, self.validations = self.validations, self.validations + 1
        if self.watcher(number, float(trainer.callback_metrics[self.monitor])):
            raise Pruned

    def state_dict(self) -> dict[str, Any]:
        """The number of validations, which a resumed run continues."""
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of validations."""
        self.validations = state_dict["validations"]
