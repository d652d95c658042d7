"""The interface of tokenizers, the pair of them that a translator needs, and how both are saved as plain files."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, cast, runtime_checkable

from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import atomic_write
from seq2seq.text.factors import FILE as FACTORS_FILE
from seq2seq.text.factors import Factors
from seq2seq.text.vocabulary import SPECIALS

FORMAT = 1
BYTE = re.compile("<0x[0-9A-F]{2}>")  # how sentencepiece writes a byte
SURROGATE = re.compile("[\ud800-\udfff]")
LINE_END = "\r\n"
"""The characters of a line end (LF, CR LF or CR), which is no part of a line's text: `line.rstrip(LINE_END)`."""

TOKENIZER_FILES = (
    *(f"{name}.{suffix}" for name in ("joint", "source", "target") for suffix in ("json", "model")),
    FACTORS_FILE,
)
"""The names of all files that `Tokenizers.save` may write."""

TextPairs = Callable[[], Iterable[tuple[str, str]]]
"""A corpus that can be read from its beginning as often as needed: (source, target) texts."""


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back. Ids 0 to 3 are pad, unk, bos and eos; `encode` adds none of them but unk."""

    def __len__(self) -> int:
        """Vocabulary size, special tokens included."""

    def encode(self, text: str) -> list[int]:
        """Ids of one sentence, without bos and eos."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence; faster than `encode` in a loop."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text on one line; pad, bos and eos are dropped, unk is shown as ⁇."""

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sentence, as `decode` gives it."""

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The token of each id, as text to show."""

    def describe(self) -> dict[str, Any]:
        """The entries of the JSON description next to kind and format."""

    @property
    def model(self) -> bytes:
        """The serialized model; empty where the description is enough."""

    @property
    def kind(self) -> str:
        """The name by which `load_tokenizer` (loading.py) selects the class."""

    @property
    def fingerprint(self) -> str:
        """sha256 of all that affects the ids."""

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.json, and NAME.model where there is a model, into `folder`."""


class PlainFiles:
    """Saving and fingerprint of a tokenizer, from its `kind`, `describe()` and `model`."""

    kind: ClassVar[str]

    def describe(self) -> dict[str, Any]:
        """No entries: the model is enough."""
        return {}

    @property
    def model(self) -> bytes:
        """No model: the description is enough."""
        return b""

    @property
    def fingerprint(self) -> str:
        """sha256 of description and model."""
        return hashlib.sha256(self._description().encode() + self.model).hexdigest()

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.json and, where there is a model, NAME.model, each atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.model:
            _write(folder / f"{name}.model", self.model)
        else:
            (folder / f"{name}.model").unlink(missing_ok=True)
        _write(folder / f"{name}.json", self._description().encode())

    def _description(self) -> str:
        head = {"format": FORMAT, "kind": self.kind, "model_sha256": hashlib.sha256(self.model).hexdigest()}
        return json.dumps(head | self.describe(), ensure_ascii=False, indent=1) + "\n"


class Columned(Tokenizer, Protocol):
    """A tokenizer of sources of several columns, which is described in columns.py."""

    names: tuple[str, ...]
    columns: tuple[Tokenizer, ...]
    ends: bool

    def cut(self, ids: Sequence[int], most: int) -> list[int]:
        """The first ids of a source, at most so many; of each column where columns end with eos."""

    def check(self, text: str, where: str, *, known: bool = True) -> None:
        """Raise UserError, naming `where`, for a source that it does not read."""

    def first(self, ids: list[int]) -> list[int]:
        """The ids of a source that the first encoder reads: all, or where columns end with eos, the first column's."""

    def tags(self, text: str) -> list[str]:
        """The tags of a source, of its first column of tags; none where it has no such column."""


def columns_of(tokenizer: Tokenizer) -> Columned | None:
    """The tokenizer, if it is for sources of several columns."""
    return cast(Columned, tokenizer) if tokenizer.kind == "columns" else None


class Sampling(NamedTuple):
    """Subword regularisation (Kudo 2018) or BPE dropout (Provilkov et al. 2020): a new segmentation each epoch.

    `alpha` is the dropout probability of a merge (bpe) or the smoothing of the segmentations' probabilities (unigram);
    `nbest_size` limits unigram's candidates (−1: all); `source`, `target` say which sides are sampled.
    """

    alpha: float
    nbest_size: int
    source: bool
    target: bool


class TokenizerTrainer(ABC):
    """Trains a tokenizer; the same text and settings give the same tokenizer."""

    joint: bool
    training_lines: int
    symbols: Sequence[str] = ()

    @abstractmethod
    def train(self, lines: Iterable[str]) -> Tokenizer:
        """Train on sentences. Raises UserError where the settings do not fit the text."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that affects the trained tokenizer, as JSON; with the hash of the text, its key in the cache."""

    def train_side(self, lines: Iterable[str], side: Literal["source", "target"]) -> Tokenizer:
        """Train the tokenizer of a side (of both, if `joint`)."""
        return self.train(lines)

    def for_target(self) -> TokenizerTrainer:
        """The trainer of the target's tokenizer: this one, unless the sides differ."""
        return self

    def train_sides(self, pairs: TextPairs, count: int) -> Tokenizers:
        """The tokenizers of both sides; `train_tokenizers` says on what."""

        def used(by: TokenizerTrainer) -> Iterator[tuple[str, str]]:
            return islice(pairs(), 0, None, max(1, -(-count // by.training_lines)))

        if self.joint:
            both = self.train_side((text for pair in used(self) for text in pair), "source")
            return Tokenizers(both, both, joint=True)
        other = self.for_target()
        source = self.train_side((pair[0] for pair in used(self)), "source")
        return Tokenizers(source, other.train_side((pair[1] for pair in used(other)), "target"), joint=False)

    @property
    def sampling(self) -> Sampling | None:
        """How the segmentation of the training text is sampled; None if it is not."""
        return None


class Tokenizers(NamedTuple):
    """The tokenizers of both sides; the same object if `joint`. Sources may have `factors`."""

    source: Tokenizer
    target: Tokenizer
    joint: bool
    factors: Factors | None = None

    def save(self, folder: Path) -> None:
        """Write joint.json, or source.json and target.json, with their models; and factors.json where there are."""
        if self.joint:
            self.source.save(folder, "joint")
        else:
            self.source.save(folder, "source")
            self.target.save(folder, "target")
        if self.factors is not None:
            self.factors.save(folder)


def check_text(text: str, where: str) -> None:
    """Raise UserError, naming `where`, for half of a surrogate pair: it is no character, and UTF-8 cannot encode
    it."""
    if match := SURROGATE.search(text):
        raise UserError(f"{where} holds U+{ord(match[0]):04X}, half of a character; write both halves, or U+FFFD")


def check_symbols(symbols: Sequence[str]) -> None:
    """Raise UserError for a symbol that is there twice, or is no word."""
    for i, symbol in enumerate(symbols):
        if symbol in symbols[:i]:
            raise UserError(f"tokenizer.symbols: {symbol!r} is there twice; leave one out")
        if not symbol or symbol in SPECIALS or symbol.split() != [symbol] or BYTE.fullmatch(symbol):
            raise UserError(
                f"tokenizer.symbols: {symbol!r} cannot be a symbol; choose a word without spaces, such as '<de>', that "
                f"is none of {', '.join(SPECIALS)}"
            )


def symbol_id(tokenizer: Tokenizer, symbol: str, where: str) -> int:
    """The id of a symbol. Raises UserError, saying `where` it was asked for, where the tokenizer has no such symbol."""
    symbols: dict[str, int] = getattr(tokenizer, "symbols", {})
    if symbol not in symbols:
        known = f"it has {', '.join(symbols)}" if symbols else "it has none"
        raise UserError(
            f"{where}: {symbol!r} is no symbol of the tokenizer; {known} (training: tokenizer.symbols=['{symbol}'])"
        )
    return symbols[symbol]


def check_counts(min_frequency: int, training_lines: int) -> None:
    """Raise UserError for counts below 1."""
    for key, value in (("min_frequency", min_frequency), ("training_lines", training_lines)):
        if value < 1:
            raise UserError(f"tokenizer.{key}={value}: must be at least 1")


def train_tokenizers(trainer: TokenizerTrainer, pairs: TextPairs, count: int) -> Tokenizers:
    """Train on `count` pairs, or if those are too many, on every n-th, so that at most `trainer.training_lines` are
    used."""
    return trainer.train_sides(pairs, count)


def difference(one: Tokenizer, other: Tokenizer) -> str | None:
    """A message about the first token in which two vocabularies differ, or about their sizes; None if they are
    equal."""
    tokens, others = one.tokens(range(len(one))), other.tokens(range(len(other)))
    for i, (token, other_token) in enumerate(zip(tokens, others, strict=False)):
        if token != other_token:
            return f"token {i} is {token!r} in the one and {other_token!r} in the other"
    return None if len(tokens) == len(others) else f"{len(tokens)} tokens in the one, {len(others)} in the other"


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
