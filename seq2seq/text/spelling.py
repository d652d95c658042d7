"""Words together with their characters, so that a model can read words that training never saw.

A sentence is one list of ids: a word's own id (unk where it is not in the list), then the bytes of its UTF-8 form, then
the next word. Bytes are the characters because there are only 256 of them and no character is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from seq2seq.errors import UserError
from seq2seq.text.tokenizer import PlainFiles, TokenizerTrainer
from seq2seq.text.vocabulary import EOS, SPECIALS
from seq2seq.text.words import WhitespaceTokenizer, WhitespaceTrainer

BYTES = range(len(SPECIALS), len(SPECIALS) + 256)
"""The ids of the bytes 0 to 255; the words have the ids after them."""


class SpellingTokenizer(PlainFiles):
    """The words of a `WhitespaceTokenizer`, each followed by its bytes.

    `decode(encode(text)) == text` for every text with single spaces between its words, known or not.
    """

    kind: ClassVar[str] = "spelling"

    def __init__(self, words: WhitespaceTokenizer) -> None:
        self._words = words

    def __len__(self) -> int:
        return len(self._words) + len(BYTES)

    def describe(self) -> dict[str, Any]:
        """The words, in the order of their ids."""
        return self._words.describe()

    def encode(self, text: str) -> list[int]:
        """Ids of one sentence, without bos and eos."""
        ids: list[int] = []
        for word in text.split(" "):
            if word:
                (i,) = self._words.encode(word)
                ids.append(i if i <= EOS else i + len(BYTES))
                ids.extend(BYTES[byte] for byte in word.encode())
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence, as `encode` gives them."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The words that the bytes spell; a line feed, which only a generated sentence can contain, becomes a space."""
        words: list[bytearray] = []
        for i in ids:
            if i in BYTES and words:
                words[-1].append(i - BYTES[0])
            elif i not in BYTES:
                words.append(bytearray())
        return " ".join(word.decode(errors="replace") for word in words if word).replace("\n", " ")

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sentence, as `decode` gives it."""
        return [self.decode(sentence) for sentence in ids]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The word, or the byte as <0x41>, of each id."""
        return [
            f"<0x{i - BYTES[0]:02X}>" if i in BYTES else self._words.tokens([i if i <= EOS else i - len(BYTES)])[0]
            for i in ids
        ]


@dataclass(frozen=True)
class SpellingTrainer(TokenizerTrainer):
    """Settings of a `SpellingTokenizer`: those of its list of words."""

    words: WhitespaceTrainer
    joint: bool = False
    training_lines: int = 1_000_000

    def __post_init__(self) -> None:
        if self.words.segmenter is not None:
            raise UserError("tokenizer.segmenter: is not for words that are spelled; set it to null")

    def settings(self) -> dict[str, Any]:
        """The settings of the list of words."""
        return self.words.settings() | {"kind": SpellingTokenizer.kind}

    def train(self, lines: Iterable[str]) -> SpellingTokenizer:
        """Count the words. Raises `UserError` as `WhitespaceTrainer.train` does."""
        return SpellingTokenizer(self.words.train(lines))
