"""`TranslationData` for corpora whose sources are float sequences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch

from seq2seq.corpora.corpus import Corpus, verified
from seq2seq.corpora.data_module import TranslationData, tokens
from seq2seq.corpora.features import FeatureCorpus, describe
from seq2seq.corpora.store import EncodedPairs, Frames, Ints, encoded
from seq2seq.errors import UserError
from seq2seq.nn.types import Captions, Features
from seq2seq.text import Tokenizers

ROWS = 1 << 16  # rows that are summed at once


class FeatureData(TranslationData):
    """Batches of `Captions`: float sequences and their texts. The arguments are those of `TranslationData`.

    Only the texts have a tokenizer; it is on both sides of `tokenizers`. `max_length` also limits the rows of a source.
    Raises UserError for a corpus of text, and for a tokenizer that would sample sources.
    """

    corpus: FeatureCorpus

    @cached_property
    def width(self) -> int:
        """F, the size of a frame or region."""
        return int(next(self.corpus.examples("train"))[0].shape[1])

    @cached_property
    def scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean and the standard deviation of each column [F], over all rows of training."""
        values = self.encoded("train").source.values
        total, squares = np.zeros(self.width), np.zeros(self.width)
        first = np.asarray(values[0], np.float64)  # numbers near each other lose no digits when it is taken away
        for begin in range(0, len(values), ROWS):
            rows = np.asarray(values[begin : begin + ROWS], np.float64) - first
            total, squares = total + rows.sum(0), squares + (rows**2).sum(0)
        mean = total / len(values)
        deviation = np.sqrt(np.maximum(squares / len(values) - mean**2, 0))
        return torch.from_numpy(mean + first).float(), torch.from_numpy(deviation).float()

    def encoded(self, split: str) -> EncodedPairs:
        """The memory-mapped rows and token ids of a split."""
        if split not in self._encoded:
            scanned, examples = self._scan(split), self._examples_of(split)
            self._encoded[split] = encoded(examples, scanned.pairs, scanned.sha256, self.tokenizers, self.width)
        return self._encoded[split]

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Those of `TranslationData`, but a source has rows (frames, regions), not tokens."""
        return {"source_rows" if key == "source_tokens" else key: value for key, value in super().statistics.items()}

    def _check(self, corpus: Corpus) -> None:
        if not corpus.has_features:
            raise UserError(
                f"data.corpus: {corpus.name} holds text, and task=captioning reads numbers; use data=digits or features"
            )

    def _trained(self, count: int) -> Tokenizers:
        sampling = self._tokenizer.sampling
        if sampling and sampling.source:
            raise UserError("tokenizer.sampling_sides: the source is numbers and cannot be sampled; set it to target")
        stride = max(1, -(-count // self._tokenizer.training_lines))
        texts = (text for _, text in islice(self._examples_of("train"), 0, None, stride))
        both = self._tokenizer.for_target().train_side(texts, "target")
        return Tokenizers(both, both, joint=True)

    def _examples_of(self, split: str) -> Iterator[tuple[Frames, str]]:
        """The examples of a split. Raises UserError if they have changed since they were scanned."""
        return verified(
            self.corpus.examples(split),
            self._scan(split),
            f"the split {split!r}",
            lambda example: (describe(example[0]), example[1]),
        )

    def _vocabulary(self) -> dict[str, int]:
        return {"target": len(self.tokenizers.target)}

    def _pairs(self, data: EncodedPairs, index: Ints) -> Any:
        values, lengths = data.source.padded(index)
        source = Features(torch.from_numpy(values), torch.from_numpy(lengths))
        return Captions(source, tokens(data.target, index), torch.from_numpy(index))
