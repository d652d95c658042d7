"""What recurs in a decoder, and what it reads of a source; tuples of tensors, which a search reorders and selects."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.nn.cell_stack import States
from seq2seq.nn.contexts import Keys

Masks: TypeAlias = list[Tensor] | None
"""Masks of dropout that are held over time, see `CellStack.step`."""

Advanced: TypeAlias = tuple[States, Tensor, Tensor | None, Tensor | None]
"""What a step of all layers gives: their states, s_t, c_t and the attention weights."""

Unrolled: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None]
"""The s_t, c_t and attention weights of all steps, time second."""


class Alignment(NamedTuple):
    """What the last step knew of its alignment: `predictive` is log p(a_t = s | y_<t, x), and `emissions` are
    log p(v | a_t = s, y_<t, x) of each token v, from which the token that was read chooses."""

    predictive: Float[Tensor, "N S"]
    emissions: Float[Tensor, "N S V"]


class DecoderState(NamedTuple):
    """What recurs: each layer's state, the last features where they are fed back, how many tokens were read, and the
    coverage, the sum of the attention weights so far, where attention reads it (None before the first step); the
    sum over alignments where the context is one."""

    layers: States
    feed: Float[Tensor, "N F"] | None
    step: Int[Tensor, "N"]
    coverage: Float[Tensor, "N S"] | None = None
    alignment: Alignment | None = None


class Encoded(NamedTuple):
    """What decoding needs of a source, one row a sentence: the context's keys, and, where c is the same at every step,
    the contribution of c to the first layer's gates."""

    keys: Keys
    static_gates: Float[Tensor, "B G"] | None
