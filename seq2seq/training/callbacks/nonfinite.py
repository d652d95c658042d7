"""The run ends when too many steps in a row were skipped because their loss or gradient was not finite.

They are skipped and counted by `Skipping` in `training.task_module`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback

from seq2seq.errors import UserError
from seq2seq.runtime import distributed
from seq2seq.runtime.atomic_files import atomic_write

FILE = "not_finite.tsv"
HEADER = "epoch\tbatch\tlines (1 = the first of the training data)\n"


class NotFinite(Callback):
    """Logs `skipped_steps` once there are any, and ends the run after `limit` of them in a row (checked when
    something is logged): the lines of their batches are then in `not_finite.tsv`."""

    def __init__(self, folder: Path, limit: int) -> None:
        if limit < 1:
            raise UserError(f"callbacks.skipped_in_a_row={limit} must be at least 1")
        self.path, self.limit = folder / FILE, limit
        self._batches: deque[tuple[int, int, Any]] = deque()
        self._counts: dict[str, int] = {}

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Restore the counts of a resumed run."""
        self._batches = deque(maxlen=self.limit + trainer.log_every_n_steps)  # type: ignore[attr-defined]
        for name, count in self._counts.items():
            setattr(module.skipping, name, torch.tensor(count))

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Remember the batch; check the counts when something is logged."""
        self._batches.append((trainer.current_epoch, index, getattr(batch, "rows", None)))
        if not trainer._logger_connector.should_update_logs:
            return
        self._counts = {name: int(getattr(module.skipping, name)) for name in ("total", "in_a_row")}
        if self._counts["total"]:
            module.log("skipped_steps", float(self._counts["total"]))
        if self._counts["in_a_row"] >= self.limit:
            self._end(self._counts["in_a_row"], trainer.global_step)

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Save the current counts."""
        counts = {name: int(getattr(module.skipping, name)) for name in ("total", "in_a_row")}
        checkpoint["seq2seq_skipped"] = counts

    def on_load_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the counts until training starts."""
        self._counts = checkpoint["seq2seq_skipped"]

    def _end(self, count: int, step: int) -> None:
        last = list(self._batches)[-count:]
        lines = distributed.gathered([[] if rows is None else (rows + 1).tolist() for _, _, rows in last])
        if not distributed.current_rank().is_zero:
            raise distributed.PeerLost(distributed.LOST)
        self._write((epoch, index, chain(*each)) for (epoch, index, _), *each in zip(last, *lines, strict=True))
        raise UserError(
            f"step {step}: loss or gradient was not finite in {count} steps in a row, which were skipped; the lines of "
            f"their batches are in {self.path}; lower optimizer.lr or trainer.gradient_clip_val, or look at these lines"
        )

    def _write(self, batches: Iterable[tuple[int, int, Iterable[int]]]) -> None:
        with atomic_write(self.path) as path, path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(HEADER)
            for epoch, index, lines in batches:
                file.write(f"{epoch}\t{index}\t{','.join(map(str, lines))}\n")
