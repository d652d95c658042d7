"""The loss of features against tokens: a sum, so that any split of the same tokens adds up to the same number.

| path   | what runs                                                  | where                                     |
|--------|------------------------------------------------------------|-------------------------------------------|
| plain  | all logits, then `cross_entropy`                           | GPUs; low precision before torch 2.13     |
| torch  | torch's fused linear cross-entropy, in chunks of rows      | CPUs, from torch 2.13 on                  |
| chunks | the same, with a manual backward pass and `nn.matmul`      | CPUs otherwise; GPUs for a GB of logits   |
| auto   | the fastest of them                                        |                                           |
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import Function
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from seq2seq.nn.matmul import addmm, mm, once_differentiable, onednn
from seq2seq.nn.types import IGNORED

# torch's fused linear + softmax + cross-entropy (torch 2.13 on); with 512 rows at once, the fastest setting measured.
FUSED = hasattr(F, "linear_cross_entropy") and hasattr(torch.nn, "LinearCrossEntropyOptions")
ROWS = 512
LARGEST = 1 << 28
"""Logits that a GPU holds at once: a gigabyte in float32, with two or three more for gradients; beyond, chunks."""
LossPath = Literal["auto", "plain", "torch", "chunks"]


def token_cross_entropy(
    features: Float[Tensor, "M F"],
    weight: Float[Tensor, "V F"],
    bias: Float[Tensor, "V"],
    targets: Int[Tensor, "M"],
    *,
    label_smoothing: float = 0.0,
    path: LossPath = "auto",
) -> Float[Tensor, ""]:
    """Σ −log softmax(W f + b)[target] in nats; `label_smoothing` ε as in Szegedy et al. (2016), §7.

    Rows whose target is `types.IGNORED` are left out, but by the path `torch`, which knows none (see `unpadded_ids`).
    """
    chosen = _choose(features, len(weight)) if path == "auto" else path
    if chosen == "chunks":
        loss: Tensor = CrossEntropyInChunks.apply(features, weight, bias, targets, label_smoothing)  # type: ignore[no-untyped-call]
        return loss
    if chosen == "torch":
        return _by_torch(features, weight, bias, targets, label_smoothing)
    logits = F.linear(features, weight, bias)
    return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing)


def _choose(features: Tensor, vocabulary: int) -> str:
    kind = features.device.type
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    full = features.dtype in (torch.float32, torch.float64) and not autocast
    if kind != "cpu":
        return "chunks" if full and len(features) * vocabulary > LARGEST else "plain"
    if onednn() and features.dtype == torch.float32 and full:
        return "chunks"
    return "torch" if FUSED else "chunks" if full else "plain"


def _by_torch(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """torch's chunked function knows no smoothing, but with the logits l the smoothed loss is
    log Z − (1−ε) l_y − ε l̄ = (log Z − l_y) + ε (l_y − l̄), and l_y − l̄ = f·(W_y − W̄) + b_y − b̄ needs no logits.
    """
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=ROWS, chunking_method=None)
    loss = F.linear_cross_entropy(features, weight, targets, linear_bias=bias, reduction="sum", options=options)
    if label_smoothing:
        above_mean = (features * (weight[targets] - weight.mean(0))).sum() + (bias[targets] - bias.mean()).sum()
        loss = loss + label_smoothing * above_mean
    return loss


class CrossEntropyInChunks(Function):
    """The softmax's loss and gradients, some rows at a time, so that no more logits are ever held: 512 rows, on a GPU
    those of a quarter of `LARGEST`.

    With l = W f + b, Z = Σ e^l and p = e^l / Z, the loss of a row is log Z − (1−ε) l_y − ε l̄, and its gradient at
    the logits g = p − (1−ε) [y] − ε/V; then ∂f = g W, ∂W = Σ gᵀ f, ∂b = Σ g. All of it is known in the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """(features [M,F], W [V,F], b [V], targets [M], ε) → the sum of the losses."""
        features, weight, bias, targets, smoothing = arguments
        learning = any(ctx.needs_input_grad)
        loss: Tensor = features.new_zeros(())
        into_features = torch.empty_like(features)
        into_weight_t, into_bias = weight.new_zeros(weight.shape[::-1]), torch.zeros_like(bias)
        on_cpu = features.device.type == "cpu"
        size = ROWS if on_cpu else max(ROWS, LARGEST // 4 // len(weight))
        for start in range(0, len(features), size):
            rows, y = features[start : start + size], targets[start : start + size, None]
            known = None if on_cpu else y != IGNORED  # a CPU is given no pads
            y = y if known is None else y.clamp(min=0)
            logits = addmm(bias, rows, weight.t())
            value, g = _softmax_loss(logits, y, smoothing, known)
            loss += value
            if learning:
                g.scatter_add_(1, y, g.new_full((), smoothing - 1).expand(y.shape))
                if smoothing:
                    g.sub_(smoothing / len(bias))
                if known is not None:
                    g.mul_(known)
                into_features[start : start + size] = mm(g, weight)
                into_weight_t = addmm(into_weight_t, rows.t(), g)
                into_bias += g.sum(0)
        ctx.save_for_backward(into_features, into_weight_t, into_bias)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the sum, times its own."""
        into_features, into_weight_t, into_bias = ctx.saved_tensors
        into_weight = into_weight_t.t().contiguous().mul_(gradient)  # in the weight's own memory order
        return into_features * gradient, into_weight, into_bias * gradient, None, None


def _softmax_loss(logits: Tensor, y: Tensor, smoothing: float, counted: Tensor | None) -> tuple[Tensor, Tensor]:
    """The sum of the losses of the `counted` rows, and the softmax of all, which takes the place of the logits."""
    top, known = logits.amax(1, keepdim=True), logits.gather(1, y)
    expected = (1 - smoothing) * known + smoothing * logits.mean(1, keepdim=True) if smoothing else known
    exponentials = logits.sub_(top).exp_()
    z = exponentials.sum(1, keepdim=True)
    losses = z.log() + top - expected
    return (losses if counted is None else losses * counted).sum(), exponentials.div_(z)


def token_log_probs(
    features: Float[Tensor, "M F"], weight: Float[Tensor, "V F"], bias: Float[Tensor, "V"], targets: Int[Tensor, "M"]
) -> Float[Tensor, "M"]:
    """log softmax(W f + b)[target] of each row in nats, 0 where the target is `types.IGNORED`; with no more logits at
    once than `symmetric_divergence` has."""
    parts = [
        checkpoint(_row_log_probs, rows, weight, bias, y, use_reentrant=False, preserve_rng_state=False)
        for rows, y in zip(features.split(ROWS), targets.split(ROWS), strict=True)
    ]
    return torch.cat(parts)


def _row_log_probs(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(F.linear(features, weight, bias), targets, reduction="none")


def symmetric_divergence(
    one: Float[Tensor, "M F"],
    other: Float[Tensor, "M F"],
    weight: Float[Tensor, "V F"],
    bias: Float[Tensor, "V"],
    targets: Int[Tensor, "M"],
) -> Float[Tensor, ""]:
    """Σ ½ (KL(p‖q) + KL(q‖p)) in nats of p = softmax(W f + b) and q, likewise of the `other` features, over the rows
    whose target is not `types.IGNORED` (Liang et al. 2021, eq. 2).

    On a CPU no more logits are ever held than those of `ROWS` rows: the backward pass computes them anew. A GPU has the
    memory for more, and would mostly wait for so many small kernels.
    """
    total: Tensor = one.new_zeros(())
    size = ROWS if one.device.type == "cpu" else 16 * ROWS
    for rows in torch.arange(len(one), device=one.device).split(size):
        known = targets[rows] != IGNORED
        total = total + checkpoint(
            _divergence, one[rows], other[rows], weight, bias, known, use_reentrant=False, preserve_rng_state=False
        )
    return total


def _divergence(one: Tensor, other: Tensor, weight: Tensor, bias: Tensor, known: Tensor) -> Tensor:
    """½ Σ (p − q)(log p − log q), which is both directions at once."""
    log_p, log_q = (F.linear(features, weight, bias).log_softmax(-1) for features in (one, other))
    each = 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)
    return (each * known).sum()


def label_cross_entropy(
    features: Float[Tensor, "M F"],
    weight: Float[Tensor, "V F"],
    bias: Float[Tensor, "V"],
    targets: Float[Tensor, "M V"],
) -> Float[Tensor, ""]:
    """Σ −y log σ(o) − (1−y) log(1−σ(o)) in nats, o = W f + b: V answers of yes (1) or no (0) a row, each by itself.

    On other devices than a CPU rows of `types.IGNORED` are left out; a CPU's have none (see `flatten_unpadded`).
    """
    logits: Tensor = F.linear(features, weight, bias)
    if targets.device.type == "cpu":
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (each * (targets != IGNORED)).sum()
