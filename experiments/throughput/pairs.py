"""The sentence pairs that are trained on and searched for: Multi30k where its files are, else a synthetic corpus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from experiments.throughput.measure import ROOT
from experiments.throughput.sizes import Amounts, Plan
from seq2seq.corpora.batching import TrainingBatches
from seq2seq.corpora.budget import Budget
from seq2seq.corpora.datasets.multi30k import Multi30k
from seq2seq.corpora.store import EncodedPairs, Ints, Ragged
from seq2seq.nn.types import Pairs, Tokens
from seq2seq.text import SentencePieceTrainer
from seq2seq.text.vocabulary import EOS, SPECIALS


class Material(NamedTuple):
    """What is measured on."""

    name: str
    vocabulary: int
    train: EncodedPairs
    test: EncodedPairs


def load(plan: Plan) -> Material:
    """Multi30k English→German of SEQ2SEQ_DATA or ../shared/data in joint BPE pieces; without it, or with a vocabulary
    too small for it, a synthetic corpus. Nothing is downloaded."""
    root = Path(os.environ.get("SEQ2SEQ_DATA") or ROOT.parent / "shared" / "data")
    there = any((folder / "train.de.gz").is_file() for folder in (root, root / "multi30k"))
    if not there or plan.sizes.vocabulary < 1000:
        return synthetic(plan.sizes.vocabulary, 29_000 if plan.sizes.vocabulary >= 1000 else 300)
    from seq2seq.corpora import TranslationData  # with Lightning

    trainer = SentencePieceTrainer(vocabulary_size=plan.sizes.vocabulary)
    data = TranslationData(Multi30k("en", "de", root=str(root)), trainer, seed=0)
    data.prepare_data()
    name = f"Multi30k en-de, joint BPE of {plan.sizes.vocabulary:,}"
    return Material(name, plan.sizes.vocabulary, data.encoded("train"), data.encoded("test_2016_flickr"))


def synthetic(vocabulary: int, count: int, seed: int = 0) -> Material:
    """Pairs with Multi30k's lengths (log-normal, means 15.3 and 15.8, deviations 4.8 and 5.5, correlation 0.87) and
    pieces that follow Zipf's law."""
    random = np.random.default_rng(seed)
    frequencies = 1 / np.arange(3, vocabulary - len(SPECIALS) + 3)
    frequencies /= frequencies.sum()

    def side(lengths: Ints) -> Ragged:
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        values = (random.choice(len(frequencies), int(offsets[-1]), p=frequencies) + len(SPECIALS)).astype(np.uint16)
        values[offsets[1:] - 1] = EOS
        return Ragged(values, offsets)

    def pairs(size: int) -> EncodedPairs:
        one, two = random.standard_normal((2, size))
        source = np.clip(np.rint(np.exp(2.681 + 0.307 * one)), 4, 50).astype(np.int64)
        target = np.clip(np.rint(np.exp(2.703 + 0.338 * (0.87 * one + 0.49 * two))), 4, 55).astype(np.int64)
        return EncodedPairs(side(source), side(target))

    return Material(f"synthetic, Multi30k's lengths, {vocabulary:,} pieces", vocabulary, pairs(count), pairs(1000))


def batch(data: EncodedPairs, index: Ints) -> Pairs:
    """The pairs `index`, padded."""
    source, target = (Tokens(*map(torch.from_numpy, side.padded(index))) for side in data)
    return Pairs(source, target, torch.from_numpy(index))


def random_batches(data: EncodedPairs, size: int, count: int, seed: int = 0) -> list[Pairs]:
    """As a tutorial makes them: `size` pairs at random, whatever their lengths."""
    order = np.random.default_rng(seed).permutation(len(data))
    return [batch(data, order[i * size : (i + 1) * size]) for i in range(count)]


def bucketed_batches(data: EncodedPairs, batch_tokens: int, count: int, seed: int = 0) -> list[Pairs]:
    """`count` of the project's own batches of an epoch, at even distances when they are ordered by length: so few
    stand for all."""
    made = list(TrainingBatches(data, Budget(batch_tokens), seed).epoch(0))
    made.sort(key=lambda index: float(data.target.lengths(index).mean()))
    return [batch(data, made[int((i + 0.5) * len(made) / count)]) for i in range(count)]


def amounts(batches: list[Pairs]) -> Amounts:
    """The real tokens of batches."""
    lengths = [(b.source.lengths, b.target.lengths) for b in batches]

    def total(values: list[Int[Tensor, "B"]]) -> int:
        return sum(int(value.sum()) for value in values)

    sums = total([s for s, _ in lengths]), total([t for _, t in lengths]), total([s * t for s, t in lengths])
    return Amounts(sum(len(s) for s, _ in lengths), *sums)


def pad_share(batches: list[Pairs]) -> float:
    """The share of pads among the target positions."""
    return 1 - amounts(batches).target / sum(b.target.ids.numel() for b in batches)
