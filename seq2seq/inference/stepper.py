"""Run a search with a model: from token ids to hypotheses; for validation and for translation."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.models import Encoded, EncoderDecoder
from seq2seq.nn.decoder_state import DecoderState
from seq2seq.nn.int8 import Int8Linear
from seq2seq.nn.matmul import Packed
from seq2seq.nn.types import Features, Tokens
from seq2seq.search import Hypothesis, SearchOptions, Sentences, StepFn, search


@runtime_checkable
class Translating(Protocol):
    """The interface that decoding needs, of an `EncoderDecoder` or an `Ensemble`: the first state, and a step
    function."""

    @property
    def attends(self) -> bool:
        """Whether the model has attention to the source."""

    def encode(self, source: Tokens | Features) -> Any:
        """Encode the source into a memory, of any type that the other methods take."""

    def mask(self, memory: Any) -> Bool[Tensor, "B S"]:
        """True at the source positions that attention can attend to."""

    def start(self, memory: Any) -> tuple[Any, Any]:
        """The first state, and the encoded source for `step`."""

    def step(self, ids: Int[Tensor, "N"], state: Any, encoded: Any) -> tuple[Any, Any, Any]:
        """Take one time step, as a `seq2seq.search.StepFn`."""

    def posterior(self, source: Tokens | Features, target: Tokens, rows: Int[Tensor, "N"]) -> Tensor | None:
        """Attention weights given outputs to their end, for models that sum over alignments; None for others."""


class Stepper:
    """`EncoderDecoder.step` for a model whose weights do not change, with precomputed tables.

    The input projection of the first layer is precomputed for every token, P = E W_e^T + b [V, G], so a step looks up a
    row instead of multiplying; other weights are packed (`seq2seq.nn.matmul`). `int8` uses the output layer of
    `seq2seq.nn.int8`. The model must be in eval mode.
    """

    @torch.inference_mode()
    def __init__(self, model: EncoderDecoder, *, int8: bool = False) -> None:
        self.model, head = model, model.decoder.head
        self.table = model.decoder.project(model.target_embedding.weight)
        self.product = Int8Linear(head.output_weight(), head.bias) if int8 else None
        self.packed = Packed()

    def __call__(
        self, ids: Int[Tensor, "N"], state: DecoderState, encoded: Encoded
    ) -> tuple[Float[Tensor, "N V"], DecoderState, Float[Tensor, "N S"] | None]:
        """Log-probabilities of the next token, the next state and attention weights, as a `seq2seq.search.StepFn`."""
        embedded = self.model.target_embedding(ids)
        with self.packed.active():
            gates = self.table[self.model.target_embedding.known(ids)]
            return self.model.decoder.predict(embedded, state, encoded, gates, ids=ids, product=self.product)


@torch.inference_mode()
def translate_ids(
    model: Translating,
    sources: Tokens | Features,
    options: SearchOptions,
    step: StepFn[Any, Any] | None = None,
    sentences: Sentences | None = None,
) -> list[list[Hypothesis]]:
    """The hypotheses of each source, best first. Token sources end with eos, which counts in the limits. `sentences`
    has the prefixes and constraints; its mask is replaced.

    Call `model.eval()` first, or dropout is active. `step` replaces the model's own step function, for instance by a
    `Stepper`, which is faster if many batches are translated.
    """
    check_search(model, options)
    memory = model.encode(sources)
    state, encoded = model.start(memory)
    sentences = (sentences or Sentences())._replace(mask=model.mask(memory))
    limits = options.limits(sources.lengths)
    if sentences.reserved and sentences.constraints:  # what is kept is kept whatever the limit of the rest
        kept = {(token,) for token in sentences.reserved}
        limits = limits + limits.new_tensor([sum(tuple(p) in kept for p in given) for given in sentences.constraints])
    results = search(step or model.step, state, encoded, limits, options, sentences)
    return _with_posterior(model, sources, results, options.eos) if options.return_attention else results


def _with_posterior(
    model: Translating, sources: Tokens | Features, results: list[list[Hypothesis]], eos: int
) -> list[list[Hypothesis]]:
    """The same with the attention of a model that sums over alignments given the outputs to their end, where the
    search had that given what was before each token."""
    flat = [(row, each) for row, hypotheses in enumerate(results) for each in hypotheses if each.token_log_probs]
    sequences = [torch.tensor([*each.tokens, *[eos] * each.finished]) for _, each in flat]
    if not flat:
        return results
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True).to(sources.lengths.device)
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=ids.device)
    rows = torch.tensor([row for row, _ in flat], device=ids.device)
    weights = model.posterior(sources, Tokens(ids, lengths), rows)
    if weights is None:
        return results
    renewed = iter([table[: len(ids)].float().cpu() for ids, table in zip(sequences, weights, strict=True)])
    return [
        [each._replace(attention=next(renewed)) if each.token_log_probs else each for each in hypotheses]
        for hypotheses in results
    ]


def check_search(model: Translating, options: SearchOptions) -> None:
    """Raise `UserError` for an option that the model does not support."""
    if options.coverage_penalty and not model.attends:
        raise UserError(
            f"search.coverage_penalty={options.coverage_penalty}: the model has no attention that could cover the "
            "source; set it to 0"
        )
