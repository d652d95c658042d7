"""What every task is: a `Task`, which `task.name` chooses, and the `TaskModule` that Lightning trains."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, Protocol

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from seq2seq.models import factory
from seq2seq.models.task_descriptors import TASKS, TaskDescriptor, find_descriptor
from seq2seq.runtime import distributed
from seq2seq.scoring.suitability import Weakness
from seq2seq.text import Tokenizers
from seq2seq.training.nonfinite import Skipping, clip, spreading
from seq2seq.training.optimizers import make_optimizer, make_scheduler, unfinished_warmup
from seq2seq.training.out_of_memory import SplitsBatches

Scored = dict[str, dict[str, Any]]
"""Scores by metric, as `seq2seq.scoring.Scores.as_dict` gives them: each a `value` and a `signature`."""


class Source(Protocol):
    """What a run tells of its corpus."""

    name: str
    source_language: str
    target_language: str


class Data(lightning.LightningDataModule, ABC):
    """Corpus, tokenizers and batches of a run. `statistics` go to log and card, `fingerprint` hashes all text."""

    corpus: Source
    tokenizers: Tokenizers
    statistics: dict[str, Any]
    fingerprint: str


class Outcome(NamedTuple):
    """What training leaves for scoring: the module's model has the best weights."""

    data: Any
    module: TaskModule
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]


class Card(NamedTuple):
    """What a model card says of a task: one sentence, how model hubs call the task, and how the bundle is used (with
    {bundle} in its place)."""

    summary: str
    hub_task: str
    use: str


class TaskModule(SplitsBatches, ABC):
    """Trains a model on a loss that is a sum over tokens.

    The optimizer sees Σ loss / number of tokens, in training and across accumulated batches, and so does validation:
    no number depends on how the items were split into batches, or those of a batch over processes. `metrics` holds
    those of the last validation. A step whose loss or gradient is not finite is skipped and counted in `skipping`.
    """

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

    def validate(self, batch: Any) -> None:
        """Validate a batch in addition to its loss; by default, nothing is done."""

    def validated(self) -> dict[str, float]:
        """Compute the metrics of the validation that ends, in addition to `val_loss`."""
        return {}

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """The mean loss of a batch; where batches are accumulated, the sum (see `on_before_optimizer_step`)."""
        loss, count = _counted(batch, *self.training_loss(batch))
        total, count = distributed.total(loss, count)
        self.trained_tokens += count
        self.log("train_loss", total.detach() / count, on_step=True, on_epoch=False, prog_bar=True)
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        if self.trainer.accumulate_grad_batches == 1:
            share = count / self.trainer.world_size  # the gradient will be the mean over processes
            self._factor = 1 / share
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
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:
            self.skipping(optimizer, clip(self.parameters(), gradient_clip_val, gradient_clip_algorithm))
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of the last validation."""
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
        """Let a schedule that waits for a plateau count this validation, before a checkpoint is written."""
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
        optimizer = make_optimizer(self.parameters(), self.optimizer_config)
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


class Task(ABC):
    """One task, without state: what it reads, trains and scores. Its model is that of its descriptor."""

    name: str
    """A name of `TASKS`."""
    options: tuple[str, ...]
    """The keys of the configuration's `task` in addition to `name`."""
    metrics: tuple[str, ...]
    """What its validation logs, and a callback may monitor."""

    @property
    def descriptor(self) -> TaskDescriptor:
        """What other rooms know of the task."""
        return TASKS[self.name]

    def logged(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """`metrics`, where the task's options do not choose others."""
        return self.metrics

    def best_by(self, config: Mapping[str, Any]) -> str:
        """The logged metric that chooses the best model where `monitor` is auto."""
        return self.descriptor.val_metric

    def weakness(self, metric: str, data: Any) -> Weakness | None:
        """Why a logged metric cannot tell models apart by the references of val; None where nothing speaks against
        it."""
        return None

    def reporting(self, config: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
        """The configuration's `task`, such that `metric` is logged, and comes first in the test."""
        found: Mapping[str, Any] = config["task"]
        return found

    @abstractmethod
    def check(self, config: Mapping[str, Any], trial: Any) -> None:
        """Raise `UserError` for what the schema does not know to be wrong, before data are read. `trial` is the model,
        of small vocabularies; it may be on the meta device."""

    @abstractmethod
    def data(self, config: Mapping[str, Any]) -> Any:
        """The data of a run, a `Data`; a run that starts from a bundle keeps the bundle's tokenizers."""

    def sizes(self, data: Any) -> dict[str, int]:
        """The sizes that the model takes from the data; see `factory.model`."""
        return {"source": len(data.tokenizers.source), "target": len(data.tokenizers.target)}

    def describe(self, data: Any) -> str:
        """One line for the terminal: what is trained on."""
        found = data.statistics
        return (
            f"{data.corpus.name}, {found['pairs']:,} pairs to train on "
            f"({found['dropped_empty']:,} empty and {found['dropped_long']:,} over-long ones dropped), "
            f"{found['vocabulary']['source']:,} source and {found['vocabulary']['target']:,} target tokens"
        )

    def remark(self, config: Mapping[str, Any], data: Any) -> str | None:
        """One more line for the terminal, where the data and the configuration hardly go together."""
        return None

    @abstractmethod
    def module(self, config: Mapping[str, Any], model: Any, data: Any) -> TaskModule:
        """The LightningModule that trains `model`."""

    def callbacks(self, config: Mapping[str, Any], data: Any, folder: Path) -> Sequence[Callback]:
        """More callbacks than those of every task."""
        return ()

    @abstractmethod
    def score(self, outcome: Outcome, folder: Path) -> dict[str, Scored]:
        """The scores of each test split; leaves its predictions and pictures in `folder`."""

    def search(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The search options that the bundle keeps."""
        return {}

    @abstractmethod
    def card(self, outcome: Outcome) -> Card:
        """What the bundle's card says."""


def load_task(options: Mapping[str, Any]) -> Task:
    """The task of the configuration's `task`, whose module is imported now. Raises `UserError` for an unknown name or
    option."""
    found: Task = resolve_name(find_descriptor(options.get("name")).training)()
    for key in options:
        factory.check_key(str(key), ("name", *found.options), "task", found.name)
    return found


def common(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of every `TaskModule`."""
    return {"optimizer": config["optimizer"], "scheduler": config["scheduler"]}
