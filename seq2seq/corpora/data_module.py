"""Lightning's data module for a corpus: from text to batches of tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch

from seq2seq.corpora.alignments import links_of
from seq2seq.corpora.batching import TrainingBatches, batches_in_order, pad_share
from seq2seq.corpora.budget import Budget
from seq2seq.corpora.corpus import Corpus, Scan, scan, verified
from seq2seq.corpora.factored import sentence, sentences, with_factors
from seq2seq.corpora.folders import atomic_folder
from seq2seq.corpora.mixing import MixedBatches, integer_weights, weights_by_temperature
from seq2seq.corpora.protection import Protection, WordLinks
from seq2seq.corpora.store import EncodedPairs, Ints, Ragged, encoded, pack
from seq2seq.corpora.tags import Divided, divided, tag_ids, with_tags
from seq2seq.corpora.unseen import UnseenTokens, check_one_vocabulary, unseen_tokens, with_unseen
from seq2seq.errors import UserError
from seq2seq.nn.types import Pairs, Tokens
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.paths import cached
from seq2seq.text import (
    Sampling,
    SentencePieceTokenizer,
    Tokenizer,
    Tokenizers,
    TokenizerTrainer,
    load_tokenizers,
    train_tokenizers,
    with_columns,
)

INTERNAL = ("longest", "weight", "oversized")  # fields of a census that only batching needs
MEASURED = 1000  # batches over which the share of padding is averaged


class Batches:
    """A data loader without workers: `plan()` gives the batches of one epoch, `count` of them."""

    def __init__(self, count: int, plan: Callable[[], Iterator[Any]]) -> None:
        self._count, self._plan = count, plan

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return self._plan()


class TranslationData(lightning.LightningDataModule):
    """The tokenizers and batches of a corpus of text. Batches are made in this process, without workers.

    In distributed training a batch is split over the ranks: every pair is on exactly one rank. So the result of
    training does not depend on the number of ranks.

    `tokenizer` trains the tokenizers, unless `tokenizers` (of a bundle that is fine-tuned) are given; its `sampling`
    applies in both cases. `batch_tokens`, `batch_size` and `max_length` are those of `Budget`. The attribute `epoch` is
    the epoch of the next training batches where there is no Lightning trainer. `encoding_workers` processes encode the
    text (`seq2seq.runtime.worker_pool` says what a script needs for that). With `protect` the tokenizers have so many
    symbols for spans, which are put into training pairs (`seq2seq.corpora.protection`). Raises UserError for a corpus
    of float sequences.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: TokenizerTrainer,
        *,
        seed: int,
        batch_tokens: int = 2048,
        batch_size: int | None = None,
        max_length: int = 512,
        tokenizers: Tokenizers | None = None,
        encoding_workers: int = 1,
        protect: int = 0,
    ) -> None:
        super().__init__()
        self._check(corpus)
        if encoding_workers < 1:
            raise UserError(f"data.encoding_workers={encoding_workers}: must be at least 1")
        self._workers, self._protect = encoding_workers, protect
        self.corpus, self.seed, self.epoch = corpus, seed, 0
        self.budget = Budget(batch_tokens, batch_size, max_length)
        self._tokenizer, self._given = with_columns(tokenizer, corpus.columns), tokenizers
        self._scans: dict[str, Scan] = {}
        self._divided: dict[str, Divided] = {}
        self._encoded: dict[str, EncodedPairs] = {}
        self._unseen: dict[str, dict[int, UnseenTokens]] = {}

    def prepare_data(self) -> None:
        """Download and check each split, train the tokenizers, encode the text; all results are cached."""
        self.corpus.prepare()
        for split in self.corpus.splits:
            self._scan(split)
        for split in self.corpus.splits:
            self.encoded(split)

    @cached_property
    def tokenizers(self) -> Tokenizers:
        """The tokenizers: trained on the training text, or loaded from the cache for the same text and settings."""
        if self._given:
            return self._given
        named = [list(self.corpus.factors)] if self.corpus.factors else []
        key = json.dumps([self._scan("train").sha256, self._tokenizer.settings(), *named], sort_keys=True)
        folder = cached("tokenizers", hashlib.sha256(key.encode()).hexdigest())
        if not folder.is_dir():
            trained = self._trained(self._scan("train").pairs)
            trained = with_factors(trained, self.corpus.factors, self._pairs_of("train"))
            with atomic_folder(folder) as unfinished:
                trained.save(unfinished)
        return load_tokenizers(folder)

    def _trained(self, count: int) -> Tokenizers:
        factors = self.corpus.factors
        return train_tokenizers(self._tokenizer, lambda: sentences(self._pairs_of("train"), factors), count=count)

    def sentence(self, source: str) -> str:
        """A source without the values of its factors."""
        return sentence(source, self.corpus.factors)

    def text(self, split: str) -> tuple[list[str], list[str]]:
        """The raw sources and references of a split, as in its files (all in memory: not for large splits)."""
        self.corpus.check(split)
        pairs = list(self._pairs_of(split))
        return [source for source, _ in pairs], [target for _, target in pairs]

    def encoded(self, split: str) -> EncodedPairs:
        """The memory-mapped ids of a split."""
        if split not in self._encoded:
            scanned, pairs = self._scan(split), self._pairs_of(split)
            self._encoded[split] = encoded(pairs, scanned.pairs, scanned.sha256, self.tokenizers, workers=self._workers)
        return self._encoded[split]

    def copy_unseen(self, limit: int) -> None:
        """Give the unknown tokens of each source ids of their own, at most `limit` of a sentence, in the batches of
        train and val. Raises UserError where the sides have different vocabularies."""
        check_one_vocabulary(self.tokenizers)
        for split in ("train", "val") if limit else ():
            self._unseen[split] = unseen_tokens(self._pairs_of(split), self.tokenizers, limit)

    def unseen(self, split: str) -> dict[int, tuple[str, ...]]:
        """The unknown tokens of the sources that have some, by the number of the pair; see `copy_unseen`."""
        return {row: each.tokens for row, each in self._unseen.get(split, {}).items()}

    def divided(self, split: str) -> Divided:
        """The entries of a split, and which pairs are of each."""
        if split not in self._divided:
            self._divided[split] = divided(self.corpus, split, self._scan(split).pairs)
        return self._divided[split]

    @cached_property
    def training_batches(self) -> TrainingBatches | MixedBatches:
        """The plan of the training batches: the positions of the pairs of each."""
        data, weights = self.encoded("train"), [part.weight for part in self.corpus.parts("train")]
        if self.corpus.temperature is None and (len(weights) == 1 or weights[0] is None):
            return TrainingBatches(data, self.budget, self.seed)
        bounds = self.divided("train").bounds
        if self.corpus.temperature is not None:
            sizes = [end - begin for begin, end in pairwise(bounds)]
            cycle = weights_by_temperature(sizes, self.corpus.temperature)
        else:
            cycle = integer_weights([weight for weight in weights if weight is not None])
        return MixedBatches(data, bounds, cycle, self.budget, self.seed)

    def train_dataloader(self) -> Batches:
        """Batches of the trainer's current epoch (or of `self.epoch`): the same for the same seed and epoch. A run that
        is resumed within an epoch gets the remaining ones."""
        return Batches(len(self.training_batches), self._training)

    def val_dataloader(self) -> Batches:
        """Batches of "val": all pairs, sorted by length; `Pairs.rows` are the positions of the raw lines."""
        data = self.encoded("val")
        plan = batches_in_order(data, self.budget)
        return Batches(len(plan), lambda: (self._share("val", index) for index in plan))

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Numbers of the training split for log and model card: pairs, dropped pairs, tokens (with eos), padding."""
        batches = self.training_batches
        counts = {key: value for key, value in batches.census._asdict().items() if key not in INTERNAL}
        share = pad_share(batches.data, islice(batches.epoch(0), MEASURED))
        return counts | {"batches": len(batches), "pad_share": round(share, 4), "vocabulary": self._vocabulary()}

    @cached_property
    def protection(self) -> Protection:
        """Puts symbols for spans into training pairs, at the words that the corpus's alignments link."""
        entries, links = self.divided("train"), None
        if any(part.alignments for part in entries.parts):
            links = WordLinks.of(links_of(entries.parts, entries.bounds))
        return Protection(self.tokenizers, self._tokenizer.sampling, links)

    @property
    def fingerprint(self) -> str:
        """sha256 over the text of all splits, whatever the names and compression of its files, and over their tags and
        alignments."""
        hashes: dict[str, Any] = {split: self._scan(split).sha256 for split in self.corpus.splits}
        tags = {split: [part.tag for part in self.corpus.parts(split)] for split in self.corpus.splits}
        hashes |= {"tags": tags} if any(tag for each in tags.values() for tag in each) else {}
        aligned = [part.alignments for part in self.corpus.parts("train") if part.alignments]
        hashes |= {"alignments": [digest_of(Path(name).expanduser()) for name in aligned]} if aligned else {}
        return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()

    def _pairs_of(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of a split. Raises UserError if they have changed since they were scanned."""
        return verified(self.corpus.pairs(split), self._scan(split), f"the split {split!r}", lambda pair: pair)

    def _vocabulary(self) -> dict[str, int]:
        return {"source": len(self.tokenizers.source), "target": len(self.tokenizers.target)}

    def _check(self, corpus: Corpus) -> None:
        if corpus.has_features:
            raise UserError(
                f"data.corpus: {corpus.name} holds numbers, and this task reads text; use task=captioning or regression"
            )

    def _scan(self, split: str) -> Scan:
        if split not in self._scans:
            self._scans[split] = scan(self.corpus, split)
        return self._scans[split]

    def _training(self) -> Iterator[Any]:
        begin = self._begin
        epoch = self.trainer.current_epoch if self.trainer else self.epoch
        for number, index in enumerate(islice(self.training_batches.epoch(epoch), begin, None), begin):
            yield self._share("train", index, [self.seed, epoch, number])

    @property
    def _begin(self) -> int:
        """The number of the epoch's first batch: not 0 if a run is resumed within the epoch."""
        return self.trainer.fit_loop.batch_idx + 1 if self.trainer else 0

    @property
    def _place(self) -> tuple[int, int]:
        """Rank and world size."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _share(self, split: str, index: Ints, entropy: Sequence[int] | None = None) -> Any:
        """This rank's pairs of a batch: every `world_size`-th of them, in order of length. If there are fewer pairs
        than ranks, some ranks get one that does not count: its `rows` are empty."""
        data, (rank, size) = self.encoded(split), self._place
        rows = index[rank::size] if len(index) > rank else index[:1]
        pairs = self._pairs(data, rows) if entropy is None else self._sampled(data, rows, [*entropy, rank])
        if unseen := self._unseen.get(split):
            pairs = with_unseen(pairs, unseen)
        pairs = self._tagged(split, pairs)
        return pairs if len(index) > rank else pairs._replace(rows=pairs.rows[:0])

    def _tagged(self, split: str, pairs: Any) -> Any:
        """The pairs with the tags of their entries."""
        if all(part.tag is None for part in self.corpus.parts(split)):
            return pairs
        entries = self.divided(split)
        ids = tag_ids(entries, self.tokenizers.source)
        assert ids is not None
        tags = torch.from_numpy(ids[entries.part_of(pairs.rows.numpy())])
        return pairs._replace(source=with_tags(pairs.source, tags))

    def _pairs(self, data: EncodedPairs, index: Ints) -> Any:
        """The batch of the pairs `index`, without sampling."""
        return Pairs(tokens(data.source, index), tokens(data.target, index), torch.from_numpy(index))

    def _sampled(self, data: EncodedPairs, index: Ints, entropy: list[int]) -> Any:
        """The batch of the pairs `index`, with sampled segmentations if the tokenizer's settings have them."""
        pairs = self._pairs(data, index)
        if sampling := self._tokenizer.sampling:
            seeds = np.random.SeedSequence(entropy).generate_state(2)
            for side, seed in zip(("source", "target"), seeds, strict=True):
                if getattr(sampling, side):
                    tokenizer: Tokenizer = getattr(self.tokenizers, side)
                    pairs = pairs._replace(**{side: _resegmented(getattr(pairs, side), tokenizer, sampling, int(seed))})
        return self.protection(pairs, np.random.SeedSequence(entropy, spawn_key=(1,))) if self._protect else pairs


def _resegmented(sentences: Tokens, tokenizer: Tokenizer, sampling: Sampling, seed: int) -> Tokens:
    if not isinstance(tokenizer, SentencePieceTokenizer):
        raise UserError("tokenizer.sampling_alpha: only sentencepiece tokenizers can sample; set it to 0")
    texts = tokenizer.decode_batch(sentences.ids.tolist())  # lossless, so the text itself need not be stored
    return tokens(pack(tokenizer.sample_batch(texts, sampling, seed)), np.arange(len(texts)))


def tokens(side: Ragged, index: Ints) -> Tokens:
    """The sentences `index` as padded tensors, [B, T] and [B]."""
    padded, lengths = side.padded(index)
    ids = torch.from_numpy(padded)
    if ids.dim() == 2:
        return Tokens(ids, torch.from_numpy(lengths))
    return Tokens(ids[..., 0].contiguous(), torch.from_numpy(lengths), ids[..., 1:].contiguous())
