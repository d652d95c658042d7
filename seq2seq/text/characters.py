"""Characters: one token for each code point of the training text, for language models of unchanged text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from seq2seq.errors import UserError
from seq2seq.text.tokenizer import PlainFiles, TokenizerTrainer, check_counts
from seq2seq.text.vocabulary import EOS, SPECIALS, UNK, UNKNOWN


class CharacterTokenizer(PlainFiles):
    """One token for each code point: those of `characters` have the ids 4, 5, …, all others are unk.

    `len(encode(text)) == len(text)` for every text, and `decode(encode(text)) == text` if all characters are known.
    Unlike sentencepiece's `char`, it adds no prefix to a line and has no byte fallback.
    """

    kind: ClassVar[str] = "characters"

    def __init__(self, characters: str) -> None:
        self._characters = characters
        self._ids = {character: i for i, character in enumerate(characters, len(SPECIALS))}
        if len(self._ids) != len(characters):
            raise UserError("character tokenizer: a character is twice in its list")

    def __len__(self) -> int:
        return len(SPECIALS) + len(self._characters)

    def describe(self) -> dict[str, Any]:
        """The characters, in the order of their ids."""
        return {"characters": self._characters}

    def encode(self, text: str) -> list[int]:
        """Ids of one line, without bos and eos; unk for a character that is not in the list."""
        return [self._ids.get(character, UNK) for character in self.split(text)]

    def split(self, text: str) -> list[str]:
        """The characters, of which each is a token."""
        return list(text)

    def join(self, tokens: Sequence[str]) -> str:
        """The text of characters, one after another."""
        return "".join(tokens)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each line, as `encode` gives them."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The characters; pad, bos and eos are dropped, unk is ⁇."""
        return "".join(UNKNOWN if i == UNK else self._characters[i - len(SPECIALS)] for i in ids if i > EOS or i == UNK)

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each line, as `decode` gives it."""
        return [self.decode(line) for line in ids]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The character of each id."""
        return [SPECIALS[i] if i <= EOS else self._characters[i - len(SPECIALS)] for i in ids]


@dataclass(frozen=True)
class CharacterTrainer(TokenizerTrainer):
    """Settings of a `CharacterTokenizer`; conf/tokenizer/characters.yaml explains each."""

    min_frequency: int = 1
    joint: bool = True
    training_lines: int = 1_000_000

    def __post_init__(self) -> None:
        check_counts(self.min_frequency, self.training_lines)

    def settings(self) -> dict[str, Any]:
        """All settings: each affects the vocabulary."""
        return {"kind": CharacterTokenizer.kind} | asdict(self)

    def train(self, lines: Iterable[str]) -> CharacterTokenizer:
        """Collect the characters that occur `min_frequency` times, in code point order.

        Raises UserError where there are none.
        """
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(line)
        characters = sorted(character for character, count in counts.items() if count >= self.min_frequency)
        if not characters:
            raise UserError("tokenizer: the training text has no character to learn from")
        return CharacterTokenizer("".join(characters))
