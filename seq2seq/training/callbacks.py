"""What watches a training run: throughput, sample translations, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import (
    Callback,
    EMAWeightAveraging,
)
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

from seq2seq.errors import UserError
from seq2seq.models.factory import check_key
from seq2seq.training.best_models import Best, Patience
from seq2seq.training.nonfinite import NotFinite
from seq2seq.training.progress import progress_of
from seq2seq.training.task_module import TaskModule


class Throughput(Callback):
    """Logs `tokens_per_second`: tokens of training batches over the time spent on them, validation left out.

    The task counts its tokens on its own device; they are read only when something is logged. A resumed run counts
    on.
    """

    def __init__(self) -> None:
        self.tokens, self.seconds = 0, 0.0
        self._window = 0.0  # seconds, up to the last log
        self._since: float | None = None

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """What was counted up to here."""
        checkpoint["seq2seq_throughput"] = {"tokens": int(module.trained_tokens), "seconds": self.seconds}

    def on_load_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Count on."""
        self.tokens, self.seconds = checkpoint["seq2seq_throughput"].values()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """What the task counts, too."""
        assert isinstance(module, TaskModule)
        module.trained_tokens += self.tokens
        self._window, self._since = self.seconds, time.perf_counter()

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock; making batches counts."""
        self._since = time.perf_counter()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Validation's time does not count."""
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Log now and then."""
        now = time.perf_counter()
        self.seconds += now - (self._since or now)
        self._since = now
        if trainer._logger_connector.should_update_logs:
            before = self.tokens
            self._count(module)
            module.log(
                "tokens_per_second", (self.tokens - before) / max(self.seconds - self._window, 1e-9), prog_bar=True
            )
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


class Samples(Callback):
    """Writes the same few validation sentences' translations after each validation: into samples.tsv, and as a table
    into TensorBoard's or wandb's log."""

    def __init__(self, folder: Path, sources: Sequence[str], references: Sequence[str], count: int) -> None:
        stride = max(1, len(sources) // count)
        self.rows = list(range(0, len(sources), stride))[:count]
        self.path, self.sources, self.references = folder / "samples.tsv", sources, references

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Read the task's last translations; of several processes, one writes."""
        if not trainer.is_global_zero:
            return
        table = [
            [trainer.global_step, self.sources[i], self.references[i], module.validation_texts[i]]
            for i in self.rows
            if i in module.validation_texts
        ]
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            if new:
                file.write("step\tsource\treference\ttranslation\n")
            file.writelines("\t".join(_cell(cell) for cell in row) + "\n" for row in table)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_table("samples", ["step", "source", "reference", "translation"], table)
            elif isinstance(logger, TensorBoardLogger):
                rows = ["| source | reference | translation |", "|---|---|---|"]
                rows += ["| " + " | ".join(_cell(cell).replace("|", "\\|") for cell in row[1:]) + " |" for row in table]
                logger.experiment.add_text("samples", "\n".join(rows), trainer.global_step)


Watcher = Callable[[int, float], bool]
"""From a validation's number, counted from 0, and the monitored value, to whether the run is to be given up."""


class Pruned(Exception):  # noqa: N818  (no error: what was asked for)
    """A run was given up by who watches it."""


class Watch(Callback):
    """Tells a `Watcher` the monitored metric after every validation, and raises `Pruned` where it says so.

    Optuna's own callback does the same for its trials, but comes in a package of integrations with every framework.
    """

    def __init__(self, monitor: str, watcher: Watcher) -> None:
        self.monitor, self.watcher, self.validations = monitor, watcher, 0

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Report; what was logged at the end of the validation is known by now."""
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


def _cell(value: object) -> str:
    return str(value).replace("\t", " ").replace("\n", " ").replace("\r", " ")


KEYS = ("checkpoint", "early_stopping", "samples", "ema", "skipped_in_a_row")


def check_keys(config: Mapping[str, Any]) -> None:
    """Raise `UserError` for an unknown key of `callbacks`."""
    for key in config:
        check_key(str(key), KEYS, "callbacks", "callbacks")


def make_callbacks(config: Mapping[str, Any], folder: Path, *, progress: bool, label: str = "") -> list[Callback]:
    """Checkpoints, early stopping, throughput, moving average and progress of a configuration, in which every `monitor`
    and `mode` is settled. `label` is what progress calls the run where several print. Raises `UserError` for an unknown
    key."""
    check_keys(config)
    checkpoint, stopping = dict(config["checkpoint"]), dict(config["early_stopping"])
    for every in ("every_minutes", "every_steps"):  # `ResumeState`'s, not those of the best model
        if (value := checkpoint.pop(every, None)) is not None and value <= 0:
            raise UserError(f"callbacks.checkpoint.{every}={value} must be above 0, or null")
    name = "{epoch}-{step}-{" + checkpoint["monitor"] + ":.2f}"
    callbacks: list[Callback] = [
        Best(folder / "checkpoints", filename=name, enable_version_counter=False, **checkpoint),
        Throughput(),
        NotFinite(folder, config.get("skipped_in_a_row", 20)),
    ]
    if stopping.get("patience") is not None:
        callbacks.append(Patience(**stopping, strict=False))  # training may end before a validation
    callbacks += moving_average(config.get("ema") or {})  # after Throughput, whose tokens it would turn back
    return callbacks + ([progress_of(checkpoint["monitor"], label=label)] if progress else [])


def moving_average(options: Mapping[str, Any]) -> list[Callback]:
    """Lightning's own exponential moving average of the weights, which takes their place in validation, in checkpoints
    and at the end; none for a `decay` of null. Buffers are copied: they count, and have no mean."""
    for key in options:
        check_key(str(key), ("decay", "update_every_n_steps"), "callbacks.ema", "ema")
    decay, every = options.get("decay"), options.get("update_every_n_steps", 1)
    if decay is not None and not (isinstance(decay, float) and 0 < decay < 1):
        raise UserError(f"callbacks.ema.decay={decay}: must be between 0 and 1, such as 0.999; null = no averaging")
    if not isinstance(every, int) or every < 1:
        raise UserError(f"callbacks.ema.update_every_n_steps={every}: must be a whole number of at least 1")
    if decay is None:
        return []
    return [EMAWeightAveraging(use_buffers=False, decay=decay, update_every_n_steps=every)]
