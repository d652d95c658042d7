"""What reads a sequence and pools it to one vector: the body of classifiers and regressors."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.contexts import Context
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.types import Features, Memory, Tokens


class Pooled(nn.Module):
    """c = pooling(encoder(vectors)). A pooling is a context: the last states, mean or max of a fixed one, or attention,
    whose only query is learned (Yang et al. 2016, eqs. 5–7)."""

    embedding: Any
    encoder: Encoder
    pooling: Context
    query: nn.Parameter | None

    def join(self, embedding: nn.Module, encoder: Encoder, pooling: Context, query_size: int) -> None:
        """Set the parts. Raises `UserError` for a context that follows the steps of a target."""
        if pooling.marginal or not (pooling.attends or pooling.constant):
            raise UserError("context: a classifier needs one vector a text; use context=fixed or an attention")
        self.embedding = embedding
        self.encoder = encoder
        self.pooling = pooling
        self.query = nn.Parameter(torch.randn(query_size) * query_size**-0.5) if pooling.attends else None

    def pool(self, source: Tokens | Features) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B T"] | None]:
        """c of each sequence, and the attention weights of its words or rows."""
        words = self.embedding(source)
        memory: Memory = self.encoder(words.vectors, words.mask)
        query = None if self.query is None else self.query.expand(len(memory.mask), 1, -1)
        steps = torch.zeros_like(source.lengths)[:, None]
        c, weights = self.pooling(query, self.pooling.prepare(memory), steps)
        return c[:, 0], None if weights is None else weights[:, 0]
