"""The encoder-decoder: embeddings, encoder, bridge and decoder put together; a plain nn.Module."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.models.inputs import MoreInputs, inputs_of
from seq2seq.nn.bridges import Bridge
from seq2seq.nn.contexts import Keys
from seq2seq.nn.decoder import Decoder
from seq2seq.nn.decoder_state import DecoderState, Encoded
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.factor_embedding import FactorEmbedding
from seq2seq.nn.scheduled_sampling import SamplingState
from seq2seq.nn.types import Features, Memory, Tokens, Vectors, dense, map_tensors, twice, unpadded_ids


class EncoderDecoder(nn.Module):
    """N-to-M: p(y|x) = Π_t p(y_t | y_{<t}, x).

    x is tokens, or, without a `source_embedding`, rows of `features` numbers: 1-to-N. With `more_inputs` it has
    an input for each of their encoders in addition to the first, each ended by eos, of one vocabulary; the bridge sees
    the first. With `source_factors` tokens have factors, too. Raises `UserError` where the context is aligned with
    positions that the encoder joins, or the head reads source words that there are not.
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
        more_inputs: MoreInputs | None = None,
        source_factors: FactorEmbedding | None = None,
    ) -> None:
        super().__init__()
        if decoder.context.uses_position and encoder.stride > 1:
            raise UserError(
                f"context=aligned: position t of a memory that joins {encoder.stride} positions in one is not that of "
                "the source; use encoder=recurrent, or a context that attends"
            )
        if decoder.head.copies and (source_embedding is None or encoder.stride > 1):
            raise UserError(
                "head=pointer: copies tokens of the source, and this memory's positions are none; use "
                "encoder=recurrent and a source of text, or another head"
            )
        if decoder.head.copies and source_embedding and len(source_embedding.weight) != len(target_embedding.weight):
            raise UserError(
                f"head=pointer: copies source tokens, so it needs one vocabulary for both sides, but the source has "
                f"{len(source_embedding.weight)} tokens and the target {len(target_embedding.weight)}; set "
                "tokenizer.joint=true"
            )
        if decoder.lexical and (source_embedding is None or encoder.stride > 1 or more_inputs):
            raise _no_words(source_embedding, bool(more_inputs))
        self.source_embedding = source_embedding
        self.source_factors = source_factors
        self.target_embedding = target_embedding
        self.encoder = encoder
        self.bridge = bridge
        self.decoder = decoder
        self.bos = bos
        self.features = features
        self.eos = more_inputs.eos if more_inputs else None  # inputs are taken apart at it
        if more_inputs:
            self.extra_encoders = nn.ModuleDict(more_inputs.encoders)

    def encode(self, source: Tokens | Features) -> Memory:
        """Read the source: tokens by their vectors, float sequences as they are."""
        if isinstance(source, Features):
            memory: Memory = self.encoder(source.values, source.mask)
            return memory
        if self.eos is None:
            return self._read(source, self.encoder)
        first, *more = inputs_of(source, 1 + len(self.extra_encoders), self.eos)
        encoders = [each for each in self.extra_encoders.values() if isinstance(each, Encoder)]
        memories = tuple(self._read(tokens, encoder) for tokens, encoder in zip(more, encoders, strict=True))
        return self._read(first, self.encoder)._replace(more=memories)

    def _read(self, tokens: Tokens, encoder: Encoder) -> Memory:
        assert self.source_embedding is not None, "this model reads Features"
        embedding, factors = self.source_embedding, self.source_factors
        vectors: Vectors
        deduplicates = encoder.reads_deduplicated and factors is None
        vectors = embedding.deduplicated(tokens.ids) if deduplicates else embedding(tokens.ids)
        assert factors is None or tokens.factors is not None, "this model reads factors of its tokens"
        memory: Memory = encoder(vectors if factors is None else factors(vectors, tokens.factors), tokens.mask)
        memory = memory._replace(ids=tokens.ids) if self.copies else memory
        return memory._replace(words=dense(vectors)) if self.decoder.lexical else memory

    @property
    def copies(self) -> bool:
        """Whether tokens of the source can be copied."""
        return self.decoder.head.copies

    def read_unseen_as(self, unk: int) -> None:
        """Let ids above the vocabulary, of a sentence's own unknown tokens, be read as `unk`."""
        for embedding in (self.source_embedding, self.target_embedding):
            if embedding is not None:
                embedding.unk = unk

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
        return state, self.decoder.look_at(keys)

    def _begin(self, memory: Memory) -> tuple[DecoderState, Keys]:
        keys = self.decoder.prepare(memory)._replace(ids=memory.ids)
        return self.decoder.init_state(self.bridge(memory), keys), keys

    def forward(
        self, source: Tokens | Features, target: Tokens, sampling: SamplingState | None = None
    ) -> Float[Tensor, "M F"]:
        """The features before the head's softmax at each real target token; log-probabilities where the decoder sums
        over alignments, or copies. `decoder.outputs` has the losses of either.

        The decoder reads bos and the target without its last token (teacher forcing); with the `sampling` state of a
        training run it reads what `decoder.feedback` makes of them. Rows are those of `unpadded_ids(target)`.
        """
        return self._features(self.encode(source), target, sampling)

    def _features(self, memory: Memory, target: Tokens, sampling: SamplingState | None = None) -> Tensor:
        state, keys = self._begin(memory)
        previous = self._previous(target)
        features: Tensor = self.decoder(previous, self.target_embedding, state, keys, target.mask, sampling)
        return features

    def _previous(self, target: Tokens) -> Int[Tensor, "B T"]:
        """What the decoder reads: bos, and the target without its last token."""
        previous = target.ids.roll(1, dims=1)
        previous[:, 0] = self.bos
        return previous

    def loss(
        self,
        source: Tokens | Features,
        target: Tokens,
        sampling: SamplingState | None = None,
        *,
        label_smoothing: float = 0.0,
        r_drop: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Σ −log p(token) in nats over all target tokens; for `sampling` see `forward`.

        With `r_drop` α (Liang et al. 2021) the pairs are read twice, as one batch of double size, so that each copy has
        dropout of its own: the mean of both losses plus α times the symmetric KL between both predictions, a token.
        (Their eq. 4 has the sum of the losses: it is twice this with their α twice this one.)
        """
        if not r_drop:
            features = self(source, target, sampling)
            return self.decoder.outputs.loss(features, unpadded_ids(target), label_smoothing=label_smoothing)
        features = self(twice(source), twice(target), sampling)
        return self.r_drop_loss(features, target, label_smoothing=label_smoothing, r_drop=r_drop)

    def r_drop_loss(
        self, features: Float[Tensor, "M F"], target: Tokens, *, label_smoothing: float, r_drop: float
    ) -> Float[Tensor, ""]:
        """`loss` with R-Drop, of the features of both copies of a batch, those of one after those of the other."""
        outputs, ids = self.decoder.outputs, unpadded_ids(target)
        loss = outputs.loss(features, torch.cat([ids, ids]), label_smoothing=label_smoothing)
        one, other = features.chunk(2)
        return loss / 2 + r_drop * outputs.divergence(one, other, ids)

    def log_probs(self, source: Tokens | Features, target: Tokens) -> Float[Tensor, "M V"]:
        """The log-probability of every token of the vocabulary at each real target token, given those before it."""
        features: Tensor = self(source, target)
        return features if self.decoder.normalised else self.decoder.head.logits(features).log_softmax(-1)

    def posterior(
        self, source: Tokens | Features, target: Tokens, rows: Int[Tensor, "N"]
    ) -> Float[Tensor, "N T S"] | None:
        """p(a_t = s | y_n, x_{rows[n]}): where each token of the targets comes from, given all of them. None for a
        decoder that does not sum over alignments."""
        if self.decoder.marginal is None:
            return None
        memory = map_tensors(lambda tensor: tensor[rows], self.encode(source))
        state, keys = self._begin(memory)
        return self.decoder.posterior(self._previous(target), target, self.target_embedding, state, keys)

    def sequence_log_probs(
        self, source: Tokens | Features, target: Tokens, rows: Int[Tensor, "N"]
    ) -> Float[Tensor, "N"]:
        """log p(y_n | x_{rows[n]}) of targets that end with eos, in nats; each source is read once."""
        memory = map_tensors(lambda tensor: tensor[rows], self.encode(source))
        log_probs = self.decoder.outputs.log_probs(self._features(memory, target), unpadded_ids(target))
        numbers = torch.arange(len(rows), device=rows.device)[:, None].expand_as(target.ids)
        owners = unpadded_ids(target._replace(ids=numbers)).clamp(min=0)  # pads add 0 to the first
        return log_probs.new_zeros(len(rows)).index_add(0, owners, log_probs)

    def step(
        self, ids: Int[Tensor, "N"], state: DecoderState, encoded: Encoded
    ) -> tuple[Float[Tensor, "N V"], DecoderState, Float[Tensor, "N S"] | None]:
        """The step function of a search: log-probabilities of the next token, next state, attention weights."""
        return self.decoder.predict(self.target_embedding(ids), state, encoded, ids=ids)


def _no_words(source_embedding: Embedding | None, several: bool) -> UserError:
    """Why a lexical head has no words to read."""
    why = "the source has several inputs" if several else "the memory joins several words in one"
    why = "the source is numbers" if source_embedding is None else why
    return UserError(f"head.lexical=true: {why}, and it needs the words one by one; set it to false")
