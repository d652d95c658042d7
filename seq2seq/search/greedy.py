"""Greedy search, the best token at every step; and the choice between it, beam search and sampling."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from seq2seq.search.base import NOTHING, Memory, Sentences, State, StepFn
from seq2seq.search.beam import beam
from seq2seq.search.hypotheses import Hypothesis, Step, best_tokens, select_rows, to_hypotheses, trace_back
from seq2seq.search.options import SearchOptions, steps_allowed
from seq2seq.search.sampling import sample
from seq2seq.search.watching import Watcher, Watching


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
    return greedy(step, state, memory, limits, options, sentences.watchers)


@torch.no_grad()
def greedy(
    step: StepFn[State, Memory],
    state: State,
    memory: Memory,
    limits: Int[Tensor, "B"],
    options: SearchOptions,
    watchers: Mapping[int, Watcher] | None = None,
) -> list[list[Hypothesis]]:
    """One hypothesis for each sentence; of equal tokens, the smaller id wins. The arguments are those of `Search`;
    prefixes, constraints and n-gram blocking are not supported; `watchers` are those of `Sentences`.

    A sentence leaves the batch after eos, at its limit, or where no token is possible.
    """
    longest = max(steps_allowed(limits), default=0)
    sentences = torch.arange(len(limits), device=limits.device)
    last = torch.full_like(sentences, -1)
    ids = torch.full_like(sentences, options.bos)
    history: list[Step] = []
    watching = Watching(watchers, 1, options.eos) if watchers else None
    for t in range(longest):
        all_log_probs, state, weights = step(ids, state, memory)
        values, candidates = best_tokens(all_log_probs, 1, options.banned(t))
        log_probs, columns = values.max(dim=1, keepdim=True)
        tokens = candidates.gather(1, columns)
        attention = weights[:, None] if options.return_attention and weights is not None else None
        history.append(Step(sentences, tokens, torch.zeros_like(tokens), log_probs, attention))
        ids, possible = tokens[:, 0], log_probs[:, 0] > -math.inf
        last.index_copy_(0, sentences, torch.where(possible, t, -1))
        if watching:
            watching(history[-1], last[sentences])
        kept = (possible & (ids != options.eos) & (limits > t + 1)).nonzero()[:, 0]
        if len(kept) == 0:
            break
        if len(kept) < len(ids):
            ids, sentences, limits, state, memory = select_rows((ids, sentences, limits, state, memory), kept)
    return to_hypotheses(trace_back(history, last[:, None], torch.zeros_like(last)[:, None]), options)
