"""Captured losses against plain ones: the same numbers at every visit of a shape, while the weights change."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import (
    COPIED,
    PRESETS,
    SMALL,
    TOLERANCE,
    TRANSLATION,
    batch_of,
    build,
    composed,
    distance,
    exact,
)
from seq2seq.models.graphed_loss import GraphedLoss
from seq2seq.nn.types import map_tensors

VISITS = 4  # as usual, captured, and twice replayed


def graphs(setting: Setting, cases: Cases) -> None:
    """Every preset, some cells and contexts, in both precisions; and dropout, which has no numbers to compare."""
    made = {name: [f"model={name}", *COPIED.get(name, ())] for name in PRESETS}
    made |= {f"cell={name}": [f"cell={name}", "context=additive"] for name in ("lstm", "min_gru", "layer_norm_gru")}
    made |= {f"path={path}": [f"encoder.path={path}", f"decoder.path={path}"] for path in ("manual", "step")}
    made["label smoothing, R-Drop"] = ["context=additive"]
    for name, overrides in made.items():
        if not setting.quick or name in ("default", "bahdanau2015"):
            options = {"label_smoothing": 0.1, "r_drop": 0.5} if "smoothing" in name else {}
            for dtype in TOLERANCE:
                known = str(dtype).removeprefix("torch.")
                cases.run(f"{name} {known}", _same, setting, [*SMALL, *TRANSLATION, *overrides], dtype, options)
    cases.run("dropout", _dropped, setting)
    cases.run("bf16", _autocast, setting)


def _same(setting: Setting, overrides: Sequence[str], dtype: torch.dtype, options: dict[str, Any]) -> dict[str, Any]:
    """The largest relative error of loss and gradients over all visits of two shapes."""
    torch.manual_seed(0)
    plain = build("translation", composed(*overrides)).to(setting.device, dtype).train()
    graphed = copy.deepcopy(plain)
    loss, worst = GraphedLoss(graphed, **options), 0.0
    batches = [map_tensors(lambda x: x.to(setting.device), batch_of("translation", plain, size)) for size in (5, 30)]
    with exact():
        for _ in range(VISITS):
            for source, target in batches:
                values = [plain.loss(source, target, **options), loss(source, target)]
                for model, value in zip((plain, graphed), values, strict=True):
                    model.zero_grad()
                    value.backward()
                worst = max(worst, distance(values[1], values[0].detach().cpu()), _gradients_differ(plain, graphed))
                for one, other in zip(plain.parameters(), graphed.parameters(), strict=True):
                    if one.grad is not None:
                        one.data -= 1e-3 * one.grad
                    other.data.copy_(one.data)
    captured = len(loss.graphs)
    okay = worst <= 3 * TOLERANCE[dtype] and (captured == len(batches) or not setting.cuda)
    return {"ok": okay, "error": worst, "graphs": captured}


def _gradients_differ(plain: Any, graphed: Any) -> float:
    """The largest relative error of a gradient, of those that are not 0."""
    worst = 0.0
    for one, other in zip(plain.parameters(), graphed.parameters(), strict=True):
        if one.grad is not None and float(one.grad.norm()) > 1e-9:
            worst = max(worst, distance(other.grad, one.grad.detach().cpu()))
    return worst


def _dropped(setting: Setting) -> dict[str, Any]:
    """Each replay draws anew, the same seed draws the same, and the mean is that of the plain loss."""
    torch.manual_seed(0)
    overrides = [*SMALL, *TRANSLATION, "context=additive", "embedding.dropout=0.3", "head.dropout=0.3"]
    model = build("translation", composed(*overrides)).to(setting.device, torch.double).train()
    source, target = map_tensors(lambda x: x.to(setting.device), batch_of("translation", model, 30))
    loss = GraphedLoss(model)
    for _ in range(2):
        loss(source, target).backward()
    found = []
    for seed in (*range(40), 0):
        torch.manual_seed(seed)
        found.append(float(loss(source, target).detach()))
    plain = []
    for _ in range(40):
        plain.append(float(model.loss(source, target).detach()))
    means = [sum(found[:40]) / 40, sum(plain) / 40]
    okay = len(set(found[:40])) == 40 and found[0] == found[40] and math.isclose(*means, rel_tol=0.02)
    return {"ok": okay, "means": means, "different": len(set(found[:40])), "same_seed": found[0] == found[40]}


def _autocast(setting: Setting) -> dict[str, Any]:
    """Under autocast the loss is near that of float32, and a graph of its own."""
    torch.manual_seed(0)
    model = build("translation", composed(*SMALL, *TRANSLATION, "context=additive")).to(setting.device).train()
    source, target = map_tensors(lambda x: x.to(setting.device), batch_of("translation", model, 30))
    loss, kind = GraphedLoss(model), setting.device.partition(":")[0]
    values = []
    for lower in (False, True, True, False, True):
        with torch.autocast(kind, torch.bfloat16, enabled=lower):
            value = loss(source, target)
        value.backward()
        values.append(float(value.detach()))
    okay = all(math.isclose(value, values[0], rel_tol=0.02) for value in values)
    return {"ok": okay, "losses": values, "graphs": len(loss.graphs)}
