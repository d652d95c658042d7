"""Letters: characters after canonical decomposition (NFD): a Hangul syllable is its two or three letters (jamo), and
é is e and an accent. So a model learns from few words and need not see every combination."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from seq2seq.text.characters import CharacterTokenizer, CharacterTrainer


class LetterTokenizer(CharacterTokenizer):
    """A `CharacterTokenizer` of the text in normalisation form D (NFD); decoded text is in form C (NFC).

    `decode(encode(text)) == text` for text in form C whose letters are all known.
    """

    kind: ClassVar[str] = "letters"

    def encode(self, text: str) -> list[int]:
        """Ids of the letters of one line, without bos and eos; unk for a letter that is not in the list."""
        return super().encode(text)

    def split(self, text: str) -> list[str]:
        """The letters of the decomposed text."""
        return list(unicodedata.normalize("NFD", text))

    def join(self, tokens: Sequence[str]) -> str:
        """Letters as text in form C."""
        return unicodedata.normalize("NFC", "".join(tokens))

    def decode(self, ids: Sequence[int]) -> str:
        """The text in form C; pad, bos and eos are dropped, unk is ⁇."""
        return unicodedata.normalize("NFC", super().decode(ids))


@dataclass(frozen=True)
class LetterTrainer(CharacterTrainer):
    """Settings of a `LetterTokenizer`, the same as those of `CharacterTrainer`."""

    def settings(self) -> dict[str, Any]:
        """All settings: each affects the vocabulary."""
        return super().settings() | {"kind": LetterTokenizer.kind}

    def train(self, lines: Iterable[str]) -> LetterTokenizer:
        """Collect the letters of the decomposed text as `CharacterTrainer.train` collects characters."""
        characters = super().train(unicodedata.normalize("NFD", line) for line in lines)
        return LetterTokenizer(**characters.describe())
