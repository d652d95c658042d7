"""Heads: from the decoder's state, c_t and the previous token's vector to features, and from these to logits.

`readout` makes the features; `output_weight` [V, F] and `bias` [V] are handed to the loss, which never sees [B, T, V]
logits of padding. `logits` is for decoding. `lattice` is for a context that sums over alignments: one distribution for
each source position in place of c_t.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.contexts import Keys
from seq2seq.nn.embedding import Dropout
from seq2seq.nn.losses import LossPath, symmetric_divergence, token_cross_entropy, token_log_probs
from seq2seq.nn.matmul import Linear, linear

Product = Callable[[Tensor], Tensor]
"""W f + b of features f, such as that of `seq2seq.nn.int8` in place of the head's own."""


class LexicalFeatures(nn.Module):
    """Features of the source words that attention looks at (Nguyen & Chiang, "Improving Lexical Choice in Neural
    Machine Translation", 2018, eqs. 14–16), with W^ℓ, their rows of the output's weight:

    f^ℓ_t = tanh(Σ_s α_{t,s} f_s)     h^ℓ_t = tanh(W f^ℓ_t) + f^ℓ_t     logits_t = … + W^ℓ h^ℓ_t
    """

    def __init__(self, vocabulary_size: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.hidden = Linear(size, size, bias=False)
        self.weight = nn.Parameter(Linear(size, vocabulary_size).weight.detach())

    def forward(self, words: Float[Tensor, "*N E"]) -> Float[Tensor, "*N E"]:
        """h^ℓ_t from Σ_s α_{t,s} f_s."""
        averaged = torch.tanh(words)
        return torch.tanh(self.hidden(averaged)) + averaged


class Head(nn.Module, ABC):
    """Made with the sizes of s_t, of c_t (0 where c does not reach the readout), of e_{t−1}, and the target's table.

    `feature_size` is the width of the readout. `dropout` falls on the features. With a `lexical_shape` [V, E] the
    features are followed by `LexicalFeatures`, and F is both together.
    """

    copies = False
    """Whether tokens of the source can be copied (`PointerHead`)."""
    unseen = 0
    """How many unknown tokens of a source can be copied."""
    feature_size: int
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, dropout: float, lexical_shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.lexical = LexicalFeatures(*lexical_shape) if lexical_shape else None

    @property
    def output_size(self) -> int:
        """Tokens that have a probability."""
        return self.weight.size(0)

    @abstractmethod
    def readout(
        self,
        state: Float[Tensor, "*N H"],
        context: Float[Tensor, "*N C"] | None,
        embedded: Float[Tensor, "*N E"] | None,
    ) -> Float[Tensor, "*N F"]:
        """The features of a step; `context` is None where c does not reach the readout, and `embedded` where the head
        reads no previous token."""

    @abstractmethod
    def lattice_readout(
        self,
        states: Float[Tensor, "B T H"],
        values: Float[Tensor, "B S C"],
        embedded: Float[Tensor, "B T E"],
    ) -> Float[Tensor, "B T S F"]:
        """The features of each step with each source position's value as its context: those of `readout`, but what is
        linear is computed once a step and once a position."""

    def lattice(
        self,
        states: Float[Tensor, "B T H"],
        embedded: Float[Tensor, "B T E"],
        keys: Keys,
        product: Product | None = None,
    ) -> Float[Tensor, "B T S V"]:
        """log p(v | a_t = s): the distribution of the next token for each step and each source position."""
        return self.of_positions(self.lattice_readout(states, keys.values, embedded), keys, product)

    def of_positions(self, features: Tensor, keys: Keys, product: Product | None) -> Float[Tensor, "B T S V"]:
        """log p(v | a_t = s) from the features [B, T, S, F] of `lattice_readout`."""
        logits = (product or self.logits)(features.flatten(0, 2))
        return logits.log_softmax(-1).view(*features.shape[:3], -1)

    def with_words(self, features: Float[Tensor, "*N R"], words: Float[Tensor, "*N E"] | None) -> Float[Tensor, "*N F"]:
        """The features of the readout, followed by those of the source words Σ_s α_{t,s} f_s where the head has any."""
        if self.lexical is None:
            return features
        assert words is not None  # see `Decoder`
        return torch.cat([features, self.dropout(self.lexical(words))], -1)

    def output_weight(self) -> Float[Tensor, "V F"]:
        """The matrix that makes logits of features."""
        return self.weight if self.lexical is None else torch.cat([self.weight, self.lexical.weight], 1)

    def logits(self, features: Float[Tensor, "*N F"]) -> Float[Tensor, "*N V"]:
        """Unnormalised log-probabilities of the next token."""
        if self.lexical is None:
            return linear(features, self.weight, self.bias)
        readout, words = features.split([self.feature_size, self.lexical.size], -1)
        return linear(readout, self.weight, self.bias) + linear(words, self.lexical.weight)

    def loss(
        self,
        features: Float[Tensor, "M F"],
        targets: Int[Tensor, "M"],
        *,
        label_smoothing: float = 0.0,
        path: LossPath = "auto",
    ) -> Float[Tensor, ""]:
        """Σ −log p(target) in nats; see `token_cross_entropy`."""
        return token_cross_entropy(
            features, self.output_weight(), self.bias, targets, label_smoothing=label_smoothing, path=path
        )

    def log_probs(self, features: Float[Tensor, "M F"], targets: Int[Tensor, "M"]) -> Float[Tensor, "M"]:
        """log p(target) of each row in nats; see `token_log_probs`."""
        return token_log_probs(features, self.output_weight(), self.bias, targets)

    def divergence(
        self, one: Float[Tensor, "M F"], other: Float[Tensor, "M F"], targets: Int[Tensor, "M"]
    ) -> Float[Tensor, ""]:
        """Σ ½ (KL(p‖q) + KL(q‖p)) in nats of what two rows of features predict; see `symmetric_divergence`."""
        return symmetric_divergence(one, other, self.output_weight(), self.bias, targets)

    def _own_weight(self, vocabulary_size: int) -> None:
        output = Linear(self.feature_size, vocabulary_size)
        self.weight = nn.Parameter(output.weight.detach())
        self.bias = nn.Parameter(output.bias.detach())


class HiddenHead(Head):
    """A head whose features are dropout(φ(W [s_t ; c_t ; e_{t−1}] + b)), with φ in `activated`; or those of the parts
    themselves without a `hidden` layer. Only a head that `reads_token` reads e_{t−1}."""

    hidden: Linear | None
    reads_token = False

    @abstractmethod
    def activated(self, sums: Float[Tensor, "*N R"]) -> Float[Tensor, "*N F"]:
        """φ of the hidden layer's sums."""

    def readout(
        self,
        state: Float[Tensor, "*N H"],
        context: Float[Tensor, "*N C"] | None,
        embedded: Float[Tensor, "*N E"] | None,
    ) -> Float[Tensor, "*N F"]:
        """The features by the equation of the class's docstring."""
        parts = joined(state, context, embedded if self.reads_token else None)
        features: Tensor = self.dropout(self.activated(parts if self.hidden is None else self.hidden(parts)))
        return features

    def lattice_readout(
        self,
        states: Float[Tensor, "B T H"],
        values: Float[Tensor, "B S C"],
        embedded: Float[Tensor, "B T E"],
    ) -> Float[Tensor, "B T S F"]:
        """As `readout`, for each step and position."""
        if self.hidden is not None:
            sums = linear_over_lattice(self.hidden, states, values, embedded if self.reads_token else None)
        else:
            size = (-1, states.size(1), values.size(1), -1)
            sums = torch.cat([states[:, :, None].expand(size), values[:, None].expand(size)], -1)
        features: Tensor = self.dropout(self.activated(sums))
        return features


class LinearHead(HiddenHead):
    """features = tanh(W [s_t ; c_t] + b) of `size` (Luong et al. 2015, eq. 5), or [s_t ; c_t] itself without a size."""

    def __init__(
        self,
        state_size: int,
        context_size: int,
        embedding: nn.Parameter,
        *,
        size: int | None = None,
        dropout: float = 0.0,
        lexical: bool = False,
    ) -> None:
        super().__init__(dropout, embedding.shape if lexical else None)
        self.hidden = Linear(state_size + context_size, size) if size else None
        self.feature_size = size or state_size + context_size
        self._own_weight(embedding.size(0))

    def activated(self, sums: Float[Tensor, "*N R"]) -> Float[Tensor, "*N F"]:
        """tanh, where there is a hidden layer."""
        return sums if self.hidden is None else torch.tanh(sums)


class TiedHead(HiddenHead):
    """features = tanh(W [s_t ; c_t] + b) as wide as the embedding, whose table is the output's weight (Press & Wolf
    2017). Raises `UserError` for an embedding without columns."""

    def __init__(
        self,
        state_size: int,
        context_size: int,
        embedding: nn.Parameter,
        *,
        dropout: float = 0.0,
        lexical: bool = False,
    ) -> None:
        super().__init__(dropout, embedding.shape if lexical else None)
        vocabulary_size, self.feature_size = embedding.shape
        if not self.feature_size:
            raise UserError("head: TiedHead needs vectors to tie, and labels have none; use head=linear or maxout")
        self.hidden = Linear(state_size + context_size, self.feature_size)
        self.weight = embedding
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def activated(self, sums: Float[Tensor, "*N R"]) -> Float[Tensor, "*N F"]:
        """φ is tanh, as in the equation above."""
        return torch.tanh(sums)


class MaxoutHead(HiddenHead):
    """The deep output of Cho et al. (2014, appendix A) and Bahdanau et al. (2015, appendix A.2.2):

    t̃ = U s_t + V e_{t−1} + C c_t + b of 2·size, features_i = max(t̃_{2i−1}, t̃_{2i}).
    """

    reads_token = True

    def __init__(
        self,
        state_size: int,
        context_size: int,
        embedding: nn.Parameter,
        *,
        size: int = 256,
        dropout: float = 0.0,
        lexical: bool = False,
    ) -> None:
        super().__init__(dropout, embedding.shape if lexical else None)
        if size < 1:
            raise UserError(f"head: size={size} must be at least 1")
        self.hidden = Linear(state_size + context_size + embedding.size(1), 2 * size)
        self.feature_size = size
        self._own_weight(embedding.size(0))

    def activated(self, sums: Float[Tensor, "*N R"]) -> Float[Tensor, "*N F"]:
        """The larger of each two adjacent sums."""
        pairs: Tensor = sums.unflatten(-1, (-1, 2))
        return pairs.amax(-1)


def joined(*parts: Float[Tensor, "*N _"] | None) -> Float[Tensor, "*N F"]:
    """The parts that there are, concatenated."""
    present = [part for part in parts if part is not None]
    return present[0] if len(present) == 1 else torch.cat(present, -1)


def linear_over_lattice(
    layer: Linear,
    states: Float[Tensor, "B T H"],
    values: Float[Tensor, "B S C"],
    embedded: Float[Tensor, "B T E"] | None = None,
) -> Float[Tensor, "B T S F"]:
    """W [s_t ; h_s ; e_{t−1}] + b of each step with each position: three small products, then a sum."""
    into = layer.weight.split([states.size(-1), values.size(-1), 0 if embedded is None else embedded.size(-1)], dim=1)
    of_steps = nn.functional.linear(states, into[0], layer.bias)
    if embedded is not None:
        of_steps = of_steps + nn.functional.linear(embedded, into[2])
    return of_steps[:, :, None] + nn.functional.linear(values, into[1])[:, None]
