"""The step of a search as a CUDA graph: its kernels are so small that launching them takes longer than running them.

A graph is of one shape, so the number of sentences is rounded up to a power of two, and the source's length to a
multiple of eight. Tokens and states are copied in at each step; what is read of the source only when it has changed,
because sentences have left the batch. What a step returns is valid until the next one. For a `Translator` of one model
on a GPU: translator.step = GraphedStep(translator.step).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.models import Encoded
from seq2seq.nn.decoder_state import DecoderState
from seq2seq.nn.hard_alignment import LOWEST
from seq2seq.nn.types import map_tensors
from seq2seq.search import StepFn

MULTIPLE = 8  # of source lengths
Inputs = tuple[Tensor, DecoderState, Encoded]


class Captured(NamedTuple):
    """A graph, or none on a CPU, with what it reads and writes."""

    graph: Any
    inputs: Inputs
    outputs: tuple[Tensor, DecoderState, Tensor | None] | None


class GraphedStep:
    """`step` of one model whose weights do not change, captured for each shape that it meets; on a CPU the same padded
    shapes run without a graph. It is called in inference mode, as searches do."""

    def __init__(self, step: StepFn[DecoderState, Encoded]) -> None:
        self.step = step
        self.known: dict[tuple[int, ...], Captured] = {}
        self.copied: dict[tuple[int, ...], Encoded] = {}  # what each graph was given of a source
        self.pool: Any = None

    def __call__(
        self, ids: Int[Tensor, "N"], state: DecoderState, encoded: Encoded
    ) -> tuple[Float[Tensor, "N V"], DecoderState, Float[Tensor, "N S"] | None]:
        """Take one time step, as a `seq2seq.search.StepFn`."""
        sentences, length = encoded.keys.mask.shape
        rows = 1 << (sentences - 1).bit_length()
        shape = (rows, len(ids) // sentences, length if length == 1 else -(-length // MULTIPLE) * MULTIPLE)
        key = (*shape, state.coverage is None)  # as it is before the first step
        inputs = (ids, state, encoded)
        if key not in self.known:
            self.known[key] = self._capture(padded(inputs, *shape))
        captured = self.known[key]
        if (alignment := captured.inputs[1].alignment) is not None:
            alignment.predictive.fill_(LOWEST)  # there is nothing beyond the source
        copy((ids, state), captured.inputs[:2])
        if self.copied.get(key) is not encoded:
            captured.inputs[2].keys.mask.zero_()
            copy(encoded, captured.inputs[2])
            self.copied[key] = encoded
        if captured.outputs is None:
            outputs = self.step(*captured.inputs)
        else:
            captured.graph.replay()
            outputs = captured.outputs
        log_probs, after, weights = outputs
        if weights is not None:
            weights = weights[: len(ids), :length].clone()  # searches keep them
        after = of_positions(lambda x: x[:, :length], map_tensors(lambda x: x[: len(ids)], after))
        return log_probs[: len(ids)], after, weights

    def _capture(self, inputs: Inputs) -> Captured:
        """Run once, so that libraries make what they need, then capture."""
        if inputs[0].device.type != "cuda":
            return Captured(None, inputs, None)
        self.step(*inputs)
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            outputs = self.step(*inputs)
        return Captured(graph, inputs, outputs)


def padded(inputs: Inputs, rows: int, beam: int, length: int) -> Inputs:
    """Buffers for the inputs of a step, of 0: tokens that any model has, and positions where there is no source."""

    def of_source(tensor: Tensor) -> Tensor:
        size = (rows, length) if tensor.dim() > 2 or not tensor.is_floating_point() else (rows,)
        return tensor.new_zeros(*size, *tensor.shape[len(size) :])

    ids, state, encoded = inputs
    ids, state = map_tensors(lambda x: x.new_zeros(rows * beam, *x.shape[1:]), (ids, state))
    state = of_positions(lambda x: x.new_zeros(len(x), length, *x.shape[2:]), state)
    return ids, state, map_tensors(of_source, encoded)


def of_positions(function: Callable[[Tensor], Tensor], state: DecoderState) -> DecoderState:
    """The state with another value for what it holds of each position of the source."""
    coverage, alignment = map_tensors(function, (state.coverage, state.alignment))
    return state._replace(coverage=coverage, alignment=alignment)


def copy(structure: Any, into: Any) -> None:
    """Copy tensors into the first rows, and positions, of larger ones."""
    targets: list[Tensor] = []
    map_tensors(lambda x: targets.append(x) or x, into)  # type: ignore[func-returns-value]
    tensors: list[Tensor] = []
    map_tensors(lambda x: tensors.append(x) or x, structure)  # type: ignore[func-returns-value]
    for tensor, target in zip(tensors, targets, strict=True):
        target[tuple(slice(size) for size in tensor.shape)].copy_(tensor)
