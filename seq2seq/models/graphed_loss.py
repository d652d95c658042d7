"""The loss of an encoder-decoder and its gradients as CUDA graphs: on a GPU a recurrent step consists of small kernels,
and launching one takes longer than running it; a graph launches all of a batch's at once.

A graph is of one shape, so batches are padded to a few: each size is rounded up to eighths of a power of two
(`bucket`). The first batch of a shape runs as usual, the second is captured, and from then on is replayed. What is
captured are two graphs, of the loss and of its gradients, which read the weights where they are, and write the
gradients into one set of buffers. Memory is that of the largest shape, for all graphs share it: what one leaves there
lasts until the next is replayed.

Loss and gradients are those of the plain path (to rounding: sums are over more rows, of zeros). Dropout is drawn for
the padded shape, so with the same seed other features are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import Function

from seq2seq.models.encoder_decoder import EncoderDecoder
from seq2seq.nn.types import Features, Tokens

log = logging.getLogger(__name__)
MOST = 256
"""Graphs that are kept; batches of further shapes run as usual."""

Source = Tokens | Features


class Batch(NamedTuple):
    """A batch of a bucket's shape."""

    source: Source
    target: Tokens


def bucket(size: int, smallest: int = 4) -> int:
    """`size` rounded up to eighths of a power of two, and to a multiple of `smallest`: at most an eighth is added to
    large ones."""
    step = max(smallest, 1 << max(0, (size - 1).bit_length() - 4))
    return -(-size // step) * step


class GraphedLoss:
    """`EncoderDecoder.loss` of the `model` in training, for batches on its device; on a CPU the same padded batches run
    without a graph. `options` are keyword arguments of that function.

    A loss must be differentiated, if at all, before the next is computed.
    """

    def __init__(self, model: EncoderDecoder, **options: Any) -> None:
        self.model, self.options = model, options
        self.seen: set[Any] = set()
        self.graphs: dict[Any, Captured] = {}
        self.shared = Shared()
        self.failed = False

    def __call__(self, source: Source, target: Tokens) -> Tensor:
        """The loss of a batch."""
        sizes = bucket(len(target.ids)), bucket(source[0].size(1)), bucket(target.ids.size(1))
        if target.ids.device.type != "cuda":
            return self._plain(copied(source, target, empty(source, target, sizes)))
        key = (*sizes, self.model.training, *self._state())
        known = self.graphs.get(key)
        if known is None and key in self.seen and len(self.graphs) < MOST and not self.failed:
            known = self._capture(key, source, target, sizes)
        self.seen.add(key)
        if known is None:
            return self._plain(Batch(source, target))
        copied(source, target, known.batch)
        loss: Tensor = Replay.apply(known, self.shared, *self._parameters())  # type: ignore[no-untyped-call]
        return loss

    def _plain(self, batch: Batch) -> Tensor:
        return self.model.loss(batch.source, batch.target, **self.options)

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _state(self) -> tuple[Any, ...]:
        """What a captured graph depends on in addition to the shape: where the weights are, and autocast's type."""
        lower = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        return lower, *(parameter.data_ptr() for parameter in self._parameters())

    def _capture(self, key: Any, source: Source, target: Tokens, sizes: tuple[int, int, int]) -> Captured | None:
        parameters = self._parameters()
        self.shared.prepare(parameters)
        batch = copied(source, target, empty(source, target, sizes))
        cached = torch.is_autocast_cache_enabled()
        torch.clear_autocast_cache()
        torch.set_autocast_cache_enabled(False)  # a weight's copy of another graph, or of none, is not to be read
        try:
            self.graphs[key] = Captured(self._plain, batch, parameters, self.shared)
        except RuntimeError as error:
            self.failed = True
            log.warning("trainer.cuda_graphs: a batch cannot be captured, so all run as usual: %s", error)
        finally:
            torch.set_autocast_cache_enabled(cached)
        return self.graphs.get(key)


class Shared:
    """What all graphs of a model write into: buffers of the gradients, and one pool of memory. `replays` counts losses
    that were computed, so that none is differentiated when another has taken its place."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []
        self.pool: Any = None
        self.replays = 0

    def prepare(self, parameters: list[nn.Parameter]) -> None:
        """Make what is not there yet."""
        if len(self.gradients) != len(parameters):
            self.gradients = [torch.empty_like(parameter) for parameter in parameters]
        self.pool = self.pool or torch.cuda.graph_pool_handle()


class Captured:
    """The two graphs of one shape."""

    def __init__(
        self,
        function: Callable[[Batch], Tensor],
        batch: Batch,
        parameters: list[nn.Parameter],
        shared: Shared,
    ) -> None:
        self.batch = batch
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.forward, pool=shared.pool, capture_error_mode="thread_local"), torch.enable_grad():
            loss = function(batch)
        self.loss, self.seed = loss.detach(), torch.ones_like(loss)
        with torch.cuda.graph(self.backward, pool=shared.pool, capture_error_mode="thread_local"):
            found = torch.autograd.grad(loss, parameters, self.seed, allow_unused=True)
            known = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
            torch._foreach_copy_(shared.gradients, known)


class Replay(Function):
    """Replays the graph of the loss; backwards that of the gradients."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """(the graphs, what they share, *parameters) → the loss."""
        ctx.captured, ctx.shared = arguments[:2]
        ctx.captured.forward.replay()
        ctx.shared.replays += 1
        ctx.number = ctx.shared.replays
        loss: Tensor = ctx.captured.loss.clone()
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """The gradient of each parameter; who accumulates them copies the buffers."""
        if ctx.number != ctx.shared.replays:
            raise RuntimeError("trainer.cuda_graphs: another loss was computed before this one was differentiated")
        ctx.captured.seed.copy_(gradients[0])
        ctx.captured.backward.replay()
        return None, None, *(each.clone() for each in ctx.shared.gradients)


def empty(source: Source, target: Tokens, sizes: tuple[int, int, int]) -> Batch:
    """A batch of B sentences, S source and T target positions; its tokens are those of id 0, which any model has."""
    B, S, T = sizes
    values, lengths = source[0].new_zeros(B, S, *source[0].shape[2:]), source.lengths.new_ones(B)
    return Batch(type(source)(values, lengths), Tokens(target.ids.new_zeros(B, T), target.lengths.new_zeros(B)))


def copied(source: Source, target: Tokens, into: Batch) -> Batch:
    """Copy a batch into a larger one. What is beyond its tokens may be anything; sentences beyond its own have one
    token of source, so that nothing is divided by 0, and none of target, so that they count nothing."""
    for one, other in ((source[0], into.source[0]), (target.ids, into.target.ids)):
        other[: one.size(0), : one.size(1)].copy_(one)
    into.source.lengths.fill_(1)[: len(source.lengths)].copy_(source.lengths)
    into.target.lengths.zero_()[: len(target.lengths)].copy_(target.lengths)
    return into
