"""Unknown tokens of a sentence have ids of its own, and become the same text again."""

import pytest

from seq2seq.text import CharacterTokenizer, LetterTokenizer, SentencePieceTrainer, WhitespaceTokenizer
from seq2seq.text.columns import ColumnsTokenizer, TagTokenizer
from seq2seq.text.unseen import decode, extend, extend_target, known

WORDS = WhitespaceTokenizer(["a", "man"], symbols=["<x>"])  # seven tokens with the special ones


def test_ids_are_numbered_by_first_occurrence_up_to_the_limit() -> None:
    text = "zebra a lion zebra tiger man"
    ids = [*WORDS.encode(text), 3]
    assert extend(WORDS, text, ids, 2) == ([7, 5, 8, 7, 1, 6, 3], ("zebra", "lion"))
    assert extend(WORDS, text, ids[:3], 9) == ([7, 5, 8], ("zebra", "lion"))
    assert extend(WORDS, text, ids, 0) == (ids, ())
    assert extend(WORDS, "a man", [5, 6], 2) == ([5, 6], ())
    assert extend_target(WORDS, "lion bear a", [1, 1, 5], ("zebra", "lion")) == [8, 1, 5]
    assert known(WORDS, [8, 1, 5]) == [1, 1, 5]


@pytest.mark.parametrize(
    ("tokenizer", "text"),
    [
        (WORDS, "zebra a lion man zebra"),
        (CharacterTokenizer(" abc"), "axb ca xyz"),
        (LetterTokenizer("ab한"), "aéb é 한국"),
    ],
)
def test_text_comes_back(tokenizer, text: str) -> None:
    ids, unseen = extend(tokenizer, text, tokenizer.encode(text), 9)
    assert 1 not in ids
    assert decode(tokenizer, ids, unseen) == text
    assert decode(tokenizer, [2, 5, 1, 3, 0], unseen) == tokenizer.decode([2, 5, 1, 3, 0])


def test_letters_of_the_first_column_only() -> None:
    tags = TagTokenizer(["N", "PL"], ";")
    tokenizer = ColumnsTokenizer(["lemma", "tags"], [CharacterTokenizer("ab"), tags], ends=False)
    ids = tokenizer.encode("axb\tN;PL")
    assert ids == [4, 1, 5, 6, 7]
    assert extend(tokenizer, "axb\tN;PL", ids, 4) == ([4, 8, 5, 6, 7], ("x",))
    assert decode(tokenizer, [8, 4, 7, 3], ("x",)) == "xa"


def test_a_tokenizer_that_spells_everything_has_no_unknown_tokens() -> None:
    tokenizer = SentencePieceTrainer(vocabulary_size=270).train(["a man sees a dog"] * 9)
    ids = tokenizer.encode("zebra")
    assert extend(tokenizer, "zebra", ids, 9) == (ids, ())
    assert decode(tokenizer, ids, ("x",)) == "zebra"
