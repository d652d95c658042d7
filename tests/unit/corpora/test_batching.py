"""Which pairs are in which batch: every kept one once, within the budget, the same for the same seed and epoch."""

import os
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from seq2seq.corpora import Multi30k, TranslationData, batching, store
from seq2seq.corpora.batching import Census, TrainingBatches, batches_in_order, census, pad_share
from seq2seq.corpora.budget import Budget
from seq2seq.corpora.store import EncodedPairs, Ints, Ragged, pack
from seq2seq.errors import UserError
from seq2seq.text import SentencePieceTrainer

DATA = Path(os.environ.get("SEQ2SEQ_DATA", Path(__file__).parents[4] / "shared" / "data"))


def pairs_of(source: Ints | list[int], target: Ints | list[int]) -> EncodedPairs:
    """Pairs with so many tokens before eos."""
    offsets = (np.concatenate([[0], np.cumsum(np.add(side, 1))]) for side in (source, target))
    return EncodedPairs(*(Ragged(np.ones(each[-1], np.uint16), each) for each in offsets))


def random_pairs(count: int, longest: int = 30, seed: int = 0) -> EncodedPairs:
    random = np.random.default_rng(seed)
    target = random.integers(0, longest, count)
    return pairs_of(np.maximum(target + random.integers(-3, 4, count), 0), target)


def tokens(data: EncodedPairs, batch: np.ndarray) -> int:
    return int(data.target.lengths(batch).sum())


@pytest.mark.parametrize(
    ("count", "budget"),
    [
        (1, Budget(64)),
        (7, Budget(64)),
        (500, Budget(64)),
        (1500, Budget(100, max_length=20)),
        (1500, Budget(100, batch_size=1)),
        (1500, Budget(100, batch_size=2)),
        (1500, Budget(2048, batch_size=7)),
        (1500, Budget(300, batch_size=16)),
    ],
)
@pytest.mark.parametrize(("window", "permuted"), [(4, 1000), (256, 1000), (1, 50)])
def test_every_kept_pair_once_within_the_budget(
    count: int, budget: Budget, window: int, permuted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "WINDOW", window)
    monkeypatch.setattr(batching, "PERMUTED", permuted)
    monkeypatch.setattr(batching, "RUNS", 8)
    monkeypatch.setattr(batching, "CHUNK", 999)
    data = random_pairs(count, seed=count)
    lengths = [np.diff(side.offsets) - 1 for side in data]
    kept = np.flatnonzero((np.minimum(*lengths) > 0) & (np.maximum(*lengths) <= budget.max_length))
    batches = TrainingBatches(data, budget, seed=3)
    for epoch in range(3):
        plan = list(batches.epoch(epoch))
        assert sorted(np.concatenate(plan)) == kept.tolist()
        assert len(plan) == len(batches)
        assert max(len(batch) for batch in plan) <= (budget.batch_size or count)
        assert max(tokens(data, batch) for batch in plan) <= 1.2 * budget.batch_tokens + 2 * 30
        again = list(TrainingBatches(data, budget, seed=3).epoch(epoch))
        assert all(np.array_equal(one, other) for one, other in zip(plan, again, strict=True))


def test_batches_are_filled_and_differ_between_epochs_and_seeds() -> None:
    data = random_pairs(4000)
    batches = TrainingBatches(data, Budget(256), seed=1)
    plan = list(batches.epoch(0))
    assert np.mean([tokens(data, batch) for batch in plan]) > 0.95 * 256
    for other in (batches.epoch(1), TrainingBatches(data, Budget(256), seed=2).epoch(0)):
        same = {frozenset(batch.tolist()) for batch in plan} & {frozenset(batch.tolist()) for batch in other}
        assert len(same) < 0.1 * len(plan)
    order = [tokens(data, batch) / len(batch) for batch in plan]
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.3  # not from short to long


def test_sorting_removes_the_pads() -> None:
    data = random_pairs(4000)
    assert pad_share(pairs_of([1, 3], [2, 2]), [np.array([0, 1])]) == pytest.approx(1 - 12 / 14)
    assert pad_share(data, TrainingBatches(data, Budget(256), seed=1).epoch(0)) < 0.05
    assert pad_share(data, np.arange(4000).reshape(-1, 20)) > 0.4


def test_counts_by_their_definition() -> None:
    data = pairs_of([2, 0, 5, 3, 9, 0], [3, 4, 0, 3, 1, 9])
    assert census(data, Budget(max_length=8)) == Census(
        pairs=6,
        kept=2,
        dropped_empty=3,  # a pair with an over-long and an empty side counts as empty
        dropped_long=1,
        source_tokens=3 + 4,
        target_tokens=4 + 4,
        weight=8,
        longest=4,
    )


def test_evaluation_drops_nothing_and_rises_in_length() -> None:
    data = random_pairs(200)
    plan = batches_in_order(data, Budget(100, batch_size=9, max_length=5))
    assert sorted(np.concatenate(plan)) == list(range(200))
    assert max(len(batch) for batch in plan) <= 9
    longest = [int(data.target.lengths(batch).max()) for batch in plan]
    assert all(later >= earlier - 1 for earlier, later in pairwise(longest))  # buckets are two wide


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (lambda: Budget(0), "data.batch_tokens=0"),
        (lambda: Budget(batch_size=0), "data.batch_size=0"),
        (
            lambda: TrainingBatches(pairs_of([9, 0], [9, 1]), Budget(max_length=8), 0),
            "all 2 .*1 with an .* 1 too long",
        ),
        (lambda: TrainingBatches(pairs_of([9], [9]), Budget(19), 0), "batch_tokens=19: must hold two .* 10 tokens"),
    ],
)
def test_budgets_that_cannot_be(budget: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        budget()  # type: ignore[operator]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WINDOW", 8)
    monkeypatch.setattr(batching, "PERMUTED", 4096)
    monkeypatch.setattr(batching, "CHUNK", 4096)
    peaks = []
    for count in (10_000, 80_000):
        data = random_pairs(count)
        tracemalloc.start()
        for batch in TrainingBatches(data, Budget(256), seed=0).epoch(0):
            data.target.padded(batch)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_padded_is_what_a_loop_makes() -> None:
    random = np.random.default_rng(0)
    sentences = [random.integers(4, 99, length).tolist() for length in (3, 0, 7, 1)]
    side = pack(sentences)
    ids, lengths = side.padded(np.array([2, 1, 2]))
    assert lengths.tolist() == [8, 1, 8]
    assert ids.tolist() == [[*sentences[2], 3], [3] + [0] * 7, [*sentences[2], 3]]
    assert len(Ragged(side.values, side.offsets)) == 4


def test_positions_beyond_32_bits(tmp_path: Path) -> None:
    """A file with a hole: of the ten gigabytes that it says it has, it takes a few blocks."""
    first = 5_000_000_000
    values = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint16, (first + 6,))
    values[first:] = [5, 6, 7, 3, 8, 3]
    data = EncodedPairs(*2 * [Ragged(values, first + np.array([0, 4, 6]))])
    assert data.source.padded(np.array([1, 0]))[0].tolist() == [[8, 3, 0, 0], [5, 6, 7, 3]]
    budget = Budget(10, batch_size=2)
    assert census(data, budget) == Census(2, 2, 0, 0, 6, 6, 2 * 10, 4)
    assert sorted(np.concatenate(list(TrainingBatches(data, budget, seed=0).epoch(0)))) == [0, 1]
    side = store._Side(tmp_path / "y", np.uint16)
    side._values.length = first
    with side:
        side.append(pack([[4, 4]]))
    assert np.load(tmp_path / "y.offsets.npy").tolist() == [0, first + 3]


@pytest.mark.skipif(not (DATA / "multi30k").is_dir(), reason="needs Multi30k")
@pytest.mark.slow
def test_pads_of_multi30k_are_below_three_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path))
    data = TranslationData(Multi30k(root=str(DATA)), SentencePieceTrainer(vocabulary_size=8000), seed=1)
    batches = data.training_batches
    assert batches.census.kept == 29_000
    assert pad_share(batches.data, batches.epoch(0)) < 0.03


def padded(data: EncodedPairs, batch: Ints) -> int:
    return int(data.source.lengths(batch).max()) * len(batch)


OUTLIERS = {
    "one giant": (np.r_[np.full(400, 5), 900], np.full(401, 1)),
    "documents with short answers": (np.random.default_rng(1).integers(200, 1000, 300), np.full(300, 3)),
    "all lengths": (np.random.default_rng(2).integers(1, 1000, 600), np.random.default_rng(3).integers(1, 25, 600)),
}


@pytest.mark.parametrize("name", OUTLIERS)
@pytest.mark.parametrize("budget", [Budget(60, max_length=1000), Budget(60, 32, 1000), Budget(60, 4, 1000)])
@pytest.mark.parametrize("permuted", [1 << 20, 100])
def test_the_source_side_is_bounded(
    name: str, budget: Budget, permuted: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batching, "PERMUTED", permuted)
    data = pairs_of(*OUTLIERS[name])
    batches = TrainingBatches(data, budget, seed=3)
    bound = max(2.5 * batching.SOURCE * budget.batch_tokens, 3 * 1001)
    for epoch in range(3):
        plan = list(batches.epoch(epoch))
        assert sorted(np.concatenate(plan)) == list(range(len(data)))
        assert len(plan) == len(batches)
        assert max(padded(data, batch) for batch in plan) <= bound
        assert max(len(batch) for batch in plan) <= (budget.batch_size or len(data))
        again = list(TrainingBatches(data, budget, seed=3).epoch(epoch))
        assert all(np.array_equal(one, other) for one, other in zip(plan, again, strict=True))
    plan = batches_in_order(data, budget)
    assert sorted(np.concatenate(plan)) == list(range(len(data)))
    assert max(padded(data, batch) for batch in plan) <= bound
    assert "sources of more than 480 tokens, of which a batch has one or two only" in caplog.text


def test_a_few_long_sources_leave_the_other_pairs_as_they_are() -> None:
    data = random_pairs(900)
    source, target = (np.diff(side.offsets) - 1 for side in data)
    source[7], target[7] = 500, 2
    other = pairs_of(source, target)
    plan = [batch.tolist() for batch in TrainingBatches(data, Budget(256), seed=1).epoch(0)]
    found = [batch.tolist() for batch in TrainingBatches(other, Budget(256), seed=1).epoch(0)]
    assert [7] in found
    assert abs(len(found) - len(plan) - 1) <= 1
    order = [tuple(batch) for batch in found]
    assert order != [tuple(batch) for batch in TrainingBatches(other, Budget(256), seed=1).epoch(1)]
