"""How many tokens a second a run trains on."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback

from seq2seq.training.task_module import TaskModule


class Throughput(Callback):
    """Logs `tokens_per_second`: tokens of training batches over the time spent on them, validation left out.

    The task counts its tokens on its own device; they are read only when something is logged. A resumed run
    continues the count.
    """

    def __init__(self) -> None:
        self.tokens, self.seconds = 0, 0.0
        self._window = 0.0  # seconds, up to the last log
        self._since: float | None = None

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Save the counts up to here."""
        checkpoint["seq2seq_throughput"] = {"tokens": int(module.trained_tokens), "seconds": self.seconds}

    def on_load_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Continue the counts of the checkpoint."""
        self.tokens, self.seconds = checkpoint["seq2seq_throughput"].values()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Add the tokens of the checkpoint to those that the task counts."""
        assert isinstance(module, TaskModule)
        module.trained_tokens += self.tokens
        self._window, self._since = self.seconds, time.perf_counter()

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock; the time of making batches is included."""
        self._since = time.perf_counter()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Restart the clock, since the time of validation is excluded."""
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Log the tokens a second since the last log."""
        now = time.perf_counter()
        self.seconds += now - (self._since or now)
        self._since = now
        if trainer._logger_connector.should_update_logs:
            before = self.tokens
            self._count(module)
            speed = (self.tokens - before) / max(self.seconds - self._window, 1e-9)
            module.log("tokens_per_second", speed, prog_bar=module.device.type == "cpu")
            self._window = self.seconds

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Count the last batches, too."""
        self._count(module)

    def _count(self, module: lightning.LightningModule) -> None:
        assert isinstance(module, TaskModule)
        self.tokens = int(module.trained_tokens)

    @property
    def average(self) -> float:
        """Tokens a second over the whole training."""
        return self.tokens / max(self.seconds, 1e-9)
