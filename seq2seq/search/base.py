"""What every search is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.search.hypotheses import Hypothesis
from seq2seq.search.options import SearchOptions

State = TypeVar("State")
Memory = TypeVar("Memory")

# One time step of a decoder: (last tokens, state, memory) → log-probabilities of the next token, the next state, and
# attention weights or None. N = B·K: the K prefixes of a sentence are neighbours, and K is N // B (it grows from 1, at
# the first step). State and memory are tensors in nested tuples. State tensors lead with N. Memory tensors lead with
# B, one row a sentence: they are never repeated, and lose the rows of sentences that leave the batch. Log-probabilities
# are at most 0; the search writes to nothing that it is given.
StepFn: TypeAlias = Callable[
    [Int[Tensor, "N"], State, Memory], tuple[Float[Tensor, "N V"], State, Float[Tensor, "N S"] | None]
]


class Search(Protocol):
    """Finds hypotheses for each of B sentences: finished ones first, each kind by descending score.

    The arguments of a call:
        step: one time step of a decoder.
        state: the decoder's first state, one row a sentence.
        memory: what the step function needs of the source, one row a sentence.
        limits: the most steps of each sentence, eos included (see SearchOptions.limits); a ValueError is raised for
            one below 1.
        options: what to search for.
    """

    def __call__(
        self,
        step: StepFn[State, Memory],
        state: State,
        memory: Memory,
        limits: Int[Tensor, "B"],
        options: SearchOptions,
    ) -> list[list[Hypothesis]]:
        """A list of hypotheses for each sentence, whatever other sentences are in the batch."""
        ...
