"""Spans that are kept: how a text is cut at them, and how an output gets them back."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from seq2seq.errors import UserError
from seq2seq.text import WhitespaceTokenizer
from seq2seq.text.protection import Span, compiled, cut, matches, protecting_symbols, put_back, symbol_names, symbols_of

WORDS = ["a", "b", "x1", "<", ">", "(", ")", ".", "s"]
TOKENIZER = WhitespaceTokenizer(WORDS, symbols=["<de>", *symbol_names(2)])
MARKUP = compiled(r"\{\{.*?\}\}|<[^>]+>|\d+")


def ids(text: str) -> list[int]:
    symbols = dict(zip("12", protecting_symbols(TOKENIZER), strict=True))
    return [symbols[word] if word in symbols else TOKENIZER.encode(word)[0] for word in text.split()]


def test_a_text_is_cut_at_its_spans() -> None:
    text = "a ({{n}})  b <i>c</i>"
    texts, spans = cut(text, matches(MARKUP, text))
    assert texts == ["a (", ")  b", "c", ""]
    assert spans == [Span("{{n}}", "(", ")"), Span("<i>", "", "c"), Span("</i>", "c", "")]
    assert cut("a b", []) == (["a b"], [])
    assert cut("a b", [(2, 2)]) == (["a", "b"], [Span("", "", "b")])
    symbols = protecting_symbols(TOKENIZER)
    assert symbols == [5, 6]
    assert symbols_of(spans, symbols) == [5, 6, 5]


@pytest.mark.parametrize(
    ("source", "output", "expected"),
    [
        ("a {{n}} b", "b 1 a", "b {{n}} a"),
        ("({{n}}) a", "( 1 ) a", "({{n}}) a"),  # the bracket is the neighbour that the span had
        ("({{n}}) a", "a 1 ) a", "a {{n}}) a"),  # a letter is not
        ("<b>a</b>", "1 b 2", "<b>b</b>"),
        ("{{n}}'s a", "a 1 b", "a {{n}} b"),
        ("<b><i>", "1 2", "<b><i>"),
        ("<b><i>", "2 1", "<i> <b>"),  # outside of the source's order they touch nothing
        ("{{n}}", "1", "{{n}}"),
        ("7 a 7 a 8", "1 1 2", "7 8 7"),  # three spans, two symbols, which take turns
        ("7 a", "x1 1", "x 7"),  # a number of the model's own would be one too many
        ("{{n}} a", "< 1 a >", "{{n}} a >"),  # and so would a mark-up around the span
    ],
)
def test_spans_are_put_back(source: str, output: str, expected: str) -> None:
    _, spans = cut(source, matches(MARKUP, source))
    text = put_back(TOKENIZER, ids(output), spans, protecting_symbols(TOKENIZER), MARKUP)
    assert text == expected
    assert Counter(MARKUP.findall(text)) == Counter(MARKUP.findall(source))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"\d*", r"'\\\\d\*': matches the empty string; write what a span has at least"),
        (r"(?=a)", "matches the empty string"),
        (r"\b", "matches the empty string"),
        ("", "matches the empty string"),
        (r"\s+", "matches a space"),
        ("(", "is no regular expression"),
    ],
)
def test_patterns_that_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compiled(pattern)
    assert isinstance(compiled(r"\d+"), re.Pattern)
