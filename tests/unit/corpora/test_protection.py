"""Symbols in training pairs: at places that both sides have, the same on both, and none where it is off."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.corpora import Parallel, TranslationData
from seq2seq.corpora.protection import Place, between, check_protecting, one_to_one, with_symbols, words_of
from seq2seq.errors import UserError
from seq2seq.text import CharacterTrainer, SentencePieceTrainer, WhitespaceTrainer
from seq2seq.text.protection import protecting_symbols

SOURCE = ["the dog sees the cat.", "Anna has 12 dogs", "no word alike"]
TARGET = ["der Hund sieht, die Katze.", "Anna hat 12 Hunde", "kein Wort gleich"]
LINKS = ["0-0 1-1 2-2 3-3 4-4", "", "0-0 0-1 2-2"]


def corpus(folder: Path, *, alignments: bool = False, copies: int = 40) -> Parallel:
    for name, lines in (("en", SOURCE), ("de", TARGET), ("align", LINKS)):
        (folder / f"t.{name}").write_text("".join(f"{line}\n" for line in lines) * copies, encoding="utf-8")
    where = str(folder / "t")
    return Parallel("en", "de", where, where, alignments=f"{where}.align" if alignments else None)


def data(folder: Path, trainer: Any, protect: int = 3, **changes: Any) -> TranslationData:
    trainer = with_symbols(trainer, protect) if protect else trainer
    return TranslationData(corpus(folder, **changes), trainer, seed=1, protect=protect)


def sentences(module: TranslationData) -> list[tuple[int, list[int], list[int]]]:
    """The pairs of an epoch: their rows, sources and targets without eos."""
    found = []
    for batch in module.train_dataloader():
        for i, row in enumerate(batch.rows.tolist()):
            source, target = (side.ids[i, : side.lengths[i] - 1].tolist() for side in (batch.source, batch.target))
            found.append((row, source, target))
    return sorted(found)


def test_words_that_are_aligned_one_to_one() -> None:
    source = words_of(SOURCE[0])
    assert [word.text for word in source] == ["the", "dog", "sees", "the", "cat"]
    assert (source[4].begin, source[4].end) == (17, 20)  # without the full stop

    def texts(links: list[tuple[int, int]], one: str = SOURCE[0], other: str = TARGET[0]) -> list[tuple[str, str]]:
        return [(s.text, t.text) for s, t in one_to_one(words_of(one), words_of(other), links)]

    assert texts([(1, 1), (2, 2), (2, 3), (3, 3), (4, 4)]) == [("dog", "Hund"), ("cat", "Katze")]
    assert texts([(9, 0), (0, 9), (1, 1)]) == [("dog", "Hund")]
    assert texts([], SOURCE[1], TARGET[1]) == [("Anna", "Anna"), ("12", "12")]
    assert texts([], "a a b", "a b - b") == []
    assert texts([(0, 0)], "- a", "- b") == []


def by_words(*pairs: tuple[str, str]) -> list[Place]:
    """The places of words, by hand: `word` is replaced, `|word` is before it, and `word|` after it."""

    def part(text: str, word: str) -> tuple[int, int]:
        begin = text.index(word.strip("|"))
        end = begin + len(word.strip("|"))
        return (begin, begin) if word.startswith("|") else (end, end) if word.endswith("|") else (begin, end)

    texts = next(texts for texts in zip(SOURCE, TARGET, strict=True) if pairs[0][0].strip("|") in texts[0])
    ends = Place(*[(len(text), len(text)) for text in texts])
    return [Place((0, 0), (0, 0)), *(Place(*map(part, texts, pair)) for pair in pairs), ends]


PLACES = {
    0: [
        *by_words(("the", "der"), ("dog", "Hund"), ("sees", "sieht"), ("cat", "Katze")),
        *by_words(("|dog", "|Hund"), ("|sees", "|sieht"), ("|the c", "|die"), ("|cat", "|Katze"))[1:-1],
        Place((13, 16), (16, 19)),  # the second `the`
    ],
    1: by_words(("Anna", "Anna"), ("12", "12"), ("|has", "Anna|"), ("|12", "|12"), ("|dogs", "12|")),
    2: by_words(("alike", "gleich"), ("|alike", "|gleich")),
}
"""What a symbol may replace, and where it may stand, in each pair."""


@pytest.mark.parametrize("alignments", [False, True])
@pytest.mark.parametrize(
    "trainer",
    [
        WhitespaceTrainer(),
        SentencePieceTrainer(vocabulary_size=320),
        SentencePieceTrainer(vocabulary_size=320, sampling_alpha=0.3, sampling_sides="both"),
    ],
)
def test_symbols_are_where_both_sides_have_a_place(tmp_path: Path, trainer: Any, alignments: bool) -> None:
    module = data(tmp_path, trainer, alignments=alignments)
    own = protecting_symbols(module.tokenizers.source)
    assert own == protecting_symbols(module.tokenizers.target) == [4, 5, 6]
    possible = {row: possible_pairs(module, row) for row in PLACES}
    pairs, found = 0, set[tuple[int, Any]]()
    for row, *sides in sentences(module):
        symbols = [[i for i in side if i in own] for side in sides]
        assert sorted(symbols[0]) == sorted(symbols[1])
        assert len(set(symbols[0])) == len(symbols[0])
        parts = tuple(map(between_symbols, module.tokenizers, sides, [own, own]))
        if symbols[0]:
            pairs += 1
            found.add((row % 3, parts))
            order = tuple(symbols[0].index(symbol) for symbol in symbols[1])
            assert (parts, order) in possible[row % 3], (row, parts)
        else:
            assert parts == ((SOURCE[row % 3],), (TARGET[row % 3],))
    assert 0.3 < pairs / (120 if alignments else 40) < 0.7
    assert {row for row, _ in found} == ({0, 1, 2} if alignments else {1})
    assert sentences(module) == sentences(module)
    module.epoch = 1
    again = sentences(module)
    module.epoch = 0
    assert again != sentences(module)  # other pairs in the next epoch


def possible_pairs(module: TranslationData, row: int) -> set[Any]:
    """The texts between one to three symbols at all places, and the order of the symbols of the target."""
    found = set()
    for count in (1, 2, 3):
        for chosen in product(PLACES[row], repeat=count):
            orders, parts = [], []
            for side, text in enumerate((SOURCE[row], TARGET[row])):
                order = sorted(range(count), key=lambda i, side=side: (chosen[i][side], i))  # type: ignore[misc]
                ends = [0, *(chosen[i][side][1] for i in order)]
                begins = [*(chosen[i][side][0] for i in order), len(text)]
                tokenizer = module.tokenizers[side]
                pieces = [text[end:begin].strip() for end, begin in zip(ends, begins, strict=True)]
                parts.append(tuple(tokenizer.decode(tokenizer.encode(piece)) for piece in pieces))
                orders.append(order)
            found.add((tuple(parts), tuple(orders[0].index(i) for i in orders[1])))
    return found


def between_symbols(tokenizer: Any, ids: list[int], own: list[int]) -> tuple[str, ...]:
    """The texts between the symbols of a side."""
    at = [i for i, token in enumerate(ids) if token in own]
    return tuple(tokenizer.decode(ids[begin + 1 : end]) for begin, end in pairwise([-1, *at, len(ids)]))


def test_places_between_words(tmp_path: Path) -> None:
    links = [[(i, i) for i in range(5)], [], [(0, 0), (0, 1), (2, 2)]]
    for row, texts in enumerate(zip(SOURCE, TARGET, strict=True)):
        words = [words_of(text) for text in texts]
        places = between(texts, words[0], one_to_one(words[0], words[1], links[row]))
        assert sorted(places) == sorted(place for place in PLACES[row] if place.source[0] == place.source[1])
    module = data(tmp_path, WhitespaceTrainer(), alignments=True, copies=200)
    kinds = Counter(place_kind(module, pair) for pair in sentences(module))
    assert min(kinds[kind] for kind in ("word", "end", "inside")) > 2


def place_kind(module: TranslationData, pair: tuple[int, list[int], list[int]]) -> str:
    """Whether a pair with one symbol has it in the place of a word, at an end, or between two words."""
    row, source, _ = pair
    own = protecting_symbols(module.tokenizers.source)
    if sum(token in own for token in source) != 1:
        return "other"
    if len(source) == len(module.tokenizers.source.encode(SOURCE[row % 3])):
        return "word"
    return "end" if source[0] in own or source[-1] in own else "inside"


def test_off_is_exact(tmp_path: Path) -> None:
    off, plain = data(tmp_path, WhitespaceTrainer(), 0), data(tmp_path, WhitespaceTrainer(), 0)
    assert off.tokenizers.source.fingerprint == WhitespaceTrainer().train(SOURCE * 40).fingerprint
    for one, other in zip(off.train_dataloader(), plain.train_dataloader(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    on = data(tmp_path, WhitespaceTrainer(), 3)
    (batch,) = on.val_dataloader()
    assert not np.isin(batch.source.ids.numpy(), [4, 5, 6]).any()  # validation is of the text as it is


def test_tokenizers_without_symbols_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.protect=3: this tokenizer has no symbols"):
        with_symbols(CharacterTrainer(), 3)
    tokenizers = data(tmp_path, WhitespaceTrainer(), 3).tokenizers
    check_protecting(tokenizers, 3)
    with pytest.raises(
        UserError, match=r"data\.protect=5: the bundle's tokenizers have 3 symbols for spans; set it to 3"
    ):
        check_protecting(tokenizers, 5)
    assert with_symbols(with_symbols(WhitespaceTrainer(symbols=["<de>"]), 2), 3).symbols == [
        "<de>",
        "<protected1>",
        "<protected2>",
        "<protected3>",
    ]
