"""Whether a metric can distinguish models on given references, and if not, which metric can.

BLEU counts n-grams of up to four words. If the outputs have fewer words each, or are written without spaces (Thai,
Khmer, Lao, Burmese; Chinese and Japanese unless a tokenizer splits them), there are no 4-grams, and BLEU is 0 for every
model.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

JUDGED = ("bleu", "bleu-char")
"""The metrics that are checked; the others can distinguish models on any text."""

ORDER = 4
"""The largest order of BLEU's n-grams: a line with fewer words (for BLEU-char, characters) has no such n-gram."""

ENOUGH = 1 / 3
"""The share of lines with such n-grams that is enough for BLEU, which sums the counts of all lines."""

SAMPLED = 2000
"""Most lines that are checked; if there are more, every n-th."""

RUN = 6
"""Mean letters a word above which a text in a script of `UNSPACED` counts as written without spaces. (Words of Thai,
Khmer and Chinese have 1 to 5 letters.)"""

UNSPACED = re.compile(
    "["
    "\u0e00-\u0fff"  # Thai, Lao, Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai languages
    "\u1b00-\u1b7f\ua980-\ua9df"  # Balinese, Javanese
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han
    "]"
)
"""Characters of scripts without spaces between words."""


class Weakness(NamedTuple):
    """Why a metric cannot distinguish models, and the name of one that can."""

    reason: str
    instead: str


def weakness(
    metric: str, references: Sequence[str], language: str | None = None, tokenize: str | None = None
) -> Weakness | None:
    """Why `metric` (a name of `scoring.NAMES`) cannot distinguish models on these references; None if it can.

    `language` is that of the references: words are counted as in `Scorer`, with special tokenizers for zh, ja and ko,
    or by the tokenizer `tokenize`. Lines without text are ignored. Raises `UserError` if the language's tokenizer is
    not installed.
    """
    lines = _sample(references)
    if not lines or metric not in JUDGED:
        return None
    if metric == "bleu-char":
        short = [_characters(line) < ORDER for line in lines]
        return _short(short, "characters") if _mostly(short) else None
    unspaced = _unspaced(language, tokenize)
    without = [unspaced(line) for line in lines]
    short = [not spaces and _few_words(line, language, tokenize) for spaces, line in zip(without, lines, strict=True)]
    if not _mostly([one or other for one, other in zip(without, short, strict=True)]):
        return None
    if sum(short) >= sum(without):
        return _short(short, "words")
    enough = not _mostly([_characters(line) < ORDER for line in lines])
    reason = f"{_percent(without)} of the references are written without spaces between words"
    return Weakness(reason, "bleu-char" if enough else "chrf")


def _sample(references: Sequence[str]) -> list[str]:
    lines = [line for line in references if line.strip()]
    return lines[:: max(1, -(-len(lines) // SAMPLED))]


def _mostly(bad: Sequence[bool]) -> bool:
    """Whether so many lines are bad that the others are not ENOUGH."""
    return len(bad) - sum(bad) < ENOUGH * len(bad)


def _short(short: Sequence[bool], unit: str) -> Weakness:
    return Weakness(f"{_percent(short)} of the references have fewer than {ORDER} {unit}", "chrf")


def _percent(lines: Sequence[bool]) -> str:
    return f"{100 * sum(lines) / len(lines):.0f}%"


def _characters(line: str) -> int:
    return sum(not character.isspace() for character in line)


def _few_words(line: str, language: str | None, tokenize: str | None) -> bool:
    from seq2seq.scoring.metrics import words_of

    return len(words_of(language, tokenize)(line)) < ORDER


def _unspaced(language: str | None, tokenize: str | None) -> Callable[[str], bool]:
    """A predicate: whether a line is in a script without spaces, and has none; always False if a tokenizer splits
    it."""
    from seq2seq.scoring.metrics import LANGUAGES, UNCUT, primary

    cut = tokenize not in UNCUT if tokenize else primary(language) in LANGUAGES
    return (lambda line: False) if cut else _has_no_spaces


def _has_no_spaces(line: str) -> bool:
    letters = [character for character in line if unicodedata.category(character).startswith("L")]
    such = [character for character in letters if UNSPACED.match(character)]
    words = [word for word in line.split() if UNSPACED.search(word)]
    return 2 * len(such) > len(letters) and len(such) > RUN * len(words)
