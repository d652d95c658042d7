"""What Lightning costs a step: a trivial model through the project's trainer settings, callbacks and logger, against
the same steps in a bare loop."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
import yaml
from torch import Tensor, nn

from experiments.throughput.measure import Spread
from experiments.throughput.sizes import Plan
from seq2seq.corpora.data_module import Batches
from seq2seq.runtime.paths import packaged
from seq2seq.training.callbacks.checkpoints import Seeded
from seq2seq.training.callbacks.factory import make_callbacks
from seq2seq.training.records.loggers import make_loggers
from seq2seq.training.setup import OWN, quiet
from seq2seq.training.task_module import TaskModule

OPTIMIZER, SCHEDULER = {"name": "adam", "lr": 0.001}, {"name": "cosine", "warmup_steps": 0}
WARM = 5  # steps that are not counted


class Trivial(TaskModule):
    """A model of a few numbers: the step itself takes next to nothing."""

    def loss(self, batch: Tensor, *, training: bool) -> tuple[Tensor, Tensor]:
        self.last = time.perf_counter()
        if self.global_step == WARM:
            self.first = self.last
        return self.model(batch).square().sum(), torch.tensor(len(batch))


def lightning_step(plan: Plan) -> dict[str, Any]:
    """The row of Lightning: milliseconds a step beyond the bare loop's, with the progress bar and without."""
    batches, torch_threads = [torch.randn(8, 4) for _ in range(plan.steps)], torch.get_num_threads()
    torch.set_num_threads(1)
    quiet()
    found: dict[str, list[float]] = {"bare_loop": [], "milliseconds": [], "milliseconds_without_bar": []}
    for _ in range(2 * plan.rounds + 1):  # each is short
        bare = bare_loop(batches)
        found["bare_loop"].append(bare)
        found["milliseconds"].append(through_trainer(batches, bar=True) - bare)
        found["milliseconds_without_bar"].append(through_trainer(batches, bar=False) - bare)
    torch.set_num_threads(torch_threads)
    return {"steps": plan.steps, **{name: Spread.of(values)._asdict() for name, values in found.items()}}


def bare_loop(batches: list[Tensor]) -> float:
    """Milliseconds a step of the same work: forwards, backwards, clipping, fused Adam."""
    model = nn.Linear(4, 4)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for number, batch in enumerate(batches):
        if number == WARM:
            began = time.perf_counter()
        loss = model(batch).square().sum() / len(batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return 1000 * (time.perf_counter() - began) / (len(batches) - WARM)


def through_trainer(batches: list[Any], *, bar: bool) -> float:
    """Milliseconds a step of `seq2seq train`'s trainer, without validation."""
    options, callbacks = (
        yaml.safe_load((packaged("conf") / group / "default.yaml").read_text()) for group in ("trainer", "callbacks")
    )
    options |= {"max_steps": len(batches), "limit_val_batches": 0, "enable_progress_bar": bar, "accelerator": "cpu"}
    options = {key: value for key, value in options.items() if key not in OWN}
    callbacks = {name: node for name, node in callbacks.items() if name != "samples"}
    for name in ("checkpoint", "early_stopping"):
        callbacks[name] |= {"monitor": "val_loss", "mode": "min"}
    task = Trivial(nn.Linear(4, 4), optimizer=OPTIMIZER, scheduler=SCHEDULER)
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder, _silent():
        made = [*make_callbacks(callbacks, Path(folder), progress=bar), Seeded(1)]
        logger = make_loggers({}, Path(folder), "throughput")
        trainer = lightning.Trainer(callbacks=made, logger=logger, enable_model_summary=False, **options)
        trainer.fit(task, train_dataloaders=Batches(len(batches), lambda: iter(batches)))
    return 1000 * (task.last - task.first) / (len(batches) - 1 - WARM)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The progress bar is drawn, but nowhere."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        yield
