"""The decoder: a stack of cells that consumes c at every step, its context, and its head.

    query previous:     c_t = context(s_{t−1}),  s_t = cell([e_{t−1} ; c_t], s_{t−1}),  o_t = head(s_t, c_t, e_{t−1})
    query current:      s_t = cell(e_{t−1}, s_{t−1}),  c_t = context(s_t),              o_t = head(s_t, c_t, e_{t−1})
    recurrence output:  s_t = cell([e_{t−1} ; c_t], s_0): only the previous output recurs

The first is Bahdanau et al. (2015), the second Luong et al. (2015); with a fixed context they are the same model, Cho
et al. (2014). The third is the network of Goodfellow, Bengio & Courville (2016), §10.2.1, figure 10.4: without a path
from state to state it is weaker, and all steps of a known target are one batch.

A whole teacher-forced target needs a loop over time only where something else than the cells' state recurs: attention
that is queried by the previous state, or input feeding.

With a context that sums over alignments (`seq2seq.nn.marginal`), and with a head that copies
(`seq2seq.nn.pointer_head`), the steps give log-probabilities instead of features.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seq2seq.nn.cell_stack import CellStack, States, input_sizes
from seq2seq.nn.cells import Cell
from seq2seq.nn.contexts import Context, Keys, MonotonicContext
from seq2seq.nn.decoder_loops import LoopsOverTime
from seq2seq.nn.decoder_options import Layers, Wiring
from seq2seq.nn.decoder_state import Advanced, DecoderState, Encoded, Masks, Unrolled
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.heads import Head, Product
from seq2seq.nn.log_prob_losses import LogProbLosses
from seq2seq.nn.marginal import Marginal
from seq2seq.nn.recurrence import from_one_state, unroll
from seq2seq.nn.scheduled_sampling import Feedback, SamplingState, TeacherForcing
from seq2seq.nn.types import CellState, Inputs, Memory, StateShape, Vectors, dense, flatten_unpadded


class Decoder(LoopsOverTime):
    """Reads one token, or a whole target, through layers of `hidden_size` units; `embedding` is the tokens' table of
    vectors.

    `wiring` and `layers` are groups of options; a configuration gives their fields as keys of the decoder. `feedback`
    decides what is read as the previous token in training. Raises `UserError` for invalid combinations.
    """

    def __init__(
        self,
        embedding: nn.Parameter,
        memory_size: int,
        hidden_size: int,
        cell: Callable[..., Cell[Any]],
        context: Callable[..., Context],
        head: Callable[..., Head],
        *,
        wiring: Wiring = Wiring(),  # noqa: B008  it is frozen
        layers: Layers = Layers(),  # noqa: B008
        feedback: Callable[[], Feedback] = TeacherForcing,
    ) -> None:
        super().__init__()
        self.context = context(memory_size, hidden_size)
        wiring.check(self.context, layers.path)
        self.to_cell = wiring.to_cell
        self.to_readout = wiring.to_readout
        self.first_only = wiring.context_to == "first"  # the gates see c at the first step only
        self.static_context = self.to_cell and self.context.constant and not self.first_only  # the same c always
        self.query_previous = wiring.query == "previous"
        self.recurrent = wiring.recurrence == "state"
        self.path = layers.path
        self.head = head(hidden_size, self.context.size if self.to_readout else 0, embedding)
        self.lexical = self.head.lexical is not None
        self.keeps_contexts = self.to_readout or self.lexical
        wiring.check_head(self.context, self.lexical, self.head.copies)
        self.embedding_size = embedding.size(1)
        self.marginal = Marginal(self.context, self.head) if isinstance(self.context, MonotonicContext) else None
        self.feed_size = self.head.feature_size if wiring.input_feeding else 0
        input_size = self.embedding_size + self.feed_size + (self.context.size if self.to_cell else 0)
        self.layers = CellStack(
            (cell(size, hidden_size) for size in input_sizes(input_size, hidden_size, layers.num_layers)),
            dropout=layers.dropout,
            variational=layers.variational,
            residual_from=1 if layers.residual else None,
        )
        wiring.check_cell(self.layers.first)
        self.feedback = feedback()

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """The type and size of each layer's state."""
        return self.layers.state_shapes

    @property
    def uses_position(self) -> bool:
        """Whether a step depends on the number of tokens read before."""
        return self.first_only or self.context.uses_position

    @property
    def outputs(self) -> Head | LogProbLosses:
        """What has the losses of the outputs of `forward`: the head, or `LogProbLosses` for log-probabilities."""
        return LogProbLosses(self.head.weight.size(0)) if self.normalised else self.head

    @property
    def normalised(self) -> bool:
        """Whether the outputs of `forward` and `step` are log-probabilities, and not features of one softmax."""
        return self.marginal is not None or self.head.copies

    def init_state(self, layers: States, keys: Keys) -> DecoderState:
        """The state before the first token, from the bridge's states."""
        h = layers[0].h
        feed = h.new_zeros(h.size(0), self.feed_size) if self.feed_size else None
        alignment = None if self.marginal is None else self.marginal.begin(keys)
        return DecoderState(layers, feed, h.new_zeros(h.size(0), dtype=torch.long), alignment=alignment)

    def prepare(self, memory: Memory) -> Keys:
        """The context's keys; for a lexical head with the source words' vectors, which are averaged as the memory is:
        what is called c below is then both, concatenated."""
        keys: Keys = self.context.prepare(memory)
        return keys.with_words(memory) if self.lexical else keys

    def look_at(self, keys: Keys) -> Encoded:
        """Prepare a source for single steps: its keys, and what can be computed from them once."""
        return Encoded(keys, self._context_gates(keys.values[:, 0]) if self.static_context else None)

    # One token

    def project(self, embedded: Float[Tensor, "*N E"]) -> Float[Tensor, "*N G"]:
        """The contribution of the tokens' vectors to the first layer's gates."""
        gates: Tensor = self.layers.first.project(embedded)
        return gates

    def step(
        self,
        embedded: Float[Tensor, "N E"],
        state: DecoderState,
        encoded: Encoded,
        gates: Float[Tensor, "N G"] | None = None,
        masks: Masks = None,
        *,
        ids: Int[Tensor, "N"] | None = None,
        product: Product | None = None,
    ) -> tuple[Float[Tensor, "N F"], DecoderState, Float[Tensor, "N S"] | None]:
        """Read one token: features, the next state, and attention weights. N = B·K: the K hypotheses of a sentence are
        adjacent rows. `gates` is `project(embedded)` where the caller has it already; for `masks` see
        `CellStack.step`. A sum over alignments needs the token's `ids`. Where the decoder is `normalised`, the outputs
        are log-probabilities instead of features, by the `product` of the output layer if it is given."""
        gates = self.project(embedded) if gates is None else gates
        state, top, c, weights = self._advance(gates, state, encoded, masks)
        if self.marginal is not None:
            return self._summed_step(top, embedded, ids, state, encoded.keys, product)
        features, words = self._readout(top, c, embedded)
        state = state._replace(feed=features) if self.feed_size else state
        if self.head.copies:
            features = self._copied_step(features, weights, encoded.keys, product)
        return self.head.with_words(features, words), state, weights

    def predict(
        self,
        embedded: Float[Tensor, "N E"],
        state: DecoderState,
        encoded: Encoded,
        gates: Float[Tensor, "N G"] | None = None,
        *,
        ids: Int[Tensor, "N"],
        product: Product | None = None,
    ) -> tuple[Float[Tensor, "N V"], DecoderState, Float[Tensor, "N S"] | None]:
        """Read one token, as `step` does, but always return the log-probabilities of the next one."""
        outputs, state, weights = self.step(embedded, state, encoded, gates, ids=ids, product=product)
        if not self.normalised:
            outputs = (product or self.head.logits)(outputs).log_softmax(-1)
        return outputs, state, weights

    def _advance(
        self, gates: Tensor, state: DecoderState, encoded: Encoded, masks: Masks
    ) -> tuple[DecoderState, Tensor, Tensor | None, Tensor | None]:
        """One step of all layers from the token's contribution to the gates: the next state, in which `feed` is still
        the old one, then s_t, c_t and the attention weights."""
        if state.feed is not None:
            gates = gates + self.layers.first.project(state.feed, self.embedding_size, bias=False)
        advance = self._context_first if self.query_previous or self.to_cell else self._cell_first
        layers, top, c, weights = advance(gates, state, encoded, masks)
        layers, coverage = layers if self.recurrent else state.layers, state.coverage
        if self.context.covers and weights is not None:
            coverage = weights if coverage is None else coverage + weights
        return state._replace(layers=layers, step=state.step + 1, coverage=coverage), top, c, weights

    def _context_first(self, gates: Tensor, state: DecoderState, encoded: Encoded, masks: Masks) -> Advanced:
        """c_t = context(s_{t−1}),  s_t = cell([e_{t−1} ; c_t], s_{t−1})."""
        c, weights = self._look(state.layers[-1].h, encoded.keys, state)
        if (static := encoded.static_gates) is not None:
            gates = (gates.view(static.size(0), -1, gates.size(-1)) + static[:, None]).view_as(gates)
        elif self.to_cell:
            gates = gates + self._context_gates(self._shown(c, state.step))
        layers, top = self.layers.step(gates, state.layers, masks)
        return layers, top, c, weights

    def _cell_first(self, gates: Tensor, state: DecoderState, encoded: Encoded, masks: Masks) -> Advanced:
        """s_t = cell(e_{t−1}, s_{t−1}),  c_t = context(s_t)."""
        layers, top = self.layers.step(gates, state.layers, masks)
        if self.marginal is not None:
            return layers, top, None, None
        c, weights = self._look(top, encoded.keys, state)
        return layers, top, c, weights

    def _context_gates(self, c: Float[Tensor, "N C"]) -> Float[Tensor, "N G"]:
        """The contribution of c to the first layer's gates."""
        offset = self.embedding_size + self.feed_size
        gates: Tensor = self.layers.first.project(self._without_words(c), offset, bias=False)
        return gates

    def _without_words(self, c: Float[Tensor, "*N D"]) -> Float[Tensor, "*N C"]:
        return c[..., : self.context.size] if self.lexical else c

    def _readout(self, top: Tensor, c: Tensor | None, embedded: Tensor) -> tuple[Tensor, Tensor | None]:
        """The head's readout of a step, or of the steps of many, and Σ_s α_{t,s} f_s for a lexical one."""
        words = None
        if self.lexical and c is not None:
            c, words = c.tensor_split([self.context.size], -1)
        return self.head.readout(top, c if self.to_readout else None, embedded), words

    def _shown(self, c: Tensor, steps: Tensor) -> Tensor:
        """What the gates see of c: all of it, or nothing after the first step."""
        return c * (steps == 0)[..., None] if self.first_only else c

    def _look(self, query: Tensor, keys: Keys, state: DecoderState) -> tuple[Tensor, Tensor | None]:
        """The context of N = B·K queries against B sentences' keys."""
        steps = state.step.view(keys.values.size(0), -1)
        coverage = None if state.coverage is None else state.coverage.view(*steps.shape, -1)
        covered = (coverage,) if self.context.covers else ()
        c, weights = self.context(query.view(*steps.shape, -1), keys, steps, *covered)
        return c.flatten(0, 1), None if weights is None else weights.flatten(0, 1)

    # A whole target

    def dropped_weights(self) -> AbstractContextManager[None]:
        """A block in which each cell has one mask of its recurrent weights."""
        return self.layers.dropped_weights()

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
        if sampling is not None and self.feedback.reads_own:
            previous = self._with_own_tokens(previous, embedding, state, keys, sampling)
        with self.dropped_weights():
            vectors = embedding.deduplicated(previous)
            if self.marginal is not None:
                return flatten_unpadded(self._summed(vectors, previous, state, keys), mask)
            return self._read(vectors, state, keys, mask)

    def _read(self, vectors: Vectors, state: DecoderState, keys: Keys, mask: Bool[Tensor, "B T"]) -> Tensor:
        """The features of all previous tokens, by the form of the loop that they need."""
        embedded = dense(vectors)
        if self.feed_size:
            return flatten_unpadded(self._fed(vectors, embedded, state, keys), mask)
        if self.context.attends and (self.query_previous or self.context.covers):
            tops, cs, weights = self._looped(vectors, state, keys)
        else:
            tops, cs, weights = self._unrolled(vectors, embedded, state, keys)
        if self.head.copies:
            return flatten_unpadded(self._copied(tops, cs, embedded, weights, keys), mask)
        c = None if cs is None else flatten_unpadded(cs, mask)
        return self.head.with_words(*self._readout(flatten_unpadded(tops, mask), c, flatten_unpadded(embedded, mask)))

    def _unrolled(self, vectors: Vectors, embedded: Tensor, state: DecoderState, keys: Keys) -> Unrolled:
        """All steps of a layer at once: what depends on no query enters before, and current queries come together."""
        steps = torch.arange(embedded.size(1), device=embedded.device).expand(embedded.size(0), -1)
        inputs = self._first_inputs(vectors, keys, steps)
        tops, _ = self.layers.run(inputs, state.layers, self._run_layer)
        if self.marginal is not None or not (self.keeps_contexts or self.head.copies):
            return tops, None, None
        c, weights = self.context(tops, keys, steps)
        return tops, c if self.keeps_contexts else None, weights

    def _first_inputs(self, vectors: Vectors, keys: Keys, steps: Tensor) -> Inputs:
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
        return from_one_state(layer, inputs, start), start
