"""What regularises the recurrence of a cell, as one group of options of every cell."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seq2seq.errors import UserError


@dataclass(frozen=True)
class Regularization:
    """All in training only, and each with one mask for a whole sequence, but for zoneout's of each step.

    `weight_drop` is the share of recurrent weights that are 0, the others scaled up (DropConnect: Merity et al.,
    "Regularizing and Optimizing LSTM Language Models", 2018). `recurrent_dropout` is the share of units of h that the
    recurrent product U h does not see, the others scaled up (Gal & Ghahramani, "A Theoretically Grounded Application of
    Dropout in Recurrent Neural Networks", 2016, eq. 7): the same units in all sentences of a batch, so that they are
    columns of U, and every path has it, the kernels among them. `zoneout` is the share of units that keep their state
    of the step before; otherwise the state is the expectation of that (Krueger et al., "Zoneout", 2017; an LSTM's h and
    c by the same mask).
    """

    weight_drop: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout: float = 0.0

    def check(self, owner: str, *, recurrent: bool) -> None:
        """Raise `UserError` for a share outside [0, 1), or one of recurrent weights where there are none."""
        for name, share in vars(self).items():
            if not 0 <= share < 1:
                raise UserError(f"{owner}: {name}={share} must be at least 0 and below 1")
            if share and not recurrent and name != "zoneout":
                raise UserError(f"{owner}: {name}={share}: it has no recurrent weights; set it to 0")

    def dropped(self, weight: Float[Tensor, "G H"]) -> Float[Tensor, "G H"]:
        """The recurrent weights under new masks."""
        if self.weight_drop:
            weight = F.dropout(weight, self.weight_drop)
        if self.recurrent_dropout:
            weight = weight * F.dropout(weight.new_ones(weight.size(1)), self.recurrent_dropout)
        return weight


NONE = Regularization()
