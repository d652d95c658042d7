"""The cost of a sum over alignments: CPU time of a training step on one thread, each model in turn, a median.

python experiments/copying/cost.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from readme import fill
from study import table

from seq2seq.cli.composing.configurations import composed, composing
from seq2seq.models import factory
from seq2seq.nn.types import Tokens

VOCABULARY, WORDS, SOURCE, TARGET = 60, 20, 16, 13
ROUNDS = 9
MODELS = {
    "`context=multiplicative head=linear`": ["context=multiplicative", "head=linear"],
    "`context=multiplicative head=pointer`": ["context=multiplicative", "head=pointer"],
    "`context=monotonic head=linear`, order 0": ["context=monotonic", "head=linear", "context.order=0"],
    "`context=monotonic head=linear`, order 1": ["context=monotonic", "head=linear", "context.order=1"],
    "`context=monotonic head=pointer`, order 1": ["context=monotonic", "head=pointer", "context.order=1"],
}
SIZES = ["encoder.hidden_size=200", "encoder.num_layers=2", "decoder.hidden_size=300", "head.size=200"]


def step(model: Any, optimizer: torch.optim.Optimizer) -> float:
    """Seconds of CPU time of forward, backward and update of a batch of random words."""
    source, target = (
        Tokens(torch.randint(4, VOCABULARY, (WORDS, length)), torch.full((WORDS,), length))
        for length in (SOURCE, TARGET)
    )
    began = time.process_time()
    optimizer.zero_grad()
    model.loss(source, target).backward()
    optimizer.step()
    return time.process_time() - began


def main() -> None:
    """Measure all models in turn, and fill the README's table."""
    torch.set_num_threads(1)
    models = {}
    for name, overrides in MODELS.items():
        with composing():
            config = composed(["experiment=inflection", *overrides, *SIZES])
        model = factory.encoder_decoder(config, {"source": VOCABULARY, "target": VOCABULARY}).train()
        models[name] = model, torch.optim.Adam(model.parameters())
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(ROUNDS + 1):
        for name, (model, optimizer) in models.items():
            duration = step(model, optimizer)
            seconds[name] += [duration] if number else []  # the first is slower
    rows = [[name, round(1000 * median(each))] for name, each in seconds.items()]
    cost = table(["model", "ms a step"], rows)
    print(cost)
    fill(Path(__file__).with_name("README.md"), {"cost": cost})


if __name__ == "__main__":
    main()
