"""Search for the best target sequences over a step function; knows no network.

`greedy` takes the best token at every step, `beam` keeps the best K prefixes, `search` picks by `options.beam_size`.
"""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from seq2seq.search.base import Memory, Search, State, StepFn
from seq2seq.search.beam import beam
from seq2seq.search.greedy import greedy
from seq2seq.search.hypotheses import Hypothesis
from seq2seq.search.options import SearchOptions

__all__ = ["Hypothesis", "Search", "SearchOptions", "StepFn", "beam", "greedy", "search"]


def search(
    step: StepFn[State, Memory],
    state: State,
    memory: Memory,
    limits: Int[Tensor, "B"],
    options: SearchOptions,
) -> list[list[Hypothesis]]:
    """Greedy search for a `beam_size` of 1 (a beam of 1 finds the same, slower), else beam search. See `Search`."""
    chosen: Search = greedy if options.beam_size == 1 else beam
    return chosen(step, state, memory, limits, options)
