"""Search for the best target sequences over a step function, independent of any network.

`greedy` takes the best token at every step, `beam` keeps the best K prefixes, `sample` samples; `search` chooses one of
them by the options and the constraints of the sentences.
"""

from __future__ import annotations

from seq2seq.search.base import Search, Sentences, StepFn
from seq2seq.search.beam import beam
from seq2seq.search.constraints import steps_needed
from seq2seq.search.greedy import greedy, search
from seq2seq.search.hypotheses import Hypothesis
from seq2seq.search.options import SearchOptions, check_sampling
from seq2seq.search.sampling import sample, truncated
from seq2seq.search.watching import Watcher

__all__ = [
    "Hypothesis",
    "Search",
    "SearchOptions",
    "Sentences",
    "StepFn",
    "Watcher",
    "beam",
    "check_sampling",
    "greedy",
    "sample",
    "search",
    "steps_needed",
    "truncated",
]
