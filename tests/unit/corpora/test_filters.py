"""The rules of `seq2seq filter`, each against pairs written by hand, and the scripts of letters."""

from __future__ import annotations

import math

import pytest

from seq2seq.corpora import filters
from seq2seq.corpora.scripts import main_scripts, script_of, share_of
from seq2seq.errors import UserError

RULES = {
    "length": filters.length_rule(1, 3, "words"),
    "characters": filters.length_rule(2, math.inf, "characters"),
    "ratio": filters.ratio_rule(2, "words"),
    "identical": filters.identical_rule(),
    "script": filters.script_rule([("a man sees IBM", "мужчина видит IBM")]),
}


@pytest.mark.parametrize(
    ("rule", "pair", "expected"),
    [
        ("length", ("a b c", "d"), False),
        ("length", ("a b c d", "d"), True),
        ("length", ("a", ""), True),
        ("length", ("a", "\u3000 "), True),
        ("characters", ("ab", "我爱"), False),
        ("characters", ("ab", "我"), True),
        ("ratio", ("a b", "c"), False),
        ("ratio", ("a", "b c d"), True),
        ("ratio", ("", "b"), True),
        ("ratio", ("", ""), False),
        ("identical", ("a b ", " a b"), True),
        ("identical", ("a b", "A b"), False),
        ("script", ("the IBM", "компьютер IBM"), False),
        ("script", ("the", "IBM"), True),
        ("script", ("мужчина", "мужчина"), True),
        ("script", ("1 + 1", "= 2"), False),
    ],
)
def test_a_rule(rule: str, pair: tuple[str, str], expected: bool) -> None:
    assert RULES[rule].rejects(*pair) is expected


def test_duplicates_are_pairs() -> None:
    rule = filters.duplicates_rule()
    pairs = [("a", "b"), ("a", "c"), ("a", "b"), ("b", "a"), ("a", "c")]
    assert [rule.rejects(*pair) for pair in pairs] == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("Ein Haus", {"Latin"}),
        ("東京に行きます", {"Han", "Hiragana", "Katakana"}),
        ("我爱北京 IBM", {"Han", "Bopomofo"}),
        ("한국어 文", {"Hangul", "Han"}),
        ("дом", {"Cyrillic"}),
        ("12, !", set()),
    ],
)
def test_the_scripts_of_a_text(text: str, scripts: set[str]) -> None:
    assert main_scripts([text]) == scripts


def test_letters_and_what_is_none() -> None:
    assert [script_of(sign) for sign in "aÉжα漢ﾊＡ1ー!́"] == [
        *("Latin", "Latin", "Cyrillic", "Greek", "Han", "Katakana", "Latin"),
        *[None] * 4,
    ]
    assert share_of("aaa жж", frozenset({"Latin"})) == 3 / 5


@pytest.mark.parametrize("quantile", [0.05, 0.07, 0.29, 0.5, 0.999])
def test_a_quantile_leaves_out_its_share(quantile: float) -> None:
    scores = [-float(i * 37 % 100) for i in range(100)]
    least = filters.threshold(scores, quantile)
    assert sum(score < least for score in scores) == math.floor(round(quantile * 100, 6))


def test_of_equal_scores_none_is_below() -> None:
    assert filters.threshold([-1.0] * 9 + [-math.inf], 0.3) == -1.0


def test_what_is_refused() -> None:
    for make in (lambda: filters.length_rule(3, 2, "words"), lambda: filters.ratio_rule(0.5, "words")):
        with pytest.raises(UserError):
            make()
    with pytest.raises(UserError, match="--script"):
        filters.script_rule([("1", "2")])
