"""The options of a beam next to its width: each option, and all together, against the definition in plain Python
and against exhaustive enumeration."""

import math
import random
from importlib import import_module
from itertools import product

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.search import Hypothesis, SearchOptions, Sentences, beam, greedy, search, steps_needed
from seq2seq.search.hypotheses import one_of_each
from tests.tables import BOS, EOS, LONGEST, PAD, REAL, State, Table, V, assert_same, options

WIDE = 400
S = 3


class Attending(Table):
    """A table that attends to three positions, of which the last is padding in every other sentence."""

    def __init__(self, sentences: int, seed: int = 0, eos: float = 0.0) -> None:
        super().__init__(sentences, seed, eos=eos)
        self.mask = torch.ones(sentences, S, dtype=torch.bool)
        self.mask[::2, -1] = False
        energies = torch.randn(*self.table.shape[:2], S, generator=torch.Generator().manual_seed(seed)) * 4
        self.weights = energies.masked_fill(~self.mask[:, None], -1e9).softmax(-1)

    def __call__(self, ids, state, memory):
        log_probs, state, _ = super().__call__(ids, state, memory)
        rows = memory[1].repeat_interleave(len(ids) // len(memory[1]))
        return log_probs, state, self.weights[rows, state.codes]


class Asked:
    """The definition of a search for one sentence of a table, in plain Python and without early stopping."""

    def __init__(self, table: Table, b: int, limit: int, chosen: SearchOptions, prefix=(), phrases=(), once=()) -> None:
        self.table, self.b, self.limit, self.chosen = table, b, limit, chosen
        self.prefix, self.phrases = tuple(prefix), [tuple(phrase) for phrase in phrases]
        self.reserved = [(token,) for token in once]

    def hypothesis(self, tokens: tuple[int, ...], finished: bool) -> Hypothesis:
        found = self.table.hypothesis(self.b, tokens, finished, self.chosen)
        if not self.chosen.coverage_penalty:
            return found
        codes, _ = self.table.path(self.b, tokens, finished)
        sums = self.table.weights[self.b, codes].sum(0)[self.table.mask[self.b]]
        return found._replace(score=found.score + self.chosen.coverage_penalty * sums.clamp(max=1).log().sum().item())

    def need(self, tokens: tuple[int, ...], without=()) -> int:
        """What is written out when the phrase begun is ended, and the others follow."""
        missing, saved = 0, 0
        for phrase in dict.fromkeys(phrase for phrase in self.phrases if phrase not in without):
            left = self.phrases.count(phrase) - occurrences(tokens, phrase)
            missing += max(0, left) * len(phrase)
            if left > 0:
                begun = [n for n in range(len(phrase)) if n == 0 or tokens[-n:] == phrase[:n]]
                saved = max(saved, max(begun))
        return missing - saved

    def open_tokens(self, tokens: tuple[int, ...]) -> list[int]:
        """Which tokens may follow."""
        if len(tokens) < len(self.prefix):
            return [self.prefix[len(tokens)]]
        early = len(tokens) < self.chosen.min_length
        n = self.chosen.no_repeat_ngram
        spent = [y for (y,) in self.reserved if tokens.count(y) >= self.phrases.count((y,))]
        new = [y for y in REAL if not n or occurrences((*tokens, y), (*tokens, y)[-n:]) == 1 or len(tokens) < n]
        if early and not new:
            new = list(REAL)
        new += [y for y in REAL if y not in new and self.need((*tokens, y)) < self.need(tokens)]
        left = max(0, self.limit - len(tokens) - 2)
        new = [y for y in new if self.need((*tokens, y)) <= left and y not in spent]
        return new if early or self.need(tokens) else [EOS, *new]

    def everything(self) -> list[Hypothesis]:
        """All that can be returned, best first."""
        found, live = [], [()]
        for _ in range(self.limit):
            grown = [(*tokens, y) for tokens in live for y in self.open_tokens(tokens)]
            found += [self.hypothesis(tokens[:-1], True) for tokens in grown if tokens[-1] == EOS]
            live = [tokens for tokens in grown if tokens[-1] != EOS]
        return best_first(found + [self.hypothesis(tokens, False) for tokens in live])

    def beam(self) -> list[Hypothesis]:
        """Step by step, group by group; the best in turn of each number of tokens that are needed."""
        groups = self.chosen.diversity_groups
        live, ended = [[()] for _ in range(groups)], [[] for _ in range(groups)]
        for _ in range(self.limit):
            taken: list[int] = []
            for g in range(groups):
                grown = [(*tokens, y) for tokens in live[g] for y in self.open_tokens(tokens)]
                chosen = self.choose(grown, taken, self.chosen.beam_size // groups)
                taken += [tokens[-1] for tokens in chosen]
                ended[g] += [self.hypothesis(tokens[:-1], True) for tokens in chosen if tokens[-1] == EOS]
                live[g] = [tokens for tokens in chosen if tokens[-1] != EOS]
        found = [best_first(ended[g] + [self.hypothesis(tokens, False) for tokens in live[g]]) for g in range(groups)]
        return best_first(one_of_each(found, self.chosen.n_best))

    def choose(self, grown: list[tuple[int, ...]], taken: list[int], size: int) -> list[tuple[int, ...]]:
        def value(tokens):
            finished = tokens[-1] == EOS
            _, log_probs = self.table.path(self.b, tokens[:-1] if finished else tokens, finished)
            return sum(log_probs) - self.chosen.diversity_penalty * taken.count(tokens[-1]) * (
                self.chosen.diversity_groups > 1
            )

        banks: dict[int, list[tuple[int, ...]]] = {}
        for tokens in sorted(grown, key=value, reverse=True):
            banks.setdefault(self.need(tokens, self.reserved), []).append(tokens)
        turns = [(turn, need, tokens) for need, bank in banks.items() for turn, tokens in enumerate(bank)]
        return [tokens for _, _, tokens in sorted(turns)[:size]]


def best_first(found: list[Hypothesis]) -> list[Hypothesis]:
    return sorted(found, key=lambda h: (h.finished, h.score), reverse=True)


def occurrences(tokens: tuple[int, ...], phrase: tuple[int, ...]) -> int:
    return sum(tokens[i : i + len(phrase)] == phrase for i in range(len(tokens) - len(phrase) + 1))


def repeats(tokens: list[int], n: int) -> bool:
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(grams)) < len(grams)


# Of five sentences: the limits, what they begin with, and what they hold (alone, twice, overlapping, within another).
LIMITS = [4, 5, 4, 5, 2]
PREFIXES = [(), (4,), (5, 3), (), (3,)]
CONSTRAINTS = [[(5, 4)], [(3,), (3,)], [], [(3, 4), (4, 3)], []]
OVERLAPPING = [[], [(3, 4, 3), (4,)], [(3,)], [(3, 3), (3, 3)], []]
EVERY_OPTION = [
    {},
    {"coverage_penalty": 0.7, "length_penalty": 0.8},
    {"coverage_penalty": 3.0, "min_length": 2},
    {"no_repeat_ngram": 1},
    {"no_repeat_ngram": 2, "min_length": 4},
    {"no_repeat_ngram": 1, "min_length": 4, "length_penalty": 1.0},
]
IDS = [" ".join(f"{name}={value}" for name, value in changes.items()) or "plain" for changes in EVERY_OPTION]


def told_of(table: Attending, prefixes=None, constraints=None) -> Sentences:
    return Sentences(prefixes, constraints, None, table.mask)


@pytest.mark.parametrize("changes", EVERY_OPTION, ids=IDS)
@pytest.mark.parametrize("prefixes", [None, PREFIXES], ids=["", "prefixes"])
@pytest.mark.parametrize("constraints", [None, CONSTRAINTS, OVERLAPPING], ids=["", "constraints", "overlapping"])
def test_a_wide_beam_is_brute_force(changes, prefixes, constraints):
    table, chosen = Attending(5, eos=1.0), options(beam_size=WIDE, n_best=6, **changes)
    told = zip(LIMITS, prefixes or PREFIXES[:1] * 5, constraints or [[]] * 5, strict=True)
    expected = [Asked(table, b, limit, chosen, *asked).everything()[:6] for b, (limit, *asked) in enumerate(told)]
    for groups in (1, 2):
        divided = options(beam_size=WIDE * groups, n_best=6, diversity_groups=groups, **changes)
        found = table.run(beam, LIMITS, divided, told=told_of(table, prefixes, constraints))
        for ours, best in zip(found, expected, strict=True):
            assert_same(ours, best)


@pytest.mark.parametrize("changes", EVERY_OPTION, ids=IDS)
@pytest.mark.parametrize("constraints", [None, CONSTRAINTS, OVERLAPPING], ids=["", "constraints", "overlapping"])
@pytest.mark.parametrize(("size", "groups", "n_best"), [(1, 1, 1), (3, 1, 2), (4, 2, 3), (6, 3, 6), (4, 4, 4)])
def test_a_narrow_beam_is_its_definition_without_early_stopping(changes, constraints, size, groups, n_best):
    for seed, prefixes in product(range(3), (None, PREFIXES)):
        table = Attending(5, seed, eos=seed)
        chosen = options(beam_size=size, n_best=n_best, diversity_groups=groups, diversity_penalty=0.9, **changes)
        told = told_of(table, prefixes, constraints)
        for b, found in enumerate(table.run(beam, LIMITS, chosen, told=told)):
            asked = Asked(table, b, LIMITS[b], chosen, (prefixes or PREFIXES[:1] * 5)[b], (constraints or [[]] * 5)[b])
            assert_same(found, asked.beam()[:n_best])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_without_repeats_is_everything_but_what_repeats(n):
    table, chosen = Table(3, eos=1.0), options(beam_size=WIDE, n_best=WIDE, no_repeat_ngram=n)
    for b, found in enumerate(table.run(beam, [5] * 3, chosen)):
        assert_same(found, [h for h in table.enumerate(b, 5, chosen) if not repeats(h.tokens, n)])


@pytest.mark.parametrize("groups", [1, 2])
def test_blocking_loses_no_sentence(groups):
    """Three tokens and none of them twice: the fourth repeats where the end is not allowed, and only there."""
    table = Table(6, eos=3.0)
    chosen = options(beam_size=4, n_best=4, no_repeat_ngram=1, min_length=4, diversity_groups=groups)
    for found in table.run(beam, [5] * 6, chosen):
        assert len(found) == 4 or groups == 2  # which may agree
        for h in found:
            assert (len(h.tokens) >= 4, repeats(h.tokens[:3], 1)) == (True, False)
            assert h.log_prob > -math.inf
    free = options(beam_size=4, n_best=4, no_repeat_ngram=1, diversity_groups=groups)
    assert not any(repeats(h.tokens, 1) for found in table.run(beam, [5] * 6, free) for h in found)


@pytest.mark.parametrize("constraints", [CONSTRAINTS, OVERLAPPING], ids=["constraints", "overlapping"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_whatever_the_width_all_phrases_are_there(constraints, size):
    for seed, eos in product(range(5), (-3.0, 6.0)):
        table = Table(5, seed, eos=eos)
        told = Sentences(PREFIXES, constraints)
        chosen = options(beam_size=size, n_best=size, no_repeat_ngram=2)
        for b, found in enumerate(table.run(beam, LIMITS, chosen, told=told)):
            for h in found:
                assert tuple(h.tokens[: len(PREFIXES[b])]) == PREFIXES[b]
                assert all(
                    occurrences(tuple(h.tokens), phrase) >= constraints[b].count(phrase) for phrase in constraints[b]
                )


def test_phrases_that_do_not_overlap_cost_what_enumeration_says():
    """The best of all sequences that hold them, not of those only that the beam could go through."""
    table, chosen = Table(4, eos=1.0), options(beam_size=WIDE, n_best=5)
    phrases = [(3, 4), (5,)]
    for b, found in enumerate(table.run(beam, [5] * 4, chosen, told=Sentences(None, [phrases] * 4))):
        every = [h for h in table.enumerate(b, 5, chosen) if h.finished]
        expected = [h for h in every if all(occurrences(tuple(h.tokens), phrase) for phrase in phrases)]
        assert_same(found, expected[:5])


def test_the_steps_needed_are_enough_and_without_overlaps_the_fewest():
    draw = random.Random(2)
    for _ in range(60):
        phrases = [tuple(draw.choices(REAL, k=draw.randint(1, 2))) for _ in range(draw.randint(1, 2))]
        prefix = tuple(draw.choices(REAL, k=draw.randint(0, 2)))
        fewest = next(
            length
            for length in range(9)
            for tail in product(REAL, repeat=length)
            if all(occurrences(prefix + tail, phrase) >= phrases.count(phrase) for phrase in phrases)
        )
        needed = steps_needed(phrases, prefix) - len(prefix)
        assert needed >= fewest
        if len({token for phrase in phrases for token in phrase}) == sum(map(len, phrases)):
            assert needed == fewest


@pytest.mark.parametrize(
    ("prefixes", "constraints", "limit", "message"),
    [
        (None, [[(3, 4), (5,)]], 3, "constraints that need 3 steps, more than the 2 of the limit"),
        ([(3, 4)], [[(4, 5), (5,)]], 3, "constraints that need 4 steps, more than the 2 of the limit"),
        ([(3, 4, 3)], None, 2, "a prefix of 3 tokens, more than the 2 steps"),
        (None, [[()]], 5, "a constraint without a token"),
    ],
)
def test_what_cannot_be_is_refused(prefixes, constraints, limit, message):
    with pytest.raises(ValueError, match=message):
        Table(1).run(beam, [limit], options(), told=Sentences(prefixes, constraints))


def test_a_prefix_may_end_several_phrases_at_once():
    """Before its last token more seems to be needed than the limit leaves."""
    told = Sentences([(3, 4, 5)], [[(3, 4, 5), (5,)]])
    (found,) = Table(1, eos=1.0).run(beam, [4], options(beam_size=3, n_best=1), told=told)
    assert [(h.tokens, h.finished) for h in found] == [([3, 4, 5], True)]


def test_a_coverage_penalty_needs_attention():
    def without(ids, state, memory):
        log_probs, state, _ = table(ids, state, memory)
        return log_probs, state, None

    table = Table(1)
    start, memory = torch.zeros(1).long(), (table.table, torch.arange(1))
    with pytest.raises(UserError, match=r"search\.coverage_penalty: the model has no attention"):
        beam(without, State(start, (start[:, None],)), memory, torch.tensor([3]), options(coverage_penalty=0.2))


def test_an_attention_of_nothing_still_compares():
    table, chosen = Attending(1, eos=2.0), options(beam_size=5, n_best=5, coverage_penalty=0.1)
    table.weights[..., 1] = 0.0
    found = table.run(beam, [4], chosen, told=told_of(table))[0]
    assert all(-20 < h.score < h.log_prob - 8 for h in found)


def test_groups_find_different_hypotheses():
    table = Table(30, eos=1.0)
    plain, diverse = (
        table.run(beam, [5] * 30, options(beam_size=4, n_best=4, diversity_groups=groups, diversity_penalty=2.0))
        for groups in (1, 4)
    )

    def first_tokens(found):
        return sum(len({tuple(h.tokens[:1]) for h in hypotheses}) for hypotheses in found)

    assert first_tokens(diverse) > first_tokens(plain)
    for hypotheses in diverse:
        assert len({(*h.tokens, h.finished) for h in hypotheses}) == len(hypotheses)


@pytest.mark.parametrize("size", [1, 2, WIDE])
def test_a_reserved_token_is_there_as_often_as_it_is_asked_for(size):
    """With a wide beam: the best of all outputs that hold it exactly so often, by enumeration."""
    table, chosen, limit = Table(3, seed=4), options(beam_size=size, n_best=1), LONGEST
    first, second, free = REAL
    told = Sentences(constraints=[[(first,)], [], [(first,), (second,), (first,)]], reserved=[first, second])
    found = table.run(search, [limit] * 3, chosen, told=told)
    for b, phrases in enumerate(told.constraints):
        wanted = [phrases.count((token,)) for token in (first, second)]
        (best,) = found[b]
        assert [best.tokens.count(token) for token in (first, second)] == wanted
        if size == WIDE:
            allowed = [
                each
                for each in table.enumerate(b, limit, chosen)
                if each.finished and [each.tokens.count(token) for token in (first, second)] == wanted
            ]
            assert best.tokens == allowed[0].tokens
    assert free in {token for (best,) in found for token in best.tokens}


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_reserved_tokens_are_written_where_the_model_would(size):
    """They make no banks, next to phrases that do: a narrow beam is its definition."""
    constraints, once = [[(3,), (5,)], [(3,), (3,)], [], [(5,), (4, 4)], []], [3, 5]
    for seed in range(5):
        table, chosen = Table(5, seed, eos=1.0), options(beam_size=size, n_best=size)
        told = Sentences(constraints=constraints, reserved=once)
        for b, found in enumerate(table.run(beam, [5] * 5, chosen, told=told)):
            assert_same(found, Asked(table, b, 5, chosen, (), constraints[b], once).beam()[:size])


@pytest.mark.parametrize("changes", [*EVERY_OPTION, {"beam_size": 6, "diversity_groups": 3}], ids=[*IDS, "groups"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_sentence_does_not_depend_on_its_neighbours(changes, batch_size):
    count = max(30, batch_size + 6)
    table, limits = Attending(count, eos=1.0), (LIMITS * count)[:count]
    prefixes, constraints = (PREFIXES * count)[:count], ([*CONSTRAINTS, *OVERLAPPING] * count)[:count]
    chosen = options(**{"beam_size": 4, "n_best": 4, "return_attention": True} | changes)
    order = list(range(count))
    random.Random(batch_size).shuffle(order)
    together = table.run(beam, limits, chosen, told=told_of(table, prefixes, constraints))
    for start in range(0, count, batch_size):
        rows = order[start : start + batch_size]
        told = Sentences([prefixes[b] for b in rows], [constraints[b] for b in rows], None, table.mask[rows])
        found = table.run(search, [limits[b] for b in rows], chosen, rows, told)
        for b, ours in zip(rows, found, strict=True):
            assert_same(ours, together[b])
            assert all(torch.equal(x.attention, y.attention) for x, y in zip(ours, together[b], strict=True))


def test_search_takes_greedy_search_only_where_nothing_is_asked(monkeypatch):
    called = []
    for module_name, searcher in (("beam", beam), ("greedy", greedy)):

        def noted(*given, module_name=module_name, searcher=searcher):
            called.append(module_name)
            return searcher(*given)

        monkeypatch.setattr(import_module("seq2seq.search.greedy"), module_name, noted)
    table = Attending(1)
    for changes, told in (
        ({}, None),
        ({}, Sentences(numbers=[3])),
        ({"no_repeat_ngram": 2}, None),
        ({"coverage_penalty": 0.1}, None),
        ({}, Sentences([(3,)])),
        ({}, Sentences(None, [[(3,)]])),
        ({"beam_size": 2}, None),
    ):
        table.run(search, [4], options(**{"beam_size": 1} | changes), told=told)
    assert called == ["greedy"] * 2 + ["beam"] * 5


assert (BOS, EOS, PAD, V, LONGEST) == (1, 2, 0, 6, 5)  # the numbers in the lists above
