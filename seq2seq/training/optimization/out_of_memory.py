"""Out of memory: a message that names the batch and the setting to lower, or the batch in parts.

Parts are rows of the batch. Their gradients are added up and divided once, so that they are those of the whole batch:
equal up to rounding, and but for dropout, which draws other masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from seq2seq.errors import UserError
from seq2seq.nn.types import Captions, Features, Pairs, Tokens

Gradients = list[Tensor | None]
Loss = Callable[[Any], tuple[Tensor, Tensor]]


class BatchSplitter:
    """Computes a batch that memory does not hold in parts: it is halved until they fit, also where only the gradient
    does not. `module` has a `loss(batch, training=True)`: Σ loss and the count that it is a sum over."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.factor: Tensor | float = 1.0  # d (what is minimised) / d (Σ loss)
        self._batch: Any = None
        self._gradients: Gradients | None = None  # of Σ loss, where the forward pass computed them

    def loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Σ loss and its count, from the whole batch or from its parts. Raises `UserError` where memory does not hold
        one row."""
        self._batch, self._gradients = batch, None
        with suppressed():
            loss_and_count: tuple[Tensor, Tensor] = self.module.loss(batch, training=True)
            return loss_and_count
        total, count, self._gradients = self._in_parts()
        return total, count

    def backward(self, loss: Tensor) -> None:
        """The gradient of `loss`; nothing is added to earlier ones before all of it is known."""
        if self._gradients is None:
            with suppressed():
                add(self._trained(), list(torch.autograd.grad(loss, self._trained(), allow_unused=True)), 1.0)
                return
            with self.module.trainer.precision_plugin.train_step_context():
                self._gradients = self._in_parts()[2]
        good = torch.where(torch.isfinite(loss.detach()), 1.0, torch.nan)
        scale = good * self.factor / self.module.trainer.accumulate_grad_batches
        add(self._trained(), self._gradients, scale)

    def _in_parts(self) -> tuple[Tensor, Tensor, Gradients]:
        return in_parts(lambda part: self.module.loss(part, training=True), self._batch, self._trained())

    def _trained(self) -> list[Parameter]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]


def exhausted(error: BaseException) -> bool:
    """Whether an error says that memory is used up: a device's, or the machine's."""
    texts = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


@contextmanager
def named(module: Any) -> Iterator[None]:
    """Turn the error into a `UserError` with the shape of the batch that `module` trains on, and its `remedy`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if module.batch is None or module.splitter is not None or not exhausted(error):
            raise
        raise UserError(f"out of memory with a batch of {shape(module.batch)}; {module.remedy}") from error


def shape(batch: Any) -> str:
    """The sizes of a batch, for a message."""
    if not isinstance(batch, Pairs | Captions):
        rows, length = batch.inputs.shape
        return f"{rows} rows of {length} tokens"
    source = batch.source.values if isinstance(batch.source, Features) else batch.source.ids
    return f"{len(batch.rows)} pairs, {source.size(1)} source positions, {batch.target.ids.size(1)} target positions"


@contextmanager
def suppressed() -> Iterator[None]:
    """End the block where memory is used up. What comes after runs outside of the `except`, whose traceback would keep
    the tensors of the failed attempt alive."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not exhausted(error):
            raise


def in_parts(loss: Loss, batch: Any, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor, Gradients]:
    """Σ loss, the count that it is a sum over, and the gradients of Σ loss, from as many parts as memory asks for."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch.rows) <= 1:
        raise UserError(f"out of memory with a batch of {shape(batch)}; lower data.max_length")
    first, second = (_part(loss, half, parameters) for half in halves(batch))
    gradients = [_sum(one, other) for one, other in zip(first[2], second[2], strict=True)]
    return first[0] + second[0], first[1] + second[1], gradients


def _part(loss: Loss, batch: Any, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor, Gradients]:
    with suppressed():
        total, count = loss(batch)
        return total.detach(), count, list(torch.autograd.grad(total, parameters, allow_unused=True))
    return in_parts(loss, batch, parameters)


def halves(batch: Any) -> tuple[Any, Any]:
    """A batch's rows in two parts, each as long as its longest."""
    middle = len(batch.rows) // 2
    return tuple(
        type(batch)(_rows(batch.source, part), _rows(batch.target, part), batch.rows[part])
        for part in (slice(middle), slice(middle, None))
    )


def _rows(side: Tokens | Features, part: slice) -> Tokens | Features:
    values, lengths = side[0][part], side[1][part]
    size = int(lengths.max())
    rows = type(side)(values[:, :size], lengths)
    if isinstance(side, Tokens) and side.factors is not None:
        return Tokens(*rows[:2], side.factors[part][:, :size])
    return rows


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return one if other is None else other if one is None else one + other


def add(parameters: Sequence[Tensor], gradients: Gradients, scale: Tensor | float) -> None:
    """Add the gradients, scaled, to those that are there already; in the parameters' layout, which fused optimizers
    take for granted, and a gradient need not have."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            gradient = torch.empty_like(parameter).copy_(gradient * scale)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
