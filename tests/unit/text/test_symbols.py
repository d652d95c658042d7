"""Symbols of a tokenizer: ids of their own, no text is encoded to them, kept in its files, and exact where there are
none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seq2seq.errors import UserError
from seq2seq.text import SentencePieceTrainer, Tokenizers, WhitespaceTrainer, description, load_tokenizers
from seq2seq.text.tokenizer import symbol_id

SYMBOLS = ["<de>", "<fr>", "<BT>"]
LINES = ["the <de> dog sees a <BT> house", "<fr> dogs in red houses", "<de> <de> <fr>"] * 4
TRAINERS: dict[str, Any] = {
    "bpe": lambda symbols: SentencePieceTrainer(vocabulary_size=310, symbols=symbols),
    "unigram": lambda symbols: SentencePieceTrainer(vocabulary_size=279, model_type="unigram", symbols=symbols),
    "char": lambda symbols: SentencePieceTrainer(vocabulary_size=None, model_type="char", symbols=symbols),
    "word": lambda symbols: SentencePieceTrainer(vocabulary_size=None, model_type="word", symbols=symbols),
    "whitespace": lambda symbols: WhitespaceTrainer(symbols=symbols),
}


@pytest.mark.parametrize("name", TRAINERS)
def test_no_text_is_encoded_to_a_symbol(name: str, tmp_path: Path) -> None:
    tokenizer = TRAINERS[name](SYMBOLS).train(LINES)
    assert tokenizer.symbols == {symbol: i for i, symbol in enumerate(SYMBOLS, 4)}
    for line in [*LINES, "<de>", "x<fr>y", " <BT>"]:
        ids = tokenizer.encode(line)
        assert not set(ids) & set(tokenizer.symbols.values())
        known = name != "whitespace" or line in LINES
        assert not known or tokenizer.decode(ids) == line
        assert tokenizer.decode([4, *ids]) == tokenizer.decode(ids)
    assert tokenizer.tokens([3, 4, 6]) == ["</s>", "<de>", "<BT>"]
    assert symbol_id(tokenizer, "<fr>", "--tag") == 5
    Tokenizers(tokenizer, tokenizer, joint=True).save(tmp_path)
    kept = load_tokenizers(tmp_path).source
    assert (kept.symbols, kept.fingerprint) == (tokenizer.symbols, tokenizer.fingerprint)
    assert description(Tokenizers(kept, kept, joint=True))["symbols"] == SYMBOLS


@pytest.mark.parametrize("name", TRAINERS)
def test_without_symbols_nothing_is_different(name: str) -> None:
    trainer = TRAINERS[name](())
    tokenizer = trainer.train(LINES)
    assert tokenizer.symbols == {}
    assert "symbols" not in tokenizer.describe()
    assert "symbols" not in trainer.settings()
    assert "symbols" not in description(Tokenizers(tokenizer, tokenizer, joint=True))


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (["<de>", "<de>"], "'<de>' is there twice"),
        (["<a b>"], "'<a b>' cannot be a symbol"),
        ([""], "'' cannot be a symbol"),
        (["</s>"], "'</s>' cannot be a symbol"),
        (["<0x41>"], "'<0x41>' cannot be a symbol"),
    ],
)
def test_what_is_no_symbol(symbols: list[str], message: str) -> None:
    for make in (lambda: WhitespaceTrainer(symbols=symbols), lambda: SentencePieceTrainer(symbols=symbols)):
        with pytest.raises(UserError, match=r"tokenizer\.symbols") as told:
            make()
        assert message in str(told.value)


def test_a_symbol_that_there_is_not() -> None:
    with pytest.raises(UserError, match="'<xx>' is no symbol of the tokenizer; it has <de>, <fr>, <BT>"):
        symbol_id(WhitespaceTrainer(symbols=SYMBOLS).train(LINES), "<xx>", "--tag <xx>")
