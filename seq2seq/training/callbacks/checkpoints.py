"""Checkpoints from which a run resumes exactly, and which no crash and no full disk can corrupt.

    checkpoints/last.ckpt        everything, at the beginning of a training batch: a run resumes from it
    checkpoints/epoch=….ckpt     the best models so far
    checkpoints/end.ckpt         the last weights, where training ended before there was a best model

At the beginning of a batch nothing is half done: no gradient is accumulated, no validation is running, all counters are
those of the batches before. The state of Lightning's loops is restored at the very same place, so that the place
in the epoch is exact. Randomness is not saved: `Seeded` makes it a function of seed, epoch and batch.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from seq2seq.bundle.weights import read_checkpoint
from seq2seq.errors import FULL, UserError
from seq2seq.runtime.atomic_files import atomic_write
from seq2seq.training.callbacks.signals import Stopping

LAST, END = "last.ckpt", "end.ckpt"
UNWRITABLE = (*FULL, errno.EROFS, errno.EIO)
KEY = "seq2seq"
"""Where a checkpoint keeps what Lightning does not: see `ResumeState.on_save_checkpoint`."""


class DurableFiles(TorchCheckpointIO):
    """Writes checkpoints atomically, synchronised with the disk: at any moment the old file or the new one is there.
    Reads nothing but tensors and plain values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint. Raises `OSError` when the disk is full; an older file is kept."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_write(Path(path), durable=True) as partial:
            partial.write_bytes(buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint on the CPU; what would have to be unpickled is refused, whatever Lightning asks for."""
        return read_checkpoint(Path(path), mapped=False)


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into a `UserError`: what the run would compute next could not be kept."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        last = folder / "checkpoints" / LAST
        kept = f"{last} is as it was" if last.exists() else "there is no checkpoint yet"
        reason = os.strerror(error.errno)
        raise UserError(
            f"{folder}: cannot be written ({reason}); {kept}; make room and resume with resume=auto"
        ) from None


class Seeded(Callback):
    """Seeds torch anew at each training batch, from seed, process, epoch and batch (about 12 microseconds).

    So a batch's dropout depends on nothing that happened before it, neither a validation nor the end of a process.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, index: int
    ) -> None:
        """The default generators of the CPU and of this process's device."""
        entropy = [self.seed, trainer.global_rank, trainer.current_epoch, index]
        seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
        torch.default_generator.manual_seed(seed)
        if module.device.type == "cuda":
            torch.cuda.manual_seed(seed)


class ResumeState(Callback):
    """Writes `last.ckpt` at the beginning of a batch: after each validation, every so many steps, when so many minutes
    have passed, and when a signal ends the run; restores what it holds at the same place.

    `facts` are kept in the checkpoint and compared when the run is resumed; `began` is when the run did, by the
    monotonic clock. After a checkpoint was written, best models to which it does not refer any more are removed.
    """

    def __init__(
        self,
        folder: Path,
        stopping: Stopping,
        facts: Mapping[str, Any],
        *,
        began: float,
        every_steps: int | None = None,
        every_minutes: float | None = None,
    ) -> None:
        self.path, self.stopping, self.facts, self.began = folder / LAST, stopping, dict(facts), began
        self.every_steps, self.every_minutes = every_steps, every_minutes
        self._written = (time.monotonic(), 0)  # when, and at which optimizer step
        self._validated = False
        self._resumed: Mapping[str, Any] = {}

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add to the facts: `step`, where the loggers are; the metrics that others monitor; whether to stop early."""
        checkpoint[KEY] = {
            **self.facts,
            "seconds": time.monotonic() - self.began,
            "step": trainer.fit_loop.epoch_loop._batches_that_stepped,
            "callback_metrics": dict(trainer.callback_metrics),
            "should_stop": trainer.should_stop,
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the state until the first batch begins."""
        self._resumed = {"loops": checkpoint["loops"]["fit_loop"], **checkpoint[KEY]}

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """From here on a checkpoint can be written, and signals wait for it."""
        self.stopping.listen()
        self.stopping.waits = True
        self._written = (time.monotonic(), trainer.global_step)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, index: int
    ) -> None:
        """Restore the state, or write it; never between batches whose gradients are added up."""
        if self._resumed:
            self._put_back(trainer)
        elif index % trainer.accumulate_grad_batches == 0:
            stops = self._any(trainer, index, self.stopping.received is not None)
            if self._any(trainer, index, self._late()) or self._due(trainer) or stops:
                self._write(trainer)
            if stops:
                self.stopping.stop()

    def on_validation_batch_end(self, *_: Any) -> None:
        """SIGTERM does not wait for the end of a validation: the checkpoint before it is kept."""
        if self.stopping.received == signal.SIGTERM:
            self.stopping.stop()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """A checkpoint is due at the beginning of the next batch."""
        self._validated = True

    def _late(self) -> bool:
        return self.every_minutes is not None and time.monotonic() - self._written[0] >= 60 * self.every_minutes

    def _due(self, trainer: lightning.Trainer) -> bool:
        """Whether a checkpoint is due: the same in every process, without communication."""
        steps = trainer.global_step - self._written[1]
        return self._validated or (self.every_steps is not None and steps >= self.every_steps)

    @staticmethod
    def _any(trainer: lightning.Trainer, index: int, flag: bool) -> bool:
        """Whether `flag` is set in any process; of several, they communicate only at logged steps, as it takes time."""
        if trainer.world_size == 1:
            return flag
        asked = index % (trainer.log_every_n_steps * trainer.accumulate_grad_batches) == 0  # type: ignore[attr-defined]
        return asked and trainer.strategy.reduce_boolean_decision(flag, all=False)

    def _write(self, trainer: lightning.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()  # so that no logged step before the checkpoint is missing after it
        trainer.save_checkpoint(self.path)
        self._written, self._validated = (time.monotonic(), trainer.global_step), False
        self.sweep(trainer)

    def sweep(self, trainer: lightning.Trainer) -> None:
        """Remove the best models that are no longer among the best; other files there are kept."""
        keepers = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
        known = {Path(name).name for each in keepers for name in each.best_k_models}
        if trainer.is_global_zero:
            for path in self.path.parent.glob("epoch=*.ckpt"):
                if path.name not in known:
                    path.unlink(missing_ok=True)

    def _put_back(self, trainer: lightning.Trainer) -> None:
        """Restore the loops as they were: Lightning guesses the place, as its checkpoints may be made anywhere."""
        loop, resumed, self._resumed = trainer.fit_loop, self._resumed, {}
        loop.load_state_dict(resumed["loops"])
        for each in (loop, loop.epoch_loop, loop.epoch_loop.val_loop, loop.epoch_loop.automatic_optimization):
            each.on_iteration_done()  # no longer restarting
        trainer.callback_metrics.update(resumed["callback_metrics"])
        trainer.should_stop = resumed["should_stop"]
