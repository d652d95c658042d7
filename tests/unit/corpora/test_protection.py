"""Symbols in training pairs: at words that are aligned one to one, the same on both sides, and none where it is off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.corpora import Parallel, TranslationData
from seq2seq.corpora.protection import check_protecting, one_to_one, with_symbols, words_of
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


@pytest.mark.parametrize("alignments", [False, True])
@pytest.mark.parametrize(
    "trainer",
    [
        WhitespaceTrainer(),
        SentencePieceTrainer(vocabulary_size=320),
        SentencePieceTrainer(vocabulary_size=320, sampling_alpha=0.3, sampling_sides="both"),
    ],
)
def test_symbols_are_at_aligned_words(tmp_path: Path, trainer: Any, alignments: bool) -> None:
    module = data(tmp_path, trainer, alignments=alignments)
    source_tokenizer, target_tokenizer = module.tokenizers[:2]
    own = protecting_symbols(source_tokenizer)
    assert own == protecting_symbols(target_tokenizer) == [4, 5, 6]
    seen, allowed = 0, {1: {("Anna", "Anna"), ("12", "12")}}
    if alignments:
        allowed |= {
            0: set(zip(SOURCE[0][:-1].split(), ["der", "Hund", "sieht", "die", "Katze"], strict=True)),
            2: {("alike", "gleich")},
        }
    for row, source, target in sentences(module):
        symbols = [[i for i in side if i in own] for side in (source, target)]
        assert sorted(symbols[0]) == sorted(symbols[1])
        assert len(set(symbols[0])) == len(symbols[0])
        seen += bool(symbols[0])
        if not symbols[0]:
            assert source_tokenizer.decode(source) == SOURCE[row % 3]
            continue
        for symbol in symbols[0]:
            pair = [
                _at(tokenizer, side, symbol, own, text)
                for tokenizer, side, text in zip(
                    module.tokenizers, (source, target), (SOURCE[row % 3], TARGET[row % 3]), strict=False
                )
            ]
            assert any(one in pair[0] and other in pair[1] for one, other in allowed[row % 3]), (pair, row)
    assert 0.1 < seen / (120 if alignments else 40) < 0.4
    assert sentences(module) == sentences(module)
    module.epoch = 1
    again = sentences(module)
    module.epoch = 0
    assert again != sentences(module)  # other pairs in the next epoch


def _at(tokenizer: Any, side: list[int], symbol: int, own: list[int], text: str) -> set[str]:
    """The words that a symbol may be at: the one after it, and those of the text that are no longer there."""
    at = side.index(symbol)
    end = next((i for i in range(at + 1, len(side)) if side[i] in own), len(side))
    after = tokenizer.decode(side[at + 1 : end]).split()
    rest = tokenizer.decode([i for i in side if i not in own])
    gone = {word.text for word in words_of(text)} - {word.text for word in words_of(rest)}
    repeated = {word for word in ("the",) if word in text}
    return gone | {word.text for word in words_of(" ".join(after[:1]))} | repeated


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
