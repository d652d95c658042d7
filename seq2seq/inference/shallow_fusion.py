"""Shallow fusion: a language model of the target joins the search (Gulcehre et al. 2015, §4.1).

    score(y_t) = log p(y_t | y_<t, x) + λ log p_LM(y_t | y_<t)

The sum is not normalised again, so that scores and log-probabilities of outputs are those of both models together. Both
write the same tokens, and the language model reads each output as a line of its text: after the end of another one. An
unknown token that is copied from the source is unknown to the language model.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.bundle.format import Bundle
from seq2seq.errors import UserError
from seq2seq.inference.stepper import Translating
from seq2seq.models import LanguageModel
from seq2seq.search import StepFn
from seq2seq.text import BOS, EOS, UNK, difference

LM_WEIGHT = 0.2
"""λ where none is given."""


class ShallowFusion:
    """A translation model with a language model, with the methods that the search uses of a model; the state is that of
    both. `step` is the model's own step function, or one in its place."""

    def __init__(
        self, model: Translating, step: StepFn[Any, Any], language_model: LanguageModel, weight: float
    ) -> None:
        self.model, self._step = model, step
        self.language_model = language_model
        self.weight = weight
        self.vocabulary_size = len(language_model.embedding.weight)

    @property
    def attends(self) -> bool:
        """Whether the translation model attends."""
        return self.model.attends

    def encode(self, source: Any) -> Any:
        """Encode the source as the translation model does."""
        return self.model.encode(source)

    def mask(self, memory: Any) -> Bool[Tensor, "B S"]:
        """True where attention may look."""
        return self.model.mask(memory)

    def start(self, memory: Any) -> tuple[Any, Any]:
        """Start both models: the first states of both, and what the translation model attends to."""
        state, encoded = self.model.start(memory)
        return (state, self.language_model.init_state(len(self.mask(memory)))), encoded

    def step(
        self, ids: Int[Tensor, "N"], state: Any, encoded: Any
    ) -> tuple[Float[Tensor, "N V"], Any, Float[Tensor, "N S"] | None]:
        """The sum of the docstring above; see `seq2seq.search.StepFn`."""
        own, read = state
        log_probs, own, attention = self._step(ids, own, encoded)
        known = ids.masked_fill(ids == BOS, EOS).masked_fill(ids >= self.vocabulary_size, UNK)
        of_language, read = self.language_model.step(known, read)
        copied = of_language[:, UNK, None].expand(-1, log_probs.size(1) - self.vocabulary_size)
        return log_probs + self.weight * torch.cat([of_language, copied], 1), (own, read), attention

    def posterior(self, source: Any, target: Any, rows: Int[Tensor, "N"]) -> Float[Tensor, "N T S"] | None:
        """That of the translation model."""
        return self.model.posterior(source, target, rows)


def check_language_model(bundle: Bundle, language: Bundle, name: str, weight: float) -> None:
    """Raise `UserError` for a bundle that is no language model of the bundle's target tokens, or a wrong weight."""
    if language.task != "language_modeling":
        raise UserError(f"--lm {name}: is a bundle of task={language.task}; give one of task=language_modeling")
    if not (math.isfinite(weight) and weight > 0):
        raise UserError(f"--lm-weight {weight:g}: must be a number above 0; 0.1 to 0.4 are usual")
    target, own = bundle.tokenizers.target, language.tokenizers.target
    if target.fingerprint != own.fingerprint and (reason := difference(target, own)):
        raise UserError(
            f"--lm {name}: its tokens are not those of the translations: {reason}; train it with tokenizer=bundle "
            "tokenizer.bundle=BUNDLE, the bundle that translates"
        )
