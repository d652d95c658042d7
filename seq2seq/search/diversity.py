"""Diverse beam search (Vijayakumar et al. 2016, arXiv:1610.02424): groups of a beam that avoid each other's tokens.

At every step the G groups choose one after the other, each the K/G best continuations of its own prefixes by

    log p − λ · how many prefixes of the groups before it have just chosen the same token

(the Hamming diversity, which the paper found best). λ decides what is chosen, and does not enter scores. The first
group is a beam search of width K/G. Each keeps hypotheses of its own; `hypotheses.one_of_each` chooses among them.
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
    """The columns that each group takes, group by group. Their columns are neighbours, unless all are `shared`.

    `choose` takes the columns of a group from its values, which are at a slice of the columns. A prefix gives its K
    best tokens here: the groups before it took K − K/G at most, so that its K/G best are among them.
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
