"""The next token's distribution as a sum over hard alignments (`MonotonicContext`), for whole targets and single steps.

    log p(v | y_<t, x) = log Σ_s exp(w_t[s] + log p(v | a_t = s, y_<t, x))

where w_t are the predictive log-probabilities of `seq2seq.nn.hard_alignment`, and the emission p(v | a_t = s, …) is
what the head makes of s_t and of the memory h_s in place of c_t; a head that copies does so from position s. There are
B·T·S·V emissions, so it is for characters, phonemes and other small vocabularies.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.nn.contexts import Keys, MonotonicContext
from seq2seq.nn.decoder_state import Alignment
from seq2seq.nn.hard_alignment import Lattice, first_position, impossible, observe, posterior, predict, predictive
from seq2seq.nn.heads import Head, Product


class Marginal:
    """The context and the head of a decoder, whose parameters they stay."""

    def __init__(self, context: MonotonicContext, head: Head) -> None:
        self.context, self.head = context, head

    def begin(self, keys: Keys) -> Alignment:
        """Before the first step: at position 0, with bos, which every position gives with probability 1."""
        start = first_position(keys.values)
        return Alignment(start, keys.values.new_zeros(*start.shape, self.head.output_size))

    def step(
        self,
        top: Float[Tensor, "N H"],
        embedded: Float[Tensor, "N E"],
        ids: Int[Tensor, "N"],
        before: Alignment,
        keys: Keys,
        product: Product | None = None,
    ) -> tuple[Float[Tensor, "N V"], Alignment]:
        """log p(v | y_<t, x) after reading y_{t−1} = `ids`, and the alignment for the next step."""
        queries, vectors = (each.view(keys.values.size(0), -1, each.size(-1)) for each in (top, embedded))
        known = before.emissions.gather(2, ids[:, None, None].expand(-1, before.emissions.size(1), 1))[..., 0]
        transitions = self.context.transitions(queries, keys).flatten(0, 1)
        weights = predict(observe(before.predictive, known), transitions)
        emissions = self.head.lattice(queries, vectors, keys, product).flatten(0, 1)
        return impossible(mixture(weights, emissions)).clamp(max=0), Alignment(weights, emissions)

    def sequence(
        self,
        tops: Float[Tensor, "B T H"],
        embedded: Float[Tensor, "B T E"],
        previous: Int[Tensor, "B T"],
        keys: Keys,
    ) -> Float[Tensor, "B T V"]:
        """log p(v | y_<t, x) of all steps; `previous` are bos and the target without its last token."""
        emissions = self.head.lattice(tops, embedded, keys)
        known = _of_tokens(emissions[:, :-1], previous[:, 1:])
        return impossible(mixture(predictive(self.context.transitions(tops, keys), known), emissions))

    def posterior(
        self,
        tops: Float[Tensor, "B T H"],
        embedded: Float[Tensor, "B T E"],
        target: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        keys: Keys,
    ) -> Float[Tensor, "B T S"]:
        """p(a_t = s | y, x) of whole targets."""
        return posterior(self.lattice(tops, embedded, target, keys), mask)

    def lattice(
        self, tops: Float[Tensor, "B T H"], embedded: Float[Tensor, "B T E"], target: Int[Tensor, "B T"], keys: Keys
    ) -> Lattice:
        """Transitions, and emissions of the target's own tokens."""
        emissions = _of_tokens(self.head.lattice(tops, embedded, keys), target)
        return Lattice(self.context.transitions(tops, keys), emissions)


def mixture(weights: Float[Tensor, "*N S"], emissions: Float[Tensor, "*N S V"]) -> Float[Tensor, "*N V"]:
    """log Σ_s exp(w[s] + E[s, v])."""
    return (weights[..., None] + emissions).logsumexp(-2)


def _of_tokens(emissions: Float[Tensor, "B T S V"], tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T S"]:
    """E_t[s] of one token a step."""
    return emissions.gather(3, tokens[:, :, None, None].expand(-1, -1, emissions.size(2), 1))[..., 0]
