"""How training shows its progress: a bar on a terminal, else one line a validation."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import EarlyStopping, TQDMProgressBar
from pytorch_lightning.callbacks import ProgressBar as BaseProgressBar
from pytorch_lightning.callbacks.timer import Timer

from seq2seq.reporting.wording import duration

STEPWISE = ("train_loss", "tokens_per_second")
"""What a bar shows of training steps."""


class ProgressBar(TQDMProgressBar):
    """Lightning's progress bar, without the run's version number. On a GPU its numbers are those of the last step that
    logged: to read newer ones the host would have to wait for the device at every step."""

    _shown: dict[str, int | str | float | dict[str, float]] | None = None

    def get_metrics(self, *arguments: Any) -> dict[str, int | str | float | dict[str, float]]:
        """The logged metrics with four digits."""
        trainer, module = arguments
        waits = module.device.type != "cpu" and trainer.training and not trainer._logger_connector.should_update_logs
        if self._shown is None or not waits:
            metrics = super().get_metrics(*arguments)
            metrics.pop("v_num", None)
            if module.device.type != "cpu":  # there these are not logged for the bar
                known = trainer.callback_metrics
                metrics |= {name: float(known[name]) for name in STEPWISE if name in known}
            self._shown = {name: f"{x:.4g}" if isinstance(x, float) else x for name, x in metrics.items()}
        return dict(self._shown)


class ValidationLines(BaseProgressBar):
    """Prints one line after each validation, for logs and pipes:

        epoch 3/20, step 1,234: val_loss 2.266, val_bleu 12.31, 4,550 tokens/s, 0:01:20 elapsed, 0:07:33 left at most

    Shown are the `metrics` that were logged, the speed since the validation before, the time since this process began
    to train, and the time left until the last epoch or step; "at most" where early stopping may end the training.
    `label` begins the line, to distinguish runs that print into one log. Of several processes rank 0 prints.
    """

    def __init__(self, *metrics: str, label: str = "") -> None:
        super().__init__()
        self.metrics = tuple(dict.fromkeys(metrics))
        self.label = f"{label}: " if label else ""
        self.enabled = True

    def disable(self) -> None:
        """Print nothing from here on."""
        self.enabled = False

    def enable(self) -> None:
        """Print lines from here on."""
        self.enabled = True

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Remember where this process begins."""
        super().on_train_start(trainer, module)
        self._began, self._share = time.monotonic(), share_done(trainer)
        self._since, self._tokens = self._began, int(module.trained_tokens)

    def on_validation_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Measure the speed up to here; validation's time does not count."""
        if trainer.sanity_checking:
            return
        tokens, now = int(module.trained_tokens), time.monotonic()
        self._speed = (tokens - self._tokens) / max(now - self._since, 1e-9)
        self._tokens = tokens

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Print the line of this validation."""
        super().on_validation_end(trainer, module)
        if trainer.sanity_checking:
            return
        self._since = time.monotonic()
        if self.enabled:
            print(self.line(trainer), flush=True)

    def line(self, trainer: lightning.Trainer) -> str:
        """What is printed after a validation."""
        epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
        steps = f"/{trainer.max_steps:,}" if trainer.max_steps > 0 else ""
        values = {name: trainer.callback_metrics.get(name) for name in self.metrics}
        parts = [f"{name} {float(value):.4g}" for name, value in values.items() if value is not None]
        parts += [f"{self._speed:,.0f} tokens/s", f"{duration(time.monotonic() - self._began)} elapsed"]
        if (left := self._left(trainer)) is not None:
            early = any(isinstance(callback, EarlyStopping) for callback in trainer.callbacks)  # type: ignore[attr-defined]
            parts.append(f"{duration(left)} left{' at most' if early else ''}")
        where = f"epoch {trainer.current_epoch + 1}{epochs}, step {trainer.global_step:,}{steps}"
        return f"{self.label}{where}: {', '.join(parts)}"

    def _left(self, trainer: lightning.Trainer) -> float | None:
        """Seconds until the end of the training, as far as one is set; None where it is not known."""
        times = [
            left
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None
        ]
        done = share_done(trainer)
        if done > self._share:
            times.append((time.monotonic() - self._began) * (1 - done) / (done - self._share))
        return max(0.0, min(times)) if times else None


def share_done(trainer: lightning.Trainer) -> float:
    """The share of the training that is done: of its steps or of its epochs, of which ever it ends by first; 0 where it
    has no such end."""
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    batches = trainer.num_training_batches
    if (trainer.max_epochs or 0) > 0 and math.isfinite(batches) and batches:
        progress = trainer.fit_loop.epoch_loop.batch_progress.current
        within = min(progress.ready, batches) / batches
        shares.append((trainer.current_epoch + within) / trainer.max_epochs)  # type: ignore[operator]
    return min(1.0, max(shares))


def progress_of(monitor: str, *, label: str = "") -> BaseProgressBar:
    """A bar where standard output is a terminal or a notebook, else lines with the loss and the `monitor`ed metric."""
    if "ipykernel" in sys.modules or (sys.stdout is not None and sys.stdout.isatty()):
        return ProgressBar()
    return ValidationLines("val_loss", monitor, label=label)
