"""The recurrent language model: embedding, a stack of recurrent layers, a head at every position (N-to-N).

    h_t = cell(e(x_t), h_{t−1})        p(x_{t+1} | x_{≤t}) = softmax(W · readout(h_t) + b)

Mikolov et al., "Recurrent neural network based language model", Interspeech 2010; of characters: Sutskever, Martens &
Hinton, "Generating Text with Recurrent Neural Networks", ICML 2011. The state is no secret of the module: it comes in
and goes out, so that who calls decides what to carry, to detach and to save.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from seq2seq.nn.embedding import Embedding
from seq2seq.nn.encoders.stack import RecurrentStack, StackState
from seq2seq.nn.heads import Head


class LanguageModel(nn.Module):
    """p(x) = Π_t p(x_t | x_{<t})."""

    def __init__(self, embedding: Embedding, encoder: RecurrentStack, head: Head) -> None:
        super().__init__()
        self.embedding, self.encoder, self.head = embedding, encoder, head

    def init_state(self, batch_size: int) -> StackState:
        """Nothing read yet."""
        return self.encoder.init_state(batch_size)

    def forward(
        self, ids: Int[Tensor, "B T"], state: StackState, *, reach: int | None = None
    ) -> tuple[Float[Tensor, "B T F"], StackState]:
        """The features before the softmax that guesses the token after each of `ids`, and the state after them.

        `reach`: over how many recurrent connections each step's error is carried back (`RecurrentStack.run`).
        """
        vectors = self.embedding(ids)
        outputs, state = self.encoder.run(vectors, state, reach=reach)
        return self.head.readout(outputs, outputs[..., :0], vectors), state

    def step(self, ids: Int[Tensor, "N"], state: StackState) -> tuple[Float[Tensor, "N V"], StackState]:
        """Log-probabilities of the token after `ids`, and the state after reading them: for sampling."""
        features, state = self(ids[:, None], state)
        return self.head.logits(features[:, 0]).log_softmax(-1), state
