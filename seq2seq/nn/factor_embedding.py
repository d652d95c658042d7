"""The vectors of a token's factors, joined with the vector of the token itself.

e = [E x ; E_1 x_1 ; … ; E_K x_K]       concat (Sennrich & Haddow 2016, §2.1)
e = E x + E_1 x_1 + … + E_K x_K         sum: all vectors are of one width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seq2seq.nn.embedding import Embedding

Combine = Literal["concat", "sum"]


class FactorEmbedding(nn.Module):
    """A table for each factor, of as many rows as `rows` and as wide as `widths` say, by name; a factor of width 0 has
    none and is not read. The columns of a batch are all factors, sorted by name. The row of `unk` begins with zeros: a
    value that training did not have adds nothing. `options` are the dropouts of `Embedding`.
    """

    def __init__(
        self, rows: Mapping[str, int], widths: Mapping[str, int], *, combine: Combine, unk: int, **options: Any
    ) -> None:
        super().__init__()
        self.columns = {name: column for column, name in enumerate(sorted(widths)) if widths[name]}
        self.tables = nn.ModuleDict({name: Embedding(rows[name], widths[name], **options) for name in self.columns})
        self.combine = combine
        self.size = sum(widths.values()) if combine == "concat" else 0
        with torch.no_grad():
            for weight in self.tables.parameters():
                weight[unk] = 0

    def forward(self, vectors: Float[Tensor, "B S E"], factors: Int[Tensor, "B S _"]) -> Float[Tensor, "B S _"]:
        """Join the vectors of tokens with those of their factors; the result is `size` wider."""
        read = [self.tables[name](factors[..., column]) for name, column in self.columns.items()]
        return torch.cat([vectors, *read], -1) if self.combine == "concat" else sum(read, vectors)
