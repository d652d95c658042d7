"""Forced decoding: the log-probability of given translations, for rescoring, filtering and word alignment of a corpus.

    log p(y | x) = Σ_t log p(y_t | y_<t, x)        eos is the last y_t

The steps are those of a search with given tokens, so the numbers are those that a search gives for the same tokens (a
search may generate the same text with another segmentation than the tokenizer's, whose numbers differ).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from seq2seq.inference.batching import BATCH_SIZE, CHUNK, run_batched
from seq2seq.inference.stepper import Translating
from seq2seq.inference.translator import Translator
from seq2seq.nn.types import Features, Tokens
from seq2seq.search import StepFn
from seq2seq.text import BOS, EOS, LINE_END, PAD
from seq2seq.text.unseen import extend_target


class Forced(NamedTuple):
    """The result for a given translation: its `tokens` without eos, and a log-probability for each of them and eos."""

    tokens: list[int]
    token_log_probs: list[float]
    attention: Float[Tensor, "T S"] | None = None

    @property
    def log_prob(self) -> float:
        """The log-probability of the translation, eos included, in nats."""
        return math.fsum(self.token_log_probs)

    @property
    def mean_log_prob(self) -> float:
        """The mean log-probability over tokens and eos, in nats; 0 if there are none."""
        return self.log_prob / max(1, len(self.token_log_probs))


class EncodedPair(NamedTuple):
    """The token ids of a pair: the source with eos (empty if it has no text), the target without, and the target with
    ids for the unknown tokens of the source that the model copies."""

    source: list[Any]
    target: list[int]
    scored: list[int]


@torch.inference_mode()
def force(
    model: Translating, step: StepFn[Any, Any], sources: Tokens | Features, targets: Tokens
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T S"] | None]:
    """The log-probability of each target token, and the attention weights, of a model that sums over alignments given
    the whole target; values on padding have no meaning."""
    state, encoded = model.start(model.encode(sources))
    ids = torch.full_like(targets.ids[:, 0], BOS)
    chosen: list[Tensor] = []
    attended: list[Tensor | None] = []
    for column in targets.ids.unbind(1):
        log_probs, state, weights = step(ids, state, encoded)
        chosen.append(log_probs.gather(1, column[:, None])[:, 0].float())
        attended.append(weights)
        ids = column
    rows = torch.arange(len(targets.ids), device=targets.ids.device)
    attention = model.posterior(sources, targets, rows)
    if attention is None and attended[0] is not None:
        attention = torch.stack([weights for weights in attended if weights is not None], 1)
    return torch.stack(chosen, 1), attention


class ForcedDecoder(Translator):
    """A `Translator` that scores given pairs of lines. The results depend on `batch_size` and on the other pairs of a
    batch by rounding only, as those of a `Translator`: by less than 1e-5 (relative, for numbers above 1).

    A source without text has only the empty translation: any other has the log-probability −∞.
    """

    def score(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        attention: bool = False,
        tag: str | None = None,
        batch_size: int = BATCH_SIZE,
        chunk: int = CHUNK,
        progress: Callable[[int], object] | None = None,
    ) -> Iterator[Forced]:
        """One result for each (source, target), in order, as a stream that has `chunk` pairs in memory at once;
        `attention` includes the attention weights, if the model has attention. The model reads a `tag` before each
        source. `progress` is called after each batch with its number of pairs."""
        before = self.before(tag, attention)
        return run_batched(
            zip(count(), pairs),
            encode=lambda items: self._encode_pairs(items, before),
            length=lambda pair: max(len(pair.source), len(pair.target) + 1) if pair.source else 0,
            compute=lambda batch: self._force(batch, attention, len(before)),
            empty=lambda pair: Forced(pair.target, [-math.inf] * len(pair.target)),
            batch_size=batch_size,
            chunk=chunk,
            progress=progress,
        )

    def _encode_pairs(self, items: list[tuple[int, tuple[str, str]]], before: list[Any]) -> list[EncodedPair]:
        sources = self._sources([(number, source) for number, (source, _) in items])
        targets = [target.rstrip(LINE_END) for _, (_, target) in items]
        tokenizer, encoded = self.bundle.tokenizers.target, []
        for ids, (_, (text, _)), target, wanted in zip(
            sources, items, targets, tokenizer.encode_batch(targets), strict=True
        ):
            source, unseen = self._extended(text, ids)
            scored = extend_target(tokenizer, target, wanted, unseen)
            encoded.append(EncodedPair([*before, *source] if source else source, wanted, scored))
        return encoded

    def _force(self, pairs: list[EncodedPair], attention: bool, tags: int) -> Iterator[Forced]:
        end = [] if self.bundle.search.equal_length else [EOS]
        ended = [[*pair.scored, *end] for pair in pairs]
        targets = self._pad([target or [PAD] for target in ended])
        log_probs, weights = force(self.model, self.step, self._pad([pair.source for pair in pairs]), targets)
        for b, (pair, row) in enumerate(zip(pairs, log_probs.tolist(), strict=True)):
            steps = len(ended[b])
            attended = weights[b, :steps, tags:].cpu() if attention and weights is not None else None
            yield Forced(pair.target, row[:steps], attended)
