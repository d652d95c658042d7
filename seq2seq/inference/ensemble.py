"""Ensembles: several models translate as one, with the mean of their probabilities at every step.

    p(y_t | y_<t, x) = (1/M) Σ_m p_m(y_t | y_<t, x)

The arithmetic mean of probabilities is a distribution (the geometric mean would have to be normalised), so its
log-probabilities are at most 0, which beam search relies on to stop early; and a member that wrongly gives a
probability of 0 cannot veto a token.

The members share both vocabularies: the target's, because the mean is over its tokens; the source's, so that all read
the same sequence of source tokens, with the same truncation, length limit and attention positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from seq2seq.bundle.format import Bundle
from seq2seq.errors import UserError
from seq2seq.inference.stepper import Stepper
from seq2seq.models import Encoded, EncoderDecoder
from seq2seq.nn.decoder_state import DecoderState
from seq2seq.nn.types import Features, Memory, Tokens
from seq2seq.text import UNK, difference

States = tuple[DecoderState, ...]


class Ensemble:
    """M models as one `Translating`; states and memories are tuples of M.

    Attention weights are the mean over the members with attention whose encoder has the same stride as the first
    such member's.
    """

    def __init__(self, models: Sequence[EncoderDecoder], *, int8: bool = False) -> None:
        self.models = tuple(models)
        self.steps = tuple(Stepper(model, int8=int8) for model in models)
        if any(model.copies for model in models):
            for model in models:
                model.read_unseen_as(UNK)
        attending = [i for i, model in enumerate(models) if model.decoder.context.attends]
        self.attending = [i for i in attending if models[i].encoder.stride == models[attending[0]].encoder.stride]

    def encode(self, source: Tokens | Features) -> tuple[Memory, ...]:
        """The memory of each member."""
        return tuple(model.encode(source) for model in self.models)

    @property
    def attends(self) -> bool:
        """Whether any member has attention."""
        return bool(self.attending)

    def mask(self, memory: tuple[Memory, ...]) -> Bool[Tensor, "B S"]:
        """The mask of the first member with attention (True = token)."""
        return memory[self.attending[0] if self.attending else 0].mask

    def start(self, memory: tuple[Memory, ...]) -> tuple[States, tuple[Encoded, ...]]:
        """The first state, and the encoded source, of each member."""
        states, encoded = zip(*(model.start(own) for model, own in zip(self.models, memory, strict=True)), strict=True)
        return states, encoded

    def step(
        self, ids: Int[Tensor, "N"], state: States, encoded: tuple[Encoded, ...]
    ) -> tuple[Float[Tensor, "N V"], States, Float[Tensor, "N S"] | None]:
        """One time step, as a `seq2seq.search.StepFn`: log Σ_m p_m − log M, and the mean of the attention weights."""
        results = [step(ids, own, seen) for step, own, seen in zip(self.steps, state, encoded, strict=True)]
        total = torch.stack(_of_one_width([log_probs for log_probs, _, _ in results])).logsumexp(0)
        log_probs = total.sub_(math.log(len(results))).clamp_(max=0)  # rounding may exceed 0 by 1e-7
        all_weights = [weights for weights in (results[i][2] for i in self.attending) if weights is not None]
        attention = torch.stack(all_weights).mean(0) if all_weights else None
        return log_probs, tuple(state for _, state, _ in results), attention

    def posterior(
        self, source: Tokens | Features, target: Tokens, rows: Int[Tensor, "N"]
    ) -> Float[Tensor, "N T S"] | None:
        """The mean of the members' posteriors; None unless all members with attention sum over alignments."""
        all_weights = [self.models[i].posterior(source, target, rows) for i in self.attending]
        known = [weights for weights in all_weights if weights is not None]
        return torch.stack(known).mean(0) if known and len(known) == len(all_weights) else None


def _of_one_width(all_log_probs: list[Float[Tensor, "N _"]]) -> list[Float[Tensor, "N V"]]:
    """Log-probabilities of as many tokens from each member: what copies knows more, of a sentence's own tokens."""
    width = max(each.size(1) for each in all_log_probs)
    return [pad(each, (0, width - each.size(1)), value=-math.inf) for each in all_log_probs]


def check_members(bundles: Sequence[Bundle], names: Sequence[str]) -> None:
    """Raise `UserError`, naming two bundles and their first difference, unless all have the same task and
    vocabularies."""
    first, start = names[0], bundles[0]
    for name, bundle in zip(names[1:], bundles[1:], strict=True):
        if bundle.task != start.task:
            raise UserError(f"ensemble: {first} is a bundle of task={start.task}, {name} of task={bundle.task}")
        if reason := difference(start.tokenizers.target, bundle.tokenizers.target):
            raise UserError(f"ensemble: {first} and {name} have different target vocabularies: {reason}; {REMEDY}")
        if bundle.model.features != start.model.features:
            raise UserError(f"ensemble: {first} reads {start.model.features} numbers a row, {name} reads others")
        if bundle.model.features is None and (reason := _read_differently(start, bundle)):
            raise UserError(f"ensemble: {first} and {name} have different source vocabularies: {reason}; {REMEDY}")


REMEDY = "train both on the same data with the same tokenizer settings"


def _read_differently(one: Bundle, other: Bundle) -> str | None:
    first, second = one.tokenizers.source, other.tokenizers.source
    factors = [each.tokenizers.factors and each.tokenizers.factors.fingerprint for each in (one, other)]
    if factors[0] != factors[1]:
        return "their factors differ"
    if first.fingerprint == second.fingerprint:
        return None
    return difference(first, second) or "the tokens are the same, but not how text is split"
