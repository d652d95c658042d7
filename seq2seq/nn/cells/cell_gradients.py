"""A cell's derivatives a step at a time, for loops in which more recurs than the cell: see
`seq2seq.nn.contexts.attention_through_time`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor


class CellSteps(ABC):
    """One cell over T steps of one batch, forwards and backwards; made for one call. There is no mask.

    The loop owns the states: `hs` [T+1, B, H], of which `forward` writes the row t + 1, and the recurrent product.
    """

    hs: Float[Tensor, "T1 B H"]

    @abstractmethod
    def begin(self, like: Float[Tensor, "T B G"], hs: Float[Tensor, "T1 B H"], state: Sequence[Tensor]) -> None:
        """Make room for the steps; `state` is what the first state holds in addition to h."""

    @abstractmethod
    def forward(self, t: int, gates: Float[Tensor, "B G"], hidden: Float[Tensor, "B G"]) -> None:
        """h_{t+1} from the projected input and the recurrent product W_hh h_t + b_hh."""

    @abstractmethod
    def begin_backward(self, into_inputs: Float[Tensor, "T B G"], into_hidden: Float[Tensor, "T B G"]) -> None:
        """Where `backward` is to write; what does not depend on the gradient is computed here, for all steps."""

    @abstractmethod
    def backward(self, t: int, d: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Write the gradients at both kinds of gates of step t, given D = ∂L/∂h_{t+1}; returns what is carried to h_t
        in addition to them. Steps come from the last to the first."""

    def state_gradients(self) -> tuple[Tensor, ...]:
        """The gradients of what the first state holds in addition to h."""
        return ()
