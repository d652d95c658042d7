"""Every task in every precision, a few steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import COPIED, distance
from experiments.gpu.runs import corpora, fit, new_folder, prepared

PRECISIONS = {
    "32-true, highest": ["trainer.precision=32-true", "trainer.float32_matmul_precision=highest"],
    "32-true, high": ["trainer.precision=32-true", "trainer.float32_matmul_precision=high"],
    "bf16-mixed": ["trainer.precision=bf16-mixed"],
    "16-mixed": ["trainer.precision=16-mixed"],
}


def train(setting: Setting, cases: Cases) -> None:
    """A few steps of each task; all losses and weights are finite, and the weights have changed."""
    for task, overrides in corpora(setting.folder / "corpora").items():
        for name, precision in PRECISIONS.items():
            if setting.quick and (task not in ("translation", "tagging, sets") or "high" in name.split()):
                continue
            cases.run(f"{task}, {name}", _trained, setting, [*overrides, *precision, "trainer.max_steps=4"])
    changes = {"model=bahdanau2015": [], "model=luong2015": COPIED["luong2015"]}
    for model, more in {} if setting.quick else changes.items():
        for name, precision in PRECISIONS.items():
            overrides = [*corpora(setting.folder / "corpora")["translation"], model, *more, *precision]
            cases.run(f"{model}, {name}", _trained, setting, [*overrides, "trainer.max_steps=4"])
    text = corpora(setting.folder / "corpora")["translation"]
    cases.run("cuda_graphs", _graphed, setting, [*text, "model=bahdanau2015"])


def _trained(setting: Setting, overrides: Sequence[str]) -> dict[str, Any]:
    with prepared(setting, new_folder(setting), overrides) as run:
        before = [parameter.detach().clone() for parameter in run.module.model.parameters()]
        losses = Losses()
        run.trainer.callbacks.append(losses)
        fit(run)
    after = [parameter.detach().cpu() for parameter in run.module.model.parameters()]
    changed = sum(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    finite = all(bool(torch.isfinite(parameter).all()) for parameter in after)
    values = [float(value) for value in losses.values]
    okay = finite and changed > 0 and all(map(math.isfinite, values)) and run.trainer.global_step == 4
    found = {"losses": [round(value, 4) for value in values], "changed": f"{changed} of {len(after)}", "finite": finite}
    return {"ok": okay, "steps": run.trainer.global_step, **found}


def _graphed(setting: Setting, overrides: Sequence[str]) -> dict[str, Any]:
    """The same weights after the same steps with captured losses."""
    weights, captured = [], 0
    steps = f"trainer.max_steps={12 if setting.quick else 60}"
    for graphs in ("false", "true"):
        more = [f"trainer.cuda_graphs={graphs}", steps, "trainer.float32_matmul_precision=highest"]
        with prepared(setting, new_folder(setting), [*overrides, *more]) as run:
            fit(run)
        weights.append(torch.cat([p.detach().double().cpu().flatten() for p in run.module.model.parameters()]))
        loss: Any = getattr(run.module, "graphed_loss", None)
        captured = len(loss.graphs) if loss is not None else captured
    error = distance(weights[1], weights[0])
    return {"ok": error < 1e-3 and (captured > 0 or not setting.cuda), "error": error, "graphs": captured}


class Losses(Callback):
    """Keeps the loss of every step, on its device."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        self.values.append(outputs["loss"].detach().clone())
