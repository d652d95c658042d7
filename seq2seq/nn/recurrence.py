"""Run a cell over a sequence, one way of five that agree; time-major inside, batch-first outside.

| path   | what runs                                          | gradients by                          |
|--------|----------------------------------------------------|---------------------------------------|
| step   | `cell.step`, a step at a time                      | autograd: any new cell works at once  |
| scan   | all steps at once, where no gate waits for a state | a scan the other way                  |
| manual | the cell's own function over all steps             | a manual backward pass                |
| fused  | torch's kernel (oneDNN on CPU, cuDNN)              | the kernel                            |
| auto   | the fastest of them that the cell offers on this device                                     |

Where the machine has no fused kernel for a precision (found by a tiny call, see `fused_runs`), `fused`
runs in float32 under autocast, and otherwise `manual` or `step` runs. A forced `fused` says so in one line, so that a
configuration, or a bundle, with a forced path works on any machine; `auto` chooses among what there is.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.nn.cells import Cell
from seq2seq.nn.cells.base import time_steps
from seq2seq.nn.types import CellState, DeduplicatedEmbedding, Inputs, Vectors, dense, map_tensors

Result = TypeVar("Result")
RunPath = Literal["auto", "step", "scan", "manual", "fused"]
# Each cell has weights of its own names and shapes, which cuDNN copies into one block at a call: a few microseconds.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
_has_kernel: WeakKeyDictionary[Cell[Any], dict[tuple[Any, ...], bool]] = WeakKeyDictionary()
log = logging.getLogger(__name__)


def unroll(
    cell: Cell[Any],
    inputs: Inputs,
    mask: Bool[Tensor, "B T"] | None = None,
    state: CellState | None = None,
    *,
    reverse: bool = False,
    path: RunPath = "auto",
) -> tuple[Float[Tensor, "B T H"], CellState]:
    """Run `cell` over all steps; where the mask is False the state is carried and the output is 0.

    Returns the outputs and the state after the last real token (in reading order: `reverse` reads right to left).
    Raises `UserError` when the forced path is unknown or the cell has none such; a fused kernel that only the machine
    lacks is replaced (see the module's docstring).
    """
    size, length = (inputs.steps.rows if isinstance(inputs.steps, DeduplicatedEmbedding) else inputs.steps).shape[:2]
    state = cell.init_state(size) if state is None else state
    marks = None if mask is None else mask.t()
    chosen = _fastest(cell) if path == "auto" else path
    if chosen not in (offered := ("step", *_paths(cell))):
        raise UserError(
            f"unroll: path={path!r} is not one of {type(cell).__name__}'s in this form: {', '.join(('auto', *offered))}"
        )
    if cell.zoneout:
        marks, chosen = (cell.written((length, size), marks), chosen) if cell.training else (marks, "step")
    with cell.dropped_weights():
        outputs, final = _run(cell, inputs, marks, state, reverse, chosen, forced=path == "fused")
    outputs = outputs.transpose(0, 1)
    return (outputs if mask is None else outputs * mask[:, :, None]), final


def from_one_state(cell: Cell[Any], inputs: Inputs, state: CellState) -> Float[Tensor, "B T H"]:
    """The outputs of a cell whose every step begins from `state`: only the input changes, and all steps are one
    batch."""
    gates = gates_of(cell, inputs).transpose(0, 1)
    sizes = gates.shape[:2]
    states = map_tensors(lambda tensor: tensor.repeat_interleave(sizes[1], 0), state)
    outputs: Tensor = cell.step(gates.flatten(0, 1), states).h.unflatten(0, sizes)
    return outputs


def _run(
    cell: Cell[Any],
    inputs: Inputs,
    marks: Tensor | None,
    state: CellState,
    reverse: bool,
    chosen: str,
    *,
    forced: bool,
) -> tuple[Float[Tensor, "T B H"], CellState]:
    """Run the chosen path; `forced` says that a fused one was asked for."""
    full = chosen == "fused" and not fused_runs(cell)
    if full:
        chosen = _instead_of_fused(cell, forced=forced)
    if chosen == "fused":
        arguments = (cell, inputs, marks, state, reverse)
        return in_full(_fused, *arguments) if full else _fused(*arguments)
    if chosen in ("manual", "scan"):
        run = cell.manual if chosen == "manual" else cell.scan
        return in_full(run, gates_of(cell, inputs), marks, state, reverse)
    return _stepwise(cell, gates_of(cell, inputs), marks, state, reverse)


def in_full(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in the precision of the weights: under autocast, which would make another of each product's, its
    arguments (tensors, and tuples of them) are turned to float32 and it runs without autocast. So do the functions with
    a manual backward pass, and kernels that the machine has in float32 only."""
    kinds: list[str] = []

    def look(tensor: Tensor) -> Tensor:
        kinds.append(tensor.device.type)
        return tensor

    map_tensors(look, arguments)
    if lower_precision(kinds[0]) is None:
        return function(*arguments)
    with torch.autocast(kinds[0], enabled=False):
        return function(*map_tensors(_float, arguments))


def _float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def lower_precision(kind: str) -> torch.dtype | None:
    """The type that autocast computes products in on a kind of device; None where it is off."""
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on else None


def _fastest(cell: Cell[Any]) -> str:
    preferred, offered = cell.preferred_paths(cell.weight_ih.device), _paths(cell)
    return next((path for path in preferred if path in offered), "step")


def _paths(cell: Cell[Any]) -> tuple[str, ...]:
    """Those that the cell offers; with zoneout those that know a mask for each unit."""
    return tuple(path for path in cell.paths if path == "manual") if cell.zoneout else cell.paths


def fused_runs(cell: Cell[Any]) -> bool:
    """Whether `cell.fused` runs as it would be called now: on this device, in this precision, with gradients or not.

    What the libraries have does not follow from the names of processors (oneDNN has an LSTM in bfloat16 for some
    instruction sets only, and under autocast torch calls it without asking whether there is one), so a tiny sequence
    is run, once for each of these. Raises `torch.OutOfMemoryError`, which has other causes.
    """
    weight = cell.weight_ih
    if weight.is_meta or torch.compiler.is_compiling():
        return True  # nothing runs now: an exported network is for any machine
    key = (weight.device, weight.dtype, lower_precision(weight.device.type), torch.is_grad_enabled())
    known = _has_kernel.setdefault(cell, {})
    if key not in known:
        known[key] = _try_fused(cell)
    return known[key]


def _try_fused(cell: Cell[Any]) -> bool:
    """Two steps of two sentences, and the gradient of their inputs where gradients are on."""
    inputs = cell.weight_ih.new_zeros(2, 2, cell.input_size, requires_grad=torch.is_grad_enabled())
    mask = torch.ones(2, 2, dtype=torch.bool, device=inputs.device)
    try:
        outputs, _ = cell.fused(inputs, cell.init_state(2), mask)
        if outputs.requires_grad:
            torch.autograd.grad(outputs.sum(), inputs)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # NotImplementedError is one: a device without the operator
        return False
    return True


def _instead_of_fused(cell: Cell[Any], *, forced: bool) -> str:
    """The path where the machine has no kernel in the present precision: fused in float32, else manual or step."""
    kind = cell.weight_ih.device.type
    lower = lower_precision(kind)
    path, how = "fused", "it runs in float32"
    with torch.autocast(kind, enabled=False):
        if lower is None or not fused_runs(cell):
            path = "manual" if "manual" in cell.paths else "step"
            how = f"path={path} runs instead"
    if forced:
        dtype = str(lower or cell.weight_ih.dtype).removeprefix("torch.")
        _say(f"path=fused: this machine has no such kernel of {type(cell).__name__} in {dtype} ({kind}); {how}")
    return path


@cache
def _say(message: str) -> None:
    """Log a warning once a process."""
    log.warning(message)


def gates_of(cell: Cell[Any], inputs: Inputs) -> Float[Tensor, "T B G"]:
    """All steps' input projection in one matmul; what enters once a sentence is projected once and added to each."""
    steps = project(cell, inputs.steps)
    return steps if inputs.static is None else steps + cell.project(inputs.static, _width(inputs.steps), bias=False)


def project(cell: Cell[Any], steps: Float[Tensor, "B T E"] | DeduplicatedEmbedding) -> Float[Tensor, "T B G"]:
    """The share of all steps' vectors in the gates: of each distinct one once where these are known."""
    if isinstance(steps, DeduplicatedEmbedding):
        return F.embedding(steps.rows.t(), cell.project(steps.table))
    return cell.project(steps.transpose(0, 1))


def _width(steps: Vectors) -> int:
    return (steps.table if isinstance(steps, DeduplicatedEmbedding) else steps).size(-1)


def _stepwise(
    cell: Cell[Any], gates: Float[Tensor, "T B G"], mask: Tensor | None, state: CellState, reverse: bool
) -> tuple[Float[Tensor, "T B H"], CellState]:
    outputs: list[Tensor] = [gates] * len(gates)
    for t in time_steps(len(gates), reverse):
        new = cell.step(gates[t], state) if cell.training else cell.advance(gates[t], state)
        state = new if mask is None else _where(mask[t], new, state)
        outputs[t] = state.h
    return torch.stack(outputs), state


def _where(real: Tensor, new: CellState, old: CellState) -> CellState:
    real = real[:, None] if real.dim() == 1 else real  # with zoneout, a mark for each unit
    return type(new)(*(torch.where(real, a, b) for a, b in zip(new, old, strict=True)))


def _fused(
    cell: Cell[Any], inputs: Inputs, mask: Tensor | None, state: CellState, reverse: bool
) -> tuple[Float[Tensor, "T B H"], CellState]:
    """The kernel knows no mask, so real tokens are read first (a gathered reversal serves the other direction, without
    packing and its host synchronisation), and each sentence's last h is picked from the outputs."""
    steps = dense(inputs.steps).transpose(0, 1)
    if inputs.static is not None:
        steps = torch.cat([steps, inputs.static.expand(len(steps), -1, -1)], -1)
    if mask is None:
        outputs, final = cell.fused(steps.flip(0) if reverse else steps, state, None)
        return outputs.flip(0) if reverse else outputs, final
    lengths = mask.sum(0)
    order = _reading_order(lengths, len(steps)) if reverse else None
    outputs, final = cell.fused(_gather(steps, order), state, mask)
    index = (lengths - 1).clamp_min(0)[None, :, None].expand(1, -1, outputs.size(-1))
    h = torch.where((lengths > 0)[:, None], outputs.gather(0, index)[0], state.h)
    return _gather(outputs, order), final._replace(h=h)


def _reading_order(lengths: Tensor, size: int) -> Tensor:
    """[T, B] positions that reverse each sentence within its own length and leave the padding where it is."""
    t = torch.arange(size, device=lengths.device)[:, None]
    return torch.where(t < lengths, lengths - 1 - t, t)


def _gather(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else values.gather(0, order[:, :, None].expand_as(values))
