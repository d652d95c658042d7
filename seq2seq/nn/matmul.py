"""Matrix products through the faster of the two libraries that torch includes.

Where oneDNN is the faster one (seq2seq/nn/matmul_library.py), `mm`, `addmm` and `linear` call it, through the operator
that torch's own compiler emits for a linear layer; elsewhere, and for other types and small matrices, they are torch's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import Function
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.nn import matmul_library
from seq2seq.nn.matmul_library import ROWS

SMALLEST = 1 << 14
"""Elements of the right matrix. Below, the operator's ten microseconds a call are more than it saves."""

Backward = Callable[..., tuple[Tensor | None, ...]]


def onednn() -> bool:
    """Whether this process sends its products to oneDNN."""
    return (matmul_library.used or matmul_library.name()) == "onednn"


def mm(a: Float[Tensor, "M K"], b: Float[Tensor, "K N"]) -> Float[Tensor, "M N"]:
    """a b; without gradients, for manual backward passes."""
    return _product(a, b, None) if _fits(a, b) else a @ b


def multiplier(b: Float[Tensor, "K N"]) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The function (a, plus) → plus + a b for a loop over many a: what there is to know of b is determined once."""
    if not _fits(b, b):
        return lambda a, plus: a @ b if plus is None else torch.addmm(plus, a, b)
    transposed = _dense(b).t()
    plain, added = torch.ops.mkldnn._linear_pointwise.default, torch.ops.mkldnn._linear_pointwise.binary

    def multiply(a: Tensor, plus: Tensor | None) -> Tensor:
        if len(a) < 2:
            return mm(a, b) if plus is None else addmm(plus, a, b)
        if plus is None or plus.dim() == 1:
            product: Tensor = plain(a, transposed, plus, "none", [], "")
        else:
            product = added(a, plus, transposed, None, "add")
        return product

    return multiply


def tmm(a: Float[Tensor, "N M"], b: Float[Tensor, "N K"]) -> Float[Tensor, "M K"]:
    """aᵀ b, a weight's gradient from all steps at once; without gradients. oneDNN's left matrix must be row-major, so
    the narrower of the two is copied."""
    if a.size(1) <= b.size(1):
        return mm(a.t(), b)
    return mm(b.t(), a).t().contiguous() if _fits(b.t(), a) else a.t() @ b


def addmm(plus: Tensor, a: Float[Tensor, "M K"], b: Float[Tensor, "K N"]) -> Float[Tensor, "M N"]:
    """plus + a b, with `plus` [N] or [M, N]; without gradients."""
    if not _fits(a, b):
        return torch.addmm(plus, a, b)
    if plus.dim() == 1:
        return _product(a, b, plus)
    if len(a) == 1:
        return _product(a, b, None) + plus
    product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(a, plus.contiguous(), _dense(b).t(), None, "add")
    return product


def once_differentiable(backward: Backward) -> Backward:
    """The decorator of a manual backward pass, which works with products without gradients: it raises `UserError` where
    a graph of the gradients is asked for (create_graph=True).

    torch's own decorator of this name raises only where the arriving gradient itself needs one; after a loss that is
    linear in the outputs it leaves out, without a word, what the backward pass owes to the states.
    """

    @functools.wraps(backward)
    def once(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UserError("the manual backward pass has no second derivatives (create_graph=True); use path=step")
        return backward(ctx, *gradients)

    return once


def linear(x: Float[Tensor, "*N K"], weight: Float[Tensor, "M K"], bias: Tensor | None = None) -> Float[Tensor, "*N M"]:
    """x Wᵀ + b, with gradients: `torch.nn.functional.linear`."""
    if not _fits(x, weight) or torch.is_autocast_enabled(x.device.type):
        return F.linear(x, weight, bias)
    flat = x.reshape(-1, x.size(-1))
    packed = _packed.get()
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        product: Tensor = _Linear.apply(flat, weight, bias)  # type: ignore[no-untyped-call]
    elif packed is not None:
        product = torch.ops.mkldnn._linear_pointwise(flat, packed.of(weight), bias, "none", [], "")
    else:
        product = _product(flat, weight.t(), bias)
    return product.view(*x.shape[:-1], len(weight))


class Packed:
    """Weights in oneDNN's own order, which is otherwise made anew at every call: five times faster for a few rows.

    Within `with packed.active():` the function `linear` keeps each weight that it meets, where it needs no gradients:
    for weights that stay as they are.
    """

    def __init__(self) -> None:
        # What is packed is kept next to the packed form: while it lives, its place in memory identifies it.
        self._kept: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}

    def of(self, weight: Float[Tensor, "M K"]) -> Tensor:
        """The packed form of this weight, or of these rows or columns of one."""
        place = (weight.data_ptr(), weight.shape, weight.stride())
        if place not in self._kept:
            dense = weight.detach().contiguous()
            self._kept[place] = weight, torch.ops.mkldnn._reorder_linear_weight(dense, ROWS)
        return self._kept[place][1]

    @contextmanager
    def active(self) -> Iterator[None]:
        """For the calls within, in this thread."""
        token = _packed.set(self)
        try:
            yield
        finally:
            _packed.reset(token)


_packed: ContextVar[Packed | None] = ContextVar("packed", default=None)


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear` of this module."""

    def forward(self, input: Tensor) -> Tensor:
        """x Wᵀ + b."""
        return linear(input, self.weight, self.bias)


class _Linear(Function):
    """y = x Wᵀ + b:  ∂L/∂x = g W,  ∂L/∂W = gᵀ x,  ∂L/∂b = Σ g."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight.t(), bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled():  # second derivatives are asked for
            into_x, into_weight = gradient @ weight, gradient.t() @ x
        else:
            into_x = mm(gradient, weight) if needs[0] else None
            into_weight = tmm(gradient, x) if needs[1] else None
        return into_x, into_weight, gradient.sum(0) if needs[2] else None


def _fits(a: Tensor, b: Tensor) -> bool:
    same = a.dtype == b.dtype == torch.float32 and a.device.type == "cpu"
    large = b.numel() >= SMALLEST and a.numel() > 0
    # An exported network is for any machine; and onednn() may measure, which would be traced as well: so it comes last.
    return same and large and not torch.compiler.is_compiling() and onednn()


def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """The operator takes the transposed right matrix. One row alone would go another way, whose sums are rounded
    differently: it is given twice, so that a sentence's numbers depend less on the rest of the batch. (No library
    guarantees that they do not depend on it at all.)"""
    alone = len(a) == 1
    rows = a.expand(2, -1) if alone else a
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, _dense(b).t(), bias, "none", [], "")
    return product[:1] if alone else product


def _dense(b: Tensor) -> Tensor:
    """Either memory order is fast, but for columns out of a wider matrix oneDNN has only its slow reference code."""
    return b if b.is_contiguous() or b.t().is_contiguous() else b.contiguous()
