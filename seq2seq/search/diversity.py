"""Diverse beam search (Vijayakumar et al. 2016, arXiv:1610.02424): the beam is split into groups that avoid each
other's tokens.

At every step the G groups choose in order, each the K/G best continuations of its own prefixes by

    log p − λ · (number of prefixes of earlier groups that have chosen the same token at this step)

(the Hamming diversity, the best of those in the paper). λ affects the choice only, not the scores. The first group is a
beam search of width K/G. Each group keeps its own hypotheses; `hypotheses.one_of_each` chooses among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Choose = Callable[[Float[Tensor, "B M"], slice], Int[Tensor, "B k"]]


def diverse_columns(
    totals: Float[Tensor, "B M"], ids: Int[Tensor, "B M"], groups: int, penalty: float, shared: bool, choose: Choose
) -> Int[Tensor, "B K"]:
    """The columns that each group chooses, group by group. Each group has its own adjacent columns, unless all columns
    are `shared`.

    `choose` chooses from the values of a group, which are at the given slice of the columns. K candidates a prefix are
    enough: the penalty applies to the tokens of earlier groups, at most K − K/G, so the K/G best are among them.
    """
    width = totals.size(1) if shared else totals.size(1) // groups
    chosen: list[Tensor] = []
    for group in range(groups):
        place = slice(0, width) if shared else slice(group * width, (group + 1) * width)
        values = totals[:, place]
        if chosen:
            before = torch.cat(chosen, dim=1)
            taken = ids.gather(1, before).masked_fill(totals.gather(1, before) == -math.inf, -1)
            values = values - penalty * (ids[:, place, None] == taken[:, None]).sum(2)
        chosen.append(choose(values, place) + place.start)
    return torch.cat(chosen, dim=1)
