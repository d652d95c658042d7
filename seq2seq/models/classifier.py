"""The classifier: word vectors, an encoder, a pooling over its memory, and a head; a plain nn.Module."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from seq2seq.models.label_model import LabelModel, Labels
from seq2seq.models.pooling import Pooled
from seq2seq.models.standardized import StandardizedInput
from seq2seq.nn.character_embedding import WordEmbedding
from seq2seq.nn.contexts import Context
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.heads import Head
from seq2seq.nn.types import Features, Tokens


class Classifier(LabelModel, Pooled):
    """N-to-1: p(y|x) = head(c), where c is the `pooling` of the encoder's memory (see `Pooled`).

    Its sources are texts, or with a `StandardizedInput` for an embedding float sequences of `features` columns. Raises
    `UserError` for a context that follows the steps of a target.
    """

    def __init__(
        self,
        embedding: WordEmbedding | StandardizedInput,
        encoder: Encoder,
        pooling: Context,
        query_size: int,
        head: Head,
        *,
        many: bool = False,
    ) -> None:
        super().__init__(head, many=many)
        self.features = embedding.size if isinstance(embedding, StandardizedInput) else None
        self.join(embedding, encoder, pooling, query_size)

    def forward(self, source: Tokens | Features) -> Float[Tensor, "B F"]:
        """The features of each text."""
        c = self.pool(source)[0]
        return self.head.readout(c, None, None)

    def predict(self, source: Tokens | Features) -> Labels:
        """The labels of each text."""
        return self.labels(self(source), torch.ones_like(source.lengths))
