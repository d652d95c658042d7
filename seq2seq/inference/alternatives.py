"""The tokens that could follow at each step of a translation, with their probabilities.

from seq2seq.inference.alternatives import AlternativesTranslator
translator = AlternativesTranslator.load("runs/first/bundle")
(best,), = translator.translate_full(["A man sleeps."], translator.options(n_best=1))
(steps,) = translator.alternatives([("A man sleeps.", best.hypothesis.tokens)], 5)
steps[0][1].prefix  # a prefix for a `Request`, whose translation begins with the second choice
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.inference.batching import BATCH_SIZE, run_batched
from seq2seq.inference.request import Request, as_request
from seq2seq.inference.stepper import Translating
from seq2seq.inference.translator import Translator
from seq2seq.nn.types import Features, Tokens
from seq2seq.search import SearchOptions, StepFn
from seq2seq.text import BOS, EOS, PAD


class Alternative(NamedTuple):
    """A token that could follow, as text to show; `prefix` is the text up to and with it, and `probability` that of the
    model, p(y_t | y_<t, x). With eos, the prefix is all of the text."""

    token: str
    prefix: str
    probability: float


@torch.inference_mode()
def most_likely(
    model: Translating,
    step: StepFn[Any, Any],
    sources: Tokens | Features,
    targets: Int[Tensor, "B T"],
    options: SearchOptions,
    number: int,
) -> tuple[Int[Tensor, "B T k"], Float[Tensor, "B T k"]]:
    """The `number` most likely tokens that `options` allow at each step of given targets, and their log-probabilities;
    values on padding have no meaning."""
    state, encoded = model.start(model.encode(sources))
    ids = torch.full_like(targets[:, 0], BOS)
    tokens, values = [], []
    for t, column in enumerate(targets.unbind(1)):
        log_probs, state, _ = step(ids, state, encoded)
        banned = torch.tensor(options.banned(t), device=log_probs.device)
        best = log_probs.float().index_fill(1, banned, -math.inf).topk(min(number, log_probs.size(1)))
        tokens.append(best.indices)
        values.append(best.values)
        ids = column
    return torch.stack(tokens, 1), torch.stack(values, 1)


class AlternativesTranslator(Translator):
    """A `Translator` that also lists what could follow at each step of a translation. Probabilities depend on the other
    lines of a batch by rounding only, less than 1e-5."""

    def alternatives(
        self,
        pairs: Iterable[tuple[str | Request, Sequence[int]]],
        number: int,
        options: SearchOptions | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> list[list[list[Alternative]]]:
        """For each source (a text, or a request for its tag) and the tokens of its translation: a list for each step
        (one a token and, unless the translation is as long as its source by `options.equal_length`, eos) of `number`
        alternatives, most likely first. A source without text has no steps."""
        options = options or self.bundle.search
        end = [] if options.equal_length else [EOS]
        results = run_batched(
            zip(count(), pairs),
            encode=self._encode_targets,
            length=lambda pair: max(len(pair[0]), len(pair[1]) + 1) if pair[0] else 0,
            compute=lambda batch: self._alternatives(batch, number, options, end),
            empty=lambda pair: [],
            batch_size=batch_size,
        )
        return list(results)

    def _encode_targets(
        self, items: list[tuple[int, tuple[str | Request, Sequence[int]]]]
    ) -> list[tuple[list[int], Sequence[int]]]:
        requests = [as_request(line) for _, (line, _) in items]
        sources = self._sources([(number, each.text) for (number, _), each in zip(items, requests, strict=True)])
        return [
            ([*self.before(each.tag if source else None, False), *source], target)
            for each, source, (_, (_, target)) in zip(requests, sources, items, strict=True)
        ]

    def _alternatives(
        self, batch: list[tuple[list[int], Sequence[int]]], number: int, options: SearchOptions, end: list[int]
    ) -> list[list[list[Alternative]]]:
        steps = [[*target, *end] for _, target in batch]
        targets = self._pad([target or [PAD] for target in steps]).ids
        sources = self._pad([source for source, _ in batch])
        ids, log_probs = most_likely(self.model, self.step, sources, targets, options, number)
        return [
            [self._described(target[:t], *row) for t, row in zip(range(len(step)), zip(*rows, strict=True))]
            for (_, target), step, *rows in zip(batch, steps, ids.tolist(), log_probs.tolist(), strict=True)
        ]

    def _described(self, before: Sequence[int], ids: list[int], log_probs: list[float]) -> list[Alternative]:
        """The alternatives of one step, after the tokens `before`."""
        tokenizer = self.bundle.tokenizers.target
        pairs = [(token, value) for token, value in zip(ids, log_probs, strict=True) if value > -math.inf]
        names = tokenizer.tokens([token for token, _ in pairs])
        prefixes = tokenizer.decode_batch([[*before, *([token] if token != EOS else [])] for token, _ in pairs])
        return [
            Alternative("</s>" if token == EOS else name, prefix, math.exp(value))
            for (token, value), name, prefix in zip(pairs, names, prefixes, strict=True)
        ]
