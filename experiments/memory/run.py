"""Memory by cell: delayed copy, adding, and a word disambiguated by one far away, against the lag.

    python experiments/memory/run.py        # writes results.json, the tables of README.md and memory.png

One network is trained for each cell, task and seed on lags drawn evenly on a logarithmic scale up to 100, and tested at
each lag, once beyond those that it has seen. All have 48 units and a linear readout, and are trained alike: Adam, 32
sequences an update, the gradient clipped at 1.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from tasks import TASKS, Batch, Task
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq.nn.cells import GRU, LSTM, MGU, Cell, MinGRU, Vanilla
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs

HERE = Path(__file__).parent
HIDDEN, BATCH, UPDATES, TESTED = 48, 32, 1500, 512
SEEDS = (1, 2, 3)
LONGEST = 100
LAGS = (5, 10, 20, 50, 100, 200)
# Each cell with the better of the learning rates 0.003 and 0.01, tried on all three tasks with seed 0.
CELLS: dict[str, tuple[Callable[[int], Cell[Any]], float]] = {
    "tanh": (lambda inputs: Vanilla(inputs, HIDDEN, init="orthogonal"), 0.003),
    "IRNN": (lambda inputs: Vanilla(inputs, HIDDEN, activation="relu", init="identity"), 0.003),
    "GRU": (lambda inputs: GRU(inputs, HIDDEN), 0.01),
    "LSTM": (lambda inputs: LSTM(inputs, HIDDEN, forget_bias=1.0), 0.01),
    "MGU": (lambda inputs: MGU(inputs, HIDDEN), 0.01),
    "minGRU": (lambda inputs: MinGRU(inputs, HIDDEN), 0.01),
}


class Answerer(nn.Module):
    """A cell, and a linear readout of the last of its outputs."""

    def __init__(self, cell: Cell[Any], outputs: int) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(HIDDEN, outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "B A O"]:
        """The answers to one batch."""
        return self.head(unroll(self.cell, Inputs(batch.x))[0][:, -batch.y.size(1) :])  # type: ignore[no-any-return]

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Squared error of a number, or cross-entropy of classes, a mean."""
        answers = self(batch)
        if batch.y.is_floating_point():
            return F.mse_loss(answers[..., 0], batch.y)
        return F.cross_entropy(answers.flatten(0, 1), batch.y.flatten())

    @torch.no_grad()
    def score(self, batch: Batch) -> float:
        """The share of right classes; of numbers the share of their variance that is explained, at least 0."""
        answers = self(batch)
        if batch.y.is_floating_point():
            return max(0.0, 1 - (F.mse_loss(answers[..., 0], batch.y) / batch.y.var()).item())
        right: Tensor = answers.argmax(-1) == batch.y
        return right.float().mean().item()


def train(answerer: Answerer, task: Task, rate: float, seed: int, updates: int = UPDATES) -> None:
    """On lags between the task's shortest and LONGEST, one a batch."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(answerer.parameters(), rate)
    for _ in range(updates):
        share = torch.rand((), generator=generator).item()
        lag = round(task.shortest * (LONGEST / task.shortest) ** share)
        optimizer.zero_grad()
        answerer.loss(task.draw(lag, BATCH, generator)).backward()
        nn.utils.clip_grad_norm_(answerer.parameters(), 1.0)
        optimizer.step()


def study(name: str, cell: str, seed: int) -> dict[str, Any]:
    """One network trained, and its score at each lag."""
    task, (make, rate) = TASKS[name], CELLS[cell]
    torch.manual_seed(seed)
    answerer = Answerer(make(task.inputs), task.outputs)
    started = time.process_time()
    train(answerer, task, rate, seed)
    seconds = time.process_time() - started
    test = torch.Generator().manual_seed(1000 + seed)
    scores = {lag: round(answerer.score(task.draw(lag, TESTED, test)), 4) for lag in LAGS}
    row = {"task": name, "cell": cell, "seed": seed, "scores": scores, "seconds": round(seconds, 1)}
    print(*row.values(), flush=True)
    return {**row, "parameters": sum(weight.numel() for weight in answerer.cell.parameters())}


def main() -> None:
    """All networks, then what is made of them."""
    sys.path.insert(0, str(HERE.parent))
    import picture
    from machine import write_results
    from readme import fill

    torch.set_num_threads(1)
    rows = [study(name, cell, seed) for name in TASKS for cell in CELLS for seed in SEEDS]
    write_results(HERE / "results.json", rows, indent=0)
    rows = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    fill(HERE / "README.md", picture.tables(rows))
    picture.memory_picture(rows, {name: task.chance for name, task in TASKS.items()}, HERE / "memory.png")


if __name__ == "__main__":
    main()
