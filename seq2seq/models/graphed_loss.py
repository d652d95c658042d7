"""The loss of an encoder-decoder and its gradients as CUDA graphs: on a GPU a recurrent step consists of small kernels,
and launching one takes longer than running it; a graph launches all of a batch's at once.

A graph is of one shape, so batches are padded to a few: each size is rounded up to eighths of a power of two
(`bucket`). The first batch of a shape runs without a graph, the second is captured, and from then on all are replayed.
What is captured are two graphs, of the loss and of its gradients, which read the weights where they are, and write the
gradients into one set of buffers. Memory is that of the largest shape, for all graphs share it: what one leaves there
lasts until the next is replayed.

Loss and gradients are those of the plain path (to rounding: sums are over more rows, of zeros). Dropout is drawn for
the padded shape, so with the same seed other features are dropped; with a graph the same as without.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import Function

from seq2seq.models.encoder_decoder import EncoderDecoder
from seq2seq.nn.types import Features, Tokens

log = logging.getLogger(__name__)
MOST = 256
"""Graphs that are kept; batches of further shapes run without one."""

ATTEMPTS = 3
"""Captures that may fail before no more are tried."""

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
        self.failures = 0

    def __call__(self, source: Source, target: Tokens) -> Tensor:
        """The loss of a batch."""
        sizes = bucket(len(target.ids)), bucket(source[0].size(1)), bucket(target.ids.size(1))
        known = self._graph(source, target, sizes) if target.ids.device.type == "cuda" else None
        if known is None:
            padded = copied(source, target, empty(source, target, sizes))
            return self.model.loss(padded.source, padded.target, **self.options)
        copied(source, target, known.batch)
        loss: Tensor = Replay.apply(known, self.shared, *self._parameters())  # type: ignore[no-untyped-call]
        return loss

    def _graph(self, source: Source, target: Tokens, sizes: tuple[int, int, int]) -> Captured | None:
        """The graph of a shape, captured now if this is the second batch of it."""
        key = (*sizes, self.model.training, *self._state())
        if key not in self.graphs and key in self.seen and len(self.graphs) < MOST and self.failures < ATTEMPTS:
            self._capture(key, copied(source, target, empty(source, target, sizes)))
        self.seen.add(key)
        return self.graphs.get(key)

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _state(self) -> tuple[Any, ...]:
        """What a captured graph depends on in addition to the shape: where the weights are, and autocast's type."""
        lower = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        return lower, *(parameter.data_ptr() for parameter in self._parameters())

    def _capture(self, key: Any, batch: Batch) -> None:
        self.shared.prepare(self._parameters())
        cached = torch.is_autocast_cache_enabled()
        torch.clear_autocast_cache()
        torch.set_autocast_cache_enabled(False)  # a weight's copy of another graph, or of none, is not to be read
        try:
            self.graphs[key] = Captured(Loss(self), batch, self.shared)
        except RuntimeError as error:
            self.failures += 1
            log.warning("trainer.cuda_graphs: a batch could not be captured, and runs without a graph: %s", error)
        finally:
            torch.set_autocast_cache_enabled(cached)


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


class Loss(nn.Module):
    """The loss of a batch as a function of other tensors than the parameters: of aliases, which share their memory.

    Autograd keeps with each parameter the stream that it was first used on, as long as any graph of it lives; in a
    capture that would be another than the captured one.
    """

    def __init__(self, owner: GraphedLoss) -> None:
        super().__init__()
        self.model, self.options = owner.model, owner.options

    def forward(self, batch: Batch) -> Tensor:
        """The loss with the parameters as they are."""
        return self.model.loss(batch.source, batch.target, **self.options)

    def of_aliases(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """The loss, and what it is a function of."""
        trained = [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad]
        aliases = {name: parameter.detach().requires_grad_() for name, parameter in trained}
        loss: Tensor = torch.func.functional_call(self, aliases, (batch,))
        return loss, list(aliases.values())


class Captured:
    """The two graphs of one shape."""

    def __init__(self, function: Loss, batch: Batch, shared: Shared) -> None:
        self.batch = batch
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.enable_grad():
            self._warm(function)
            with torch.cuda.graph(self.forward, pool=shared.pool, capture_error_mode="thread_local"):
                loss, aliases = function.of_aliases(batch)
        self.loss, self.seed = loss.detach(), torch.ones_like(loss)
        with torch.cuda.graph(self.backward, pool=shared.pool, capture_error_mode="thread_local"):
            torch._foreach_copy_(shared.gradients, gradients(loss, aliases, self.seed))

    def _warm(self, function: Loss) -> None:
        """Run once on another stream: what libraries load and make at their first call must not be captured. The
        generators stay as they are, so that dropout does not depend on when a graph is captured."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.random.fork_rng([torch.cuda.current_device()]):
            loss, aliases = function.of_aliases(self.batch)
            gradients(loss, aliases, torch.ones_like(loss))
        torch.cuda.current_stream().wait_stream(stream)


def gradients(loss: Tensor, aliases: list[Tensor], seed: Tensor) -> list[Tensor]:
    """The gradient of each, 0 where the loss does not depend on it."""
    known = torch.autograd.grad(loss, aliases, seed, allow_unused=True)
    return [torch.zeros_like(alias) if each is None else each for alias, each in zip(aliases, known, strict=True)]


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
    empty_source = type(source)(values, lengths)
    if isinstance(source, Tokens) and source.factors is not None:
        empty_source = Tokens(values, lengths, values.new_zeros(B, S, source.factors.size(2)))
    return Batch(empty_source, Tokens(target.ids.new_zeros(B, T), target.lengths.new_zeros(B)))


def copied(source: Source, target: Tokens, into: Batch) -> Batch:
    """Copy a batch into a larger one. What is beyond its tokens may be anything; sentences beyond its own have one
    token of source, so that nothing is divided by 0, and none of target, so that they count nothing."""
    sides = [(source[0], into.source[0]), (target.ids, into.target.ids)]
    if isinstance(source, Tokens) and isinstance(into.source, Tokens) and source.factors is not None:
        assert into.source.factors is not None
        sides.append((source.factors, into.source.factors))
    for one, other in sides:
        other[: one.size(0), : one.size(1)].copy_(one)
    into.source.lengths.fill_(1)[: len(source.lengths)].copy_(source.lengths)
    into.target.lengths.zero_()[: len(target.lengths)].copy_(target.lengths)
    return into
