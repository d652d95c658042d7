"""Factors are spread over the tokens of words as tables by hand have them, whatever splits a text into tokens."""

from pathlib import Path

import pytest

from seq2seq.errors import UserError
from seq2seq.text import (
    CharacterTokenizer,
    Factors,
    LetterTokenizer,
    SentencePieceTrainer,
    Tokenizer,
    Tokenizers,
    WhitespaceTokenizer,
    load_tokenizers,
    sentence_of,
)
from seq2seq.text.factors import train_factors
from seq2seq.text.numbers import NumberTokenizer
from seq2seq.text.spreading import factor_rows, words_of

LINES = ["the old man sleeps in the house", "a red dog runs  fast", "the woman sees a dog"] * 5
FACTORS = train_factors(["pos", "subword"], ["the man\tDET NOUN", "a dog sees\tDET NOUN VERB"])


def subwords(**options: object) -> Tokenizer:
    settings = {"vocabulary_size": 300, "joint": False, **options}
    return SentencePieceTrainer(**settings).train(LINES)  # type: ignore[arg-type]


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The tokens of each word, and last those that are of none."""
    numbers = words_of(tokenizer, text)
    tokens = tokenizer.tokens(tokenizer.encode(text))
    by_word = [""] * (max(numbers, default=-1) + 1) + [""]
    for token, number in zip(tokens, numbers, strict=True):
        by_word[number] += f"|{token}"
    return by_word


def test_subwords_belong_to_their_words() -> None:
    bpe = subwords()
    assert words(bpe, "  the wömanhood  日 sees ") == [
        "|▁|▁|▁the",
        "|▁|w|<0xC3>|<0xB6>|man|ho|o|d",
        "|▁|▁|<0xE6>|<0x97>|<0xA5>",
        "|▁s|ee|s|▁",
        "",
    ]
    assert words(bpe, "the\u00a0old man") == ["|▁the|<0xC2>|<0xA0>|o|ld", "|▁|man", ""]  # only U+0020 ends a word
    assert words(bpe, "") == [""]
    assert words(bpe, "  ") == ["|▁|▁|▁"]


def test_unknown_and_normalised_words_shift_no_other() -> None:
    unknown = subwords(model_type="word", vocabulary_size=None, byte_fallback=False)
    assert words(unknown, "the xx yy 日 sees")[:2] == ["|▁the", "|<unk>"]  # three words are one token
    assert words(unknown, "the xx yy 日 sees")[4] == "|▁sees"
    normalised = subwords(normalization="nfkc")  # U+FB01 becomes fi, U+3000 a space, which is in a word here
    assert words(normalised, "the ﬁne\u3000old man") == ["|▁the", "|▁f|in|e|▁|o|ld", "|▁|man", ""]


def test_characters_letters_and_words() -> None:
    assert words(CharacterTokenizer(" adeho"), "he  do") == ["|h|e", "| | |d|o", ""]
    assert words(LetterTokenizer(" adeh\u0308o"), "hö a") == ["|h|o|\u0308", "| |a", ""]
    assert words(WhitespaceTokenizer(["the"]), "the  x") == ["|the", "|<unk>", ""]
    with pytest.raises(UserError, match=r"a tokenizer of kind numbers does not split words"):
        words_of(NumberTokenizer([0.0], [1.0]), "1")


def test_every_token_has_the_values_of_its_word_and_its_place() -> None:
    pos = {"DET": 4, "NOUN": 5, "VERB": 6}
    places = {"B": 4, "I": 5, "E": 6, "O": 7}
    bpe = Tokenizers(subwords(), subwords(), joint=False, factors=FACTORS)
    (rows,) = factor_rows(bpe, ["the dog sleephouse\tDET NOUN XX"])
    tokens = bpe.source.tokens(bpe.source.encode("the dog sleephouse"))
    table = [("▁the", pos["DET"], "O"), ("▁dog", pos["NOUN"], "O"), ("▁s", 1, "B"), ("l", 1, "I"), ("ee", 1, "I")]
    assert [(token, value, place) for token, (value, place) in zip(tokens, rows, strict=True)][:5] == [
        (token, value, places[place]) for token, value, place in table
    ]  # XX is unknown: unk
    assert rows[-1] == (1, places["E"])
    letters = Tokenizers(CharacterTokenizer(" ab"), CharacterTokenizer(" ab"), joint=False, factors=FACTORS)
    assert factor_rows(letters, ["ab a\tDET NOUN", "", " \t"]) == [
        [(4, places["B"]), (4, places["E"]), (5, places["B"]), (5, places["E"])],
        [],
        [(0, 0)],
    ]
    only = Factors({"subword": ("B", "I", "E", "O")})
    assert sentence_of("a\tb", only) == "a\tb"  # nothing is given, so a tab is text
    assert sentence_of("a\tb", FACTORS) == "a"
    assert sentence_of("a\tb", None) == "a\tb"


def test_factors_are_saved_with_the_tokenizers(tmp_path: Path) -> None:
    tokenizers = Tokenizers(WhitespaceTokenizer(["a"]), WhitespaceTokenizer(["b"]), joint=False, factors=FACTORS)
    tokenizers.save(tmp_path)
    again = load_tokenizers(tmp_path).factors
    assert again is not None
    assert again.values == {"pos": ("DET", "NOUN", "VERB"), "subword": ("B", "I", "E", "O")}
    assert (again.fingerprint, again.sizes) == (FACTORS.fingerprint, {"pos": 7, "subword": 8})
    tokenizers._replace(factors=None).save(tmp_path / "without")
    assert load_tokenizers(tmp_path / "without").factors is None
    for content, words in (
        ("{", "is not JSON"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1}', "no description|not a"),
    ):
        (tmp_path / "factors.json").write_text(content)
        with pytest.raises(UserError, match=words):
            load_tokenizers(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a dog", r"^in:3: has no values of the factor pos, .*give pos=FILE with --factors"),
        ("a dog\tDET", r"^in:3: the factor pos has 1 value for 2 words; write one for each word"),
        ("a\tDET NOUN", r"^in:3: the factor pos has 2 values for 1 word;"),
        ("a\tDET\tx", r"^in:3: has 3 tab-separated columns, and this model reads 2: text<TAB>pos"),
    ],
)
def test_refused_sources(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        FACTORS.check(text, "in:3")
    FACTORS.check("a  dog\tDET NOUN", "in:3")
