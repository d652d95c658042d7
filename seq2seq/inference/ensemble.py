"""Several models that translate as one: at every step the mean of what they say.

    p(y_t | y_<t, x) = (1/M) Σ_m p_m(y_t | y_<t, x)

The mean is of probabilities, not of log-probabilities: it is a distribution already (the geometric mean must be
normalised again), and its log-probabilities are at most 0, on which the beam's early stop rests; and a member that
is wrongly sure of a zero is outvoted instead of having a veto.

The members share both vocabularies. The target's, because the mean runs over its tokens. The source's, because there is
then one sequence of source tokens: what is cut, how long the output may become, and where attention looks mean the
same for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.bundle.format import Bundle
from seq2seq.errors import UserError
from seq2seq.inference.stepper import Stepper
from seq2seq.models import Encoded, EncoderDecoder
from seq2seq.nn.decoder import DecoderState
from seq2seq.nn.types import Features, Memory, Tokens
from seq2seq.text import difference

States = tuple[DecoderState, ...]


class Ensemble:
    """M models as one, with the methods that `seq2seq.inference.stepper` uses of a model; states and memories are
    tuples of M.

    Attention weights are the mean over the members that attend, where they look at the same positions: at those of the
    first of them.
    """

    def __init__(self, models: Sequence[EncoderDecoder], *, int8: bool = False) -> None:
        self.models = tuple(models)
        self.steps = tuple(Stepper(model, int8=int8) for model in models)
        looking = [i for i, model in enumerate(models) if model.decoder.context.attends]
        self.looking = [i for i in looking if models[i].encoder.stride == models[looking[0]].encoder.stride]

    def encode(self, source: Tokens | Features) -> tuple[Memory, ...]:
        """What each member reads."""
        return tuple(model.encode(source) for model in self.models)

    @property
    def attends(self) -> bool:
        """Whether a member does."""
        return bool(self.looking)

    def mask(self, memory: tuple[Memory, ...]) -> Bool[Tensor, "B S"]:
        """True where the attention of the first member that attends may look."""
        return memory[self.looking[0] if self.looking else 0].mask

    def start(self, memory: tuple[Memory, ...]) -> tuple[States, tuple[Encoded, ...]]:
        """Where each member starts."""
        states, encoded = zip(*(model.start(own) for model, own in zip(self.models, memory, strict=True)), strict=True)
        return states, encoded

    def step(
        self, ids: Int[Tensor, "N"], state: States, encoded: tuple[Encoded, ...]
    ) -> tuple[Float[Tensor, "N V"], States, Float[Tensor, "N S"] | None]:
        """log Σ_m p_m − log M; see `seq2seq.search.StepFn`."""
        results = [step(ids, own, seen) for step, own, seen in zip(self.steps, state, encoded, strict=True)]
        total = torch.stack([log_probs for log_probs, _, _ in results]).logsumexp(0)
        log_probs = total.sub_(math.log(len(results))).clamp_(max=0)  # rounding may leave 1e-7 above
        watched = [weights for weights in (results[i][2] for i in self.looking) if weights is not None]
        attention = torch.stack(watched).mean(0) if watched else None
        return log_probs, tuple(state for _, state, _ in results), attention


def check_members(bundles: Sequence[Bundle], names: Sequence[str]) -> None:
    """Raise `UserError`, naming both and the first difference, unless all bundles read and write the same tokens."""
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
    if first.fingerprint == second.fingerprint:
        return None
    return difference(first, second) or "the tokens are the same, but not how text is split"
