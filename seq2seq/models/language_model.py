"""The recurrent language model: embedding, a stack of recurrent layers, a head at every position (N-to-N).

    h_t = cell(e(x_t), h_{t−1})        p(x_{t+1} | x_{≤t}) = softmax(W · readout(h_t) + b)

Mikolov et al., "Recurrent neural network based language model", Interspeech 2010; of characters: Sutskever, Martens &
Hinton, "Generating Text with Recurrent Neural Networks", ICML 2011. The state is an argument and a
result of each call, so that the caller decides what to carry, to detach and to save.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq.nn.embedding import Embedding
from seq2seq.nn.encoders.stack import RecurrentStack, StackState
from seq2seq.nn.heads import Head
from seq2seq.nn.losses import LossPath

FEW = 2048  # tokens in a vocabulary up to which the plain softmax was measured to be faster than the fused one


class LanguageModel(nn.Module):
    """p(x) = Π_t p(x_t | x_{<t})."""

    def __init__(self, embedding: Embedding, encoder: RecurrentStack, head: Head) -> None:
        super().__init__()
        self.embedding = embedding
        self.encoder = encoder
        self.head = head

    def init_state(self, batch_size: int) -> StackState:
        """The zero state, before any token is read."""
        return self.encoder.init_state(batch_size)

    def forward(
        self, ids: Int[Tensor, "B T"], state: StackState, *, reach: int | None = None
    ) -> tuple[Float[Tensor, "B T F"], StackState]:
        """The features before the softmax that guesses the token after each of `ids`, and the state after them.

        `reach`: over how many recurrent connections each step's error is carried back (`RecurrentStack.run`).
        """
        vectors = self.embedding(ids)
        outputs, state = self.encoder.run(vectors, state, reach=reach)
        return self.head.readout(outputs, None, vectors), state

    def loss(
        self, ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: StackState, *, reach: int | None = None
    ) -> tuple[Float[Tensor, ""], StackState]:
        """Σ −log p(target) in nats, where `targets` follow `ids`, and the state after `ids`; for `reach` see
        `forward`."""
        features, state = self(ids, state, reach=reach)
        path: LossPath = "plain" if len(self.head.weight) <= FEW else "auto"
        return self.head.loss(features.flatten(0, 1), targets.flatten(), path=path), state

    def token_losses(
        self, ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: StackState
    ) -> tuple[Float[Tensor, "B T"], StackState]:
        """−log p(target) in nats of each target by itself, and the state after `ids`."""
        features, state = self(ids, state)
        logits = self.head.logits(features.flatten(0, 1))
        return F.cross_entropy(logits, targets.flatten(), reduction="none").view_as(targets), state

    def step(self, ids: Int[Tensor, "N"], state: StackState) -> tuple[Float[Tensor, "N V"], StackState]:
        """Log-probabilities of the token after `ids`, and the state after reading them: for sampling."""
        features, state = self(ids[:, None], state)
        return self.head.logits(features[:, 0]).log_softmax(-1), state
