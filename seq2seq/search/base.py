"""The interface of a search: the step function, the sentences' constraints, and the `Search` protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.search.hypotheses import Hypothesis
from seq2seq.search.options import SearchOptions
from seq2seq.search.watching import Watcher

State = TypeVar("State")
Memory = TypeVar("Memory")

# One time step of a decoder: (last tokens, state, memory) → log-probabilities of the next token, the next state, and
# attention weights or None. N = B·K: the K prefixes of a sentence are adjacent rows, and K is N // B (1 at the first
# step). State and memory are tensors in nested tuples. The first dimension of state tensors is N. That of memory
# tensors is B, one row a sentence: they are never repeated, and the rows of sentences that leave the batch are dropped.
# Log-probabilities are at most 0; the search modifies none of its arguments in place.
StepFn: TypeAlias = Callable[
    [Int[Tensor, "N"], State, Memory], tuple[Float[Tensor, "N V"], State, Float[Tensor, "N S"] | None]
]


class Sentences(NamedTuple):
    """Constraints and other data of each of the B sentences; None where there are none.

    `prefixes` are the tokens that the output begins with. `constraints` are phrases of one token or more that the
    output contains, as often as they are listed. `numbers` determine, together with the seed, the random numbers of
    sampling (default: the positions in the batch). `reserved` are tokens that an output holds as often as they are
    constraints of its sentence, and not once more. `mask` is True where the attention weights belong to a position of
    the source (default: everywhere); the coverage penalty needs it. `watchers` are called after each step with the
    tokens of the best hypothesis so far of the sentence at a position in the batch.
    """

    prefixes: Sequence[Sequence[int]] | None = None
    constraints: Sequence[Sequence[Sequence[int]]] | None = None
    numbers: Sequence[int] | None = None
    mask: Bool[Tensor, "B S"] | None = None
    reserved: Sequence[int] | None = None
    watchers: Mapping[int, Watcher] | None = None


NOTHING = Sentences()


class Search(Protocol):
    """Finds hypotheses for each of B sentences: finished ones first, then unfinished ones, each by descending score.

    The arguments of a call:
        step: one time step of a decoder.
        state: the decoder's first state, one row a sentence.
        memory: the encoded source for the step function, one row a sentence.
        limits: the most steps of each sentence, eos included (see SearchOptions.limits); a ValueError is raised for
            one below 1, or below what its prefix and constraints need.
        options: settings of the search.
        sentences: prefixes, constraints and the like of each sentence.
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
        """A list of hypotheses for each sentence, independent of the other sentences in the batch."""
        ...
