"""Tokens to words, attention to links, and copying: against matrices whose answer is obvious."""

import pytest
import torch

from seq2seq import Translator
from seq2seq.errors import UserError
from seq2seq.inference.alignment import Aligner, Words, check_copying
from seq2seq.text import (
    UNK,
    CharacterTokenizer,
    SentencePieceTrainer,
    Tokenizers,
    WhitespaceTokenizer,
)
from tests.bundles import save

TRAINING = ["the cat sat on the mat", "a dog is here", "dogs and cats run", "x y z"] * 30
TEXTS = ["the cat sat", "a  zebra is on   the 漢字 mat ", " dogs", "x", "thecat\u00a0a b\tc", "catdogs 12 ▁ run."]


def sentencepiece(kind, *, byte_fallback=True):
    size = None if kind in ("char", "word") else 284
    return SentencePieceTrainer(model_type=kind, vocabulary_size=size, byte_fallback=byte_fallback).train(TRAINING)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "char", "word", "characters"])
def test_every_token_belongs_to_the_word_that_it_spells(kind):
    """The tokens of a word, joined without the others, spell the word."""
    tokenizer = CharacterTokenizer("".join(sorted({*"".join(TEXTS)}))) if kind == "characters" else None
    tokenizer = tokenizer or sentencepiece(kind)
    for text in TEXTS:
        ids = tokenizer.encode(text)
        of = Words(tokenizer).of(ids)
        assert of == sorted(of)
        for position, word in enumerate(word for word in text.split(" ") if word):
            own = [i for i, at in zip(ids, of, strict=True) if at == position]
            assert tokenizer.decode(own).strip(" ") == word


@pytest.mark.parametrize(
    ("tokenizer", "text", "expected"),
    [
        (WhitespaceTokenizer(["a", "b"]), "a zebra  b", [0, 1, 2]),
        (sentencepiece("word", byte_fallback=False), "the zebra sat", [0, 1, 2]),
        (sentencepiece("char", byte_fallback=False), "a ?q b", [0, 0, 1, 1, 2, 2]),  # ▁ a ▁ ?q ▁ b: ?q is one unk
    ],
)
def test_unknown_tokens_make_no_words_of_their_own(tokenizer, text, expected):
    assert Words(tokenizer).of(tokenizer.encode(text)) == expected


def aligner(stride=1, limit=100):
    source, target = WhitespaceTokenizer(["red", "house", "small"]), WhitespaceTokenizer(["rotes", "Haus", "kleines"])
    return Aligner(Tokenizers(source, target, False), stride, limit)


# Rows: rotes, ⁇, Haus, eos. Columns: red, small, house, eos, padding.
WEIGHTS = torch.tensor([[0.6, 0.2, 0.1, 0.1, 0], [0.1, 0.5, 0.3, 0.1, 0], [0.0, 0.1, 0.2, 0.7, 0], [0.9, 0, 0, 0.1, 0]])


def test_links_go_to_the_word_most_looked_at_and_none_to_the_end():
    tokens = [4, UNK, 5]
    assert aligner().pharaoh("red  small house", tokens, WEIGHTS) == "0-0 1-1"
    assert aligner().pharaoh("red small house", [], WEIGHTS[3:]) == ""
    assert aligner().pharaoh("red small house", tokens, None) == ""
    torch.testing.assert_close(aligner().matrix("red small house", tokens, WEIGHTS), WEIGHTS[:3, :4])


def test_words_sum_over_their_tokens():
    """Letters "ab c" → "xy z": 3 of 4 source tokens and 2 of 4 target tokens belong to the first words."""
    letters = CharacterTokenizer(" abcxyz")
    both = Aligner(Tokenizers(letters, letters, True), 1, 100)
    weights = torch.eye(5)[[0, 1, 2, 3]] * 0.5 + 0.1
    found = both.matrix("ab c", letters.encode("xy z"), weights)
    # "a", "b" are word 0; " " and "c" word 1: a token that ends in a space belongs to the next word.
    expected = torch.tensor([[0.2 + 0.2 + 0.5 + 0.5, 0.4, 0.2], [0.4, 0.4 + 0.5 + 0.5, 0.2]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("stride", "tokens", "columns"), [(2, 3, 2), (2, 4, 3), (4, 3, 1), (4, 9, 3)])
def test_positions_of_several_tokens_divide_all_their_attention(stride, tokens, columns):
    """`tokens` and eos, in groups of `stride`; the last group may be smaller, and columns after it are padding."""
    weights = torch.rand(3, columns).softmax(1)
    spread = aligner(stride).by_token(" ".join(["red"] * tokens), torch.cat([weights, torch.zeros(3, 2)], 1))
    assert spread.shape == (3, tokens + 1)
    groups = [spread[:, i : i + stride].sum(1) for i in range(0, tokens + 1, stride)]
    torch.testing.assert_close(torch.stack(groups, 1), weights)


def test_a_truncated_source_has_words_without_tokens():
    weights = torch.tensor([[0.1, 0.2, 0.7], [0.2, 0.7, 0.1]])
    assert aligner(limit=2).pharaoh("red small house", [4, 5], weights) == "1-1"


def test_unknown_words_are_copied_from_where_the_model_looked():
    assert aligner().copy_unknown("red Weimar house", [4, UNK, 5], WEIGHTS) == "rotes Weimar Haus"
    assert aligner().copy_unknown("red Weimar house", [UNK, UNK, UNK], WEIGHTS) == "red Weimar house"


def test_who_copies_and_who_need_not():
    def check(tokenizer):
        return check_copying(Aligner(Tokenizers(tokenizer, tokenizer, True), 1, 9))

    assert check(WhitespaceTokenizer(["a"])) is None
    assert check(sentencepiece("word", byte_fallback=False)) is None
    assert "spells unknown words in bytes" in check(sentencepiece("bpe"))
    assert "spells unknown words in bytes" in check(sentencepiece("word"))
    with pytest.raises(UserError, match="byte_fallback=true"):
        check(sentencepiece("char", byte_fallback=False))


def test_a_model_without_attention_aligns_nothing(tmp_path):
    save(tmp_path / "b")
    with pytest.raises(UserError, match="no attention"):
        Translator.load(tmp_path / "b").aligner()
