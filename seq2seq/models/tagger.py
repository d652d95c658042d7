"""The tagger: word vectors, an encoder, and a head at each position; a plain nn.Module."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.models.label_model import LabelModel, Labels
from seq2seq.nn.character_embedding import WordEmbedding
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.heads import Head
from seq2seq.nn.types import Memory, Tokens, flatten_unpadded


class Tagger(LabelModel):
    """N-to-N: p(y|x) = Π_t p(y_t | x), o_t = head(h_t), with h_t of a recurrent stack that may read both ways.

    Sources are without eos. Raises `UserError` for an encoder that does not leave one vector a word.
    """

    reads_eos = False

    def __init__(self, embedding: WordEmbedding, encoder: Encoder, head: Head, *, many: bool = False) -> None:
        super().__init__(head, many=many)
        self.embedding = embedding
        self.encoder = encoder

    def forward(self, source: Tokens) -> Float[Tensor, "M F"]:
        """The features of each real word, sentence by sentence: the rows of `flatten_unpadded`."""
        outputs, mask = self._read(source)
        return self.head.readout(flatten_unpadded(outputs, mask), None, None)

    def predict(self, source: Tokens) -> Labels:
        """The labels of each real word, sentence by sentence."""
        outputs, mask = self._read(source)
        return self.labels(self.head.readout(outputs[mask], None, None), mask.sum(1))

    def _read(self, source: Tokens) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        words = self.embedding(source)
        memory: Memory = self.encoder(words.vectors, words.mask)
        if memory.mask.shape != words.mask.shape:
            raise UserError(f"encoder: {type(self.encoder).__name__} leaves no vector a word; use recurrent")
        return memory.outputs, words.mask
