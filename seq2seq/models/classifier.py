"""The classifier: word vectors, an encoder, a pooling over its memory, and a head; a plain nn.Module."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.models.label_model import LabelModel, Labels
from seq2seq.nn.character_embedding import WordEmbedding
from seq2seq.nn.contexts import Context
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.heads import Head
from seq2seq.nn.types import Memory, Tokens


class Classifier(LabelModel):
    """N-to-1: p(y|x) = head(c), where c is the `pooling` of the encoder's memory.

    A pooling is a context: the last states, mean or max of a fixed one, or attention, whose only query is learned
    (Yang et al. 2016, eqs. 5–7). Raises `UserError` for a context that follows the steps of a target.
    """

    def __init__(
        self,
        embedding: WordEmbedding,
        encoder: Encoder,
        pooling: Context,
        query_size: int,
        head: Head,
        *,
        many: bool = False,
    ) -> None:
        super().__init__(head, many=many)
        if not (pooling.attends or pooling.constant):
            raise UserError("context: a classifier needs one vector a text; use context=fixed or an attention")
        self.embedding = embedding
        self.encoder = encoder
        self.pooling = pooling
        self.query = nn.Parameter(torch.randn(query_size) * query_size**-0.5) if pooling.attends else None

    def forward(self, source: Tokens) -> Float[Tensor, "B F"]:
        """The features of each text."""
        c = self.pool(source)[0]
        return self.head.readout(c, None, None)

    def pool(self, source: Tokens) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B T"] | None]:
        """c of each text, and the attention weights of its words."""
        words = self.embedding(source)
        memory: Memory = self.encoder(words.vectors, words.mask)
        query = None if self.query is None else self.query.expand(len(memory.mask), 1, -1)
        steps = torch.zeros_like(source.lengths)[:, None]
        c, weights = self.pooling(query, self.pooling.prepare(memory), steps)
        return c[:, 0], None if weights is None else weights[:, 0]

    def predict(self, source: Tokens) -> Labels:
        """The labels of each text."""
        return self.labels(self(source), torch.ones_like(source.lengths))
