"""The options of a decoder in two groups, which a configuration fills by flat keys such as `decoder.query`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from seq2seq.errors import UserError
from seq2seq.nn.cells import Cell
from seq2seq.nn.contexts import Context
from seq2seq.nn.recurrence import RunPath


@dataclass(frozen=True)
class Layers:
    """The decoder's layers, see `CellStack`: `num_layers` of them, `residual` from the second on, with `dropout`
    between two of them, held over time if `variational`. `path` forces a way to run the cells (`nn.recurrence`)."""

    num_layers: int = 1
    residual: bool = False
    dropout: float = 0.0
    variational: bool = False
    path: RunPath = "auto"


@dataclass(frozen=True)
class Wiring:
    """What enters the decoder's cells and its readout.

    `context_to` is where c_t goes: into the first layer's gates (`cell`), into them at the first step only (`first`),
    into the `readout`, into `both` gates and readout at every step, or nowhere (`start`: the source reaches the decoder
    through its first state only, Sutskever et al. 2014). `query` is the top layer's `previous` or `current` state.
    `recurrence` goes from `state` to state, or through the `output` alone. `input_feeding` adds the last features to
    the input (Luong et al. 2015, §3.3).
    """

    context_to: Literal["cell", "first", "readout", "both", "start"] = "cell"
    query: Literal["previous", "current"] = "previous"
    recurrence: Literal["state", "output"] = "state"
    input_feeding: bool = False

    @property
    def to_cell(self) -> bool:
        """Whether c_t enters the first layer's gates."""
        return self.context_to in ("cell", "first", "both")

    @property
    def to_readout(self) -> bool:
        """Whether c_t enters the readout."""
        return self.context_to in ("readout", "both")

    def check(self, context: Context, path: RunPath) -> None:
        """Raise `UserError` for a combination of these options, the context and the path that is invalid."""
        if not context.constant and self.context_to in ("start", "first"):
            what = {"start": "compute c_t for nothing", "first": "use c_t once only"}[self.context_to]
            raise UserError(f"decoder: context_to={self.context_to} would {what}; use context=fixed")
        if context.marginal and (self.query != "current" or self.context_to != "readout" or self.input_feeding):
            raise UserError(
                "decoder: context=monotonic sums over all alignments, so no state may depend on one "
                f"(query={self.query}, context_to={self.context_to}, input_feeding={str(self.input_feeding).lower()}); "
                "use decoder.query=current decoder.context_to=readout without decoder.input_feeding"
            )
        if context.attends and self.query == "current" and self.to_cell:
            raise UserError(
                f"decoder: with query=current c_t is computed from s_t and cannot enter the cell that makes s_t "
                f"(context_to={self.context_to}); use decoder.context_to=readout or decoder.query=previous"
            )
        if self.recurrence == "output":
            self._check_output_recurrence(context, path)

    def check_cell(self, cell: Cell[Any]) -> None:
        """Raise `UserError` for what regularises a recurrence from state to state where there is none."""
        for name, share in vars(cell.regularization).items():
            if self.recurrence == "output" and share:
                raise UserError(f"decoder.cell.{name}={share}: recurrence=output has no state that recurs; set it to 0")

    def check_head(self, context: Context, lexical: bool, copies: bool) -> None:
        """Raise `UserError` for a lexical head without the attention that says which source words it reads."""
        if copies and not context.attends:
            raise UserError(
                "head=pointer: copies from where attention is, and this context has none; use context=additive, "
                "multiplicative or monotonic"
            )
        if lexical and (context.marginal or not context.attends):
            raise UserError(
                "head.lexical=true: reads the source words that attention looks at, and this context does not attend; "
                "use context=additive or multiplicative, or set it to false"
            )

    def _check_output_recurrence(self, context: Context, path: RunPath) -> None:
        """Raise `UserError` for what would carry the state past recurrence=output, or has no meaning there."""
        if context.attends and self.query == "previous":
            raise UserError(
                "decoder: recurrence=output has no previous state for query=previous; "
                "use decoder.query=current with decoder.context_to=readout, or context=fixed or aligned"
            )
        if context.covers:
            raise UserError(
                "decoder: context.coverage=true would carry attention past recurrence=output; use coverage=false"
            )
        if self.input_feeding:
            raise UserError(
                "decoder: input_feeding=true would carry the state past recurrence=output; use input_feeding=false"
            )
        if path not in ("auto", "step"):
            raise UserError(
                f"decoder: recurrence=output makes all steps one batch and knows no path={path}; use path=auto"
            )
