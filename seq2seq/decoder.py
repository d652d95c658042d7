"""The decoder: a stack of cells that consumes c at every step, its context, and its head.

    query previous:  c_t = context(s_{t−1}),  s_t = cell([e_{t−1} ; c_t], s_{t−1}),  o_t = head(s_t, c_t, e_{t−1})
    query current:   s_t = cell(e_{t−1}, s_{t−1}),  c_t = context(s_t),              o_t = head(s_t, c_t, e_{t−1})

The first is Bahdanau et al. (2015), the second Luong et al. (2015); with a fixed context they are the same model, Cho
et al. (2014). A whole teacher-forced target needs a loop over time only where something else than the cells' state
recurs: attention that is queried by the previous state, or input feeding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.cells import Cell
from seq2seq.contexts import Context, Keys
from seq2seq.embedding import Dropout
from seq2seq.errors import UserError
from seq2seq.heads import Head
from seq2seq.recurrence import unroll
from seq2seq.structures import CellState, Inputs, StateShape


class DecoderState(NamedTuple):
    """What recurs: each layer's state, and the last features where they are fed back (else without columns)."""

    layers: tuple[CellState, ...]
    feed: Float[Tensor, "N F"]


class Decoder(nn.Module):
    """`num_layers` layers of `hidden_size` units above the embedding's vectors of `embedding_size`.

    `context_to` tells where c_t goes: into the first layer's gates (`cell`), into the `readout`, into `both`, or
    nowhere (`start`: the source reaches the decoder through its first state only, Sutskever et al. 2014). `query` is
    the top layer's `previous` or `current` state. `input_feeding` adds the last features to the input (Luong et al.
    2015, §3.3). `dropout` falls between layers. Raises `UserError` for values and combinations that make no model.
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
        input_feeding: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        path: str = "auto",
    ) -> None:
        super().__init__()
        self.context = context(memory_size, hidden_size)
        _check(self.context.attends, num_layers, context_to, query)
        to_cell, to_readout = context_to in ("cell", "both"), context_to in ("readout", "both")
        self.head = head(hidden_size, self.context.size if to_readout else 0, embedding)
        self.feed_size = self.head.feature_size if input_feeding else 0
        first = embedding.size(1) + self.feed_size + (self.context.size if to_cell else 0)
        sizes = [first] + [hidden_size] * (num_layers - 1)
        self.layers: nn.ModuleList = nn.ModuleList(cell(size, hidden_size) for size in sizes)
        self.to_cell, self.to_readout, self.query_previous = to_cell, to_readout, query == "previous"
        self.dropout = Dropout(dropout, variational=variational)
        self.residual, self.path = residual, path

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
        return DecoderState(layers, layers[0].h.new_zeros(layers[0].h.size(0), self.feed_size))

    def step(
        self, embedded: Float[Tensor, "N E"], state: DecoderState, keys: Keys
    ) -> tuple[Float[Tensor, "N F"], DecoderState, Float[Tensor, "N S"] | None]:
        """One token: features, the next state, and attention weights. N = B·K: a beam's K stand side by side."""
        layers, top, c, weights = self._advance(embedded, state, keys, None)
        features = self.head.readout(top, c if self.to_readout else c[:, :0], embedded)
        return features, DecoderState(layers, features if self.feed_size else state.feed), weights

    def forward(
        self, embedded: Float[Tensor, "B T E"], state: DecoderState, keys: Keys, mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "M F"]:
        """The features of a whole teacher-forced target, only where `mask` is True (M rows, sentence by sentence)."""
        if self.feed_size:
            return self._fed(embedded, state, keys)[mask]
        tops, cs = self._looped(embedded, state, keys) if self.loops else self._unrolled(embedded, state, keys)
        return self.head.readout(tops[mask], cs[mask] if self.to_readout else tops[mask][:, :0], embedded[mask])

    def _unrolled(self, embedded: Tensor, state: DecoderState, keys: Keys) -> tuple[Tensor, Tensor]:
        """No loop of ours: a fixed c adds its share of the gates once a sentence; current queries all at once."""
        once = keys.values[:, 0] if self.to_cell else None
        outputs = embedded
        for depth, (layer, start) in enumerate(zip(self.layers, state.layers, strict=True)):
            inputs = self.dropout(outputs) if depth else outputs
            outputs, _ = unroll(layer, Inputs(inputs, once if depth == 0 else None), None, start, path=self.path)  # type: ignore[arg-type]
            if self.residual and depth:
                outputs = outputs + inputs
        return outputs, self.context(outputs, keys)[0] if self.to_readout else outputs

    def _looped(self, embedded: Tensor, state: DecoderState, keys: Keys) -> tuple[Tensor, Tensor]:
        """Only what recurs stands in the loop; the inputs' projection before it, readout and softmax after it."""
        gates = self._project(embedded)
        masks, tops, cs = self._layer_masks(embedded), [], []
        for t in range(embedded.size(1)):
            layers, top, c, _ = self._advance(gates[t], state, keys, masks, projected=True)
            state = DecoderState(layers, state.feed)
            tops.append(top)
            cs.append(c)
        return torch.stack(tops, 1), torch.stack(cs, 1)

    def _fed(self, embedded: Tensor, state: DecoderState, keys: Keys) -> Tensor:
        """Input feeding: the readout recurs as well."""
        gates, masks, features = self._project(embedded), self._layer_masks(embedded), []
        for t in range(embedded.size(1)):
            layers, top, c, _ = self._advance(gates[t], state, keys, masks, projected=True)
            state = DecoderState(layers, self.head.readout(top, c if self.to_readout else c[:, :0], embedded[:, t]))
            features.append(state.feed)
        return torch.stack(features, 1)

    def _project(self, embedded: Tensor) -> Tensor:
        first: Cell[Any] = self.layers[0]  # type: ignore[assignment]
        return first.project(embedded.transpose(0, 1))

    def _layer_masks(self, embedded: Tensor) -> list[Tensor] | None:
        """One mask a layer for the whole sentence, where dropout between layers is held over time."""
        if not self.dropout.variational:
            return None
        size = self.state_shapes[0].size
        return [self.dropout(embedded.new_ones(embedded.size(0), 1, size))[:, 0] for _ in self.layers]

    def _advance(
        self,
        inputs: Tensor,
        state: DecoderState,
        keys: Keys,
        masks: list[Tensor] | None,
        *,
        projected: bool = False,
    ) -> tuple[tuple[CellState, ...], Tensor, Tensor, Tensor | None]:
        """One step of all layers: new states, top output, c_t, attention weights."""
        first: Cell[Any] = self.layers[0]  # type: ignore[assignment]
        gates = inputs if projected else first.project(inputs)
        width = first.input_size - self.feed_size - (self.context.size if self.to_cell else 0)
        if self.feed_size:
            gates = gates + first.project(state.feed, width, bias=False)
        c, weights = state.feed, None
        if self.query_previous or self.to_cell:
            c, weights = self._look(state.layers[-1].h, keys)
        if self.to_cell:
            gates = gates + first.project(c, width + self.feed_size, bias=False)
        states = [first.step(gates, state.layers[0])]
        top = states[0].h
        for depth in range(1, len(self.layers)):
            below = self._between(top, masks[depth] if masks else None)
            layer: Cell[Any] = self.layers[depth]  # type: ignore[assignment]
            states.append(layer.step(layer.project(below), state.layers[depth]))
            top = states[-1].h + below if self.residual else states[-1].h
        if not self.query_previous and not self.to_cell:
            c, weights = self._look(top, keys)
        return tuple(states), top, c, weights

    def _between(self, values: Tensor, mask: Tensor | None) -> Tensor:
        return self.dropout(values[:, None])[:, 0] if mask is None else values * mask

    def _look(self, query: Tensor, keys: Keys) -> tuple[Tensor, Tensor | None]:
        """The context of N = B·K queries against B sentences' keys."""
        sentences = keys.values.size(0)
        c, weights = self.context(query.view(sentences, -1, query.size(-1)), keys)
        return c.flatten(0, 1), None if weights is None else weights.flatten(0, 1)


def _check(attends: bool, num_layers: int, context_to: str, query: str) -> None:
    if num_layers < 1:
        raise UserError(f"decoder: num_layers={num_layers} must be at least 1")
    if context_to not in ("cell", "readout", "both", "start"):
        raise UserError(f"decoder: context_to={context_to!r} is not known; use cell, readout, both or start")
    if query not in ("previous", "current"):
        raise UserError(f"decoder: query={query!r} is not known; use previous or current")
    if attends and context_to == "start":
        raise UserError("decoder: context_to=start would compute attention for nothing; use context=fixed")
    if attends and query == "current" and context_to in ("cell", "both"):
        raise UserError(
            f"decoder: with query=current c_t is computed from s_t and cannot enter the cell that makes s_t "
            f"(context_to={context_to}); use decoder.context_to=readout or decoder.query=previous"
        )
