"""The pointer-generator (See, Liu & Manning 2017, eqs. 8, 9): the next token is generated, or copied from the source.

    p_g = σ(w^T [s_t ; c_t ; e_{t−1}] + b)
    p(v) = p_g softmax(W f + b)_v + (1 − p_g) Σ_{i: x_i = v} α_{t,i}

Source and target have one vocabulary of V tokens. A token of the source that is unknown has, in its sentence, an id of
its own above the vocabulary, V, V + 1, … in the order of first occurrence (`seq2seq.text.unseen`): it cannot be
generated, but copied. Under a context that sums over alignments, the copy at position s is x_s itself.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.nn.contexts import Keys
from seq2seq.nn.hard_alignment import LOWEST, impossible
from seq2seq.nn.heads import LinearHead, Product, joined, linear_over_lattice
from seq2seq.nn.matmul import Linear, linear

MOST_UNSEEN = 1000


class PointerHead(LinearHead):
    """A `LinearHead` that also copies. `unseen` is the number of different unknown tokens of a sentence that can be
    copied; the others stay unknown. The features have the logit of p_g as their last column.

    Raises `UserError` for an `unseen` out of range.
    """

    copies = True

    def __init__(
        self,
        state_size: int,
        context_size: int,
        embedding: nn.Parameter,
        *,
        size: int | None = None,
        dropout: float = 0.0,
        unseen: int = 16,
    ) -> None:
        super().__init__(state_size, context_size, embedding, size=size, dropout=dropout)
        if not 0 <= unseen <= MOST_UNSEEN:
            raise UserError(f"head: unseen={unseen} must be at least 0 and at most {MOST_UNSEEN:,}")
        self.gate = Linear(state_size + context_size + embedding.size(1), 1)
        self.unseen = unseen
        self.feature_size += 1

    @property
    def output_size(self) -> int:
        """V, and the unknown tokens of a sentence."""
        return self.weight.size(0) + self.unseen

    def readout(
        self,
        state: Float[Tensor, "*N H"],
        context: Float[Tensor, "*N C"] | None,
        embedded: Float[Tensor, "*N E"] | None,
    ) -> Float[Tensor, "*N F"]:
        """[f ; w^T [s_t ; c_t ; e_{t−1}] + b]."""
        features = super().readout(state, context, embedded)
        return torch.cat([features, self.gate(joined(state, context, embedded))], -1)

    def lattice_readout(
        self,
        states: Float[Tensor, "B T H"],
        values: Float[Tensor, "B S C"],
        embedded: Float[Tensor, "B T E"],
    ) -> Float[Tensor, "B T S F"]:
        """As `readout`, for each step and position."""
        features = super().lattice_readout(states, values, embedded)
        return torch.cat([features, linear_over_lattice(self.gate, states, values, embedded)], -1)

    def logits(self, features: Float[Tensor, "*N F"]) -> Float[Tensor, "*N V"]:
        """Unnormalised log-probabilities of generating each token of the vocabulary."""
        return linear(features[..., :-1], self.weight, self.bias)

    def of_positions(self, features: Tensor, keys: Keys, product: Product | None) -> Float[Tensor, "B T S V"]:
        """log p(v | a_t = s), where the copy is x_s."""
        assert keys.ids is not None
        copied = F.one_hot(keys.ids, self.output_size).to(features.dtype)
        return self._mixed(features, copied[:, None], product)

    def log_distribution(
        self,
        features: Float[Tensor, "B Q F"],
        weights: Float[Tensor, "B Q S"],
        ids: Int[Tensor, "B S"],
        product: Product | None = None,
    ) -> Float[Tensor, "B Q V"]:
        """log p(v) of Q steps a sentence from their features, their attention and the source's `ids`; below `LOWEST`/2
        for what is impossible. `product` replaces the output layer."""
        copied = weights.new_zeros(*weights.shape[:2], self.output_size)
        copied = copied.scatter_add(2, ids[:, None].expand_as(weights), weights)
        return self._mixed(features, copied, product)

    def of_targets(
        self, features: Float[Tensor, "B T F"], weights: Float[Tensor, "B T S"], keys: Keys
    ) -> Float[Tensor, "B T V"]:
        """log p(v) of all steps of whole targets; −∞ for what is impossible."""
        assert keys.ids is not None
        return impossible(self.log_distribution(features, weights, keys.ids))

    def of_steps(
        self, features: Float[Tensor, "N F"], weights: Float[Tensor, "N S"], keys: Keys, product: Product | None = None
    ) -> Float[Tensor, "N V"]:
        """log p(v) of one step of N = B·K hypotheses, those of a sentence adjacent; −∞ for what is impossible."""
        assert keys.ids is not None
        features, weights = (each.view(keys.ids.size(0), -1, each.size(-1)) for each in (features, weights))
        return impossible(self.log_distribution(features, weights, keys.ids, product).flatten(0, 1))

    def _mixed(self, features: Tensor, copied: Tensor, product: Product | None) -> Tensor:
        """The second equation in log space; the logarithm of 0 is not taken, for its gradient is no number."""
        gate = features[..., -1:]
        if product is None:
            logits = self.logits(features)
        else:
            logits = product(features[..., :-1].flatten(0, -2)).view(*features.shape[:-1], -1)
        generated = F.pad(F.logsigmoid(gate) + logits.log_softmax(-1), (0, self.unseen), value=LOWEST)
        possible = copied > 0
        copying = F.logsigmoid(-gate) + torch.where(possible, copied, 1.0).log()
        return torch.where(possible, torch.logaddexp(generated, copying), generated)
