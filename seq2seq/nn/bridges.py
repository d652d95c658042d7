"""Bridges: from the encoder's memory to the decoder's first states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.matmul import Linear
from seq2seq.nn.types import CellState, HiddenState, LSTMState, Memory, StateShape


class Bridge(nn.Module, ABC):
    """Base class, constructed with the memory's size D and the encoder's final and the decoder's first state shapes."""

    def __init__(
        self, memory_size: int, encoder_states: tuple[StateShape, ...], decoder_states: tuple[StateShape, ...]
    ) -> None:
        super().__init__()
        self.decoder_states = decoder_states

    @abstractmethod
    def forward(self, memory: Memory) -> tuple[CellState, ...]:
        """The decoder's first states, layer by layer."""


class ZeroBridge(Bridge):
    """Every state starts at zero: the source reaches the decoder through c_t alone."""

    def forward(self, memory: Memory) -> tuple[CellState, ...]:
        """Return the zero state of every layer."""
        return tuple(shape.zeros(memory.summary.size(0), memory.summary) for shape in self.decoder_states)


class CopyBridge(Bridge):
    """Each layer starts where the encoder's same layer ended (Sutskever et al. 2014).

    Raises `UserError` unless type, size and depth agree.
    """

    def __init__(
        self, memory_size: int, encoder_states: tuple[StateShape, ...], decoder_states: tuple[StateShape, ...]
    ) -> None:
        super().__init__(memory_size, encoder_states, decoder_states)
        if not encoder_states:
            raise UserError("CopyBridge: this encoder has no recurrent state to copy; use bridge=linear or bridge=zero")
        if len(encoder_states) != len(decoder_states):
            raise UserError(
                f"CopyBridge: the encoder has {len(encoder_states)} layers, the decoder {len(decoder_states)}; "
                "make the depths equal or use bridge=linear"
            )
        for source, target in zip(encoder_states, decoder_states, strict=True):
            if source.kind is not target.kind:
                raise UserError(
                    f"CopyBridge: encoder state is {source.kind.__name__}, decoder needs {target.kind.__name__}; "
                    "use bridge=linear"
                )
            if source.size != target.size:
                raise UserError(
                    f"CopyBridge: encoder state has size {source.size}, decoder needs {target.size} "
                    f"(direction=both doubles it); set decoder.hidden_size={source.size} or use bridge=linear"
                )

    def forward(self, memory: Memory) -> tuple[CellState, ...]:
        """The encoder's final states."""
        return memory.final


class LinearBridge(Bridge):
    """h_0 = tanh(W c + b) for each layer (Cho et al. 2014, appendix A; Bahdanau et al. 2015, appendix A.2.2), and for
    an LSTM its content likewise without the tanh; c is the encoder's summary, or with `inputs` all, those of the
    encoders of all inputs, concatenated, of which those after the first have the sizes `more` (Zoph & Knight 2016,
    §3.1, combine states in the same way)."""

    def __init__(
        self,
        memory_size: int,
        encoder_states: tuple[StateShape, ...],
        decoder_states: tuple[StateShape, ...],
        more: tuple[int, ...] = (),
        *,
        inputs: Literal["first", "all"] = "first",
    ) -> None:
        super().__init__(memory_size, encoder_states, decoder_states)
        self.more = more if inputs == "all" else ()
        self.sizes = [shape.size * len(shape.kind._fields) for shape in decoder_states]
        self.linear = Linear(memory_size + sum(self.more), sum(self.sizes))

    def forward(self, memory: Memory) -> tuple[CellState, ...]:
        """One matmul for all layers."""
        c = torch.cat([memory.summary, *(each.summary for each in memory.more)], -1) if self.more else memory.summary
        parts = self.linear(c).split(self.sizes, -1)
        return tuple(_state(shape, part) for shape, part in zip(self.decoder_states, parts, strict=True))


def _state(shape: StateShape, part: Tensor) -> CellState:
    h, *content = part.split(shape.size, -1)
    return LSTMState(torch.tanh(h), *content) if shape.kind is LSTMState else HiddenState(torch.tanh(h))
