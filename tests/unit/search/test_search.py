"""Searches against exhaustive enumeration, over step functions whose distribution depends on the whole prefix."""

import math
from itertools import product

import pytest
import torch
import yaml

from seq2seq.errors import UserError
from seq2seq.runtime.paths import packaged
from seq2seq.search import Hypothesis, SearchOptions, beam, greedy, search
from seq2seq.search.hypotheses import BLOCK, best_columns, best_tokens
from tests.tables import BOS, EOS, PAD, State, Table, assert_same, options


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 3.0])
@pytest.mark.parametrize("min_length", [0, 2])
@pytest.mark.parametrize("eos", [-2.0, 0.0, 3.0])
def test_a_wide_beam_is_brute_force(length_penalty, min_length, eos):
    limits, table = [4, 1, 5, 2, 3], Table(5, seed=min_length, eos=eos)
    chosen = options(beam_size=400, n_best=7, length_penalty=length_penalty, min_length=min_length)
    for b, found in enumerate(table.run(beam, limits, chosen)):
        assert_same(found, table.enumerate(b, limits[b], chosen)[:7])
        assert len({(*h.tokens, h.finished) for h in found}) == len(found)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 2.0])
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (2, 1), (2, 2), (3, 2), (5, 5)])
def test_a_narrow_beam_is_its_definition_without_early_stopping(length_penalty, beam_size, n_best):
    for seed, eos in product(range(3), (-1.0, 1.0, 2.0)):
        table, limits = Table(8, seed=seed, eos=eos), [5, 3, 4, 5, 1, 5, 2, 5]
        chosen = options(beam_size=beam_size, n_best=n_best, length_penalty=length_penalty, min_length=seed)
        for b, found in enumerate(table.run(beam, limits, chosen)):
            assert_same(found, table.plain_beam(b, limits[b], chosen)[:n_best])


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("min_length", [0, 3])
def test_greedy_is_a_beam_of_one_and_the_best_token_at_every_step(length_penalty, min_length):
    table, limits = Table(40, eos=1.0), [1, 2, 3, 4, 5] * 8
    chosen = options(beam_size=1, length_penalty=length_penalty, min_length=min_length, return_attention=True)
    found = table.run(greedy, limits, chosen)
    for b, (ours, theirs) in enumerate(zip(found, table.run(beam, limits, chosen), strict=True)):
        assert [h._replace(attention=None) for h in ours] == [h._replace(attention=None) for h in theirs]
        assert torch.equal(ours[0].attention, theirs[0].attention)
        assert_same(ours, table.plain_beam(b, limits[b], chosen)[:1])


@pytest.mark.parametrize("searcher", [greedy, beam])
def test_a_sentence_does_not_depend_on_its_neighbours(searcher):
    table, limits = Table(12, seed=3, eos=1.0), [5, 1, 4, 2, 5, 3, 5, 5, 1, 2, 5, 4]
    chosen = options(beam_size=3, n_best=3, length_penalty=0.8)
    together = table.run(searcher, limits, chosen)
    assert together == [table.run(searcher, [limits[b]], chosen, [b])[0] for b in range(12)]
    backwards = table.run(searcher, limits[::-1], chosen, list(range(12))[::-1])
    assert together == backwards[::-1]


@pytest.mark.parametrize("searcher", [greedy, beam])
def test_attention_follows_the_back_pointers(searcher):
    table, limits = Table(9, seed=4, eos=0.5), [5, 4, 3] * 3
    chosen = options(beam_size=4, n_best=4, return_attention=True)
    for b, found in enumerate(table.run(searcher, limits, chosen)):
        for h in found:
            expected = table.hypothesis(b, tuple(h.tokens), h.finished, chosen)
            assert h.attention.tolist() == expected.attention.tolist()
    without = table.run(searcher, limits, options(beam_size=4, n_best=4))
    assert all(h.attention is None for found in without for h in found)


@pytest.mark.parametrize(("searcher", "width"), [(greedy, 1), (beam, 3)])
def test_finished_sentences_leave_the_batch_and_memory_is_never_repeated(searcher, width):
    table = Table(5, eos=-1e9)
    table.run(searcher, [1, 3, 3, 2, 5], options(beam_size=width))
    assert table.rows == [(5, 5), (4 * width, 4), (3 * width, 3), (width, 1), (width, 1)]


@pytest.mark.parametrize("searcher", [greedy, beam])
def test_all_end_at_once(searcher):
    table = Table(3, eos=1e9)
    found = table.run(searcher, [5, 5, 1], options(beam_size=4, length_penalty=1.0))
    assert len(table.rows) == 1
    assert [h for h, *_ in found] == [Hypothesis([], 0.0, 0.0, [0.0], finished=True)] * 3


@pytest.mark.parametrize("searcher", [greedy, beam])
def test_a_limit_of_one_gives_one_token_or_none(searcher):
    table = Table(20, eos=1.0)
    kinds = set()
    for (h,) in table.run(searcher, [1] * 20, options(beam_size=5 if searcher is beam else 1)):
        assert (len(h.tokens), len(h.token_log_probs)) == (0 if h.finished else 1, 1)
        kinds.add(h.finished)
    assert kinds == ({True} if searcher is beam else {True, False})


@pytest.mark.parametrize("searcher", [greedy, beam])
@pytest.mark.parametrize("nothing", [-math.inf, math.nan])
def test_a_sentence_without_any_possible_token_gives_an_empty_hypothesis(searcher, nothing):
    table = Table(3, eos=1.0)
    table.table[1] = nothing
    expected = table.run(searcher, [5, 5], options(beam_size=2), [0, 2])
    found = table.run(searcher, [5, 5, 5], options(beam_size=2))
    assert found == [expected[0], [Hypothesis([], -math.inf, -math.inf, [], finished=False)], expected[1]]


def test_fewer_hypotheses_than_asked_for_where_there_are_no_more():
    table = Table(1)
    table.table[..., 4:] = -math.inf
    found = table.run(beam, [2], options(beam_size=9, n_best=9))[0]
    assert sorted((h.tokens, h.finished) for h in found) == [([], True), ([3], True), ([3, 3], False)]


def test_ties_go_to_the_better_prefix_and_then_to_the_smaller_id():
    table = Table(2)
    table.table[:] = -1.0
    for h in table.run(greedy, [3, 5], options(beam_size=1)):
        assert h[0].tokens == []  # eos is the smallest id that is allowed
    found = table.run(beam, [3, 3], options(beam_size=4, n_best=4, min_length=3))
    assert [h.tokens for h in found[0]] == [[3, 3, 3], [3, 3, 4], [3, 3, 5], [3, 4, 3]]
    assert found[0] == found[1]


def test_search_picks_by_beam_size():
    table = Table(6, eos=1.0)
    for size, searcher in ((1, greedy), (3, beam)):
        assert table.run(search, [4] * 6, options(beam_size=size)) == table.run(
            searcher, [4] * 6, options(beam_size=size)
        )
    assert search(table, State(torch.zeros(0).long(), ()), (), torch.zeros(0).long(), options()) == []


@pytest.mark.parametrize("columns", [5, 3 * BLOCK, 40 * BLOCK, 40 * BLOCK + 17])
@pytest.mark.parametrize("banned", [(1, 3), (0, 2 * BLOCK)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_best_tokens_equal_a_stable_sort(columns, banned, dtype):
    values = torch.randn(50, columns, generator=torch.Generator().manual_seed(1)) * 4
    values = (values.round() / 4).to(dtype)  # many ties
    values[::3, ::2] = -math.inf
    values[:, [i for i in banned if i < columns]] = 9.0
    assert torch.equal(best_columns(values, 4), values.float().sort(dim=1, descending=True, stable=True).indices[:, :4])
    found, ids = best_tokens(values, 5, banned)
    for row in range(50):
        allowed = [(v, i) for i, v in enumerate(values[row].tolist()) if i not in banned and v > -math.inf]
        kept = [(v, i) for v, i in zip(found[row].tolist(), ids[row].tolist(), strict=True) if v > -math.inf]
        assert kept[:5] == sorted(allowed, key=lambda pair: -pair[0])[:5]


@pytest.mark.parametrize(
    ("ratio", "extra", "lengths", "limits"),
    [
        (1.5, 10, [1, 2, 3], [12, 13, 15]),
        (1.1, 0, [10, 50, 11], [11, 55, 13]),
        (0, 7, [0, 9], [7, 7]),
        (2.0, 0, [0], [1]),
    ],
)
def test_limits_come_from_the_source_lengths(ratio, extra, lengths, limits):
    chosen = options(max_length_ratio=ratio, max_length_extra=extra)
    assert chosen.limits(torch.tensor(lengths)).tolist() == limits


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_best": 6}, "search.n_best=6: more than search.beam_size=5"),
        ({"beam_size": 0}, "search.beam_size=0: must be a whole number of at least 1"),
        ({"beam_size": 2.5}, "search.beam_size=2.5"),
        ({"n_best": True}, "search.n_best=True"),
        ({"min_length": -1}, "search.min_length=-1"),
        ({"length_penalty": -0.1}, "search.length_penalty=-0.1"),
        ({"length_penalty": math.nan}, "search.length_penalty=nan: must be a finite number of at least 0"),
        ({"length_penalty": "strong"}, "search.length_penalty=strong"),
        ({"max_length_ratio": math.inf}, "search.max_length_ratio=inf"),
        ({"max_length_ratio": 0, "max_length_extra": 0}, "no output would have a token"),
        ({"eos": BOS}, "search.eos=1"),
        ({"coverage_penalty": -1.0}, "search.coverage_penalty=-1.0"),
        ({"no_repeat_ngram": 1.5}, "search.no_repeat_ngram=1.5: must be a whole number of at least 0"),
        ({"diversity_groups": 2}, "search.diversity_groups=2: does not divide .* use search.beam_size=6"),
        ({"diversity_penalty": -1}, "search.diversity_penalty=-1"),
        ({"min_length": 7, "max_length_ratio": 0, "max_length_extra": 7}, "search.min_length=7: with at most 7 tokens"),
        ({"temperature": 0}, "search.temperature=0 must be above 0"),
        ({"temperature": "hot"}, "search.temperature=hot"),
        ({"top_k": 0}, "search.top_k=0"),
        ({"top_p": 1.5}, "search.top_p=1.5 must be above 0 and at most 1"),
        ({"seed": -1}, "search.seed=-1"),
        ({"sample": True, "coverage_penalty": 0.2}, "search.coverage_penalty=0.2: belongs to beam search"),
        ({"sample": True, "diversity_groups": 5}, "search.diversity_groups=5: .* set it to 1"),
    ],
)
def test_mistakes_in_the_options(changes, message):
    # Without the constructor, whose annotations are enforced under pytest and would refuse wrong types first.
    chosen = object.__new__(SearchOptions)
    vars(chosen).update(vars(options()) | changes)
    with pytest.raises(UserError, match=message):
        chosen.__post_init__()


@pytest.mark.parametrize("searcher", [greedy, beam])
def test_a_limit_of_zero_is_refused(searcher):
    with pytest.raises(ValueError, match="a limit of 0 steps"):
        Table(2).run(searcher, [3, 0], options())


@pytest.mark.parametrize("name", ["greedy", "beam", "sampling"])
def test_the_configurations_are_complete_options(name):
    base, own = (
        yaml.safe_load((packaged("conf") / "search" / f"{each}.yaml").read_text(encoding="utf-8"))
        for each in ("beam", name)
    )
    assert own.pop("defaults", ["beam", "_self_"]) == ["beam", "_self_"]
    config = base | own
    chosen = SearchOptions(bos=BOS, eos=EOS, pad=PAD, **config)
    assert (chosen.beam_size == 1, chosen.sample) == (name == "greedy", name == "sampling")
    set_elsewhere = {"bos", "eos", "pad", "return_attention"}
    assert set(config) == set(SearchOptions.__dataclass_fields__) - set_elsewhere
