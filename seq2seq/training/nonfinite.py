"""Steps whose loss or gradient is not finite are skipped and counted; too many of them in a row end the run.

Everything is decided on the device, so that training never waits for it: a loss that is not finite is given a gradient
that is not (×NaN, else ×1, which is exact), so that the norm of all gradients together says whether a step is good.
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
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm

from seq2seq.errors import UserError
from seq2seq.runtime import distributed
from seq2seq.runtime.atomic_files import atomic_write

FILE = "not_finite.tsv"
HEADER = "epoch\tbatch\tlines (1 = the first of the training data)\n"


def spreading(loss: Tensor) -> Tensor:
    """The same loss; one that is not finite has a gradient of NaN."""
    return loss * (loss.detach() * 0 + 1)  # 0·∞ and 0·NaN are NaN


def clip(parameters: Iterable[Parameter], most: float | None, algorithm: str | None) -> Tensor:
    """Clip gradients, by the norm of all of them or with the algorithm "value" each number; returns the norm before."""
    clipped = [parameter for parameter in parameters if parameter.grad is not None]
    norm = get_total_norm([parameter.grad for parameter in clipped if parameter.grad is not None])
    if most and algorithm == "value":
        clip_grad_value_(clipped, most)
    elif most:
        clip_grads_with_norm_(clipped, most, norm)
    return norm


class Skipping:
    """Skips an optimizer's step, and counts: `total`, and those `in_a_row` up to now. Skipped steps change nothing,
    neither weights nor the optimizer's memory."""

    def __init__(self) -> None:
        self.total, self.in_a_row = torch.zeros((), dtype=torch.long), torch.zeros((), dtype=torch.long)

    def __call__(self, optimizer: torch.optim.Optimizer, norm: Tensor) -> None:
        """Decide about the step that is next, by the norm of its gradients.

        Fused Adam is told on the device, as gradient scalers do; others, which have no such way (fused SGD has one, but
        begins its momentum with uninitialised memory), on the host, by taking their gradients away.
        """
        bad = ~torch.isfinite(norm)
        self.total = self.total.to(norm.device) + bad
        self.in_a_row = (self.in_a_row.to(norm.device) + 1) * bad
        if isinstance(optimizer, torch.optim.Adam) and optimizer.defaults["fused"]:  # AdamW is one
            optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        elif bad:
            optimizer.zero_grad(set_to_none=True)


class NotFinite(Callback):
    """Logs `skipped_steps` once there are any, and ends the run after `limit` of them in a row (looked at when
    something is logged): the lines of their batches are then in `not_finite.tsv`."""

    def __init__(self, folder: Path, limit: int) -> None:
        if limit < 1:
            raise UserError(f"callbacks.skipped_in_a_row={limit} must be at least 1")
        self.path, self.limit = folder / FILE, limit
        self._batches: deque[tuple[int, int, Any]] = deque()
        self._counts: dict[str, int] = {}

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Count on from where a resumed run stood."""
        self._batches = deque(maxlen=self.limit + trainer.log_every_n_steps)  # type: ignore[attr-defined]
        for name, count in self._counts.items():
            setattr(module.skipping, name, torch.tensor(count))

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Remember the batch; look at the counts when something is logged."""
        self._batches.append((trainer.current_epoch, index, getattr(batch, "rows", None)))
        if not trainer._logger_connector.should_update_logs:
            return
        self._counts = {name: int(getattr(module.skipping, name)) for name in ("total", "in_a_row")}
        if self._counts["total"]:
            module.log("skipped_steps", float(self._counts["total"]))
        if self._counts["in_a_row"] >= self.limit:
            self._end(self._counts["in_a_row"], trainer.global_step)

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """The counts as they are."""
        counts = {name: int(getattr(module.skipping, name)) for name in ("total", "in_a_row")}
        checkpoint["seq2seq_skipped"] = counts

    def on_load_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep them until training starts."""
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
