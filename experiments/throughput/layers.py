"""A recurrent layer alone, forwards and backwards: the project's GRU and LSTM against nn.GRU and nn.LSTM."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from experiments.throughput.freed import settle
from experiments.throughput.measure import Done, Rounds, Run, Spread, alternate, lasting
from experiments.throughput.sizes import Plan
from seq2seq.nn.cells import GRU, LSTM, Cell
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs

Make = Callable[[int, int], nn.RNNBase]
KINDS: dict[str, tuple[type[Cell[Any]], Make]] = {"gru": (GRU, nn.GRU), "lstm": (LSTM, nn.LSTM)}
STEPS = 20


def layers(plan: Plan) -> dict[str, Any]:
    """The row of the layers: every H and B, and the ratio's geometric mean over H ≤ 512 where B is 32, and above 127.

    The inputs are as wide as the layer, and of length 20 without pads. Freed memory is given back, for both.
    """
    settle(keep=False)
    rounds = {(kind, H, B): contest(kind, H, B, plan) for kind in KINDS for H in plan.hidden for B in plan.batch}
    found: dict[str, Any] = {}
    for kind, prefix in (("gru", ""), ("lstm", "lstm_")):
        small = [case for case in rounds if case[0] == kind and case[1] <= 512 and case[2] <= 32]
        large = [case for case in rounds if case[0] == kind and case[1] <= 512 and case[2] >= 128]
        found[f"{prefix}vs_torch"] = pooled(rounds[case] for case in small)
        found[f"{prefix}vs_torch_b128"] = pooled(rounds[case] for case in large)
    cases = [
        {"cell": kind, "H": H, "B": B, "vs_torch": one.ratio("ours", "torch"), "runs": one.summary("tokens")}
        for (kind, H, B), one in rounds.items()
    ]
    return found | {"threads": torch.get_num_threads(), "cases": cases}


def pooled(rounds: Iterable[Rounds]) -> dict[str, float]:
    """The geometric mean of several ratios, round by round."""
    together = list(zip(*(one.ratios("ours", "torch") for one in rounds), strict=True))
    return Spread.of([math.exp(sum(map(math.log, ratios)) / len(ratios)) for ratios in together])._asdict()


def contest(kind: str, H: int, B: int, plan: Plan) -> Rounds:
    """Both layers with the same weights, inputs and gradients; each in the layout that it likes best.

    Raises `ArithmeticError` where they do not compute the same.
    """
    torch.manual_seed(0)
    make, torch_make = KINDS[kind]
    ours, theirs = make(H, H), torch_make(H, H)
    theirs.load_state_dict({f"{name}_l0": weight for name, weight in ours.state_dict().items()})
    x, gradient = torch.randn(STEPS, B, H, requires_grad=True), torch.randn(STEPS, B, H)
    difference = float((_ours(ours, x) - theirs(x)[0]).detach().abs().max())
    if difference > 1e-4:
        raise ArithmeticError(f"{kind}, H={H}, B={B}: the two layers differ by {difference}")
    runs: dict[str, Run] = {
        "ours": _run(ours, x, gradient, lambda: _ours(ours, x)),
        "torch": _run(theirs, x, gradient, lambda: theirs(x)[0]),
    }
    return alternate({name: lasting(run, plan.seconds) for name, run in runs.items()}, plan.rounds, plan.peak_size)


def _ours(cell: Cell[Any], x: Tensor) -> Tensor:
    return unroll(cell, Inputs(x.transpose(0, 1)))[0].transpose(0, 1)


def _run(layer: nn.Module, x: Tensor, gradient: Tensor, forward: Callable[[], Tensor]) -> Run:
    """2 FLOP a multiplication and addition, forwards and twice backwards, with the inputs' projection."""
    gates, H = next(layer.parameters()).shape
    tokens = x.size(0) * x.size(1)
    done = Done(tokens, 6.0 * tokens * gates * 2 * H)

    def run() -> Done:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        forward().backward(gradient)
        return done

    return run
