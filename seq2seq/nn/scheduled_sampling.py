"""What a decoder reads in training as the previous token: the target's, or its own.

| kind              | step t reads                                                                             |
|-------------------|------------------------------------------------------------------------------------------|
| TeacherForcing    | y_{t−1} of the target (Williams & Zipser 1989)                                           |
| ScheduledSampling | y_{t−1} with probability ε, which falls during training, else its own (Bengio et al. 2015) |
| FreeRunning       | its own, as in a search                                                                  |

The model's own tokens are chosen first, by the same step function as in a search, without dropout and without a graph;
then the whole mixed sequence is read as a teacher-forced target would be. Gradients do not flow through the choice (nor
do they in the paper), so nothing is lost, and every model keeps its parallel form. Validation reads the target.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seq2seq.errors import UserError

Decay = Literal["linear", "exponential", "inverse_sigmoid"]
Choice = Literal["argmax", "sample"]


class SamplingState(NamedTuple):
    """The seed and the progress of a training run. Every draw is a function of it alone, so that a resumed run needs
    nothing saved."""

    seed: int
    step: int  # optimizer steps done
    process: int = 0  # of those that train together, each on its own pairs

    def generator(self, device: torch.device) -> torch.Generator:
        """A random generator seeded by this state."""
        seed = np.random.SeedSequence([self.seed, self.step, self.process]).generate_state(1, np.uint64)[0]
        return torch.Generator(device).manual_seed(int(seed))


class Feedback(ABC):
    """`choice` of the model's own token: its most probable one (`argmax`), or a `sample` of its distribution.
    `reads_own` tells whether ε may be below 1."""

    choice: Choice = "argmax"
    reads_own = True

    @abstractmethod
    def truth(self, step: int) -> float:
        """ε: the probability, after so many optimizer steps, that the previous token is the target's."""


class TeacherForcing(Feedback):
    """Always the target's token."""

    reads_own = False

    def truth(self, step: int) -> float:
        """ε = 1 at every step."""
        return 1.0


class FreeRunning(Feedback):
    """Always the model's own token."""

    def __init__(self, *, choice: Choice = "argmax") -> None:
        self.choice = choice

    def truth(self, step: int) -> float:
        """ε = 0 at every step."""
        return 0.0


class ScheduledSampling(Feedback):
    """Bengio, Vinyals, Jaitly & Shazeer (2015), §2.4: with i optimizer steps done

    linear           ε = 1 − c i
    exponential      ε = k^i
    inverse_sigmoid  ε = k / (k + exp(i / k))

    and never below `floor`. The constant of each follows from `halfway`, the step at which ε is 1/2 (but for `floor`),
    so that the curves can be compared. Raises `UserError` for values out of range.
    """

    def __init__(
        self, *, decay: Decay = "inverse_sigmoid", halfway: int = 2000, floor: float = 0.0, choice: Choice = "sample"
    ) -> None:
        if halfway < 1:
            raise UserError(f"decoder.feedback: halfway={halfway} is a number of optimizer steps, at least 1")
        if not 0 <= floor <= 1:
            raise UserError(f"decoder.feedback: floor={floor} is a probability, from 0 to 1")
        self.decay = decay
        self.halfway = halfway
        self.floor = floor
        self.choice = choice

    def truth(self, step: int) -> float:
        """ε of the chosen decay after `step` optimizer steps."""
        if self.decay == "linear":
            epsilon = 1 - step / (2 * self.halfway)
        elif self.decay == "exponential":
            epsilon = 0.5 ** (step / self.halfway)
        else:
            k = _inverse_sigmoid(self.halfway)
            epsilon = k / (k + math.exp(min(step / k, 700.0)))
        return max(self.floor, epsilon)


@torch.no_grad()
def mixed(
    feedback: Feedback,
    sampling: SamplingState,
    previous: Int[Tensor, "B T"],
    step: Callable[..., tuple[Tensor, Any, Any]],
    state: Any,
    memory: Any,
) -> Int[Tensor, "B T"]:
    """The tokens to be read: `previous` (bos and the target without its last), some replaced by the model's own.

    A coin is tossed for every token but bos. `step`, `state` and `memory` are those that a search is given; the model
    is used as it is, so put it into eval mode first.
    """
    generator = sampling.generator(previous.device)
    told = torch.rand(previous.shape, generator=generator, device=previous.device) < feedback.truth(sampling.step)
    columns = [previous[:, 0]]
    for t in range(1, previous.size(1)):
        log_probs, state, _ = step(columns[-1], state, memory)
        own = _chosen(log_probs, feedback.choice, generator)
        columns.append(torch.where(told[:, t], previous[:, t], own))
    return torch.stack(columns, 1)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Eval mode within; then every module is in its own mode again."""
    training = [each for module in modules for each in module.modules() if each.training]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for each in training:
            each.training = True


def _chosen(log_probs: Float[Tensor, "B V"], choice: Choice, generator: torch.Generator) -> Int[Tensor, "B"]:
    if choice == "argmax":
        return log_probs.argmax(-1)
    # torch.multinomial of one token is the same race, but asks the device first whether these are probabilities.
    probabilities = log_probs.float().exp()
    times = torch.empty_like(probabilities).exponential_(1, generator=generator)
    return (probabilities / times).argmax(-1)


def _inverse_sigmoid(halfway: int) -> float:
    """The k with k ln k = `halfway`: k / (k + exp(i / k)) is 1/2 where exp(i / k) = k. Newton's method, from above."""
    k = float(halfway) + 1
    for _ in range(50):
        k = (k + halfway) / (math.log(k) + 1)
    return k
