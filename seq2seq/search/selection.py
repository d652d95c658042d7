"""Fast selection of the largest values of each row, deterministic on every device: of equal values, the smaller column
wins."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.nn.types import Structure, map_tensors

BLOCK = 64


def select_rows(structure: Structure, rows: Int[Tensor, "M"]) -> Structure:
    """Select rows of every tensor of a nested structure, in the order of `rows`."""
    return map_tensors(lambda tensor: tensor.index_select(0, rows), structure)


def best_columns(values: Float[Tensor, "N V"], size: int) -> Int[Tensor, "N k"]:
    """The columns of the `size` largest values of each row (all if there are fewer), largest first.

    `topk` does not define which of two equal values it takes. So it gets unique 64-bit keys: the upper half is the
    float32's bits, mapped to an integer of the same order; the lower half is the column, negated.
    """
    bits = values.float().view(torch.int32)
    ordered = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)  # a more negative float has larger bits
    columns = torch.arange(values.size(1), device=values.device)
    keys = torch.add(-columns, ordered, alpha=1 << 32)
    return keys.topk(min(size, values.size(1)), dim=1).indices


def balanced_columns(values: Float[Tensor, "N M"], banks: Int[Tensor, "N M"], size: int) -> Int[Tensor, "N k"]:
    """The columns of `size` values of each row, chosen from the banks in turn: the largest of each bank (the smallest
    bank first), then the second largest of each, and so on; −∞ last. With one bank this is `best_columns`."""
    order = best_columns(values, values.size(1))
    banks, by_bank = banks.gather(1, order).sort(dim=1, stable=True)
    order = order.gather(1, by_bank)
    places = torch.arange(values.size(1), device=values.device).expand_as(order)
    begins = torch.cat((torch.ones_like(banks[:, :1], dtype=torch.bool), banks[:, 1:] != banks[:, :-1]), dim=1)
    rounds = places - places.masked_fill(~begins, 0).cummax(dim=1).values
    rounds = rounds.masked_fill(values.gather(1, order) == -math.inf, values.size(1))
    turns = (rounds * (banks.amax() + 1) + banks).sort(dim=1, stable=True).indices
    return order.gather(1, turns[:, :size])


def best_tokens(
    log_probs: Float[Tensor, "N V"], size: int, banned: tuple[int, ...]
) -> tuple[Float[Tensor, "N k"], Int[Tensor, "N k"]]:
    """Log-probabilities (float32) and ids of at least the `size` best tokens of each row that are not banned.

    size + len(banned) tokens are returned; banned ones and NaN have −∞. So no masked copy of the N·V log-probabilities
    is needed.
    """
    candidates = _candidates(log_probs, size + len(banned))
    values = log_probs if candidates is None else log_probs.gather(1, candidates)
    columns = best_columns(values, size + len(banned))
    values = values.gather(1, columns).float()
    ids = columns if candidates is None else candidates.gather(1, columns)
    allowed = values > -math.inf
    for token in banned:
        allowed &= ids != token
    return values.masked_fill(~allowed, -math.inf), ids


def _candidates(log_probs: Float[Tensor, "N V"], size: int) -> Int[Tensor, "N C"] | None:
    """Ascending columns that include those of the `size` largest values of each row; None means all columns.

    A value among the `size` largest is in one of the `size` blocks with the largest maxima, for outside of them, at
    least `size` values are larger. So it takes one pass over V, and then only `size` blocks are sorted.
    """
    vocabulary = log_probs.size(1)
    blocks = vocabulary // BLOCK
    if 2 * size > blocks:
        return None
    covered = blocks * BLOCK
    maxima = log_probs[:, :covered].view(-1, blocks, BLOCK).amax(2)
    chosen = best_columns(maxima, size).sort(dim=1).values
    offsets = torch.arange(BLOCK, device=log_probs.device)
    inside = (chosen[:, :, None] * BLOCK + offsets).flatten(1)
    rest = torch.arange(covered, vocabulary, device=log_probs.device).expand(log_probs.size(0), -1)
    return torch.cat((inside, rest), dim=1)
