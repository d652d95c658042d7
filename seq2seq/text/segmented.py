"""Words of languages that are written without spaces: Chinese by jieba, Japanese by MeCab.

A text is split into words before its tokenizer sees it, and put together again after it. So that nothing is lost, the
spaces of the text itself are words of their own, U+2423; that sign and the escape sign are escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from itertools import groupby
from typing import Any, ClassVar, Literal

from seq2seq.errors import UserError
from seq2seq.text.tokenizer import PlainFiles, Tokenizer, TokenizerTrainer

SPACE, ESCAPE = "\u2423", "\ue582"
Side = Literal["source", "target"]
Segmenter = str | Mapping[str, str] | None
"""The name of a segmenter for both sides, or by side."""

NEEDED = {"jieba": ("jieba", "zh"), "mecab": ("mecab-python3", "ja")}
"""By a segmenter's name: the distribution that it is in, and the extra that installs it."""


class SegmentedTokenizer(PlainFiles):
    """The `inner` tokenizer of text whose words have spaces between them, made from text without them.

    `decode(encode(text)) == text` where that holds for the inner tokenizer. Raises UserError where the segmenter is not
    installed.
    """

    kind: ClassVar[str] = "segmented"

    def __init__(self, inner: Tokenizer, segmenter: str) -> None:
        self.inner, self.segmenter = inner, segmenter
        words_of(segmenter)

    def __len__(self) -> int:
        return len(self.inner)

    @property
    def symbols(self) -> dict[str, int]:
        """Those of the inner tokenizer."""
        symbols: dict[str, int] = getattr(self.inner, "symbols", {})
        return symbols

    @property
    def model(self) -> bytes:
        """That of the inner tokenizer."""
        return self.inner.model

    def describe(self) -> dict[str, Any]:
        """The segmenter, and the description of the inner tokenizer."""
        return {"segmenter": self.segmenter, "inner": {"kind": self.inner.kind, **self.inner.describe()}}

    def encode(self, text: str) -> list[int]:
        """Ids of one sentence, without bos and eos."""
        return self.inner.encode(segmented(text, self.segmenter))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence, as `encode` gives them."""
        return self.inner.encode_batch([segmented(text, self.segmenter) for text in texts])

    def decode(self, ids: Sequence[int]) -> str:
        """The text, without spaces that it did not have."""
        return joined(self.inner.decode(ids))

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sentence, as `decode` gives it."""
        return [joined(text) for text in self.inner.decode_batch(ids)]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The token of each id."""
        return self.inner.tokens(ids)


def segmented(text: str, segmenter: str) -> str:
    """A text with a space between each two words; its own spaces are words."""
    words = words_of(segmenter)
    parts = []
    for is_space, run in groupby(text.replace(ESCAPE, ESCAPE + "0").replace(SPACE, ESCAPE + "1"), " ".__eq__):
        characters = "".join(run)
        parts += [SPACE] * len(characters) if is_space else _checked(words(characters), characters)
    return " ".join(parts)


def joined(text: str) -> str:
    """The text from which `segmented` made this one."""
    return text.replace(" ", "").replace(SPACE, " ").replace(ESCAPE + "1", SPACE).replace(ESCAPE + "0", ESCAPE)


def _checked(words: Iterable[str], text: str) -> list[str]:
    """The words, where they are all of the text and nothing else; else the text as one word."""
    kept = [word for word in words if word]
    return kept if "".join(kept) == text and not any(" " in word for word in kept) else [text]


@cache
def words_of(segmenter: str) -> Callable[[str], Iterable[str]]:
    """What splits a text without spaces into words. Raises UserError for a segmenter that there is not, or that is not
    installed."""
    if segmenter not in NEEDED:
        raise UserError(f"tokenizer.segmenter={segmenter}: there is no such segmenter; use {' or '.join(NEEDED)}")
    try:
        return _jieba() if segmenter == "jieba" else _mecab()
    except ImportError:
        package, extra = NEEDED[segmenter]
        raise UserError(
            f"tokenizer.segmenter={segmenter}: needs {package}: pip install 'seq2seq-recurrent[{extra}]'"
        ) from None


def _jieba() -> Callable[[str], Iterable[str]]:
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its source, which is older than this Python
        jieba: Any = import_module("jieba")
    jieba.setLogLevel(logging.WARNING)
    words: Callable[[str], Iterable[str]] = jieba.lcut
    return words


def _mecab() -> Callable[[str], Iterable[str]]:
    mecab, dictionary = import_module("MeCab"), import_module("ipadic")
    tagger: Any = mecab.Tagger(f"{dictionary.MECAB_ARGS} -Owakati")

    def words(text: str) -> list[str]:
        split: list[str] = tagger.parse(text).split()
        return split

    return words


class Segmenting(TokenizerTrainer):
    """A trainer whose text may be split into words first, by its `segmenter`."""

    segmenter: Segmenter = None

    def check_segmenter(self) -> None:
        """Raise UserError for a segmenter that there is not, and for one of a side in a vocabulary of both."""
        chosen = self.segmenter
        names = [] if chosen is None else [chosen] if isinstance(chosen, str) else list(chosen.values())
        for name in names:
            if name not in NEEDED:
                words_of(name)
        if isinstance(chosen, Mapping):
            if wrong := next((side for side in chosen if side not in ("source", "target")), None):
                raise UserError(f"tokenizer.segmenter.{wrong}: is no side; use source or target")
            if self.joint:
                raise UserError(
                    "tokenizer.segmenter: differs by side, so each needs a vocabulary; set tokenizer.joint=false"
                )

    def segmenter_of(self, side: Side) -> str | None:
        """The segmenter of a side."""
        return self.segmenter.get(side) if isinstance(self.segmenter, Mapping) else self.segmenter

    def segmenter_settings(self) -> dict[str, Any]:
        """What of it decides the vocabulary; nothing without one."""
        names = {side: name for side in ("source", "target") if (name := self.segmenter_of(side))}
        versions = {name: version(NEEDED[name][0]) for name in names.values()}
        return {"segmenter": names, "versions": versions} if names else {}

    def train_side(self, lines: Iterable[str], side: Side) -> Tokenizer:
        """Train on the words of a side, if it has a segmenter."""
        name = self.segmenter_of(side)
        if name is None:
            return self.train(lines)
        return SegmentedTokenizer(self.train(segmented(line, name) for line in lines), name)
