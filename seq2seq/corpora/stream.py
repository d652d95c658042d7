"""The data of a language model: a text as one stream of tokens, split into B rows that are read in parallel, a window
at a time.

    the text   a b c d e f g h i j k l        the row's windows of 2 tokens, the state carried from each to the next
    row 1      a b c d e f                    (⏎→a, a→b)  (b→c, c→d)  (d→e, e→f)
    row 2      g h i j k l                    (f→g, g→h)  (h→i, i→j)  (j→k, k→l)

A line feed is the token eos, whatever the tokenizer; the position before the text is an eos, too. So each line is
encoded separately, and the concatenated ids of all lines are the stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.data_module import Batches, TranslationData
from seq2seq.errors import UserError
from seq2seq.nn.types import Window
from seq2seq.runtime.distributed import part
from seq2seq.text import EOS, UNK, Tokenizers, TokenizerTrainer

WINDOW = 512  # tokens of a window in validation and test; results do not depend on it
CHUNK = 1 << 20  # tokens in memory together


class StreamData(TranslationData):
    """The targets of a corpus as a stream of tokens, in `batch_size` parallel rows and windows of `window` tokens
    (None: a row is one window).

    Validation and test have one row, so that every token is predicted from all tokens before it.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: TokenizerTrainer,
        *,
        seed: int,
        window: int | None,
        batch_size: int = 32,
        tokenizers: Tokenizers | None = None,
    ) -> None:
        for key, value in (("data.batch_size", batch_size), ("task.window", window)):
            if value is not None and value < 1:
                raise UserError(f"{key}={value} must be at least 1")
        super().__init__(corpus, tokenizer, seed=seed, batch_size=batch_size, tokenizers=tokenizers)
        self.rows, self.window = batch_size, window

    def stream(self, split: str) -> NDArray[Any]:
        """The ids of a split, memory-mapped; every line ends with eos."""
        return self.encoded(split).target.values

    def train_dataloader(self) -> Batches:
        """The windows of an epoch, the same in every epoch; each rank has a block of the rows. A run that is resumed
        within an epoch gets the remaining windows."""
        return Batches(len(self._windows()), self._training)

    def _windows(self) -> Windows:
        return Windows(self.stream("train"), self.rows, self.window, part(self.rows, *self._place))

    def _training(self) -> Iterator[Window]:
        yield from self._windows().since(self._begin)  # the trainer knows the position only when iteration begins

    def val_dataloader(self) -> Windows:  # type: ignore[override]
        """The validation text as one row; every rank reads all of it."""
        return self.ordered("val")

    def ordered(self, split: str) -> Windows:
        """A split as one row."""
        return Windows(self.stream(split), 1, WINDOW)

    def characters(self, split: str) -> int:
        """How many characters the text of a split has, with line feeds: the denominator of bits per character."""
        return sum(len(line) + 1 for _, line in self.corpus.pairs(split))

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Numbers of the text for log and model card: tokens by split, and how many of them are unk."""
        counts = {}
        for split in self.corpus.splits:
            counts[f"{split}_tokens"] = len(self.stream(split))
            counts[f"{split}_unk"] = _count(self.stream(split), UNK)
        return counts | {"windows": len(self.train_dataloader()), "vocabulary": {"target": len(self.tokenizers.target)}}


def _count(stream: NDArray[Any], token: int) -> int:
    """How often a token occurs in a stream, which may be larger than memory."""
    return sum(int((stream[begin : begin + CHUNK] == token).sum()) for begin in range(0, len(stream), CHUNK))


class Windows:
    """`stream` split into `rows` equal rows, in windows of `size` tokens (None: a row is one window). The last window
    may be shorter, and up to `rows` − 1 tokens at the stream's end are left out.

    `only` selects rows (those of a rank). Raises `UserError` for a stream with fewer tokens than rows, and for a
    selection without rows.
    """

    def __init__(self, stream: NDArray[Any], rows: int, size: int | None, only: slice = slice(None)) -> None:
        self._stream, self._length = stream, len(stream) // rows
        if not self._length:
            raise UserError(f"data.batch_size={rows}: the text has only {len(stream)} tokens; use fewer rows")
        self._size = min(size or self._length, self._length)
        self._starts = np.arange(rows)[only, None] * self._length
        if not len(self._starts):
            raise UserError(f"data.batch_size={rows}: fewer rows than processes; raise it, or start fewer processes")

    def __len__(self) -> int:
        return -(-self._length // self._size)

    def __iter__(self) -> Iterator[Window]:
        return self.since(0)

    def since(self, number: int) -> Iterator[Window]:
        """The windows from the one with this number (from 0) on."""
        for begin in range(number * self._size, self._length, self._size):
            position = self._starts + np.arange(begin - 1, min(begin + self._size, self._length))
            ids = torch.from_numpy(np.where(position < 0, EOS, self._stream[position]).astype(np.int64))
            yield Window(ids[:, :-1], ids[:, 1:], begin == 0)
