"""What a decoder does beyond its plain steps: sums over alignments, copies, and the loops over time of a whole target.

A loop is needed where steps depend on those before by more than the cells' state: attention that is queried by the
previous state, input feeding, and tokens of the model's own.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seq2seq.nn.cell_stack import CellStack
from seq2seq.nn.contexts import Context, Keys
from seq2seq.nn.contexts.attention_through_time import attend_through_time, offers
from seq2seq.nn.decoder_state import DecoderState, Encoded, Masks, Unrolled
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.heads import Head, Product
from seq2seq.nn.marginal import Marginal
from seq2seq.nn.pointer_head import PointerHead
from seq2seq.nn.recurrence import RunPath, in_full, project
from seq2seq.nn.scheduled_sampling import Feedback, SamplingState, evaluating, mixed
from seq2seq.nn.types import Tokens, Vectors, dense


class LoopsOverTime(nn.Module):
    """The forms of the loop, over the single steps of the decoder that is made of it."""

    layers: CellStack
    context: Context
    head: Head
    feedback: Feedback
    marginal: Marginal | None
    path: RunPath
    recurrent: bool
    query_previous: bool
    to_cell: bool
    keeps_contexts: bool
    embedding_size: int

    @abstractmethod
    def step(
        self, embedded: Tensor, state: DecoderState, encoded: Encoded, *arguments: Any, **options: Any
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Read one token, for the outputs of a step."""

    @abstractmethod
    def predict(
        self, embedded: Tensor, state: DecoderState, encoded: Encoded, *arguments: Any, **options: Any
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Read one token, for the log-probabilities of the next one."""

    @abstractmethod
    def look_at(self, keys: Keys) -> Encoded:
        """What single steps read of a source."""

    @abstractmethod
    def _advance(
        self, gates: Tensor, state: DecoderState, encoded: Encoded, masks: Masks
    ) -> tuple[DecoderState, Tensor, Tensor | None, Tensor | None]:
        """One step of all layers."""

    @abstractmethod
    def _unrolled(self, vectors: Vectors, embedded: Tensor, state: DecoderState, keys: Keys) -> Unrolled:
        """All steps of a layer at once: s_t, c_t and the attention weights."""

    def _offers_manual_loop(self) -> bool:
        """Whether the loop has a manual backward pass: one layer, whose gates see the c_t of the previous state, and a
        head that does not need the attention weights."""
        free = self.path in ("auto", "manual") and len(self.layers) == 1 and self.recurrent and not self.head.copies
        return free and self.query_previous and self.to_cell and offers(self.layers.first, self.context)

    def _manual(self, vectors: Vectors, state: DecoderState, keys: Keys) -> Unrolled:
        """The loop over attention with its manual backward pass, which returns no weights."""
        cell = self.layers.first
        arguments = (cell, self.context, project(cell, vectors), keys, state.layers[0], self.embedding_size)
        tops, cs = in_full(attend_through_time, *arguments)
        return tops.transpose(0, 1), cs.transpose(0, 1) if self.keeps_contexts else None, None

    def _looped(self, vectors: Vectors, state: DecoderState, keys: Keys) -> Unrolled:
        """Only what recurs is in the loop; the projection of the inputs is before it, readout and softmax after it."""
        if self._offers_manual_loop():
            return self._manual(vectors, state, keys)
        gates = project(self.layers.first, vectors)
        masks, encoded = self.layers.time_masks(gates), self.look_at(keys)
        tops: list[Tensor] = []
        cs: list[Tensor] = []
        all_weights: list[Tensor] = []
        for t in range(len(gates)):
            state, top, c, weights = self._advance(gates[t], state, encoded, masks)
            assert c is not None
            tops.append(top)
            cs.append(c)
            all_weights += [] if weights is None else [weights]
        c = torch.stack(cs, 1) if self.keeps_contexts else None
        return torch.stack(tops, 1), c, torch.stack(all_weights, 1) if self.head.copies else None

    def _fed(self, vectors: Vectors, embedded: Tensor, state: DecoderState, keys: Keys) -> Tensor:
        """Input feeding: the readout recurs as well."""
        gates = project(self.layers.first, vectors)
        masks, encoded = self.layers.time_masks(gates), self.look_at(keys)
        features: list[Tensor] = []
        for t in range(len(gates)):
            output, state, _ = self.step(embedded[:, t], state, encoded, gates[t], masks)
            features.append(output)
        return torch.stack(features, 1)

    def _with_own_tokens(
        self, previous: Tensor, embedding: Embedding, state: DecoderState, keys: Keys, sampling: SamplingState
    ) -> Tensor:
        """The previous tokens, some replaced by those that the model, without dropout, gives by itself."""

        def step(ids: Tensor, state: DecoderState, encoded: Encoded) -> tuple[Tensor, DecoderState, Tensor | None]:
            return self.predict(embedding(ids), state, encoded, ids=ids)

        if self.feedback.truth(sampling.step) == 1:
            return previous
        with evaluating(self, embedding):
            return mixed(self.feedback, sampling, previous, step, state, self.look_at(keys))

    def posterior(
        self, previous: Int[Tensor, "B T"], target: Tokens, embedding: Embedding, state: DecoderState, keys: Keys
    ) -> Float[Tensor, "B T S"]:
        """p(a_t = s | y, x) of whole targets, where the context sums over alignments."""
        assert self.marginal is not None
        vectors = embedding.deduplicated(previous)
        tops = self._unrolled(vectors, dense(vectors), state, keys)[0]
        return self.marginal.posterior(tops, dense(vectors), target.ids, target.mask, keys)

    def _summed(self, vectors: Vectors, previous: Tensor, state: DecoderState, keys: Keys) -> Tensor:
        """The log-probabilities of all steps as sums over alignments."""
        assert self.marginal is not None
        tops = self._unrolled(vectors, dense(vectors), state, keys)[0]
        return self.marginal.sequence(tops, dense(vectors), previous, keys)

    def _summed_step(
        self,
        top: Tensor,
        embedded: Tensor,
        ids: Tensor | None,
        state: DecoderState,
        keys: Keys,
        product: Product | None,
    ) -> tuple[Tensor, DecoderState, Tensor]:
        """Those of one step, the next state, and p(a_t = s) before the token is known."""
        assert self.marginal is not None
        assert ids is not None
        assert state.alignment is not None
        log_probs, alignment = self.marginal.step(top, embedded, ids, state.alignment, keys, product)
        return log_probs, state._replace(alignment=alignment), alignment.predictive.exp()

    def _copied(self, tops: Tensor, cs: Tensor | None, embedded: Tensor, weights: Tensor | None, keys: Keys) -> Tensor:
        """The log-probabilities of all steps, of a head that copies where attention is."""
        assert isinstance(self.head, PointerHead)
        assert weights is not None
        return self.head.of_targets(self.head.readout(tops, cs, embedded), weights, keys)

    def _copied_step(self, features: Tensor, weights: Tensor | None, keys: Keys, product: Product | None) -> Tensor:
        """Those of one step."""
        assert isinstance(self.head, PointerHead)
        assert weights is not None
        return self.head.of_steps(features, weights, keys, product)
