"""A training that ends anywhere is resumed to the bit, with deterministic algorithms."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import COPIED
from experiments.gpu.runs import Run, Start, corpora, fit, new_folder, prepared


def resume(setting: Setting, cases: Cases) -> None:
    """Eight steps, and four resumed for four more, with deterministic algorithms: the same bits."""
    kinds = corpora(setting.folder / "corpora")
    jobs = {
        "translation": kinds["translation"],
        "bahdanau2015": [*kinds["translation"], "model=bahdanau2015", "embedding.dropout=0.2"],
        "luong2015": [*kinds["translation"], "model=luong2015", *COPIED["luong2015"]],
        "language modelling": kinds["language modelling"],
        "tagging": kinds["tagging"],
        "16-mixed": [*kinds["translation"], "trainer.precision=16-mixed"],
        "cuda_graphs": [*kinds["translation"], "trainer.cuda_graphs=true", "embedding.dropout=0.2"],
    }
    for name, overrides in jobs.items():
        if not setting.quick or name == "cuda_graphs":
            cases.run(name, _resumed, setting, [*overrides, "+trainer.deterministic=true"])


def _resumed(setting: Setting, overrides: Sequence[str]) -> dict[str, Any]:
    first = new_folder(setting)
    with prepared(setting, first, [*overrides, "trainer.max_steps=8"]) as run:
        fit(run)
        wanted = _state(run)
    second = new_folder(setting)
    with prepared(setting, second, [*overrides, "trainer.max_steps=8", "callbacks.checkpoint.every_steps=4"]) as run:
        run.trainer.callbacks.append(Ending(5))
        with contextlib.suppress(Ended):
            fit(run)
    begin = Start(checkpoint=second / "checkpoints" / "last.ckpt")
    with prepared(setting, second, [*overrides, "trainer.max_steps=8"], begin) as run:
        fit(run, begin)
        found = _state(run)
    different = [name for name in wanted if not torch.equal(wanted[name], found[name])]
    return {"ok": not different, "tensors": len(wanted), "different": different[:5], "steps": run.trainer.global_step}


def _state(run: Run) -> dict[str, torch.Tensor]:
    """The weights and the optimizer's memory."""
    found = {name: value.detach().cpu().clone() for name, value in run.module.model.state_dict().items()}
    for number, memory in run.trainer.optimizers[0].state_dict()["state"].items():
        found |= {f"{number} {name}": value.cpu().clone() for name, value in memory.items()}
    return found


class Ended(Exception):  # noqa: N818  an event
    """A process that is gone."""


class Ending(Callback):
    """Ends a training at the end of so many batches, as a kill would."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index + 1 == self.batches:
            raise Ended
