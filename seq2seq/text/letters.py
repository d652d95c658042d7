"""Letters: characters after canonical decomposition, so that a Hangul syllable is its two or three letters (jamo), and
é is e with an accent. A word model then learns from few words what it would else have to see in every combination."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from seq2seq.text.characters import CharacterTokenizer, CharacterTrainer


class LetterTokenizer(CharacterTokenizer):
    """The code points of the text's normalisation form D; decoded, they are composed again (form C).

    `decode(encode(text)) == text` for text in form C whose letters are known.
    """

    kind: ClassVar[str] = "letters"

    def encode(self, text: str) -> list[int]:
        """Ids of the letters of one line, without bos and eos; unk for a letter that is not in the list."""
        return super().encode(unicodedata.normalize("NFD", text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text in form C; pad, bos and eos are dropped, unk is ⁇."""
        return unicodedata.normalize("NFC", super().decode(ids))


@dataclass(frozen=True)
class LetterTrainer(CharacterTrainer):
    """Settings as `CharacterTrainer` has them."""

    def settings(self) -> dict[str, Any]:
        """What decides the list."""
        return super().settings() | {"kind": LetterTokenizer.kind}

    def train(self, lines: Iterable[str]) -> LetterTokenizer:
        """Count the letters; see `CharacterTrainer.train`."""
        characters = super().train(unicodedata.normalize("NFD", line) for line in lines)
        return LetterTokenizer(**characters.describe())
