"""Which writing system a text is in, by the Unicode names of its letters."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

KANA = frozenset({"Hiragana", "Katakana"})
TOGETHER = {"Hangul": frozenset({"Hangul", "Han"}), "Han": frozenset({"Han", "Bopomofo"})}
"""Scripts that a text of the first one may also have."""

JAPANESE = KANA | {"Han"}
KANA_SHARE = 0.1  # of the letters of a text from which it is Japanese: Chinese has next to none, Japanese half
OTHER_NAMES = {"Cjk": "Han", "Ideographic": "Han"}
OWN_LETTERS = (" LETTER", " SYLLABLE", " IDEOGRAPH", " SIGN ", "IDEOGRAPHIC ")


@lru_cache(1 << 16)
def script_of(character: str) -> str | None:
    """The script of a letter, such as Latin, Cyrillic, Han; None for digits, punctuation and what several scripts
    share. Full-width and other compatibility forms count as what they are forms of."""
    plain = unicodedata.normalize("NFKC", character)[:1]
    name = unicodedata.name(plain, "") if plain.isalpha() else ""
    if not any(part in name for part in OWN_LETTERS) or name.startswith("MODIFIER"):
        return None
    first = name.partition(" ")[0].partition("-")[0].capitalize()
    return OTHER_NAMES.get(first, first)


def count_scripts(texts: Iterable[str]) -> Counter[str]:
    """How many letters of each script the texts have."""
    counts = Counter(map(script_of, "".join(texts)))
    return Counter({script: count for script, count in counts.items() if script is not None})


def main_scripts(texts: Iterable[str]) -> frozenset[str]:
    """The scripts that texts of one language are written in: the most frequent one and those that go with it; of
    Japanese, Han and both kana. Empty where there are no letters."""
    counts = count_scripts(texts)
    if not counts:
        return frozenset()
    if sum(counts[script] for script in KANA) >= KANA_SHARE * counts.total():
        return JAPANESE
    (first, _), *_ = counts.most_common(1)
    return TOGETHER.get(first, frozenset({first}))


def share_of(text: str, scripts: frozenset[str]) -> float:
    """The share of a text's letters that are of these scripts; 1 where it has no letters."""
    counts = count_scripts([text])
    return sum(counts[script] for script in scripts) / counts.total() if counts else 1.0
