"""The conditional GRU (Sennrich et al., "Nematus", 2017, §2.2; Firat & Cho 2016), for any cell.

    s′_t = cell₁(e_{t−1}, s_{t−1})    c_t = context(s′_t)    s_t = cell₂(c_t, s′_t)    o_t = head(s_t, c_t, e_{t−1})

With `transitions` n above 2 a step is deeper (Miceli Barone et al. 2017, §2.3): s_t = cell_n(c_t, … cell₂(c_t, s′_t)).
(There only cell₂ reads c_t, and the cells above it nothing.) Attention sees the previous token before it looks, and
what it finds reaches the state of the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.cells import Cell
from seq2seq.nn.contexts import Context, Keys
from seq2seq.nn.decoder import Decoder
from seq2seq.nn.decoder_options import Layers, Wiring
from seq2seq.nn.decoder_state import Advanced, DecoderState, Encoded, Masks, Unrolled
from seq2seq.nn.embedding import Dropout
from seq2seq.nn.heads import Head
from seq2seq.nn.scheduled_sampling import Feedback, TeacherForcing
from seq2seq.nn.types import Vectors

MOST = 1000  # transitions that are not a mistake


@dataclass(frozen=True)
class ConditionalStep:
    """A step of `transitions` cells; `dropout` falls on c_t where these read it. `input_feeding` and `path` are those
    of other decoders. Raises `UserError` for fewer than two transitions, or far too many."""

    transitions: int = 2
    input_feeding: bool = False
    dropout: float = 0.0
    path: Literal["auto", "step"] = "auto"

    def __post_init__(self) -> None:
        if not 2 <= self.transitions <= MOST:
            raise UserError(
                f"decoder.transitions={self.transitions}: a conditional step has 2 to {MOST}; use 2, or "
                "decoder=recurrent"
            )


class ConditionalDecoder(Decoder):
    """A decoder with one state, whose steps are `ConditionalStep`s; a configuration gives the fields of the group
    `conditional` as keys of the decoder."""

    def __init__(
        self,
        embedding: nn.Parameter,
        memory_size: int,
        hidden_size: int,
        cell: Callable[..., Cell[Any]],
        context: Callable[..., Context],
        head: Callable[..., Head],
        *,
        conditional: ConditionalStep = ConditionalStep(),
        feedback: Callable[[], Feedback] = TeacherForcing,
    ) -> None:
        wiring = Wiring(context_to="readout", query="current", input_feeding=conditional.input_feeding)
        parts = embedding, memory_size, hidden_size, cell, context, head
        super().__init__(*parts, wiring=wiring, layers=Layers(path=conditional.path), feedback=feedback)
        if self.marginal is not None:
            raise UserError(
                "decoder=conditional: its state reads c_t, and context=monotonic sums over alignments, which no state "
                "may depend on; use decoder=recurrent or another context"
            )
        self.transitions = nn.ModuleList(
            cell(self.context.size, hidden_size) for _ in range(conditional.transitions - 1)
        )
        self.context_dropout = Dropout(conditional.dropout)

    @contextmanager
    def dropped_weights(self) -> Iterator[None]:
        """Those of all transitions."""
        with ExitStack() as stack, super().dropped_weights():
            for cell in self.transitions:
                stack.enter_context(cell.dropped_weights())  # type: ignore[operator]
            yield

    def _cell_first(self, gates: Tensor, state: DecoderState, encoded: Encoded, masks: Masks) -> Advanced:
        """The equations of the module's docstring."""
        layers, _, c, weights = super()._cell_first(gates, state, encoded, masks)
        assert c is not None
        read, (new,) = self.context_dropout(self._without_words(c)[:, None])[:, 0], layers
        for cell in self.transitions:
            new = cell.advance(cell.project(read), new)  # type: ignore[operator]
        return (new,), new.h, c, weights

    def _unrolled(self, vectors: Vectors, embedded: Tensor, state: DecoderState, keys: Keys) -> Unrolled:
        """A loop over time after all: in each step the state waits for attention."""
        return self._looped(vectors, state, keys)
