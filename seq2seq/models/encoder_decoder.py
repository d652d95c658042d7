"""The encoder-decoder: embeddings, encoder, bridge and decoder put together; a plain nn.Module."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from seq2seq.bridges import Bridge
from seq2seq.contexts import Keys
from seq2seq.decoder import Decoder, DecoderState
from seq2seq.embedding import Embedding
from seq2seq.encoders import Encoder
from seq2seq.structures import Memory, Tokens


class Encoded(NamedTuple):
    """What decoding needs of a source: the keys of the context, one row a sentence."""

    keys: Keys


class EncoderDecoder(nn.Module):
    """N-to-M: p(y|x) = Π_t p(y_t | y_{<t}, x)."""

    def __init__(
        self,
        source_embedding: Embedding,
        target_embedding: Embedding,
        encoder: Encoder,
        bridge: Bridge,
        decoder: Decoder,
        *,
        bos: int,
    ) -> None:
        super().__init__()
        self.source_embedding, self.target_embedding = source_embedding, target_embedding
        self.encoder, self.bridge, self.decoder = encoder, bridge, decoder
        self.bos = bos

    def encode(self, source: Tokens) -> Memory:
        """Read the source."""
        memory: Memory = self.encoder(self.source_embedding(source.ids), source.mask)
        return memory

    def start(self, memory: Memory) -> tuple[DecoderState, Encoded]:
        """The decoder's first state (one row a sentence) and what it looks at."""
        return self.decoder.init_state(self.bridge(memory)), Encoded(self.decoder.context.prepare(memory))

    def forward(self, source: Tokens, target: Tokens) -> Float[Tensor, "M F"]:
        """The features before the head's softmax at each real target token, under teacher forcing.

        The decoder reads bos and the target without its last token; rows are ordered as `target.ids[target.mask]`.
        """
        state, encoded = self.start(self.encode(source))
        previous = target.ids.roll(1, dims=1)
        previous[:, 0] = self.bos
        features: Tensor = self.decoder(self.target_embedding(previous), state, encoded.keys, target.mask)
        return features

    def step(
        self, ids: Int[Tensor, "N"], state: DecoderState, encoded: Encoded
    ) -> tuple[Float[Tensor, "N V"], DecoderState, Float[Tensor, "N S"] | None]:
        """The step function of a search: log-probabilities of the next token, next state, attention weights."""
        features, state, weights = self.decoder.step(self.target_embedding(ids), state, encoded.keys)
        return self.decoder.head.logits(features).log_softmax(-1), state, weights
