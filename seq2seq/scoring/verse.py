"""Metrics of Chinese verse, by the sounds of its characters: rhyme at the ends of lines, and their pattern of tones.

The sounds are those of modern Mandarin, by pypinyin: those of older verse differ, mostly where a tone was lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar

from seq2seq.errors import UserError
from seq2seq.scoring.metrics import Rate

MEDIAL = re.compile("^[iuv](?=[aoe])")
KEPT = ("ie", "ve")
"""Finals that rhyme with each other, and not with what they are without their first vowel."""


class Sounds(Rate):
    """The base of both metrics. Raises `UserError` where pypinyin is not installed."""

    described: ClassVar = {"unit": "character", "tok": "none", "sounds": "mandarin"}

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        finals()
        self.described = {**type(self).described, "version": f"pypinyin-{version('pypinyin')}"}  # type: ignore[misc]


class Rhyme(Sounds):
    """The share of lines whose last character rhymes with that of a reference: the same final, whatever its medial and
    its tone."""

    def count(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """1 of 1 where it rhymes; 0 of 0 where no reference ends with a sound."""
        wanted = {rhyme(sounds[-1]) for reference in references if (sounds := sounds_of(reference))}
        own = sounds_of(hypothesis)
        return (float(bool(own) and rhyme(own[-1]) in wanted), 1) if wanted else (0, 0)


class Tones(Sounds):
    """The share of the first reference's characters whose tone, level (1, 2) or oblique (3, 4), the output has at the
    same place; neutral tones count as oblique."""

    def count(self, hypothesis: str, references: Sequence[str]) -> tuple[float, float]:
        """Places of equal tones, and the length of the reference, or of a longer output."""
        own, right = ([is_level(sound) for sound in sounds_of(line)] for line in (hypothesis, references[0]))
        return sum(one == other for one, other in zip(own, right, strict=False)), max(len(own), len(right))


VERSE: dict[str, type[Sounds]] = {"rhyme": Rhyme, "tones": Tones}
"""The metrics by their names."""


def sounds_of(line: str) -> list[str]:
    """The final and tone of each character that has one, such as `uang1` of 光; other signs are left out."""
    return [sound for character in line if (sound := finals()(character))]


def rhyme(sound: str) -> str:
    """The rhyme of a final: without medial and tone, `ang` of `uang1`."""
    final = sound.rstrip("12345")
    return KEPT[0] if final in KEPT else MEDIAL.sub("", final)


def is_level(sound: str) -> bool:
    """Whether a tone is level: the first or the second."""
    return sound.endswith(("1", "2"))


@cache
def finals() -> Any:
    """What gives the final and tone of a character, empty for what has none."""
    try:
        library: Any = import_module("pypinyin")
    except ImportError:
        raise UserError("scoring: rhyme and tones need pypinyin: pip install 'seq2seq-recurrent[zh]'") from None
    style = library.Style.FINALS_TONE3

    @cache
    def final(character: str) -> str:
        sounds: list[str] = library.lazy_pinyin(character, style=style, strict=True, errors=lambda text: [""])
        return sounds[0] if sounds else ""

    return final
