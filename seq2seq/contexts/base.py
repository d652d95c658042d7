"""What every context is: the rule that gives the decoder its vector c_t at every step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.structures import Memory


class Keys(NamedTuple):
    """What a context makes of a memory once a sentence; returned, never stored in the module.

    `values` [B, S, C] are averaged into c_t, `keys` [B, S, A] are compared with the query; a fixed context holds its c
    as the only value, without keys.
    """

    values: Float[Tensor, "B S C"]
    keys: Float[Tensor, "B S A"]
    mask: Bool[Tensor, "B S"]


class Context(nn.Module, ABC):
    """Made with `memory_size` (D) and `query_size` (H of the decoder); `size` is C. `attends` tells whether c_t depends
    on the query: where it does not, c enters the gates once a sentence."""

    attends = True
    size: int

    @abstractmethod
    def prepare(self, memory: Memory) -> Keys:
        """What can be computed once a sentence."""

    @abstractmethod
    def forward(
        self, queries: Float[Tensor, "B Q H"], keys: Keys
    ) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"] | None]:
        """c and attention weights for Q queries a sentence: all target steps at once, or one step of a whole beam."""


def average(energies: Float[Tensor, "B Q S"], keys: Keys) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"]]:
    """α = softmax of the energies over real source positions; c = Σ_s α_s value_s."""
    lowest = torch.finfo(energies.dtype).min
    weights = energies.masked_fill(~keys.mask[:, None], lowest).softmax(-1)
    return weights @ keys.values, weights
