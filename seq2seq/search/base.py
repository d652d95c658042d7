"""What every search is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from jaxtyping import Bool, Float, Int
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


class Sentences(NamedTuple):
    """What is known of each of the B sentences in addition to its limit; None where there is nothing to say.

    `prefixes` are the tokens that the output begins with. `constraints` are phrases, each of one token or more, that
    the output holds; one that is listed twice, it holds twice. `numbers` decide the draws of sampling, with the seed
    (default: the places in the batch). `mask` is True where the attention weights belong to a position of the source
    (default: everywhere); the coverage penalty asks for it.
    """

    prefixes: Sequence[Sequence[int]] | None = None
    constraints: Sequence[Sequence[Sequence[int]]] | None = None
    numbers: Sequence[int] | None = None
    mask: Bool[Tensor, "B S"] | None = None


NOTHING = Sentences()


class Search(Protocol):
    """Finds hypotheses for each of B sentences: finished ones first, each kind by descending score.

    The arguments of a call:
        step: one time step of a decoder.
        state: the decoder's first state, one row a sentence.
        memory: what the step function needs of the source, one row a sentence.
        limits: the most steps of each sentence, eos included (see SearchOptions.limits); a ValueError is raised for
            one below 1, or below what its prefix and constraints need.
        options: what to search for.
        sentences: what the outputs begin with and hold, and the like.
    """

    def __call__(
        self,
        step: StepFn[State, Memory],
        state: State,
        memory: Memory,
        limits: Int[Tensor, "B"],
        options: SearchOptions,
        sentences: Sentences = NOTHING,
    ) -> list[list[Hypothesis]]:
        """A list of hypotheses for each sentence, whatever other sentences are in the batch."""
        ...
