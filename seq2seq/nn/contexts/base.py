"""The base class of contexts: the rule that gives the decoder its vector c_t at every step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seq2seq.nn.contexts.attention_gradients import ContextSteps
from seq2seq.nn.types import Memory


class Keys(NamedTuple):
    """What a context makes of a memory once a sentence; returned, never stored in the module.

    `values` [B, S, C] are averaged into c_t, `keys` [B, S, A] are compared with the query; where no query counts, there
    are none. A fixed context holds its c as the only value. `more` are those of a source's further inputs, `ids` the
    source's tokens, where the head copies them. For a lexical head the source words' vectors follow in `values` (see
    `Decoder.prepare`), averaged by the same weights.
    """

    values: Float[Tensor, "B S C"]
    keys: Float[Tensor, "B S A"] | None
    mask: Bool[Tensor, "B S"]
    more: tuple[Keys, ...] = ()
    ids: Int[Tensor, "B S"] | None = None

    def with_words(self, memory: Memory) -> Keys:
        """The same with the source words' vectors after the values."""
        assert memory.words is not None
        return self._replace(values=torch.cat([self.values, memory.words], -1))


class Context(nn.Module, ABC):
    """Made with `memory_size` (D) and `query_size` (H of the decoder); `size` is C.

    `attends` tells whether c_t depends on the query: where it does not, all c_t are known before the first step.
    `constant` tells whether c is the same at every step: where it is, it enters the gates once a sentence.
    `uses_position` tells whether c_t depends on the step t itself. `covers` tells whether it depends on what the steps
    before attended to, the coverage Σ_{t'<t} α_t' (See, Liu & Manning 2017, eq. 10).
    `marginal` tells whether there is no c_t but a sum over alignments, as of `MonotonicContext`.
    """

    attends = True
    constant = False
    uses_position = False
    covers = False
    marginal = False
    size: int

    @abstractmethod
    def prepare(self, memory: Memory) -> Keys:
        """What can be computed once a sentence."""

    @abstractmethod
    def forward(
        self, queries: Float[Tensor, "B Q H"] | None, keys: Keys, steps: Int[Tensor, "B Q"]
    ) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"] | None]:
        """c and attention weights for Q queries a sentence: all target steps at once, or one step of a whole beam.
        `steps` are the queries' positions in the target, from 0. Where no query counts they may be None. A context that
        `covers` takes the coverage [B, Q, S] until a step as a fourth argument, None at first."""

    def steps(self) -> ContextSteps | None:
        """The derivatives of single steps, which use the two weights below; None where the context has none."""
        return None

    def query_weight(self) -> Tensor | None:
        """The matrix [A, H] that turns a state into what `steps` compares with the keys; None for the state itself."""
        return None

    def energy_weight(self) -> Tensor | None:
        """The vector [A] that turns a comparison into an energy, where there is one."""
        return None


class Attention(Context):
    """c_t = Σ_s α_{t,s} h_s, where α_t is the softmax of the `energies` of a query and the keys, `key`(h_s)."""

    key: nn.Module

    @abstractmethod
    def energies(self, queries: Float[Tensor, "B Q H"], keys: Float[Tensor, "B S A"]) -> Float[Tensor, "B Q S"]:
        """How well each query fits each key."""

    def prepare(self, memory: Memory) -> Keys:
        """The keys, once a sentence."""
        return Keys(memory.outputs, self.key(memory.outputs), memory.mask)

    def forward(
        self, queries: Float[Tensor, "B Q H"] | None, keys: Keys, steps: Int[Tensor, "B Q"]
    ) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"]]:
        """c_t and α_t of each query, from real source positions."""
        assert queries is not None
        assert keys.keys is not None
        return average(self.energies(queries, keys.keys), keys)


def average(energies: Float[Tensor, "B Q S"], keys: Keys) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"]]:
    """α = softmax of the energies over real source positions; c = Σ_s α_s value_s."""
    lowest = torch.finfo(energies.dtype).min
    weights = energies.masked_fill(~keys.mask[:, None], lowest).softmax(-1)
    return weights @ keys.values, weights
