"""Hypotheses that are drawn: from the model's distribution, by seed, number of the sentence, draw and step alone."""

import math
from collections import Counter

import pytest
import torch

from seq2seq.search import Sentences, sample, search, truncated
from seq2seq.search.sampling import Race
from tests.tables import EOS, REAL, Table, V, assert_same, options

P = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15], dtype=torch.double)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"top_p": 0.7}, [1, 3]),  # 0.4 + 0.3 are the mass, no more is needed
        ({"top_p": 0.71}, [1, 3, 4]),
        ({"top_p": 0.01}, [1]),
        ({"top_k": 3}, [1, 3, 4]),
        ({"top_k": 9}, [0, 1, 2, 3, 4]),
        ({"top_k": 4, "top_p": 0.8}, [1, 3, 4]),
    ],
)
def test_what_top_p_and_top_k_leave(given, kept):
    found = truncated(P.log()[None] + 3, **{"temperature": 1.0, "top_k": None, "top_p": 1.0} | given)[0]
    expected = torch.zeros(5, dtype=torch.double)
    expected[kept] = P[kept] / P[kept].sum()
    torch.testing.assert_close(found, expected)


def test_temperature_is_a_power():
    torch.testing.assert_close(truncated(P.log()[None], 0.5, None, 1.0)[0], P**2 / (P**2).sum())
    assert truncated(P.log()[None], 1e-300, None, 1.0)[0].tolist() == [0, 1, 0, 0, 0]
    never = torch.tensor([-math.inf, 0.0, 0.0])
    assert truncated(never[None], 9, None, 1.0)[0].tolist() == [0, 0.5, 0.5]


def test_a_race_is_won_as_often_as_the_probabilities_say():
    p = torch.stack((P, torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0]).double()))
    wins = Race(7, [4, 9], 20000)(p, torch.tensor([0, 1]))
    for row, won in zip(p, wins, strict=True):
        share = torch.bincount(won, minlength=5) / 20000
        assert float((share - row).abs().max()) < 4 * math.sqrt(0.25 / 20000)
        assert set(won.tolist()) == set(row.nonzero()[:, 0].tolist())


def test_a_race_depends_on_seed_number_draw_and_step_alone():
    rows, flat = torch.arange(40), torch.full((40, 30), 1 / 30).double()
    race, part, other = Race(7, range(40), 6), Race(7, [3, 39], 2), Race(8, range(40), 6)
    for _ in range(3):
        many = race(flat, rows)
        assert torch.equal(part(flat[:2], rows[:2]), many[[3, 39], :2])
        assert not torch.equal(other(flat, rows), many)
        assert len({tuple(draws) for draws in many.tolist()}) == 40


def test_a_rounding_of_the_probabilities_hardly_ever_changes_the_winner():
    """10⁴ draws from 2,000 tokens, all moved by 10⁻⁶: borders between shares of [0, 1) would move past some ten."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2000, generator=generator).double()
    moved = logits + 1e-6 * torch.randn(1, 2000, generator=generator)
    one, other = (Race(0, [0], 5000) for _ in range(2))
    changed = 0
    for _ in range(2):
        changed += int(
            (one(logits.softmax(1), P.new_zeros(1).long()) != other(moved.softmax(1), P.new_zeros(1).long())).sum()
        )
    assert changed <= 1


DRAWS = 3000
WAYS = [
    {},
    {"temperature": 0.5},
    {"top_k": 2},
    {"top_p": 0.6},
    {"top_k": 3, "top_p": 0.9, "temperature": 2.0},
    {"min_length": 2, "no_repeat_ngram": 1},
]


def probability(table: Table, tokens: list[int], chosen) -> float:
    """Of a finished or unfinished sequence of one sentence, from the definition."""
    code, found = 1, 1.0
    for t, token in enumerate(tokens):
        closed = {0, 1} | ({EOS} if t < chosen.min_length else set())
        if chosen.no_repeat_ngram and set(REAL) - set(tokens[:t]):
            closed |= set(tokens[:t])
        row = table.table[0, code].double().exp() ** (1 / chosen.temperature)
        row[list(closed)] = 0
        row /= row.sum()
        order = sorted(range(V), key=lambda v: -row[v])[: chosen.top_k or V]
        kept = [v for i, v in enumerate(order) if sum(row[order[:i]]) < chosen.top_p]
        found *= float(row[token] / row[kept].sum()) if token in kept else 0.0
        code = code * V + token
    return found


@pytest.mark.parametrize("ways", WAYS, ids=str)
def test_draws_follow_the_distribution(ways):
    table, chosen = Table(1, seed=1, scale=1.0), options(sample=True, n_best=DRAWS, seed=5, length_penalty=0.7, **ways)
    (found,) = table.run(sample, [3], chosen)
    assert len(found) == DRAWS
    counts = Counter(tuple(h.tokens) + (EOS,) * h.finished for h in found)
    expected = {tokens: probability(table, list(tokens), chosen) for tokens in counts}
    assert sum(expected.values()) > 0.9  # and no sequence that cannot be
    assert min(expected.values()) > 0
    for tokens, p in expected.items():
        assert abs(counts[tokens] - DRAWS * p) < 4.5 * math.sqrt(DRAWS * p * (1 - p)) + 1
    for h in found[:: DRAWS // 7]:
        assert_same([h], [table.hypothesis(0, tuple(h.tokens), h.finished, chosen)])  # the model's, not the drawn ones


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("prefixes", [False, True])
def test_a_draw_depends_neither_on_the_batch_nor_on_how_many_there_are(batch_size, prefixes):
    count = 70
    table, limits = Table(count, eos=-0.5), [1 + b % 5 for b in range(count)]
    begun = [(3, 5)[: b % 3 if b % 5 else 0] for b in range(count)]
    chosen = options(sample=True, n_best=4, top_k=3, return_attention=True)
    alone = {
        b: table.run(sample, [limits[b]], chosen, [b], Sentences([begun[b]] if prefixes else None, numbers=[b]))[0]
        for b in range(count)
    }
    order = list(range(count))[::-1]
    for start in range(0, count, batch_size):
        rows = order[start : start + batch_size]
        told = Sentences([begun[b] for b in rows] if prefixes else None, None, rows)
        for b, found in zip(rows, table.run(search, [limits[b] for b in rows], chosen, rows, told), strict=True):
            assert [h._replace(attention=None) for h in found] == [h._replace(attention=None) for h in alone[b]]
            assert all(torch.equal(x.attention, y.attention) for x, y in zip(found, alone[b], strict=True))
            assert all(tuple(h.tokens[: len(begun[b])]) == begun[b] for h in found if prefixes)
            for h in found:
                expected = table.hypothesis(b, tuple(h.tokens), h.finished, chosen)
                assert h.attention.tolist() == expected.attention.tolist()
    few = table.run(sample, limits, options(sample=True, n_best=2, top_k=3))
    for found, more in zip(few, table.run(sample, limits, options(sample=True, n_best=4, top_k=3)), strict=True):
        assert not Counter(tuple(h.tokens) for h in found) - Counter(tuple(h.tokens) for h in more)


def test_the_seed_decides():
    table, limits = Table(20), [5] * 20
    one, again, other = (table.run(sample, limits, options(sample=True, seed=seed)) for seed in (1, 1, 2))
    assert one == again
    assert sum(a != b for a, b in zip(one, other, strict=True)) > 10


def test_the_most_likely_token_alone_is_greedy_search():
    table, limits = Table(20, eos=1.0), [5] * 20
    expected = table.run(search, limits, options(beam_size=1))
    assert table.run(search, limits, options(sample=True, top_k=1)) == expected
    assert table.run(search, limits, options(sample=True, temperature=1e-3)) == expected


@pytest.mark.parametrize("nothing", [-math.inf, math.nan])
def test_a_sentence_without_any_possible_token_gives_an_empty_hypothesis(nothing):
    table = Table(3)
    table.table[1] = nothing
    found = table.run(sample, [5] * 3, options(sample=True, n_best=2))
    assert [(h.tokens, h.log_prob, h.finished) for h in found[1]] == [([], -math.inf, False)]
    assert [len(found[0]), len(found[2])] == [2, 2]


@pytest.mark.parametrize("ways", [{}, {"top_k": 1}, {"no_repeat_ngram": 1}], ids=str)
def test_samples_hold_reserved_tokens_by_the_distribution_of_what_is_possible(ways):
    """A token is open if enough steps stay for the reserved ones that are missing, which take the place of eos."""
    table, chosen = Table(1, seed=2, scale=1.0), options(sample=True, n_best=DRAWS, seed=5, **ways)
    first, second, _ = REAL
    wanted, limit = Counter({first: 2}), 4
    told = Sentences(constraints=[[(first,), (first,)]], reserved=[first, second])
    (found,) = table.run(search, [limit], chosen, told=told)
    counts = Counter(tuple(h.tokens) + (EOS,) * h.finished for h in found)
    assert all(tokens.count(first) == 2 and second not in tokens for tokens in counts)
    for tokens, count in counts.items():
        code, p = 1, 1.0
        for t, token in enumerate(tokens):
            missing = wanted - Counter(tokens[:t])
            closed = {0, 1, second} | ({EOS} if missing else {first})
            closed |= set(REAL) - set(missing) if missing.total() > max(0, limit - 2 - t) else set()
            if chosen.no_repeat_ngram:
                closed |= (set(tokens[:t]) - set(missing)) if set(range(V)) - closed - set(tokens[:t]) else set()
            row = table.table[0, code].double().exp()
            row[first] += row[EOS] if missing else 0  # what would end is what is missing
            row[list(closed)] = 0
            row = row if chosen.top_k is None else row * (row == row.max())
            p *= float(row[token] / row.sum())
            code = code * V + token
        assert abs(count - DRAWS * p) < 4.5 * math.sqrt(DRAWS * p * (1 - p)) + 1, tokens


def test_constraints_are_refused():
    with pytest.raises(ValueError, match="constraints belong to beam search"):
        Table(1).run(search, [4], options(sample=True), told=Sentences(None, [[(3,)]]))
