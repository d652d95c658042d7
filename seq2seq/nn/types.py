"""The types that parts exchange: tuples of tensors with named fields, and the function that maps over them.

Dimension letters, here and everywhere: B batch, S source time, T target time, E embedding, H hidden, C context,
D memory, V vocabulary, L layers, K beam, N = B·K, F features, G gates (all of a cell's gates, concatenated).
Masks are True where there is a token (or frame). Every state tensor leads with the batch dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Structure = TypeVar("Structure")


class Tokens(NamedTuple):
    """A batch of token sequences, padded at the end; of a source with factors, the ids of each token's."""

    ids: Int[Tensor, "B T"]
    lengths: Int[Tensor, "B"]
    factors: Int[Tensor, "B T _"] | None = None

    @property
    def mask(self) -> Bool[Tensor, "B T"]:
        """True where there is a token."""
        return mask_from_lengths(self.lengths, self.ids.size(1))


class Features(NamedTuple):
    """A batch of float sequences (frames, image regions), padded at the end."""

    values: Float[Tensor, "B T F"]
    lengths: Int[Tensor, "B"]

    @property
    def mask(self) -> Bool[Tensor, "B T"]:
        """True where there is a frame."""
        return mask_from_lengths(self.lengths, self.values.size(1))


class Pairs(NamedTuple):
    """A batch of sentence pairs. `target` holds no bos and ends with eos; `source` ends with eos; `rows` are the pairs'
    positions in their corpus, so that raw references are found again."""

    source: Tokens
    target: Tokens
    rows: Int[Tensor, "B"]


class Window(NamedTuple):
    """The next tokens of B parallel streams: `targets[:, t]` is what follows `inputs[:, t]`. The streams `begin` here,
    or continue where the window before ended."""

    inputs: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    begin: bool


class Captions(NamedTuple):
    """A batch of float sequences with their texts: `Pairs` whose source is `Features`."""

    source: Features
    target: Tokens
    rows: Int[Tensor, "B"]


class HiddenState(NamedTuple):
    """The state of a cell that remembers its output only."""

    h: Float[Tensor, "B H"]


class LSTMState(NamedTuple):
    """The state of an LSTM: output and cell content."""

    h: Float[Tensor, "B H"]
    c: Float[Tensor, "B H"]


CellState = HiddenState | LSTMState


class StateShape(NamedTuple):
    """The type and size of one layer's state, from which a bridge makes states."""

    kind: type[HiddenState] | type[LSTMState]
    size: int

    def zeros(self, batch_size: int, like: Tensor) -> CellState:
        """The zero state, of the type and on the device of `like`."""
        return self.kind(*(like.new_zeros(batch_size, self.size) for _ in self.kind._fields))


class Memory(NamedTuple):
    """What an encoder returns: one vector a position, a summary, and each layer's final state. Where a source has
    several inputs, `more` are the memories of those after the first; `ids` are the tokens, where the head copies them,
    and `words` the vectors that were read, where a head asks for them."""

    outputs: Float[Tensor, "B S D"]
    mask: Bool[Tensor, "B S"]
    summary: Float[Tensor, "B D"]
    final: tuple[CellState, ...]
    more: tuple[Memory, ...] = ()
    ids: Int[Tensor, "B S"] | None = None
    words: Float[Tensor, "B S E"] | None = None


class DeduplicatedEmbedding(NamedTuple):
    """Vectors [B, T, E] as rows of a table of the distinct ones among them: what is linear in a vector, such as its
    share of the gates, is then computed once for each of those."""

    table: Float[Tensor, "U E"]
    rows: Int[Tensor, "B T"]

    def dense(self) -> Float[Tensor, "B T E"]:
        """Look up the vectors of all positions."""
        return torch.nn.functional.embedding(self.rows, self.table)


Vectors = Tensor | DeduplicatedEmbedding
"""Vectors [B, T, E], as they are or as rows of a table."""


class Inputs(NamedTuple):
    """What feeds a cell, in parts that add up in its gates: one vector a step, and one vector a sentence (c)."""

    steps: Float[Tensor, "B T E"] | DeduplicatedEmbedding
    static: Float[Tensor, "B C"] | None = None


def mask_from_lengths(lengths: Int[Tensor, "B"], size: int) -> Bool[Tensor, "B T"]:
    """True at the first `lengths[b]` of `size` positions; makes no host synchronisation."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


IGNORED = -100
"""The target that `torch.nn.functional.cross_entropy` leaves out unless it is told otherwise."""


def flatten_unpadded(values: Float[Tensor, "B T *F"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "M *F"]:
    """The rows of real tokens, sentence by sentence. On other devices than a CPU all rows, for the host would have to
    wait for the device to know their number, and batches of like lengths hold few pads."""
    return values[mask] if mask.device.type == "cpu" else values.flatten(0, 1)


def unpadded_ids(tokens: Tokens) -> Int[Tensor, "M"]:
    """The ids that belong to the rows of `flatten_unpadded`; `IGNORED` where such a row is a pad."""
    if tokens.ids.device.type == "cpu":
        return tokens.ids[tokens.mask]
    return tokens.ids.masked_fill(~tokens.mask, IGNORED).flatten()


def dense(vectors: Float[Tensor, "B T E"] | DeduplicatedEmbedding) -> Float[Tensor, "B T E"]:
    """Return vectors of all positions, looked up if they are rows of a table."""
    return vectors.dense() if isinstance(vectors, DeduplicatedEmbedding) else vectors


def map_tensors(function: Callable[[Tensor], Tensor], structure: Structure) -> Structure:
    """Apply `function` to every tensor of nested (named) tuples: the one way to reorder, move or detach a state."""
    return _map(function, structure)  # type: ignore[no-any-return]


def twice(structure: Structure) -> Structure:
    """A batch of double size: all sequences (or states), then all of them again."""
    return map_tensors(lambda tensor: torch.cat([tensor, tensor]), structure)


def _map(function: Callable[[Tensor], Tensor], item: Any) -> Any:
    if isinstance(item, Tensor):
        return function(item)
    if isinstance(item, tuple):
        parts = [_map(function, part) for part in item]
        return type(item)(*parts) if hasattr(item, "_fields") else tuple(parts)
    return item
