"""The decoder over a whole target: the features of all its tokens, from the tokens before them.

A whole teacher-forced target needs a loop over time only where something else than the cells' state recurs: attention
that is queried by the previous state, or input feeding. For the equations of one step see `nn.decoder_step`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.nn.cells import Cell
from seq2seq.nn.contexts import Keys
from seq2seq.nn.contexts.attention_through_time import attend_through_time, offers
from seq2seq.nn.decoder_step import DecoderState, DecoderStep, Encoded
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.recurrence import gates_of, in_full, project, unroll
from seq2seq.nn.scheduled_sampling import SamplingState, evaluating, mixed
from seq2seq.nn.types import CellState, DeduplicatedEmbedding, Inputs, dense, flatten_unpadded, map_tensors

__all__ = ["Decoder", "DecoderState", "Encoded"]


class Decoder(DecoderStep):
    """Reads a whole target, or one token; for its options see `DecoderStep`."""

    @property
    def loops(self) -> bool:
        """Whether a teacher-forced target needs a loop over time."""
        return self.feed_size > 0 or (self.context.attends and self.query_previous)

    def forward(
        self,
        previous: Int[Tensor, "B T"],
        embedding: Embedding,
        state: DecoderState,
        keys: Keys,
        mask: Bool[Tensor, "B T"],
        sampling: SamplingState | None = None,
    ) -> Float[Tensor, "M F"]:
        """The features of a whole target, from its `previous` tokens, where `mask` is True: the M rows of
        `flatten_unpadded`. With a `sampling` state the feedback replaces some of the tokens by the model's own."""
        if sampling is not None and self.feedback.truth(sampling.step) < 1:
            previous = self._with_own_tokens(previous, embedding, state, keys, sampling)
        vectors = embedding.deduplicated(previous)
        embedded = dense(vectors)
        if self.feed_size:
            return flatten_unpadded(self._fed(vectors, embedded, state, keys), mask)
        if not self.loops:
            tops, cs = self._unrolled(vectors, embedded, state, keys)
        elif self._offers_manual_loop():
            tops, cs = self._manual(vectors, state, keys)
        else:
            tops, cs = self._looped(vectors, state, keys)
        c = None if cs is None else flatten_unpadded(cs, mask)
        return self.head.readout(flatten_unpadded(tops, mask), c, flatten_unpadded(embedded, mask))

    def _with_own_tokens(
        self, previous: Tensor, embedding: Embedding, state: DecoderState, keys: Keys, sampling: SamplingState
    ) -> Tensor:
        """The previous tokens, some replaced by those that the model, without dropout, gives by itself."""

        def step(ids: Tensor, state: DecoderState, encoded: Encoded) -> tuple[Tensor, DecoderState, Tensor | None]:
            return self.predict(embedding(ids), state, encoded)

        with evaluating(self, embedding):
            return mixed(self.feedback, sampling, previous, step, state, self.look_at(keys))

    # A whole target, without a loop over time

    def _unrolled(
        self, vectors: Tensor | DeduplicatedEmbedding, embedded: Tensor, state: DecoderState, keys: Keys
    ) -> tuple[Tensor, Tensor | None]:
        """All steps of a layer at once: what depends on no query enters before, and current queries come together."""
        steps = torch.arange(embedded.size(1), device=embedded.device).expand(embedded.size(0), -1)
        inputs = self._first_inputs(vectors, keys, steps)
        tops, _ = self.layers.run(inputs, state.layers, self._run_layer)
        return tops, self.context(tops, keys, steps)[0] if self.to_readout else None

    def _first_inputs(self, vectors: Tensor | DeduplicatedEmbedding, keys: Keys, steps: Tensor) -> Inputs:
        """The first layer's input; a c that is the same at every step adds to the gates once a sentence."""
        if not self.to_cell:
            return Inputs(vectors)
        if self.static_context:
            return Inputs(vectors, keys.values[:, 0])
        c = self.context(None, keys, steps)[0]  # it depends on no query
        return Inputs(torch.cat([dense(vectors), self._shown(c, steps)], -1))

    def _run_layer(self, layer: Cell[Any], inputs: Inputs, start: CellState | None) -> tuple[Tensor, CellState]:
        """Run one layer over all steps; each from the same state where only the output recurs."""
        if self.recurrent:
            return unroll(layer, inputs, None, start, path=self.path)
        assert start is not None
        gates = gates_of(layer, inputs).transpose(0, 1)
        sizes = gates.shape[:2]
        states = map_tensors(lambda tensor: tensor.repeat_interleave(sizes[1], 0), start)
        outputs: Tensor = layer.step(gates.flatten(0, 1), states).h.unflatten(0, sizes)
        return outputs, start

    # A whole target, in a loop over time

    def _offers_manual_loop(self) -> bool:
        """Whether the loop has a manual backward pass: one layer, whose gates see the c_t of the previous state."""
        free = self.path in ("auto", "manual") and len(self.layers) == 1 and self.recurrent
        return free and self.query_previous and self.to_cell and offers(self.layers.first, self.context)

    def _manual(
        self, vectors: Tensor | DeduplicatedEmbedding, state: DecoderState, keys: Keys
    ) -> tuple[Tensor, Tensor | None]:
        """The loop over attention with its manual backward pass."""
        cell = self.layers.first
        arguments = (cell, self.context, project(cell, vectors), keys, state.layers[0], self.embedding_size)
        tops, cs = in_full(attend_through_time, *arguments)
        return tops.transpose(0, 1), cs.transpose(0, 1) if self.to_readout else None

    def _looped(
        self, vectors: Tensor | DeduplicatedEmbedding, state: DecoderState, keys: Keys
    ) -> tuple[Tensor, Tensor | None]:
        """Only what recurs is in the loop; the projection of the inputs is before it, readout and softmax after it."""
        gates = project(self.layers.first, vectors)
        masks, encoded = self.layers.time_masks(gates), self.look_at(keys)
        tops: list[Tensor] = []
        cs: list[Tensor] = []
        for t in range(len(gates)):
            state, top, c, _ = self._advance(gates[t], state, encoded, masks)
            tops.append(top)
            cs.append(c)
        return torch.stack(tops, 1), torch.stack(cs, 1) if self.to_readout else None

    def _fed(
        self, vectors: Tensor | DeduplicatedEmbedding, embedded: Tensor, state: DecoderState, keys: Keys
    ) -> Tensor:
        """Input feeding: the readout recurs as well."""
        gates = project(self.layers.first, vectors)
        masks, encoded = self.layers.time_masks(gates), self.look_at(keys)
        features: list[Tensor] = []
        for t in range(len(gates)):
            output, state, _ = self.step(embedded[:, t], state, encoded, gates[t], masks)
            features.append(output)
        return torch.stack(features, 1)
