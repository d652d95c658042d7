"""Corpora in proportions: exact over a cycle, every pair of a corpus once before one comes twice, resumed anywhere; and
the tags of their sources."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.corpora.data_module import TranslationData
from seq2seq.corpora.entries import Part, parts_of
from seq2seq.corpora.files import TSV, Parallel
from seq2seq.corpora.label_corpora import Labelled
from seq2seq.corpora.mixing import MixedBatches, cycle, integer_weights, weights_by_temperature
from seq2seq.corpora.tags import check_tags, with_tags
from seq2seq.errors import UserError
from seq2seq.nn.types import Tokens
from seq2seq.text import WhitespaceTrainer

SIZES = {"a": 40, "b": 13, "c": 7}
SYMBOLS = ["<A>", "<B>"]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, size in SIZES.items():
        for side in ("x", "y"):
            Path(f"{name}.{side}").write_text(
                "".join(f"{name}{i} {'w ' * (i % 5)}end\n" for i in range(size)), encoding="utf-8"
            )


def entries(*weights: float | None, tags: tuple[str | None, ...] = ("<A>", None, "<B>")) -> list[Any]:
    keys = zip(SIZES, weights, tags, strict=False)
    return [
        {"files": name, **({"weight": weight} if weight else {}), **({"tag": tag} if tag else {})}
        for name, weight, tag in keys
    ]


def data(train: Any, **more: Any) -> TranslationData:
    corpus = Parallel("x", "y", train, [{"files": "b"}, {"files": "c", "tag": "<A>"}], {"t": {"files": "c"}}, **more)
    return TranslationData(corpus, WhitespaceTrainer(symbols=SYMBOLS), seed=3, batch_tokens=20)


@pytest.mark.parametrize("weights", [[1], [7, 3], [1, 1, 1], [5, 2, 2, 1], [97, 2, 1]])
def test_a_cycle_has_each_weight_and_is_even(weights: list[int]) -> None:
    order = cycle(weights)
    assert Counter(order.tolist()) == dict(enumerate(weights))
    shares = np.array(weights) / sum(weights)
    for n in range(1, len(order) + 1):
        counts = np.bincount(order[:n], minlength=len(weights))
        assert np.abs(counts - n * shares).max() < len(weights) - 0.5


def test_integer_weights() -> None:
    assert integer_weights([7, 3]) == [7, 3]
    assert integer_weights([0.7, 0.3, 1]) == [7, 3, 10]
    assert integer_weights([2, 4]) == [1, 2]
    assert integer_weights([1e-9, 1]) == [1, 1000]
    assert weights_by_temperature([100, 100], 5) == [500, 500]
    by_size = weights_by_temperature([900, 100], 1)
    assert by_size == [900, 100]
    assert weights_by_temperature([900, 100], 2) == [750, 250]  # square roots: 30 to 10


def mixed(given: TranslationData) -> MixedBatches:
    found = given.training_batches
    assert isinstance(found, MixedBatches)
    return found


def test_weights_are_exact_over_a_cycle_and_pairs_come_in_turn() -> None:
    given = data(entries(2, 1, 3))
    batches = mixed(given)
    bounds = given.divided("train").bounds
    assert bounds == [0, 40, 53, 60]
    stream = [index for epoch in range(6) for index in batches.epoch(epoch)]
    parts = [int(given.divided("train").part_of(index)[0]) for index in stream]
    for part, index in zip(parts, stream, strict=True):
        assert set(given.divided("train").part_of(index)) == {part}  # a batch is of one corpus
    for begin in range(0, len(parts) - 6, 6):
        assert Counter(parts[begin : begin + 6]) == {0: 2, 1: 1, 2: 3}
    for part in range(3):
        rows = np.concatenate([index for each, index in zip(parts, stream, strict=True) if each == part])
        size = bounds[part + 1] - bounds[part]
        whole = len(rows) // size * size
        assert whole
        for begin in range(0, whole, size):
            assert sorted(rows[begin : begin + size]) == list(range(bounds[part], bounds[part + 1]))
    assert len(list(batches.epoch(0))) == len(batches) == sum(map(len, batches.parts))
    assert batches.done(len(stream)) == [parts.count(part) for part in range(3)]


def test_resumed_at_any_batch() -> None:
    given = data(entries(2, 1, 3))
    for epoch in (0, 2):
        place = SimpleNamespace(global_rank=0, world_size=1, current_epoch=epoch)
        given.trainer = SimpleNamespace(fit_loop=SimpleNamespace(batch_idx=-1), **vars(place))
        every = list(given.train_dataloader())
        for number in range(0, len(every), 3):
            given.trainer = SimpleNamespace(fit_loop=SimpleNamespace(batch_idx=number - 1), **vars(place))
            for one, other in zip(given.train_dataloader(), every[number:], strict=True):
                assert torch.equal(one.source.ids, other.source.ids)
                assert torch.equal(one.rows, other.rows)


def test_without_weights_the_batches_are_those_of_names() -> None:
    plain, tagged = data(["a", "b", "c"]), data(entries(None, None, None, tags=(None, None, None)))
    for one, other in zip(plain.train_dataloader(), tagged.train_dataloader(), strict=True):
        assert torch.equal(one.source.ids, other.source.ids)
    assert plain.fingerprint == tagged.fingerprint
    assert data(entries(None, None, None)).fingerprint != plain.fingerprint  # tags


def test_temperature() -> None:
    batches = mixed(data(["a", "b", "c"], temperature=1e9))
    counts = Counter(
        int(np.searchsorted([40, 53, 60], index[0], side="right")) for index in islice(batches.epoch(0), 9)
    )
    assert set(counts) == {0, 1, 2}
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader"])
def test_a_tag_comes_before_its_sources(loader: str) -> None:
    given, untagged = data(entries(1, 1, 1)), data(entries(1, 1, 1, tags=(None, None, None)))
    untagged.corpus._parts["val"] = [part._replace(tag=None) for part in untagged.corpus._parts["val"]]
    found = given.divided("train" if loader.startswith("train") else "val")
    ids = {None: [], "<A>": [4], "<B>": [5]}
    for batch, plain in zip(getattr(given, loader)(), getattr(untagged, loader)(), strict=True):
        assert torch.equal(batch.target.ids, plain.target.ids)
        tags = [found.parts[part].tag for part in found.part_of(batch.rows.numpy())]
        for i, tag in enumerate(tags):
            length = int(plain.source.lengths[i])
            expected = ids[tag] + plain.source.ids[i, :length].tolist()
            assert batch.source.ids[i, : int(batch.source.lengths[i])].tolist() == expected
    assert found.tags()[0] in ids


def test_tags_of_some_rows_only() -> None:
    sentences = Tokens(torch.tensor([[7, 3, 0], [8, 9, 3]]), torch.tensor([2, 3]))
    found = with_tags(sentences, torch.tensor([5, -1]))
    assert found.ids.tolist() == [[5, 7, 3], [8, 9, 3]]
    assert found.lengths.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"files": "a", "weight": 0}, "weight=0 of 'a' is no positive number"),
        ({"files": "a", "weight": True}, "weight=True"),
        ({"files": "a", "weight": float("inf")}, "weight=inf"),
        ({"files": "a", "wieght": 2}, "no 'wieght'; did you mean weight"),
        ({"weight": 2}, "an entry needs files"),
        ({"files": "a", "tag": 7}, "tag=7 is not a text"),
        ([{"files": "a", "weight": 2}, "b"], "some of its entries have a weight"),
        ([], "has no entry"),
    ],
)
def test_entries_that_are_none(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=r"data\.corpus\.train") as told:
        parts_of(value, "data.corpus.train", several=True)
    assert message in str(told.value)


def test_two_names_are_one_entry_of_val_and_two_of_train() -> None:
    assert parts_of(["a", "b"], "val") == [Part(["a", "b"])]
    assert parts_of(["a", "b"], "train", several=True) == [Part("a"), Part("b")]


def test_what_corpora_refuse() -> None:
    weighted, tagged = entries(1, 2), {"files": "b", "tag": "<Z>"}
    cases: list[tuple[Any, str]] = [
        (lambda: Parallel("x", "y", "a", weighted), "data.corpus.val: weights and alignments are of train"),
        (lambda: Parallel("x", "y", weighted, "b", temperature=2.0), "entries of train without weights"),
        (lambda: TSV("x", "y", ["a", "b"], "b", temperature=0.0), "temperature=0.0"),
        (lambda: Labelled("x", "y", weighted, "b"), "weights and tags are for pairs of text"),
        (lambda: check_tags(Parallel("x", "y", weighted, "b"), ["<B>"]), "the tag '<A>' is no symbol"),
        (lambda: check_tags(Parallel("x", "y", weighted, "b"), SYMBOLS, equal_length=True), "search.equal_length=true"),
        (lambda: check_tags(Parallel("x", "y", weighted, tagged), ["<A>", "<Z>"]), "val: the tag '<Z>' is of no entry"),
    ]
    for make, message in cases:
        with pytest.raises(UserError) as told:
            make()
        assert message in str(told.value)
