"""How fast: training models C and A against the naive loop and the plain twin, layers against cuDNN, the softmax's loss
by its paths, and search."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import distance
from experiments.gpu.twin import Twin
from experiments.throughput.learners import LARGEST_NORM, RATE, project_model
from experiments.throughput.naive import Naive
from experiments.throughput.pairs import amounts, bucketed_batches, synthetic
from experiments.throughput.sizes import Sizes, training_flops
from seq2seq.models.graphed_loss import GraphedLoss
from seq2seq.nn.cells import GRU, LSTM
from seq2seq.nn.losses import token_cross_entropy
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs, Pairs, map_tensors
from seq2seq.training.optimization.optimizers import make_optimizer

SIZES = {"benchmark": Sizes(), "large": Sizes(1024, 1024, 32000)}
TINY = {"benchmark": Sizes(8, 16, 60)}
TOKENS = (2048, 8192, 32768)
GRAPHED = ("graphs", "graphs, manual")
"""`trainer.cuda_graphs=true`, around the path that the cells choose, and around the manual one."""


# Time


def synchronize(setting: Setting) -> None:
    if setting.cuda:
        torch.cuda.synchronize()


def seconds(setting: Setting, function: Callable[[], Any], repeats: int, warm: int = 2) -> list[float]:
    """How long each of some calls takes, by the device's clock; after some that are not counted."""
    for _ in range(warm):
        function()
    synchronize(setting)
    if not setting.cuda:
        found = []
        for _ in range(repeats):
            began = time.perf_counter()
            function()
            found.append(time.perf_counter() - began)
        return found
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        function()
        mark.record()
    synchronize(setting)
    return [one.elapsed_time(other) / 1000 for one, other in itertools.pairwise(marks)]


def kernels(setting: Setting, function: Callable[[], Any]) -> dict[str, Any]:
    """Seconds in kernels and copies, how many there were, and the largest, of one call, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    if not setting.cuda:
        return {}
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        function()
        synchronize(setting)
    events = [event for event in profiler.events() if str(event.device_type).endswith("CUDA")]
    by_name: dict[str, float] = {}
    for event in events:
        by_name[event.name] = by_name.get(event.name, 0.0) + event.time_range.elapsed_us() / 1e6
    top = sorted(by_name.items(), key=lambda item: -item[1])[:8]
    return {
        "kernel_seconds": sum(by_name.values()),
        "kernels": len(events),
        "largest": {name[:80]: round(1000 * value, 3) for name, value in top},
    }


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """`float32` in full, `tf32` with matrix units, `bf16` under autocast."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if name == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = name != "float32"
    try:
        if name != "bf16":
            yield
            return
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):  # as Lightning's: weights change within
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


# What the card can do


def peaks(setting: Setting, cases: Cases) -> None:
    """The rates that shares are of: products of 8192² matrices, and a large copy; and what a launch costs."""
    size = 8192 if setting.cuda else 256
    for name, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        cases.run(name, _product_rate, setting, name, dtype, size)
    cases.run("copy", _copy_rate, setting)
    cases.run("launch", _launch_rate, setting)


def _product_rate(setting: Setting, name: str, dtype: torch.dtype, size: int) -> dict[str, float]:
    one, other = (torch.randn(size, size, device=setting.device).to(dtype) for _ in range(2))
    out = torch.empty_like(one)
    with precision("float32" if name == "float32" else "tf32"):
        taken = seconds(setting, lambda: torch.mm(one, other, out=out), 10)
    return {"flops": 2 * size**3 / statistics.median(taken)}


def _copy_rate(setting: Setting) -> dict[str, float]:
    one = torch.randn(1 << (29 if setting.cuda else 20), device=setting.device)
    other = torch.empty_like(one)
    taken = seconds(setting, lambda: other.copy_(one), 10)
    return {"bytes": 8 * one.numel() / statistics.median(taken)}


def _launch_rate(setting: Setting) -> dict[str, float]:
    x = torch.zeros(8, device=setting.device)

    def many() -> None:
        for _ in range(1000):
            x.add_(1.0)

    return {"microseconds": 1000 * statistics.median(seconds(setting, many, 5))}


def peak(setting: Setting, name: str) -> float | None:
    """FLOP a second of the products of that precision, measured before."""
    value: float | None = setting.results.get("peaks", {}).get(name, {}).get("flops")
    return value


# Training


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


# Layers


def layers(setting: Setting, cases: Cases) -> None:
    """A layer forwards and backwards, length 20, against cuDNN called directly; with the mask of padding, too."""
    for hidden in (256, 512, 1024) if setting.cuda else (16,):
        for size in (32, 128, 512) if setting.cuda else (4,):
            for kind in ("gru", "lstm"):
                cases.run(f"{kind} H={hidden} B={size}", _layer, setting, kind, hidden, size)


def _layer(setting: Setting, kind: str, hidden: int, size: int) -> dict[str, Any]:
    torch.manual_seed(0)
    ours: Any = {"gru": GRU, "lstm": LSTM}[kind](hidden, hidden).to(setting.device)
    theirs: Any = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](hidden, hidden).to(setting.device)
    theirs.load_state_dict({f"{name}_l0": weight for name, weight in ours.state_dict().items()})
    x = torch.randn(20, size, hidden, device=setting.device, requires_grad=True)
    gradient = torch.randn(20, size, hidden, device=setting.device)
    lengths = torch.randint(10, 21, (size,), device=setting.device)
    mask = torch.arange(20, device=setting.device) < lengths[:, None]
    by_batch = x.transpose(0, 1)
    runs = {
        "cudnn": lambda: theirs(x)[0],
        "auto": lambda: unroll(ours, Inputs(by_batch))[0].transpose(0, 1),
        "auto, padded": lambda: unroll(ours, Inputs(by_batch), mask)[0].transpose(0, 1),
        "auto, padded, reversed": lambda: unroll(ours, Inputs(by_batch), mask, reverse=True)[0].transpose(0, 1),
        "manual": lambda: unroll(ours, Inputs(by_batch), path="manual")[0].transpose(0, 1),
    }

    def run(forward: Callable[[], Tensor]) -> Callable[[], None]:
        def once() -> None:
            ours.zero_grad(set_to_none=True)
            theirs.zero_grad(set_to_none=True)
            x.grad = None
            forward().backward(gradient)

        return once

    with precision("tf32"):
        error = distance(runs["auto"](), runs["cudnn"]().detach().cpu())
        taken = {name: statistics.median(seconds(setting, run(each), 10, warm=3)) for name, each in runs.items()}
    ratios = {f"cudnn_time_over_{name}": taken["cudnn"] / value for name, value in taken.items() if name != "cudnn"}
    return {"ok": error < 1e-2, "error": error, "seconds_each": taken, **ratios}


# The softmax's loss


def losses(setting: Setting, cases: Cases) -> None:
    """Forwards and backwards through the output layer, by path: time and the most memory."""
    shapes = [(8000, 512, 2048), (8000, 512, 16384), (32000, 1024, 2048), (32000, 1024, 32768)]
    for vocabulary, width, rows in shapes if setting.cuda else [(60, 8, 30)]:
        for path in ("plain", "chunks", "torch", "auto"):
            cases.run(f"{path} V={vocabulary} F={width} M={rows}", _loss, setting, path, vocabulary, width, rows)


def _loss(setting: Setting, path: Any, vocabulary: int, width: int, rows: int) -> dict[str, Any]:
    from seq2seq.nn.losses import FUSED

    if path == "torch" and not FUSED:
        return {"left_out": f"torch {torch.__version__} has no fused linear cross-entropy"}
    torch.manual_seed(0)
    features = torch.randn(rows, width, device=setting.device, requires_grad=True)
    weight = (torch.randn(vocabulary, width, device=setting.device) * width**-0.5).requires_grad_()
    bias = torch.zeros(vocabulary, device=setting.device, requires_grad=True)
    targets = torch.randint(0, vocabulary, (rows,), device=setting.device)

    def once() -> Tensor:
        for each in (features, weight, bias):
            each.grad = None
        value = token_cross_entropy(features, weight, bias, targets, path=path)
        value.backward()
        return value.detach()

    if setting.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with precision("tf32"):
        taken = statistics.median(seconds(setting, once, 5))
        value = float(once()) / rows
    found = {"seconds_each": taken, "loss": value, "flops": 6 * rows * width * vocabulary / taken}
    if setting.cuda:
        found["gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
    return found


# Search


def searching(setting: Setting, cases: Cases) -> None:
    """Greedy search and a beam of 5 at the references' lengths: sentences a second."""
    from experiments.throughput.search import prepared

    sizes = SIZES["benchmark"] if setting.cuda else TINY["benchmark"]
    data = synthetic(sizes.vocabulary, 300).test
    for model in ("c", "a"):
        torch.manual_seed(0)
        network = project_model(model, sizes).to(setting.device).eval()
        for beam_size in (1, 5):
            for size in (1, 64, 256) if setting.cuda else (4,):
                count = min(256 if size > 1 else 8, 256) if setting.cuda else 8
                made = [map_tensors(lambda x: x.to(setting.device), batch) for batch in prepared(data, count, size)]
                for graphs in (False, True):
                    label = f"{model} beam {beam_size} batch {size}{', graphs' * graphs}"
                    cases.run(label, _search, setting, network, made, beam_size, count, graphs)


def _search(
    setting: Setting, network: Any, made: list[Pairs], beam_size: int, count: int, graphs: bool
) -> dict[str, Any]:
    from experiments.throughput.search import searching
    from seq2seq.inference.graphed_step import GraphedStep
    from seq2seq.inference.stepper import Stepper

    step: Any = Stepper(network)
    run = searching(network, GraphedStep(step) if graphs else step, made, beam_size)
    with precision("tf32"):
        taken = statistics.median(seconds(setting, run, 2, warm=1))
        inside = kernels(setting, run) if len(made) < 9 else {}
    found = {"sentences": count, "seconds_each": taken, "sentences_per_second": count / taken}
    return found | inside | ({"share_in_kernels": inside["kernel_seconds"] / taken} if inside else {})
