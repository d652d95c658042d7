"""The encoder-decoder: embeddings, encoder, bridge and decoder put together; a plain nn.Module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.bridges import Bridge
from seq2seq.nn.contexts import AlignedContext, Keys
from seq2seq.nn.decoder import Decoder, DecoderState
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.scheduled_sampling import Moment, mixed
from seq2seq.nn.types import Features, Lookup, Memory, Tokens


class Encoded(NamedTuple):
    """What decoding needs of a source, one row a sentence: the context's keys, and the share of a c that is the same at
    every step in the gates (see `Decoder.share`)."""

    keys: Keys
    share: Float[Tensor, "B P"]


class EncoderDecoder(nn.Module):
    """N-to-M: p(y|x) = Π_t p(y_t | y_{<t}, x).

    x is tokens, or, without a `source_embedding`, rows of `features` numbers: 1-to-N. Raises `UserError` where the
    context is aligned with positions that the encoder joins.
    """

    def __init__(
        self,
        source_embedding: Embedding | None,
        target_embedding: Embedding,
        encoder: Encoder,
        bridge: Bridge,
        decoder: Decoder,
        *,
        bos: int,
        features: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(decoder.context, AlignedContext) and encoder.stride > 1:
            raise UserError(
                f"context=aligned: position t of a memory that joins {encoder.stride} positions in one is not that of "
                "the source; use encoder=recurrent, or a context that attends"
            )
        self.source_embedding, self.target_embedding = source_embedding, target_embedding
        self.encoder, self.bridge, self.decoder = encoder, bridge, decoder
        self.bos, self.features = bos, features

    def encode(self, source: Tokens | Features) -> Memory:
        """Read the source: tokens by their vectors, float sequences as they are."""
        vectors: Tensor | Lookup
        if isinstance(source, Features):
            vectors = source.values
        else:
            assert self.source_embedding is not None, "this model reads Features"
            embedding = self.source_embedding
            vectors = embedding.lookup(source.ids) if self.encoder.reads_lookups else embedding(source.ids)
        memory: Memory = self.encoder(vectors, source.mask)
        return memory

    @property
    def attends(self) -> bool:
        """Whether the decoder's context looks at the source anew at every step."""
        return self.decoder.context.attends

    def mask(self, memory: Memory) -> Bool[Tensor, "B S"]:
        """True where attention may look."""
        return memory.mask

    def start(self, memory: Memory) -> tuple[DecoderState, Encoded]:
        """The decoder's first state (one row a sentence) and what it looks at."""
        state, keys = self._begin(memory)
        return state, Encoded(keys, self.decoder.share(keys))

    def _begin(self, memory: Memory) -> tuple[DecoderState, Keys]:
        return self.decoder.init_state(self.bridge(memory)), self.decoder.context.prepare(memory)

    def forward(self, source: Tokens | Features, target: Tokens, moment: Moment | None = None) -> Float[Tensor, "M F"]:
        """The features before the head's softmax at each real target token.

        The decoder reads bos and the target without its last token (teacher forcing); at a `moment` of a training run
        it reads what `decoder.feedback` makes of them. Rows are those of `real_ids(target)`.
        """
        state, keys = self._begin(self.encode(source))
        previous = target.ids.roll(1, dims=1)
        previous[:, 0] = self.bos
        if moment is not None and self.decoder.feedback.truth(moment.step) < 1:
            with _evaluating(self):
                encoded = Encoded(keys, self.decoder.share(keys))
                previous = mixed(self.decoder.feedback, moment, previous, self.step, state, encoded)
        features: Tensor = self.decoder(self.target_embedding.lookup(previous), state, keys, target.mask)
        return features

    def step(
        self, ids: Int[Tensor, "N"], state: DecoderState, encoded: Encoded
    ) -> tuple[Float[Tensor, "N V"], DecoderState, Float[Tensor, "N S"] | None]:
        """The step function of a search: log-probabilities of the next token, next state, attention weights."""
        features, state, weights = self.decoder.step(self.target_embedding(ids), state, *encoded)
        return self.decoder.head.logits(features).log_softmax(-1), state, weights


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode within; then every module is in its own mode again."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
