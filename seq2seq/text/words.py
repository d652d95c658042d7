"""Whitespace tokens, for text that is tokenised already: phonemes, separated characters, another tokenizer's output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from seq2seq.errors import UserError
from seq2seq.text.segmented import Segmenting
from seq2seq.text.tokenizer import PlainFiles, check_counts, check_symbols
from seq2seq.text.vocabulary import SPECIALS, UNK, UNKNOWN


class WhitespaceTokenizer(PlainFiles):
    """Splits text at spaces (only at U+0020); `symbols` have the ids 4, 5, …, `words` those after them, all others are
    unk. No text is encoded to a symbol, which is decoded to nothing.

    `decode(encode(text)) == text` if all words are known, are separated by single spaces, and (with `lowercase`) are in
    lower case.
    """

    kind: ClassVar[str] = "whitespace"

    def __init__(self, words: Sequence[str], *, lowercase: bool = False, symbols: Sequence[str] = ()) -> None:
        check_symbols(symbols)
        self._words = [str(word) for word in words]
        self._lowercase = lowercase
        self.symbols = {symbol: i for i, symbol in enumerate(symbols, len(SPECIALS))}
        self._first = len(SPECIALS) + len(symbols)
        self._ids = {word: i for i, word in enumerate(self._words, self._first)}
        if len(self._ids) != len(self._words):
            raise UserError("whitespace tokenizer: a word is twice in its list")

    def __len__(self) -> int:
        return self._first + len(self._words)

    def describe(self) -> dict[str, Any]:
        """The words, in the order of their ids."""
        more: dict[str, Any] = {"lowercase": True} if self._lowercase else {}
        return {"words": self._words} | more | ({"symbols": list(self.symbols)} if self.symbols else {})

    def encode(self, text: str) -> list[int]:
        """Ids of one sentence, without bos and eos; unk for a word that is not in the list."""
        return [self._ids.get(word, UNK) for word in self.split(text)]

    def split(self, text: str) -> list[str]:
        """The words, in lower case with `lowercase`."""
        text = text.lower() if self._lowercase else text
        return [word for word in text.split(" ") if word]

    def join(self, tokens: Sequence[str]) -> str:
        """Words with single spaces between them."""
        return " ".join(tokens)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence, as `encode` gives them."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The words with single spaces between them; pad, bos, eos and symbols are dropped, unk is ⁇."""
        return " ".join(
            UNKNOWN if i == UNK else self._words[i - self._first] for i in ids if i >= self._first or i == UNK
        )

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sentence, as `decode` gives it."""
        return [self.decode(sentence) for sentence in ids]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The word of each id."""
        first = (*SPECIALS, *self.symbols)
        return [first[i] if i < self._first else self._words[i - self._first] for i in ids]


@dataclass(frozen=True)
class WhitespaceTrainer(Segmenting):
    """Settings of a `WhitespaceTokenizer`; conf/tokenizer/whitespace.yaml explains each."""

    vocabulary_size: int | None = None
    min_frequency: int = 1
    lowercase: bool = False
    joint: bool = False
    training_lines: int = 1_000_000
    symbols: Sequence[str] = ()
    segmenter: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        check_symbols(self.symbols)
        self.check_segmenter()
        check_counts(self.min_frequency, self.training_lines)
        if self.vocabulary_size is not None and self.vocabulary_size <= self._reserved:
            raise UserError(
                f"tokenizer.vocabulary_size={self.vocabulary_size}: {self._reserved} are special; set it higher"
            )

    @property
    def _reserved(self) -> int:
        return len(SPECIALS) + len(self.symbols)

    def settings(self) -> dict[str, Any]:
        """All settings: each affects the vocabulary."""
        kept = {key: value for key, value in asdict(self).items() if key not in ("symbols", "segmenter")}
        kept |= {"symbols": self.symbols} if self.symbols else {}
        return {"kind": WhitespaceTokenizer.kind} | kept | self.segmenter_settings()

    def train(self, lines: Iterable[str]) -> WhitespaceTokenizer:
        """Collect the words, the most frequent first; words of equal frequency are in code point order.

        Raises UserError where the text has fewer words than `vocabulary_size` needs.
        """
        cased = (line.lower() if self.lowercase else line for line in lines)
        counts = Counter(word for line in cased for word in line.split(" ") if word)
        words = [word for word, count in counts.items() if count >= self.min_frequency]
        words.sort(key=lambda word: (-counts[word], word))
        if not words:
            raise UserError("tokenizer: the training text has no word to learn from")
        if self.vocabulary_size is None:
            return WhitespaceTokenizer(words, lowercase=self.lowercase, symbols=self.symbols)
        largest = len(words) + self._reserved
        if not self._reserved < self.vocabulary_size <= largest:
            raise UserError(
                f"tokenizer.vocabulary_size={self.vocabulary_size}: this text supports {self._reserved + 1} to "
                f"{largest} (words seen {self.min_frequency} times or more); set it within, or to null for all"
            )
        chosen = words[: self.vocabulary_size - self._reserved]
        return WhitespaceTokenizer(chosen, lowercase=self.lowercase, symbols=self.symbols)
