"""What a tagger and a classifier share: labels as a probability each, and the targets of their losses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seq2seq.nn.heads import Head
from seq2seq.nn.losses import label_cross_entropy
from seq2seq.nn.types import IGNORED, Tokens, mask_from_lengths


class Labels(NamedTuple):
    """The labels of M words or texts: each label's probability, which of them hold, and how many of the M each of B
    sentences has."""

    probabilities: Float[Tensor, "M V"]
    chosen: Bool[Tensor, "M V"]
    counts: Int[Tensor, "B"]


class LabelModel(nn.Module):
    """Features to labels: exactly one of them (softmax), or with `many` each by itself (sigmoid, from one half on).

    Labels are counted from 0: the special tokens of a vocabulary are none, and can never be predicted.
    """

    reads_eos: bool = True
    """Whether its sources end with eos."""

    def __init__(self, head: Head, *, many: bool) -> None:
        super().__init__()
        self.head = head
        self.many = many

    def labels(self, features: Float[Tensor, "M F"], counts: Int[Tensor, "B"]) -> Labels:
        """The labels of the features, with the probability of each."""
        logits = self.head.logits(features)
        if self.many:
            return Labels(logits.sigmoid(), logits >= 0, counts)
        best = logits.argmax(-1, keepdim=True)
        chosen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, best, True)
        return Labels(logits.softmax(-1), chosen, counts)

    def loss(
        self,
        features: Float[Tensor, "M F"],
        targets: Int[Tensor, "M"] | Float[Tensor, "M V"],
        *,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Σ loss in nats: of one label's number a row, or with `many` of a row of zeros and ones."""
        if self.many:
            return label_cross_entropy(features, self.head.weight, self.head.bias, targets)
        return self.head.loss(features, targets, label_smoothing=label_smoothing)


def sets(target: Tokens, bos: int, first: int, size: int) -> Float[Tensor, "M V"]:
    """Sets of labels as rows of zeros and ones: each set begins with `bos`, labels are ids from `first` on."""
    ids, mask = target.ids.flatten(), target.mask.flatten()
    begins, label = mask & (ids == bos), mask & (ids >= first)
    row = begins.cumsum(0) - 1
    rows = torch.zeros(int(begins.sum()), size, device=ids.device)
    rows[row[label], ids[label] - first] = 1.0
    return rows


def padded_sets(target: Tokens, bos: int, first: int, size: int, width: int) -> Float[Tensor, "M V"]:
    """`sets`, but `width` rows for each sentence, `types.IGNORED` beyond its own: the host need not know their number,
    for which it would wait for the device."""
    ids, mask = target.ids, target.mask
    begins, label = mask & (ids == bos), mask & (ids >= first)
    spare = len(ids) * width  # a row that takes what is no label
    row = begins.cumsum(1) - 1 + width * torch.arange(len(ids), device=ids.device)[:, None]
    rows = torch.zeros(spare + 1, size, device=ids.device)
    rows.index_put_((torch.where(label, row, spare), torch.where(label, ids - first, 0)), rows.new_ones(()))
    known = mask_from_lengths(begins.sum(1), width).flatten()
    return rows[:-1].masked_fill(~known[:, None], IGNORED)
