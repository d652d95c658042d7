"""What watchers of a search are told, against the definition of the search with a limit of as many steps."""

import math
from itertools import pairwise

import pytest
import torch

from seq2seq.search import SearchOptions, Sentences, beam, greedy, sample, search
from tests.tables import Table, options

LIMITS = [5, 1, 4, 2, 5, 3, 5, 5]


def watched(table: Table, searcher, chosen: SearchOptions, **given):
    """The results, and what is told of each sentence, one list a step."""
    told = {b: [] for b in range(len(LIMITS)) if b != 4}
    watchers = {b: told[b].append for b in told}
    found = table.run(searcher, LIMITS, chosen, told=Sentences(**given, watchers=watchers))
    return found, told


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (2, 1), (4, 3)])
def test_after_each_step_the_best_so_far_and_in_the_end_the_result(length_penalty, beam_size, n_best):
    changed = 0
    for seed, eos in ((0, -1.0), (1, 1.0), (2, 2.0)):
        table = Table(len(LIMITS), seed=seed, eos=eos)
        chosen = options(beam_size=beam_size, n_best=n_best, length_penalty=length_penalty)
        found, told = watched(table, beam if beam_size > 1 else search, chosen)
        assert found == table.run(search, LIMITS, chosen)
        for b, each in told.items():
            steps = [table.plain_beam(b, t, chosen) for t in range(1, LIMITS[b] + 1)]
            best = [max(step, key=lambda h: h.score).tokens for step in steps[:-1]] + [steps[-1][0].tokens]
            assert each == [*best[: len(each) - 1], found[b][0].tokens]
            assert each[-1] == best[len(each) - 1]
            changed += any(after[: len(before)] != before for before, after in pairwise(each))
    assert (changed > 0) is (beam_size > 1)  # a beam may find something else to be better


def test_prefixes_and_groups_are_told_of_too():
    table = Table(len(LIMITS), seed=3)
    _, told = watched(table, search, options(beam_size=1), prefixes=[(3,)] * len(LIMITS))
    assert {tuple(each[0]) for each in told.values()} == {(3,)}
    found, told = watched(table, search, options(beam_size=4, diversity_groups=2, n_best=2))
    assert all(each[-1] in [h.tokens for h in found[b]] for b, each in told.items())


def test_of_samples_the_first_is_told():
    table = Table(len(LIMITS), seed=3)
    found, told = watched(table, sample, options(sample=True, n_best=2, seed=4))
    for b, each in told.items():
        (first,) = table.run(sample, LIMITS, options(sample=True, seed=4))[b]
        assert each[: len(first.tokens)] == [first.tokens[: t + 1] for t in range(len(first.tokens))]
        assert first.tokens in [h.tokens for h in found[b]]


def test_nothing_is_told_where_nothing_is_possible():
    table = Table(len(LIMITS))
    table.table.fill_(-math.inf)
    for searcher, chosen in ((beam, options(beam_size=2)), (sample, options(sample=True))):
        assert not any(watched(table, searcher, chosen)[1].values())
    told = []
    table.run(lambda *given: greedy(*given, {0: told.append}), LIMITS, options(beam_size=1))
    assert told == []
    assert torch.isinf(table.table).all()
