"""Token vectors and the dropouts that belong to them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.types import DeduplicatedEmbedding


class Dropout(nn.Module):
    """Inverted dropout on [..., T, F], in training only. Raises `UserError` for a rate outside [0, 1)."""

    def __init__(self, rate: float, *, variational: bool = False) -> None:
        super().__init__()
        self.rate = check_rate(rate)
        self.variational = variational

    def forward(self, values: Float[Tensor, "*B T F"]) -> Float[Tensor, "*B T F"]:
        """Zero some of the features and scale the others up."""
        return dropped(values, self.rate, variational=self.variational) if self.training else values

    def extra_repr(self) -> str:
        """Rate and kind, for `print(model)`."""
        return f"{self.rate}, variational={self.variational}"


def check_rate(rate: float) -> float:
    """The rate of a dropout; raises `UserError` where it is outside [0, 1)."""
    if not 0 <= rate < 1:
        raise UserError(f"Dropout: rate={rate} must be at least 0 and below 1")
    return rate


def dropped(values: Float[Tensor, "*B T F"], rate: float, *, variational: bool = False) -> Float[Tensor, "*B T F"]:
    """Set a share `rate` of the features to 0 and divide the others by 1 − rate; `variational` draws one mask a
    sentence and holds it over time (Gal & Ghahramani 2016, eq. 7)."""
    if rate == 0:
        return values
    if not variational:
        return nn.functional.dropout(values, rate)
    return values * nn.functional.dropout(torch.ones_like(values[..., :1, :]), rate)


class Embedding(nn.Module):
    """A table [V, E], drawn from N(0, 1/E) so that a tied output starts with logits of unit size.

    `dropout` falls on the vectors' features, `word_dropout` zeroes whole tokens, `variational` holds the first over
    time. One table may serve several `Embedding`s: pass it as `weight`. Ids above the table, of a sentence's own
    unknown tokens, are read as `unk` where it is set.
    """

    unk: int | None = None

    def __init__(
        self,
        vocabulary_size: int,
        size: int,
        *,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        variational: bool = False,
        weight: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= word_dropout < 1:
            raise UserError(f"embedding: word_dropout={word_dropout} must be at least 0 and below 1")
        self.weight = nn.Parameter(torch.randn(vocabulary_size, size) * size**-0.5) if weight is None else weight
        self.dropout = Dropout(dropout, variational=variational)
        self.word_dropout = word_dropout

    @property
    def size(self) -> int:
        """E, the width of a vector."""
        return self.weight.size(1)

    def known(self, ids: Int[Tensor, "*B"]) -> Int[Tensor, "*B"]:
        """The ids, with `unk` in place of those above the table."""
        return ids if self.unk is None else ids.masked_fill(ids >= self.weight.size(0), self.unk)

    def deduplicated(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"] | DeduplicatedEmbedding:
        """The vectors, as rows of the distinct ones where no dropout makes two of a token differ (and on a CPU only:
        elsewhere the host would wait for their number). Their projection is then two to three times faster."""
        dropped = self.training and (self.word_dropout or self.dropout.rate)
        if dropped or ids.device.type != "cpu":
            vectors: Tensor = self(ids)
            return vectors
        distinct, rows = torch.unique(self.known(ids), return_inverse=True)
        return DeduplicatedEmbedding(nn.functional.embedding(distinct, self.weight), rows)

    def forward(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B E"]:
        """The vectors of the tokens; in training with dropout."""
        vectors = nn.functional.embedding(self.known(ids), self.weight)
        if self.training and self.word_dropout:
            vectors = vectors * (torch.rand(*ids.shape, 1, device=ids.device) >= self.word_dropout)
        return self.dropout(vectors) if vectors.dim() > 2 else vectors
