"""How probable a model finds translations that are given: for rescoring, filtering, and aligning the words of a corpus.

    log p(y | x) = Σ_t log p(y_t | y_<t, x)        eos is the last y_t

The steps are those of a search, whose choices are made beforehand, so that the numbers are those which a search gives
for the same tokens. (For the same text, where it cut it into pieces as the tokenizer does; a search may cut otherwise.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.inference.stepper import Translating
from seq2seq.inference.translator import BATCH_SIZE, CHUNK, Translator, batches
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


@torch.inference_mode()
def force(
    model: Translating, step: StepFn[Any, Any], sources: Tokens | Features, targets: Tokens
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T S"] | None]:
    """The log-probability of each target token, and the attention weights; what stands on padding has no meaning."""
    state, encoded = model.start(model.encode(sources))
    ids = torch.full_like(targets.ids[:, 0], BOS)
    found, looked = [], []
    for column in targets.ids.unbind(1):
        log_probs, state, weights = step(ids, state, encoded)
        found.append(log_probs.gather(1, column[:, None])[:, 0].float())
        looked.append(weights)
        ids = column
    attention = None if looked[0] is None else torch.stack([weights for weights in looked if weights is not None], 1)
    return torch.stack(found, 1), attention


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
        progress: Callable[[int], object] = lambda count: None,
    ) -> Iterator[Forced]:
        """One result for each (source, target), in order, as a stream that holds `chunk` pairs at once; with the
        `attention` weights, if asked for and there are some. `progress` is called with the number of pairs that were
        done, a batch at a time."""
        if batch_size < 1 or chunk < 1:
            raise UserError(f"batch_size={batch_size}, chunk={chunk}: must be at least 1")
        return self._score(iter(pairs), attention, batch_size, chunk, progress)

    def _score(
        self,
        pairs: Iterator[tuple[str, str]],
        attention: bool,
        batch_size: int,
        chunk: int,
        progress: Callable[[int], object],
    ) -> Iterator[Forced]:
        before = 0
        while held := list(islice(pairs, chunk)):
            sources = self._encode([source for source, _ in held], range(before, before + len(held)))
            targets = self.bundle.tokenizers.target.encode_batch([without_line_end(target) for _, target in held])
            found = [_unread(target) for target in targets]
            lengths = [max(len(s), len(t) + 1) if s else 0 for s, t in zip(sources, targets, strict=True)]
            progress(lengths.count(0))
            for batch in batches(lengths, batch_size):
                forced = self._force([sources[i] for i in batch], [targets[i] for i in batch], attention)
                for i, one in zip(batch, forced, strict=True):
                    found[i] = one
                progress(len(batch))
            yield from found
            before += len(held)

    def _force(self, sources: list[list[int]], targets: list[list[int]], attention: bool) -> Iterator[Forced]:
        end = [] if self.bundle.search.equal_length else [EOS]
        ended = [[*target, *end] for target in targets]
        given = self._batch([target or [PAD] for target in ended])
        log_probs, weights = force(self.model, self.step, self._batch(sources), given)
        for b, (target, row) in enumerate(zip(targets, log_probs.tolist(), strict=True)):
            steps = len(ended[b])
            looked = weights[b, :steps].cpu() if attention and weights is not None else None
            yield Forced(target, row[:steps], looked)


def _unread(target: list[int]) -> Forced:
    """What a target gets whose source has no text."""
    return Forced(target, [-math.inf] * len(target))
