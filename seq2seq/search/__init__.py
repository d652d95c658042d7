"""Search for the best target sequences over a step function, independent of any network.

`greedy` takes the best token at every step, `beam` keeps the best K prefixes, `sample` samples; `search` chooses one of
them by the options and the constraints of the sentences.
"""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from seq2seq.search.base import NOTHING, Memory, Search, Sentences, State, StepFn
from seq2seq.search.beam import beam
from seq2seq.search.constraints import steps_needed
from seq2seq.search.greedy import greedy
from seq2seq.search.hypotheses import Hypothesis
from seq2seq.search.options import SearchOptions, check_sampling
from seq2seq.search.sampling import sample, truncated

__all__ = [
    "Hypothesis",
    "Search",
    "SearchOptions",
    "Sentences",
    "StepFn",
    "beam",
    "check_sampling",
    "greedy",
    "sample",
    "search",
    "steps_needed",
    "truncated",
]


def search(
    step: StepFn[State, Memory],
    state: State,
    memory: Memory,
    limits: Int[Tensor, "B"],
    options: SearchOptions,
    sentences: Sentences = NOTHING,
) -> list[list[Hypothesis]]:
    """Sample with `options.sample`, else search: greedily for a `beam_size` of 1, else by beam search. The arguments
    are those of `Search`.

    A beam of 1 gives the result of greedy search, slower, but supports n-gram blocking, the coverage penalty, prefixes,
    constraints and reserved tokens, which greedy search does not; so it is used where one of them is set.
    """
    if options.sample:
        return sample(step, state, memory, limits, options, sentences)
    has_rules = options.no_repeat_ngram or options.coverage_penalty or any(sentences[:2]) or sentences.reserved
    if options.beam_size > 1 or has_rules:
        return beam(step, state, memory, limits, options, sentences)
    return greedy(step, state, memory, limits, options)
