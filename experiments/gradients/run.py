"""Vanishing and exploding gradients: ‖∂L_T/∂h_t‖ against the lag T − t, in theory, by cell, and with clipping.

    python experiments/gradients/run.py        # writes results.json, the tables of README.md and the pictures

The state is kept at every step by the cell's own `step`, so that autograd leaves ∂L_T/∂h_t at each of them. Theory:
Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, section 2: for
h_t = tanh(W_x x_t + W h_{t−1} + b) the Jacobian of a step is J_t = diag(1 − h_t²) W, and

    ‖∂L_T/∂h_t‖ ≤ ‖∂L_T/∂h_T‖ ∏_{j=t+1…T} ‖J_j‖₂ ≤ ‖∂L_T/∂h_T‖ ‖W‖₂^{T−t}
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq.nn.cells import GRU, LSTM, Cell, Vanilla
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs

HERE = Path(__file__).parent
HIDDEN, BATCH, STEPS, CLASSES, INPUTS = 32, 32, 101, 4, 8
SEEDS = (0, 1, 2)
EVERY = 20  # updates whose mean loss is one point of a curve
SCALES = {"orthogonal": (0.5, 0.9, 1.0, 1.1, 1.5, 2.0), "Gaussian": (0.5, 0.9, 1.5)}
DEVIATIONS = (0.1, 1.0)
CELLS: dict[str, Callable[[], Cell[Any]]] = {
    "tanh, orthogonal": lambda: Vanilla(INPUTS, HIDDEN, init="orthogonal"),
    "relu, identity": lambda: Vanilla(INPUTS, HIDDEN, activation="relu", init="identity"),
    "GRU": lambda: GRU(INPUTS, HIDDEN),
    "LSTM": lambda: LSTM(INPUTS, HIDDEN, forget_bias=1.0),
}


class Batch(NamedTuple):
    """What is shown at the first step must be known after the last; in between there is noise."""

    x: Float[Tensor, "B T I"]
    y: Int[Tensor, "B"] | Float[Tensor, "B"]


class Reader(nn.Module):
    """A cell and a linear readout of its last state."""

    def __init__(self, cell: Cell[Any], outputs: int) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(HIDDEN, outputs)

    def loss(self, last: Float[Tensor, "B H"], y: Tensor) -> Float[Tensor, ""]:
        """Cross-entropy of a class, or the squared error of a number."""
        guess = self.head(last)
        return F.mse_loss(guess[:, 0], y) if y.is_floating_point() else F.cross_entropy(guess, y)

    def answer(self, last: Float[Tensor, "B H"], y: Tensor) -> Float[Tensor, ""]:
        """What a small change of the loss comes from, summed: the right class's logit, or the number. The loss itself
        has no gradient any more once a class is certain."""
        guess: Tensor = self.head(last)
        return guess.sum() if y.is_floating_point() else guess.gather(1, y[:, None]).sum()


def draw(task: str, steps: int, generator: torch.Generator, size: int = BATCH) -> Batch:
    """`class`: one of four, one-hot, at the first step. `number`: one between 0 and 1. Then noise of deviation 1."""
    x = torch.randn(size, steps, INPUTS, generator=generator)
    x[:, 0], x[:, 1:, :CLASSES] = 0, 0
    if task == "class":
        y = torch.randint(CLASSES, (size,), generator=generator)
        x[torch.arange(size), 0, y] = 1
    else:
        y = torch.rand(size, generator=generator)
        x[:, 0, 0], x[:, 0, 1] = y, 1
    return Batch(x, y)


def gradient_norms(
    cell: Cell[Any], x: Float[Tensor, "B T I"], loss: Callable[[Tensor], Tensor]
) -> dict[str, Float[Tensor, "T B"]]:
    """‖∂L_T/∂h_t‖, and of an LSTM ‖∂L_T/∂c_t‖, along all paths, by lag 0 … T − 1, divided by ‖∂L_T/∂h_T‖."""
    gates, state, states = cell.project(x.transpose(0, 1)), cell.init_state(len(x)), []
    for gate in gates:
        state = cell.step(gate, state)
        states.append(state)
    parts = [part for state in states for part in state]
    gradients = torch.autograd.grad(loss(state.h), parts, allow_unused=True)
    norms = torch.stack([(torch.zeros_like(p) if g is None else g).norm(dim=1) for p, g in zip(parts, gradients)])
    norms = norms.view(len(states), len(state), -1).flip(0)
    return dict(zip(state._fields, (norms / norms[0, 0]).unbind(1)))


def jacobian_norms(cell: Vanilla, x: Float[Tensor, "B T I"]) -> Float[Tensor, "T B"]:
    """∏ ‖J_j‖₂ by lag: the bound that knows the states, in the order of `gradient_norms`."""
    outputs, _ = unroll(cell, Inputs(x), path="step")
    norms = torch.linalg.matrix_norm((1 - outputs[:, 1:, :, None] ** 2) * cell.weight_hh, ord=2)
    return torch.cat([torch.ones(len(x), 1), norms.flip(1)], 1).cumprod(1).t()


def theory() -> list[dict[str, Any]]:
    """The tanh cell at its start, by the scale of W and of the inputs: what is seen and what bounds it."""
    rows: list[dict[str, Any]] = []
    for init, scale, deviation in ((i, s, d) for i, scales in SCALES.items() for s in scales for d in DEVIATIONS):
        seen, bound, radius, norm = [], [], [], []
        for seed in SEEDS:
            torch.manual_seed(seed)
            own = {"orthogonal": ("orthogonal", scale), "Gaussian": ("normal", scale * HIDDEN**-0.5)}[init]
            cell = Vanilla(INPUTS, HIDDEN, init=own[0], init_scale=own[1])
            nn.init.normal_(cell.weight_ih, std=INPUTS**-0.5)  # the same inputs for every scale of W
            x, v = deviation * torch.randn(BATCH, STEPS, INPUTS), torch.randn(BATCH, HIDDEN)
            seen.append(gradient_norms(cell, x, functools.partial(torch.tensordot, v, dims=2))["h"])
            with torch.no_grad():
                bound.append(jacobian_norms(cell, x))
                radius.append(torch.linalg.eigvals(cell.weight_hh).abs().max().item())
                norm.append(torch.linalg.matrix_norm(cell.weight_hh, ord=2).item())
        rows.append({"init": init, "scale": scale, "inputs": deviation, "radius": median(radius), "norm": median(norm)})
        rows[-1] |= {"seen": curve(seen)["mid"], "bound": curve(bound)["mid"]}
    return rows


def train(
    reader: Reader, task: str, optimizer: torch.optim.Optimizer, updates: int, clip: float, seed: int
) -> tuple[list[float], list[float]]:
    """Losses and gradient norms (before they are clipped). Sequence lengths are log-uniform between 2 and STEPS."""
    generator, losses, norms = torch.Generator().manual_seed(seed), [], []
    for _ in range(updates):
        steps = round(2 * (STEPS / 2) ** torch.rand((), generator=generator).item())
        batch = draw(task, steps, generator)
        loss = reader.loss(unroll(reader.cell, Inputs(batch.x))[1].h, batch.y)
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(reader.parameters(), clip).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def by_cell() -> list[dict[str, Any]]:
    """Each cell before and after a short training, Adam at 0.01 with the gradient clipped at 1."""
    rows: list[dict[str, Any]] = []
    for name, make in CELLS.items():
        for task in ("class", "number"):
            before, after, errors = [], [], []
            for seed in SEEDS:
                torch.manual_seed(seed)
                reader = Reader(make(), CLASSES if task == "class" else 1)
                test = draw(task, STEPS, torch.Generator().manual_seed(1000 + seed))
                before.append(looked_at(reader, test))
                train(reader, task, torch.optim.Adam(reader.parameters(), 0.01), 600, 1.0, seed)
                after.append(looked_at(reader, test))
                errors.append(error(reader, task, seed))
            for when, norms in (("before", before), ("after", after)):
                curves = {part: curve([norm[part] for norm in norms]) for part in norms[0]}
                rows.append({"cell": name, "task": task, "when": when, "curves": curves})
            rows[-1]["errors"] = errors
    return rows


def looked_at(reader: Reader, test: Batch) -> dict[str, Tensor]:
    """The gradients of the task's own answer through the longest sequences."""
    return gradient_norms(reader.cell, test.x, lambda h: reader.answer(h, test.y))


@torch.no_grad()
def error(reader: Reader, task: str, seed: int) -> float:
    """On 256 longest sequences: the share of wrong classes, or the root of the mean squared error of the number."""
    x, y = draw(task, STEPS, torch.Generator().manual_seed(2000 + seed), 256)
    last = unroll(reader.cell, Inputs(x))[1].h
    if task == "number":
        return reader.loss(last, y).sqrt().item()
    wrong: Tensor = reader.head(last).argmax(1) != y
    return wrong.double().mean().item()


def clipping() -> list[dict[str, Any]]:
    """The tanh cell learns by gradient descent with momentum 0.9, with and without clipping at 1."""
    return [
        descended(task, rate, clip, seed)
        for task in ("class", "number")
        for rate in (0.01, 0.03, 0.1)
        for clip in (None, 1.0)
        for seed in SEEDS
    ]


def descended(task: str, rate: float, clip: float | None, seed: int) -> dict[str, Any]:
    """One training: its losses in blocks, its largest gradient, and its error afterwards; None where they overflow."""
    torch.manual_seed(seed)
    reader = Reader(CELLS["tanh, orthogonal"](), CLASSES if task == "class" else 1)
    optimizer = torch.optim.SGD(reader.parameters(), rate, momentum=0.9)
    losses, norms = train(reader, task, optimizer, 600, math.inf if clip is None else clip, seed)
    blocks = [rounded(sum(losses[i : i + EVERY]) / EVERY) for i in range(0, len(losses), EVERY)]
    return {
        **{"task": task, "rate": rate, "clip": clip, "seed": seed, "every": EVERY, "losses": blocks},
        "last_loss": rounded(sum(losses[-100:]) / 100),
        "largest_norm": rounded(max(norms) if math.isfinite(sum(norms)) else math.nan),
        "error": rounded(error(reader, task, seed)),
    }


def median(values: list[float]) -> float:
    return float(torch.tensor(values).median())


def rounded(value: float) -> float | None:
    """Four digits; None for what is no number, which JSON does not have."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def curve(norms: list[Tensor]) -> dict[str, list[float | None]]:
    """By lag, over all sequences of all seeds: the median, and the 10th and 90th of a hundred."""
    together = torch.cat(norms, 1)
    quantiles = {"low": 0.1, "mid": 0.5, "high": 0.9}
    return {name: list(map(rounded, together.quantile(q, dim=1).tolist())) for name, q in quantiles.items()}


def main() -> None:
    """All three parts, then what is made of them."""
    sys.path.insert(0, str(HERE.parent))
    import pictures
    from machine import write_results
    from readme import fill

    torch.set_default_dtype(torch.float64)  # gradients down to 1e-300 are told from 0
    torch.set_num_threads(1)
    results = {"theory": theory(), "cells": by_cell(), "clipping": clipping()}
    write_results(HERE / "results.json", results)
    fill(HERE / "README.md", pictures.tables(results))
    pictures.theory_picture(results["theory"], HERE / "theory.png")
    pictures.cells_picture(results["cells"], HERE / "cells.png")
    pictures.clipping_picture(results["clipping"], HERE / "clipping.png")


if __name__ == "__main__":
    main()
