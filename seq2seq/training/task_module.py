"""What Lightning trains: a model with a loss that is a sum over tokens, step by step.

A step whose loss or gradient is not finite is skipped. That is decided on the device, so that training never waits for
it: a loss that is not finite is given a gradient that is not (×NaN, else ×1, which is exact), so that the norm of all
gradients together says whether a step is good.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim.lr_scheduler import ReduceLROnPlateau

from seq2seq.runtime import distributed
from seq2seq.training.optimization.optimizers import make_optimizer, make_scheduler, unfinished_warmup
from seq2seq.training.optimization.out_of_memory import BatchSplitter


class TaskModule(lightning.LightningModule, ABC):
    """Trains a model on a loss that is a sum over tokens.

    The optimizer sees Σ loss / number of tokens, in training and across accumulated batches, and so does validation:
    no number depends on how the items were split into batches, or those of a batch over processes. `metrics` holds
    those of the last validation. A step whose loss or gradient is not finite is skipped and counted in `skipping`.
    `remedy` says which setting to lower where memory does not hold a batch; a `splitter` computes it in parts.
    """

    remedy = "lower data.batch_tokens or data.max_length, or set trainer.split_out_of_memory=true"
    batch: Any = None  # the one that is trained on
    splitter: BatchSplitter | None = None

    def __init__(self, model: nn.Module, *, optimizer: Mapping[str, Any], scheduler: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.optimizer_config, self.scheduler_config = dict(optimizer), dict(scheduler)
        self.metrics: dict[str, float | None] = {}
        self.register_buffer("trained_tokens", torch.zeros((), dtype=torch.long), persistent=False)
        self.trained_tokens: Tensor
        self._validation = torch.zeros(2, dtype=torch.double)  # Σ loss in nats, number of tokens
        self._accumulated: Tensor | None = None  # tokens since the last optimizer step
        self.skipping = Skipping()

    @abstractmethod
    def loss(self, batch: Any, *, training: bool) -> tuple[Tensor, Tensor]:
        """Σ loss of a batch in nats, and the number of tokens (or items) that it is a sum over, as a tensor."""

    def tokens(self, batch: Any, count: Tensor) -> Tensor:
        """The tokens of a training batch, for `tokens_per_second`: by default the `count` of its loss."""
        return count

    def training_loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss in training, from the whole batch or from its parts."""
        return self.loss(batch, training=True) if self.splitter is None else self.splitter.loss(batch)

    def backward(self, loss: Tensor, *_: Any, **__: Any) -> None:
        """Add the gradient of `loss` to those that are there."""
        loss.backward() if self.splitter is None else self.splitter.backward(loss)

    def validate(self, batch: Any) -> None:
        """Validate a batch in addition to its loss; by default, nothing is done."""

    def validated(self) -> dict[str, float]:
        """Compute the metrics of the validation that ends, in addition to `val_loss`."""
        return {}

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """The mean loss of a batch; where batches are accumulated, the sum (see `on_before_optimizer_step`)."""
        self.batch = batch
        loss, count = _counted(batch, *self.training_loss(batch))
        total, tokens = loss, self.tokens(batch, count)
        if self.trainer.world_size > 1:
            total, count, tokens = distributed.total(loss, count, tokens)
        self.trained_tokens += tokens
        # Lightning reads what is meant for a bar at every step, which on a GPU waits for the device; see `ProgressBar`.
        bar = self.device.type == "cpu"
        self.log("train_loss", total.detach() / count, on_step=True, on_epoch=False, prog_bar=bar)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("learning_rate", torch.full((), rate, device=self.device))  # a number would be copied, and waited for
        if self.trainer.accumulate_grad_batches == 1:
            share = count / self.trainer.world_size  # the gradient will be the mean over processes
            if self.splitter is not None:
                self.splitter.factor = 1 / share
            return spreading(loss / share)
        self._accumulated = count if self._accumulated is None else self._accumulated + count
        return spreading(loss)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turn the accumulated gradient of Σ loss / batches into that of the mean over all tokens of the batches."""
        if self._accumulated is None:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        batches = self.trainer.accumulate_grad_batches * self.trainer.world_size
        scale = batches / self._accumulated.to(gradients[0].dtype)
        torch._foreach_mul_(gradients, scale)
        self._accumulated = None

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip, and skip the step where the gradients are not finite; a scaler of 16-bit floats does so itself."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is None:
            self.skipping(optimizer, clip(self.parameters(), gradient_clip_val, gradient_clip_algorithm))
            return
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)  # Lightning leaves that to fused optimizers, whose gradients it does not clip
        clip(self.parameters(), gradient_clip_val, gradient_clip_algorithm)

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of the last validation."""
        self.batch = None
        self._validation = torch.zeros_like(self._validation)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """The loss as it is, without smoothing, and what the task adds."""
        total, count = _counted(batch, *self.loss(batch, training=False))
        self._validation += torch.stack([total.detach().double(), count.double()]).cpu()
        if not _idle(batch):
            self.validate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log val_loss (nats a token) and the task's metrics."""
        self._validation = torch.stack(distributed.total(*self._validation.to(self.device))).cpu()
        loss = float(self._validation[0] / self._validation[1])
        self.metrics = {"val_loss": loss, **self.validated()}
        for name, value in self.metrics.items():
            self.log(name, float(value or 0.0), prog_bar=name != "val_perplexity")
        if not self.trainer.sanity_checking:
            self._step_plateau()

    def _step_plateau(self) -> None:
        """Step a schedule that waits for a plateau by this validation, before a checkpoint is written."""
        for each in self.trainer.lr_scheduler_configs:
            if isinstance(each.scheduler, ReduceLROnPlateau) and each.monitor in self.metrics:
                each.scheduler.step(torch.tensor(self.metrics[each.monitor]))  # rounded as Lightning logs it

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the validation metrics of these weights."""
        checkpoint["seq2seq_metrics"] = self.metrics

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the validation metrics, which a resumed run writes again."""
        self.metrics = checkpoint["seq2seq_metrics"]

    def configure_optimizers(self) -> Any:
        """Make the optimizer and the schedule of the configuration."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = make_optimizer(trained, self.optimizer_config)
        scheduled = self.scheduler_config["name"] == "cosine" or self.scheduler_config.get("warmup_steps")
        steps = self.trainer.estimated_stepping_batches if scheduled else math.inf
        short = unfinished_warmup(self.scheduler_config, self.optimizer_config["lr"], steps)
        if short and self.trainer.is_global_zero:
            print(f"seq2seq: warning: {short}", file=sys.stderr, flush=True)
        scheduler = make_scheduler(optimizer, self.scheduler_config, steps)
        return {"optimizer": optimizer} | ({"lr_scheduler": scheduler} if scheduler else {})


def _idle(batch: Any) -> bool:
    """Whether a batch is there only so that this process has one; see `TranslationData`."""
    rows = getattr(batch, "rows", None)
    return rows is not None and not len(rows)


def _counted(batch: Any, loss: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    return (loss * 0, count * 0) if _idle(batch) else (loss, count)


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

        Fused Adam reads the decision on the device, as from a gradient scaler; for others (fused SGD could read it,
        too, but begins its momentum with uninitialised memory) the host removes the gradients.
        """
        bad = ~torch.isfinite(norm)
        self.total = self.total.to(norm.device) + bad
        self.in_a_row = (self.in_a_row.to(norm.device) + 1) * bad
        if isinstance(optimizer, torch.optim.Adam) and optimizer.defaults["fused"]:  # AdamW is one
            optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        elif bad:
            optimizer.zero_grad(set_to_none=True)
