"""Layers against cuDNN, the softmax's loss by its paths, and searches."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import distance
from experiments.gpu.speed import SIZES, TINY
from experiments.gpu.timing import kernels, precision, seconds
from experiments.throughput.learners import project_model
from experiments.throughput.pairs import synthetic
from seq2seq.nn.cells import GRU, LSTM
from seq2seq.nn.losses import token_cross_entropy
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs, Pairs, map_tensors


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
