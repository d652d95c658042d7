"""How fast: training models C and A against the naive loop and the plain twin."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import distance
from experiments.gpu.timing import kernels, peak, precision, seconds
from experiments.gpu.twin import Twin
from experiments.throughput.learners import LARGEST_NORM, RATE, project_model
from experiments.throughput.naive import Naive
from experiments.throughput.pairs import amounts, bucketed_batches, synthetic
from experiments.throughput.sizes import Sizes, training_flops
from seq2seq.models.graphed_loss import GraphedLoss
from seq2seq.nn.types import Pairs, map_tensors
from seq2seq.training.optimization.optimizers import make_optimizer

SIZES = {"benchmark": Sizes(), "large": Sizes(1024, 1024, 32000)}
TINY = {"benchmark": Sizes(8, 16, 60)}
TOKENS = (2048, 8192, 32768)
GRAPHED = ("graphs", "graphs, manual")
"""`trainer.cuda_graphs=true`, around the path that the cells choose, and around the manual one."""


class Learning:
    """Steps on batches that lie on the device, as `seq2seq train` does them."""

    def __init__(self, model: nn.Module, loss: Callable[[Pairs], Tensor], plain: bool) -> None:
        self.loss = loss
        self.parameters = list(model.parameters())
        self.optimizer = (
            torch.optim.Adam(self.parameters, lr=RATE, fused=not plain)
            if plain
            else make_optimizer(self.parameters, {"name": "adam", "lr": RATE})
        )

    def step(self, batch: Pairs) -> None:
        self.optimizer.zero_grad()
        self.loss(batch).backward()
        nn.utils.clip_grad_norm_(self.parameters, LARGEST_NORM)
        self.optimizer.step()


def contestants(model: str, sizes: Sizes, device: str) -> dict[str, Learning]:
    """The project's model on the path that it chooses and on those that may be asked for, the twin, the naive loop."""
    made: dict[str, Learning] = {}
    with torch.device(device):
        weights = project_model(model, sizes).state_dict()
        for name in ("auto", "manual", *GRAPHED):
            ours = project_model(model, sizes, "manual" if "manual" in name else "auto")
            ours.load_state_dict(weights)
            loss = GraphedLoss(ours) if name in GRAPHED else ours.loss
            made[name] = Learning(ours.train(), _mean(loss), plain=False)
        for name, kind in (("twin", Twin), ("naive", Naive)):
            plain = kind(model, sizes)
            plain.copy_weights(weights)
            made[name] = Learning(plain.train(), plain.loss, plain=name == "naive")
    return made


def _mean(loss: Callable[..., Tensor]) -> Callable[[Pairs], Tensor]:
    return lambda batch: loss(batch.source, batch.target) / batch.target.lengths.sum()


def training(setting: Setting, cases: Cases) -> None:
    """Models C and A, two sizes, three sizes of batches, three precisions; first those that matter most."""
    sizes = SIZES if setting.cuda and not setting.quick else TINY
    for name, chosen in sizes.items():
        data = synthetic(chosen.vocabulary, 29_000 if setting.cuda else 300).train
        for tokens in TOKENS if setting.cuda and not setting.quick else (200,):
            made = bucketed_batches(data, tokens, 4 if tokens < TOKENS[-1] else 2)
            batches = [map_tensors(lambda x: x.to(setting.device), batch) for batch in made]
            for model in ("c", "a"):
                kinds = ("tf32", "float32", "bf16") if tokens == TOKENS[0] else ("tf32",)
                for kind in kinds if setting.cuda else ("float32",):
                    label = f"{model} {name} {tokens} {kind}"
                    cases.run(label, _contest, setting, model, chosen, made, batches, kind)


def _contest(
    setting: Setting, model: str, sizes: Sizes, made: list[Pairs], batches: list[Pairs], kind: str
) -> dict[str, Any]:
    counts = amounts(made)
    flops = training_flops(model, sizes, counts)
    shape = {"sentences": int(counts.sentences), "tokens": int(counts.target)}
    found: dict[str, Any] = {"ok": True, **shape, "runs": {}}
    learners = contestants(model, sizes, setting.device)
    with precision(kind):
        losses = _losses(learners, batches[0])
    found["loss_differs_by"] = losses
    found["ok"] = max(losses.values()) < {"float32": 1e-4, "tf32": 1e-3, "bf16": 2e-2}[kind]
    for name in list(learners):
        learner = learners.pop(name)
        try:
            found["runs"][name] = _timed(setting, learner, batches, kind) | {"tokens": int(counts.target)}
        except torch.OutOfMemoryError as error:
            found["runs"][name] = {"error": str(error)[:100]}
        run, rate = found["runs"][name], peak(setting, kind)
        if "seconds" in run:
            run["tokens_per_second"] = counts.target / run["seconds"]
            run["mfu"] = flops / run["seconds"] / rate if rate else None
        del learner
        if setting.cuda:
            torch.cuda.empty_cache()
    best = found["runs"].get("auto", {}).get("seconds")
    for other in ("twin", "naive", "manual", *GRAPHED):
        if best and "seconds" in found["runs"].get(other, {}):
            found[f"auto_vs_{other}"] = found["runs"][other]["seconds"] / best
    return found


def _losses(learners: dict[str, Learning], batch: Pairs) -> dict[str, float]:
    """How far each loss is from the project's own."""
    with torch.no_grad():
        losses = {name: learner.loss(batch) for name, learner in learners.items()}
    return {name: distance(loss, losses["auto"].cpu()) for name, loss in losses.items()}


def _timed(setting: Setting, learner: Learning, batches: list[Pairs], kind: str) -> dict[str, Any]:
    def epoch() -> None:
        for batch in batches:
            learner.step(batch)

    if setting.cuda:
        torch.cuda.reset_peak_memory_stats()
    with precision(kind):
        taken = seconds(setting, epoch, 3, warm=2)
        inside = kernels(setting, epoch)
    found: dict[str, Any] = {"seconds": statistics.median(taken), "spread": [min(taken), max(taken)]}
    if setting.cuda:
        found["gigabytes"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        found |= inside | {"share_in_kernels": inside["kernel_seconds"] / found["seconds"]}
    return found
