"""The base class of cells: weights in torch's gate order and layout, a projection of its inputs, and one time step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Generic, TypeVar, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.cells.cell_gradients import CellSteps
from seq2seq.nn.cells.initialization import Init, check_init, initialize
from seq2seq.nn.cells.regularization import NONE, Regularization
from seq2seq.nn.matmul import linear
from seq2seq.nn.types import HiddenState, LSTMState, StateShape

S = TypeVar("S", HiddenState, LSTMState)


def time_steps(length: int, reverse: bool) -> range:
    """The positions 0 … `length` − 1 in reading order: from left to right, or from right to left with `reverse`."""
    return range(length - 1, -1, -1) if reverse else range(length)


def by_unit(mask: Bool[Tensor, "T B *H"] | None) -> Bool[Tensor, "T B _"] | None:
    """A mask whose last dimension is that of the state's units: all together, or each by itself."""
    return mask[:, :, None] if mask is not None and mask.dim() == 2 else mask


class Cell(nn.Module, ABC, Generic[S]):
    """One recurrent cell. A new cell names its gate `blocks` and `state_type` and writes `step`; all else is inherited.

    weight_ih [G, input], weight_hh [G, H] with G = blocks·H, and two biases [G]: torch's layout, so that the fused
    kernels run on the same parameters. A cell that is not `recurrent` in its gates has no weight_hh and no bias_hh.
    How the weights start is `init`, one of initialization.py's: by default uniform in ±1/√H, as torch's do.

    `regularization` is a group of options (regularization.py); a configuration gives its fields as keys of the cell.

    Raises `UserError` for sizes below 1, a share outside [0, 1), and an initialisation that does not exist or fit.
    """

    blocks: int
    recurrent: ClassVar[bool] = True
    offers: ClassVar[tuple[str, ...]] = ()
    """The ways to run the cell over a sequence, in addition to `step`: scan, manual, fused."""
    weight_hh: nn.Parameter
    regularization: Regularization = NONE
    _weights_dropped = False
    state_type: ClassVar[type[HiddenState] | type[LSTMState]] = HiddenState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        init: Init = "uniform",
        init_scale: float = 1.0,
        regularization: Regularization = NONE,
    ) -> None:
        super().__init__()
        check_init(type(self).__name__, init, init_scale, self.recurrent)
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size < 1:
                raise UserError(f"{type(self).__name__}: {name}={size} must be at least 1")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.init = init
        self.init_scale = init_scale
        regularization.check(type(self).__name__, recurrent=self.recurrent)
        self.regularization = regularization
        self.weight_ih = nn.Parameter(torch.empty(self.blocks * hidden_size, input_size))
        if self.recurrent:
            self.weight_hh = nn.Parameter(torch.empty(self.blocks * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(self.blocks * hidden_size)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(self.blocks * hidden_size)) if bias and self.recurrent else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the cell's own weights as `init` says; its submodules keep theirs."""
        initialize(self.named_parameters(recurse=False), self.hidden_size, self.init, self.init_scale)

    @property
    def state_shape(self) -> StateShape:
        """What a bridge must know of this cell's state."""
        return StateShape(self.state_type, self.hidden_size)

    def init_state(self, batch_size: int) -> S:
        """The zero state of `batch_size` sentences."""
        return cast(S, self.state_shape.zeros(batch_size, self.weight_ih))

    def project(self, part: Float[Tensor, "*N P"], offset: int = 0, *, bias: bool = True) -> Float[Tensor, "*N G"]:
        """The share of one part of the input in the gates: one matmul for all the steps that `part` holds.

        The part meets the input columns from `offset` on; the shares of all parts, one of them with the bias, add up
        to what the concatenated input would give.
        """
        columns = self.weight_ih[:, offset : offset + part.size(-1)]
        return linear(part, columns, self.bias_ih if bias else None)

    @property
    def zoneout(self) -> float:
        """The share of units that keep their state in a step of training."""
        return self.regularization.zoneout

    @contextmanager
    def dropped_weights(self) -> Iterator[None]:
        """In training, recurrent weights with `weight_drop` and `recurrent_dropout` within the block: one mask of each
        for all that runs there, on whatever path. A block within another one keeps the masks."""
        shares = self.regularization
        if not ((shares.weight_drop or shares.recurrent_dropout) and self.training) or self._weights_dropped:
            yield
            return
        # An attribute of the instance hides the parameter, to which gradients flow through the mask.
        before = {name: self.__dict__[name] for name in ("weight_hh",) if name in self.__dict__}
        self.__dict__["weight_hh"], self._weights_dropped = shares.dropped(self.weight_hh), True
        try:
            yield
        finally:
            del self.__dict__["weight_hh"]
            self.__dict__.update(before)
            self._weights_dropped = False

    def written(self, shape: tuple[int, int], mask: Bool[Tensor, "T B"] | None) -> Bool[Tensor, "T B H"]:
        """A draw of zoneout for T steps of B sentences: False where a unit keeps its state, as on padding."""
        new = torch.rand(*shape, self.hidden_size, device=self.weight_ih.device) >= self.zoneout
        return new if mask is None else new & mask[:, :, None]

    def advance(self, gates: Float[Tensor, "N G"], state: S) -> S:
        """One time step with zoneout: in training a draw, otherwise its expectation."""
        new = self.step(gates, state)
        if not self.zoneout:
            return new
        if not self.training:
            return type(new)(*(torch.lerp(b, a, self.zoneout) for a, b in zip(state, new, strict=True)))
        real = self.written((1, len(gates)), None)[0]
        return type(new)(*(torch.where(real, b, a) for a, b in zip(state, new, strict=True)))

    @abstractmethod
    def step(self, gates: Float[Tensor, "N G"], state: S) -> S:
        """One time step from the projected input and the previous state."""

    def preferred_paths(self, device: torch.device) -> tuple[str, ...]:
        """The `paths` that this cell offers, the fastest on this kind of device first: a scan where there is one, then
        the kernels on a GPU, and the manual backward pass on a CPU."""
        order = ("scan", "fused", "manual") if device.type == "cuda" else ("scan", "manual", "fused")
        return tuple(path for path in order if path in self.paths)

    @property
    def paths(self) -> tuple[str, ...]:
        """What this form of the cell offers; the class's `offers`, unless the form decides."""
        return self.offers

    def manual(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B *H"] | None, state: S, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], S]:
        """All steps, with a manual backward pass; the state is carried where not `mask`, which with zoneout is one of
        each unit."""
        raise UserError(f"{type(self).__name__}: no manual backward pass in this form; use path=auto")

    def scan(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B"] | None, state: S, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], S]:
        """All steps at once, for gates that see no state; the state is carried where not `mask`."""
        raise UserError(f"{type(self).__name__}: its gates wait for the state, so no scan; use path=auto")

    def fused(
        self, inputs: Float[Tensor, "T B I"], state: S, mask: Bool[Tensor, "T B"] | None
    ) -> tuple[Float[Tensor, "T B H"], S]:
        """All steps through torch's fused kernel (oneDNN, cuDNN). The outputs after a sentence's end are arbitrary,
        and so is the last h; what the last state holds in addition to h is that of the sentence's own end."""
        raise UserError(f"{type(self).__name__}: torch has no fused kernel for this form; use path=auto")

    def steps(self) -> CellSteps | None:
        """The derivatives of single steps; None where the cell has none of its own."""
        return None

    def _hidden_bias(self) -> Tensor:
        """b_hh, or zeros where there is none."""
        return self.weight_hh.new_zeros(len(self.weight_hh)) if self.bias_hh is None else self.bias_hh

    def _weights(self) -> list[Tensor]:
        """The parameters in the order of torch's functional kernels."""
        return [w for w in (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh) if w is not None]

    def extra_repr(self) -> str:
        """Input and hidden size, for `print(model)`."""
        return f"{self.input_size}, {self.hidden_size}"
