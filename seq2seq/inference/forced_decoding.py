"""How probable a model finds translations that are given: for rescoring, filtering, and aligning the words of a corpus.

    log p(y | x) = Σ_t log p(y_t | y_<t, x)        eos is the last y_t

The steps are those of a search, whose choices are made beforehand, so that the numbers are those which a search gives
for the same tokens. (For the same text, where it split it as the tokenizer does; a search may split it otherwise.)
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
from seq2seq.text import BOS, EOS, PAD, without_line_end


class Forced(NamedTuple):
    """A given translation: its `tokens` without eos, and a log-probability for each and for eos."""

    tokens: list[int]
    token_log_probs: list[float]
    attention: Float[Tensor, "T S"] | None = None

    @property
    def log_prob(self) -> float:
        """Of the whole translation, in nats."""
        return math.fsum(self.token_log_probs)

    @property
    def mean_log_prob(self) -> float:
        """A token, eos counted; 0 where there is none."""
        return self.log_prob / max(1, len(self.token_log_probs))


class EncodedPair(NamedTuple):
    """The token ids of a pair: a source with eos (empty where it has no text), and a target without."""

    source: list[int]
    target: list[int]


@torch.inference_mode()
def force(
    model: Translating, step: StepFn[Any, Any], sources: Tokens | Features, targets: Tokens
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T S"] | None]:
    """The log-probability of each target token, and the attention weights; what is on padding has no meaning."""
    state, encoded = model.start(model.encode(sources))
    ids = torch.full_like(targets.ids[:, 0], BOS)
    chosen: list[Tensor] = []
    attended: list[Tensor | None] = []
    for column in targets.ids.unbind(1):
        log_probs, state, weights = step(ids, state, encoded)
        chosen.append(log_probs.gather(1, column[:, None])[:, 0].float())
        attended.append(weights)
        ids = column
    attention = (
        None if attended[0] is None else torch.stack([weights for weights in attended if weights is not None], 1)
    )
    return torch.stack(chosen, 1), attention


class ForcedDecoder(Translator):
    """A `Translator` that scores given pairs of lines. What a pair gets depends on its neighbours and on `batch_size`
    by rounding only, as a `Translator`'s scores do: below 1e-5 (of the number, where that is above 1).

    A source without text has one translation, the empty one: any other has the log-probability −∞.
    """

    def score(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        attention: bool = False,
        batch_size: int = BATCH_SIZE,
        chunk: int = CHUNK,
        progress: Callable[[int], object] | None = None,
    ) -> Iterator[Forced]:
        """One result for each (source, target), in order, as a stream that holds `chunk` pairs at once; with the
        `attention` weights, if asked for and there are some. `progress` is called with the number of pairs that were
        done, a batch at a time."""
        return run_batched(
            zip(count(), pairs),
            encode=self._encode_pairs,
            length=lambda pair: max(len(pair.source), len(pair.target) + 1) if pair.source else 0,
            compute=lambda batch: self._force(batch, attention),
            empty=lambda pair: Forced(pair.target, [-math.inf] * len(pair.target)),
            batch_size=batch_size,
            chunk=chunk,
            progress=progress,
        )

    def _encode_pairs(self, items: list[tuple[int, tuple[str, str]]]) -> list[EncodedPair]:
        sources = self._sources([(number, source) for number, (source, _) in items])
        targets = [without_line_end(target) for _, (_, target) in items]
        return list(map(EncodedPair, sources, self.bundle.tokenizers.target.encode_batch(targets)))

    def _force(self, pairs: list[EncodedPair], attention: bool) -> Iterator[Forced]:
        end = [] if self.bundle.search.equal_length else [EOS]
        ended = [[*pair.target, *end] for pair in pairs]
        targets = self._pad([target or [PAD] for target in ended])
        log_probs, weights = force(self.model, self.step, self._pad([pair.source for pair in pairs]), targets)
        for b, (pair, row) in enumerate(zip(pairs, log_probs.tolist(), strict=True)):
            steps = len(ended[b])
            attended = weights[b, :steps].cpu() if attention and weights is not None else None
            yield Forced(pair.target, row[:steps], attended)
