"""What takes a training step: the tutorial's loop, and the project's model as its training task does it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from experiments.throughput.naive import Naive
from experiments.throughput.sizes import Sizes
from seq2seq.models import EncoderDecoder, factory
from seq2seq.nn.types import Pairs
from seq2seq.training.optimization.optimizers import make_optimizer

LARGEST_NORM = 1.0
RATE = 0.001


class Learner(Protocol):
    """Anything that learns from a batch."""

    def loss(self, batch: Pairs) -> Tensor:
        """The mean loss a target token."""

    def step(self, batch: Pairs) -> float:
        """One update; the loss before it."""


def project_model(model: str, sizes: Sizes, path: str = "auto") -> EncoderDecoder:
    """Model `c` or `a` of this project, or `luong` (bidirectional LSTM, general attention with input feeding), without
    dropout; `path` is that of encoder and decoder."""
    config = {name: {"_target_": f"seq2seq.{target}", **options} for name, (target, options) in PARTS[model].items()}
    cell = {"_target_": f"seq2seq.nn.cells.{'LSTM' if model == 'luong' else 'GRU'}"}
    for name, hidden in (("encoder", sizes.hidden // 2), ("decoder", sizes.hidden)):
        config[name] |= {"hidden_size": hidden, "cell": cell, "path": path}
    if model != "c":
        config["head"]["size"] = sizes.hidden
    config["embedding"] = {"size": sizes.embedding}
    return factory.encoder_decoder(config, {"source": sizes.vocabulary, "target": sizes.vocabulary})


Parts = dict[str, tuple[str, dict[str, Any]]]
COMMON: Parts = {"encoder": ("encoders.RecurrentEncoder", {}), "head": ("heads.LinearHead", {})}
PARTS: dict[str, Parts] = {
    "c": COMMON
    | {
        "bridge": ("bridges.LinearBridge", {}),
        "context": ("contexts.FixedContext", {}),
        "decoder": ("decoder.Decoder", {"context_to": "cell"}),
    },
    "a": COMMON
    | {
        "bridge": ("bridges.LinearBridge", {}),
        "context": ("contexts.AdditiveContext", {}),
        "decoder": ("decoder.Decoder", {"context_to": "both"}),
    },
    "luong": COMMON
    | {
        "bridge": ("bridges.CopyBridge", {}),
        "context": ("contexts.MultiplicativeContext", {"score": "general"}),
        "decoder": ("decoder.Decoder", {"context_to": "readout", "query": "current", "input_feeding": True}),
    },
}
"""Of each model the components and their options, sizes apart."""


class Ours:
    """Loss, backward, clipping and fused Adam, with the same functions as `seq2seq train`; Lightning stands apart
    (trainer.py)."""

    def __init__(self, model: EncoderDecoder) -> None:
        self.model = model.train()
        self.parameters = list(model.parameters())
        self.optimizer = make_optimizer(self.parameters, {"name": "adam", "lr": RATE})

    def loss(self, batch: Pairs) -> Tensor:
        return self.model.loss(batch.source, batch.target) / batch.target.lengths.sum()

    def step(self, batch: Pairs) -> float:
        return _step(self, self.parameters, self.optimizer, batch)


class Tutorial:
    """The naive loop with the weights of one of the project's models."""

    def __init__(self, model: str, sizes: Sizes, weights: EncoderDecoder) -> None:
        self.model = Naive(model, sizes)
        self.model.copy_weights(weights.state_dict())
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=RATE)

    def loss(self, batch: Pairs) -> Tensor:
        return self.model.loss(batch)

    def step(self, batch: Pairs) -> float:
        return _step(self, self.parameters, self.optimizer, batch)


def _step(learner: Learner, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, batch: Pairs) -> float:
    optimizer.zero_grad()
    loss = learner.loss(batch)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, LARGEST_NORM)
    optimizer.step()
    return loss.item()
