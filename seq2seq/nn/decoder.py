"""The decoder: a stack of cells that consumes c at every step, its context, and its head.

    query previous:     c_t = context(s_{t−1}),  s_t = cell([e_{t−1} ; c_t], s_{t−1}),  o_t = head(s_t, c_t, e_{t−1})
    query current:      s_t = cell(e_{t−1}, s_{t−1}),  c_t = context(s_t),              o_t = head(s_t, c_t, e_{t−1})
    recurrence output:  s_t = cell([e_{t−1} ; c_t], s_0): only the previous output recurs

The first is Bahdanau et al. (2015), the second Luong et al. (2015); with a fixed context they are the same model, Cho
et al. (2014). The third is the network of Goodfellow, Bengio & Courville (2016), §10.2.1, figure 10.4: without a path
from state to state it is weaker, and all steps of a known target are one batch.

A whole teacher-forced target needs a loop over time only where something else than the cells' state recurs: attention
that is queried by the previous state, or input feeding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.cells import Cell
from seq2seq.nn.contexts import Context, Keys
from seq2seq.nn.contexts.attention_through_time import attend_by_hand, offers
from seq2seq.nn.embedding import Dropout
from seq2seq.nn.heads import Head
from seq2seq.nn.recurrence import gates_of, in_full, project, unroll
from seq2seq.nn.scheduled_sampling import Feedback, TeacherForcing
from seq2seq.nn.types import CellState, Inputs, Lookup, StateShape, dense, map_tensors, real_rows


class DecoderState(NamedTuple):
    """What recurs: each layer's state, the last features where they are fed back (else without columns), and how many
    tokens were read."""

    layers: tuple[CellState, ...]
    feed: Float[Tensor, "N F"]
    step: Int[Tensor, "N"]


class Decoder(nn.Module):
    """`num_layers` layers of `hidden_size` units above the embedding's vectors of `embedding_size`.

    `context_to` tells where c_t goes: into the first layer's gates (`cell`), into them at the first step only
    (`first`), into the `readout`, into `both` gates and readout at every step, or nowhere (`start`: the source reaches
    the decoder through its first state only, Sutskever et al. 2014). `query` is the top layer's `previous` or
    `current` state. `recurrence` goes from `state` to state, or through the `output` alone. `input_feeding` adds the
    last features to the input (Luong et al. 2015, §3.3). `dropout` falls between layers. `feedback` tells what is read
    as the previous token in training. Raises `UserError` for values and combinations that make no model.
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
        num_layers: int = 1,
        context_to: str = "cell",
        query: str = "previous",
        recurrence: str = "state",
        input_feeding: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        path: str = "auto",
        feedback: Callable[[], Feedback] = TeacherForcing,
    ) -> None:
        super().__init__()
        self.context = context(memory_size, hidden_size)
        _check(num_layers, context_to, query, recurrence)
        _check_context(self.context, context_to, query)
        if recurrence == "output":
            _check_output_recurrence(self.context, query, input_feeding, path)
        self.to_cell, self.to_readout = context_to in ("cell", "first", "both"), context_to in ("readout", "both")
        self.first_only, self.query_previous = context_to == "first", query == "previous"
        self.head = head(hidden_size, self.context.size if self.to_readout else 0, embedding)
        self.embedding_size, self.feed_size = embedding.size(1), self.head.feature_size if input_feeding else 0
        first = self.embedding_size + self.feed_size + (self.context.size if self.to_cell else 0)
        sizes = [first] + [hidden_size] * (num_layers - 1)
        self.layers: nn.ModuleList = nn.ModuleList(cell(size, hidden_size) for size in sizes)
        self.dropout = Dropout(dropout, variational=variational)
        self.residual, self.path, self.recurrent = residual, path, recurrence == "state"
        self.feedback = feedback()

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """The type and size of each layer's state."""
        return tuple(layer.state_shape for layer in self.layers)  # type: ignore[misc]

    @property
    def loops(self) -> bool:
        """Whether a teacher-forced target needs a loop over time."""
        return self.feed_size > 0 or (self.context.attends and self.query_previous)

    def init_state(self, layers: tuple[CellState, ...]) -> DecoderState:
        """The state before the first token, from the bridge's states."""
        h = layers[0].h
        return DecoderState(layers, h.new_zeros(h.size(0), self.feed_size), h.new_zeros(h.size(0), dtype=torch.long))

    def project(self, embedded: Float[Tensor, "*N E"]) -> Float[Tensor, "*N G"]:
        """The share of the tokens' vectors in the first layer's gates."""
        first: Cell[Any] = self.layers[0]  # type: ignore[assignment]
        return first.project(embedded)

    def share(self, keys: Keys) -> Float[Tensor, "B P"]:
        """The share of c in the first layer's gates where c is the same at every step; else without columns."""
        first: Cell[Any] = self.layers[0]  # type: ignore[assignment]
        c = keys.values[:, 0]
        if not self.to_cell or self.first_only or not self.context.constant:
            return c[:, :0]
        return first.project(c, self.embedding_size + self.feed_size, bias=False)

    def step(
        self,
        embedded: Float[Tensor, "N E"],
        state: DecoderState,
        keys: Keys,
        share: Float[Tensor, "B P"],
        gates: Float[Tensor, "N G"] | None = None,
    ) -> tuple[Float[Tensor, "N F"], DecoderState, Float[Tensor, "N S"] | None]:
        """One token: features, the next state, and attention weights. N = B·K: a beam's K stand side by side.
        `share` is `share(keys)`, and `gates` is `project(embedded)` where the caller has it already."""
        gates = self.project(embedded) if gates is None else gates
        state, top, c, weights = self._advance(gates, state, keys, None, share)
        features = self.head.readout(top, c if self.to_readout else c[:, :0], embedded)
        return features, state._replace(feed=features) if self.feed_size else state, weights

    def forward(
        self, vectors: Float[Tensor, "B T E"] | Lookup, state: DecoderState, keys: Keys, mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "M F"]:
        """The features of a whole teacher-forced target, where `mask` is True: the M rows of `real_rows`."""
        embedded = dense(vectors)
        if self.feed_size:
            return real_rows(self._fed(vectors, embedded, state, keys), mask)
        tops, cs = self._looped(vectors, state, keys) if self.loops else self._unrolled(vectors, embedded, state, keys)
        top = real_rows(tops, mask)
        c = real_rows(cs, mask) if self.to_readout else top[:, :0]
        return self.head.readout(top, c, real_rows(embedded, mask))

    def _unrolled(
        self, vectors: Tensor | Lookup, embedded: Tensor, state: DecoderState, keys: Keys
    ) -> tuple[Tensor, Tensor]:
        """No loop of ours: what does not depend on the query enters before, and current queries come all at once."""
        steps = torch.arange(embedded.size(1), device=embedded.device).expand(embedded.size(0), -1)
        inputs = self._entering(vectors, keys, steps)
        outputs = embedded
        for depth, (layer, start) in enumerate(zip(self.layers, state.layers, strict=True)):
            if depth:
                inputs = Inputs(self.dropout(outputs))
            outputs = self._run(layer, inputs, start)  # type: ignore[arg-type]
            if self.residual and depth:
                outputs = outputs + dense(inputs.steps)
        return outputs, self.context(outputs, keys, steps)[0] if self.to_readout else outputs

    def _entering(self, vectors: Tensor | Lookup, keys: Keys, steps: Tensor) -> Inputs:
        """The first layer's input; a c that is the same at every step adds its share of the gates once a sentence."""
        if not self.to_cell:
            return Inputs(vectors)
        if self.context.constant and not self.first_only:
            return Inputs(vectors, keys.values[:, 0])
        embedded = dense(vectors)
        c = self.context(embedded, keys, steps)[0]  # it depends on no query
        return Inputs(torch.cat([embedded, self._shown(c, steps)], -1))

    def _run(self, layer: Cell[Any], inputs: Inputs, start: CellState) -> Tensor:
        """One layer over all steps; each from the same state where only the output recurs."""
        if self.recurrent:
            return unroll(layer, inputs, None, start, path=self.path)[0]
        gates = gates_of(layer, inputs).transpose(0, 1)
        sizes = gates.shape[:2]
        states = map_tensors(lambda tensor: tensor.repeat_interleave(sizes[1], 0), start)
        outputs: Tensor = layer.step(gates.flatten(0, 1), states).h.unflatten(0, sizes)
        return outputs

    def _looped(self, vectors: Tensor | Lookup, state: DecoderState, keys: Keys) -> tuple[Tensor, Tensor]:
        """Only what recurs stands in the loop; the inputs' projection before it, readout and softmax after it."""
        gates = project(self.layers[0], vectors)  # type: ignore[arg-type]
        if self._by_hand():
            start, width = state.layers[0], self.embedding_size
            found = in_full(attend_by_hand, self.layers[0], self.context, gates, keys, start, width)
            return found[0].transpose(0, 1), found[1].transpose(0, 1)
        masks, share = self._layer_masks(gates), self.share(keys)
        tops: list[Tensor] = []
        cs: list[Tensor] = []
        for t in range(len(gates)):
            state, top, c, _ = self._advance(gates[t], state, keys, masks, share)
            tops.append(top)
            cs.append(c)
        return torch.stack(tops, 1), torch.stack(cs, 1)

    def _by_hand(self) -> bool:
        """Whether the loop has derivatives by hand: one layer, whose gates see the c_t of the previous state."""
        first: Cell[Any] = self.layers[0]  # type: ignore[assignment]
        free = self.path in ("auto", "hand") and len(self.layers) == 1 and self.recurrent
        return free and self.query_previous and self.to_cell and offers(first, self.context)

    def _fed(self, vectors: Tensor | Lookup, embedded: Tensor, state: DecoderState, keys: Keys) -> Tensor:
        """Input feeding: the readout recurs as well."""
        gates = project(self.layers[0], vectors)  # type: ignore[arg-type]
        masks, share = self._layer_masks(gates), self.share(keys)
        features: list[Tensor] = []
        for t in range(len(gates)):
            state, top, c, _ = self._advance(gates[t], state, keys, masks, share)
            state = state._replace(feed=self.head.readout(top, c if self.to_readout else c[:, :0], embedded[:, t]))
            features.append(state.feed)
        return torch.stack(features, 1)

    def _layer_masks(self, gates: Float[Tensor, "T B G"]) -> list[Tensor] | None:
        """One mask a layer for the whole sentence, where dropout between layers is held over time."""
        if not self.dropout.variational:
            return None
        size = self.state_shapes[0].size
        return [self.dropout(gates.new_ones(gates.size(1), 1, size))[:, 0] for _ in self.layers]

    def _advance(
        self, gates: Tensor, state: DecoderState, keys: Keys, masks: list[Tensor] | None, share: Tensor
    ) -> tuple[DecoderState, Tensor, Tensor, Tensor | None]:
        """One step of all layers from the token's share of the gates: next state, top output, c_t, attention weights.
        `feed` stays as it was."""
        first: Cell[Any] = self.layers[0]  # type: ignore[assignment]
        width = self.embedding_size + self.feed_size
        if self.feed_size:
            gates = gates + first.project(state.feed, self.embedding_size, bias=False)
        c, weights = state.feed, None
        if self.query_previous or self.to_cell:
            c, weights = self._look(state.layers[-1].h, keys, state.step)
        if share.size(1):
            gates = (gates.view(share.size(0), -1, gates.size(-1)) + share[:, None]).view_as(gates)
        elif self.to_cell:
            gates = gates + first.project(self._shown(c, state.step), width, bias=False)
        states = [first.step(gates, state.layers[0])]
        top = states[0].h
        for depth in range(1, len(self.layers)):
            below = self._between(top, masks[depth] if masks else None)
            layer: Cell[Any] = self.layers[depth]  # type: ignore[assignment]
            states.append(layer.step(layer.project(below), state.layers[depth]))
            top = states[-1].h + below if self.residual else states[-1].h
        if not self.query_previous and not self.to_cell:
            c, weights = self._look(top, keys, state.step)
        layers = tuple(states) if self.recurrent else state.layers
        return DecoderState(layers, state.feed, state.step + 1), top, c, weights

    def _shown(self, c: Tensor, steps: Tensor) -> Tensor:
        """What the gates see of c: all of it, or nothing after the first step."""
        return c * (steps == 0)[..., None] if self.first_only else c

    def _between(self, values: Tensor, mask: Tensor | None) -> Tensor:
        return self.dropout(values[:, None])[:, 0] if mask is None else values * mask

    def _look(self, query: Tensor, keys: Keys, steps: Tensor) -> tuple[Tensor, Tensor | None]:
        """The context of N = B·K queries against B sentences' keys."""
        sentences = keys.values.size(0)
        c, weights = self.context(query.view(sentences, -1, query.size(-1)), keys, steps.view(sentences, -1))
        return c.flatten(0, 1), None if weights is None else weights.flatten(0, 1)


def _check(num_layers: int, context_to: str, query: str, recurrence: str) -> None:
    if num_layers < 1:
        raise UserError(f"decoder: num_layers={num_layers} must be at least 1")
    known = {
        "context_to": (context_to, ("cell", "first", "readout", "both", "start")),
        "query": (query, ("previous", "current")),
        "recurrence": (recurrence, ("state", "output")),
    }
    for name, (value, allowed) in known.items():
        if value not in allowed:
            raise UserError(f"decoder: {name}={value!r} is not known; use {', '.join(allowed[:-1])} or {allowed[-1]}")


def _check_context(context: Context, context_to: str, query: str) -> None:
    if not context.constant and context_to in ("start", "first"):
        what = {"start": "compute c_t for nothing", "first": "use c_t once only"}[context_to]
        raise UserError(f"decoder: context_to={context_to} would {what}; use context=fixed")
    if context.attends and query == "current" and context_to in ("cell", "both"):
        raise UserError(
            f"decoder: with query=current c_t is computed from s_t and cannot enter the cell that makes s_t "
            f"(context_to={context_to}); use decoder.context_to=readout or decoder.query=previous"
        )


def _check_output_recurrence(context: Context, query: str, input_feeding: bool, path: str) -> None:
    """What would carry the state past recurrence=output, or has no meaning there."""
    if context.attends and query == "previous":
        raise UserError(
            "decoder: recurrence=output has no previous state for query=previous; "
            "use decoder.query=current with decoder.context_to=readout, or context=fixed or aligned"
        )
    if input_feeding:
        raise UserError(
            "decoder: input_feeding=true would carry the state past recurrence=output; use input_feeding=false"
        )
    if path not in ("auto", "step"):
        raise UserError(f"decoder: recurrence=output makes all steps one batch and knows no path={path}; use path=auto")
