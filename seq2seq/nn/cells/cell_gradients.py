"""A cell's derivatives a step at a time, for loops in which more recurs than the cell: see
`seq2seq.nn.contexts.attention_through_time`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class CellSteps(ABC):
    """One cell over T steps of one batch, forwards and backwards; made for one call. There is no mask.

    The loop owns the states: `hs` [T+1, B, H], of which `forward` writes the row t + 1, and the recurrent product.
    With `held`, a draw of zoneout, the units that it marks keep their state: `hold` after `forward`, and D of these
    units is carried by the loop and 0 for `backward`.
    """

    hs: Float[Tensor, "T1 B H"]
    held: Bool[Tensor, "T B H"] | None = None

    @abstractmethod
    def begin(self, like: Float[Tensor, "T B G"], hs: Float[Tensor, "T1 B H"], state: Sequence[Tensor]) -> None:
        """Allocate memory for the steps; `state` is what the first state holds in addition to h."""

    @abstractmethod
    def forward(self, t: int, gates: Float[Tensor, "B G"], hidden: Float[Tensor, "B G"]) -> None:
        """h_{t+1} from the projected input and the recurrent product W_hh h_t + b_hh."""

    @abstractmethod
    def begin_backward(self, into_inputs: Float[Tensor, "T B G"], into_hidden: Float[Tensor, "T B G"]) -> None:
        """Set where `backward` writes, and compute for all steps what does not depend on the gradient."""

    @abstractmethod
    def backward(self, t: int, d: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Write the gradients at both kinds of gates of step t, given D = ∂L/∂h_{t+1}; returns what is carried to h_t
        in addition to them. Steps come from the last to the first."""

    def hold(self, t: int) -> None:
        """Let the units that are held at step t keep their state."""
        assert self.held is not None
        torch.where(self.held[t], self.hs[t], self.hs[t + 1], out=self.hs[t + 1])

    def state_gradients(self) -> tuple[Tensor, ...]:
        """The gradients of what the first state holds in addition to h."""
        return ()
