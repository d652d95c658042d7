"""Every entry of ERRATA.md: the wrong formula fails before the judge, the right one passes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.reference import sequence
from seq2seq.reference.differences import central_differences, relative_error
from seq2seq.reference.gru import GRU, Cache
from seq2seq.reference.losses import softmax_cross_entropy
from seq2seq.reference.lstm import LSTM
from seq2seq.reference.network import backward, forward, initialise
from seq2seq.reference.sequence import Weights
from seq2seq.reference.squashing import sigmoid, softmax
from seq2seq.reference.truncation import kept_by_truncation, paths_of_time, truncated
from seq2seq.runtime.paths import PACKAGE

T, D, H, O = 6, 3, 4, 5  # noqa: E741
RNG = np.random.default_rng(0)
NETWORK = initialise(D, H, O, RNG)._replace(W=RNG.normal(size=(H, H)), b=RNG.normal(size=H), c=RNG.normal(size=O))
X, S_0, Y = RNG.normal(size=(T, D)), RNG.normal(size=H), RNG.integers(O, size=T)
RIGHT, WRONG = 1e-8, 1e-2


def loss_at(W: np.ndarray) -> float:
    return softmax_cross_entropy(forward(NETWORK._replace(W=W), X, S_0).o, Y)[0]


def by_hand(slip: str) -> np.ndarray:
    """∂L/∂W by a manual backward pass in one function, with at most one error in it."""
    U, W, V, b, c = NETWORK
    s, a, caches = [S_0], [], {}
    for t in range(T):
        a.append(b + W @ s[-1] + U @ X[t])
        s.append(np.tanh(a[-1]))
        caches[0 if slip == "one cache for all steps" else t] = (s[-2], s[-1])
    gradient, sent_back = np.zeros_like(W), np.zeros(H)
    for t in reversed(range(T)):
        before, now = caches[0 if slip == "one cache for all steps" else t]
        if slip == "s[-1] read as the initial state" and t == 0:
            before = s[-1]
        if slip == "the state after the step for the one before":
            before = now
        y_hat = softmax(c + V @ s[t + 1])
        e = y_hat - np.eye(O)[Y[t]]
        if slip == "a factor ŷ(1−ŷ) that has cancelled":
            e = e * y_hat * (1 - y_hat)
        slope = 1 - a[t] ** 2 if slip == "the slope taken of a" else 1 - now**2
        later = 1 - s[t + 2] ** 2 if slip == "the slope of the step after" and t + 1 < T else slope
        d_s = V.T @ e + sent_back
        d_a = slope * (V.T @ e) + later * sent_back
        share = np.outer(d_a, before)
        if slip == "one step's term, summed T times":
            return T * share
        gradient = share if slip == "W is given one step's gradient" else gradient + share
        sent_back = (W if slip == "W for its transpose" else W.T) @ d_a
        if slip == "the slope and Wᵀ in the wrong order":
            sent_back = slope * (W.T @ d_s)
        if slip == "the sum over earlier steps forgotten":
            sent_back = np.zeros(H)
    return gradient


OF_THE_NETWORK = [
    "the sum over earlier steps forgotten",
    "a factor ŷ(1−ŷ) that has cancelled",
    "one cache for all steps",
    "W is given one step's gradient",
    "W for its transpose",
    "the slope taken of a",
    "the slope of the step after",
    "s[-1] read as the initial state",
    "the state after the step for the one before",
    "one step's term, summed T times",
    "the slope and Wᵀ in the wrong order",
]


@pytest.mark.parametrize("slip", OF_THE_NETWORK)
def test_vanilla(slip: str) -> None:
    judge = central_differences(loss_at, NETWORK.W)
    trace = forward(NETWORK, X, S_0)
    ours = backward(NETWORK, trace, softmax_cross_entropy(trace.o, Y)[1]).W
    assert relative_error(ours, judge) < RIGHT
    assert relative_error(by_hand("none"), judge) < RIGHT
    assert relative_error(by_hand(slip), judge) > WRONG


def test_one_unit() -> None:
    """«∂a¹/∂W_aa is 1»: one unit, a¹ = tanh(w a⁰ + u x¹) and so on, where every derivative fits on a line."""
    w, u, a_0, x = 0.7, 1.3, 0.4, np.array([0.5, -0.8, 0.3])

    def states(w: float) -> list[float]:
        a = [a_0]
        for x_t in x:
            a.append(float(np.tanh(w * a[-1] + u * x_t)))
        return a

    def derivative(first: float) -> float:
        """∂a^t/∂w = (1 − a_t²)(a_{t−1} + w ∂a_{t−1}/∂w), from ∂a¹/∂w on."""
        d = first
        for before, now in itertools.pairwise(a[1:]):
            d = (1 - now**2) * (before + w * d)
        return d

    a = states(w)
    judge = (states(w + 1e-5)[-1] - states(w - 1e-5)[-1]) / 2e-5
    assert derivative((1 - a[1] ** 2) * a[0]) == pytest.approx(judge, rel=1e-8)
    for wrong in (1.0, a[0]):  # nor is it a⁰, which leaves out the slope
        assert abs(derivative(wrong) / judge - 1) > WRONG
    assert (1 - np.tanh(u * x[0]) ** 2) * 0 == 0  # from a⁰ = 0, the usual start, it is 0


def test_the_slope_of_the_sigmoid() -> None:
    """«ŷ(1 − y)» for the slope of ŷ = σ(o): a target y in it is a slip of the pen, and 0 where y is 1."""
    o = RNG.normal(size=O)
    y, y_hat = np.eye(O)[0], sigmoid(o)
    judge = central_differences(lambda o: float(sigmoid(o).sum()), o)
    assert relative_error(y_hat * (1 - y_hat), judge) < RIGHT
    assert relative_error(y_hat * (1 - y), judge) > WRONG


def test_the_input_of_step_1() -> None:
    """«a¹ = g(W_aa a⁰ + W_ax x⁴)»: a state depends on no later input."""
    U, W, _, b, _ = NETWORK
    s_1 = forward(NETWORK, X, S_0).s[1]
    assert relative_error(np.tanh(b + W @ S_0 + U @ X[0]), s_1) < RIGHT
    assert relative_error(np.tanh(b + W @ S_0 + U @ X[3]), s_1) > WRONG
    later = np.concatenate([X[:3], X[3:] + 1])
    np.testing.assert_array_equal(forward(NETWORK, later, S_0).s[:4], forward(NETWORK, X, S_0).s[:4])


def test_the_first_axis_of_nn_rnn_is_time() -> None:
    """«(batch, steps, features)» for `nn.RNN` without batch_first: it runs, over the other axis."""
    rnn, x = torch.nn.RNN(D, H), torch.randn(2, T, D)
    output, h_n = rnn(x)  # two steps of T sentences, not T steps of two
    assert h_n.shape == (1, T, H)
    torch.testing.assert_close(output[:, 0], rnn(x[:, :1])[0][:, 0])
    right = torch.nn.RNN(D, H, batch_first=True)
    right.load_state_dict(rnn.state_dict())
    torch.testing.assert_close(right(x)[0], rnn(x.transpose(0, 1))[0].transpose(0, 1))
    assert not torch.allclose(right(x)[0], output, atol=WRONG)
    assert right(x)[1].shape == (1, 2, H)  # h_n keeps layers first


@pytest.mark.parametrize("k", [1, 2, 4])
def test_truncation_off_by_one(k: int) -> None:
    """A loop over k steps that counts the step itself carries the error k − 1 steps back."""
    trace = forward(NETWORK, X, S_0)
    _, e = softmax_cross_entropy(trace.o, Y)
    judge = paths_of_time(NETWORK, trace, e)[kept_by_truncation(T, k)].sum(0)

    def looped(last: Callable[[int], int]) -> np.ndarray:
        gradient = np.zeros((H, H))
        for t in range(1, T + 1):
            arrived = NETWORK.V.T @ e[t - 1]
            for j in range(t, max(1, last(t)) - 1, -1):
                d_a = (1 - trace.s[j] ** 2) * arrived
                gradient += np.outer(d_a, trace.s[j - 1])
                arrived = NETWORK.W.T @ d_a
        return gradient

    assert relative_error(truncated(NETWORK, trace, e, k).W, judge) < 1e-12
    assert relative_error(looped(lambda t: t - k), judge) < 1e-12
    assert relative_error(looped(lambda t: t - k + 1), judge) > WRONG
    assert relative_error(looped(lambda t: t - k + 1), truncated(NETWORK, trace, e, k - 1).W) < 1e-12


class NoWayBack(LSTM):
    """∂c' = D ⊙ o(1 − tanh²c'), without what the next step sends to c'."""

    def step_backward(self, weights: Weights, cache: Any, d: sequence.State) -> Any:
        return super().step_backward(weights, cache, (d[0], np.zeros_like(d[1])))


class NoForgetting(LSTM):
    """∂c = ∂c', without the forget gate."""

    def step_backward(self, weights: Weights, cache: Any, d: sequence.State) -> Any:
        d_x, (d_h, d_c), share = super().step_backward(weights, cache, d)
        return d_x, (d_h, d_c / cache.f), share


class NoSlopeOfReset(GRU):
    """∂r^ = ∂r: r(1 − r) left out, by dividing it out of the only place where it enters."""

    def step_backward(self, weights: Weights, cache: Cache, d: sequence.State) -> Any:
        flat = cache._replace(product=cache.product / (cache.r * (1 - cache.r)))
        return super().step_backward(weights, flat, d)


GATED: dict[str, tuple[Any, Any]] = {
    "the other reset's gradient": (GRU("after"), GRU("before")),
    "the other reset's gradient, the other way": (GRU("before"), GRU("after")),
    "the other update's gradient": (GRU("after", "keep"), GRU("after", "write")),
    "the reset gate's own slope forgotten": (GRU("after"), NoSlopeOfReset("after")),
    "the cell's second way to the loss": (LSTM(), NoWayBack()),
    "the forget gate left out on the way back": (LSTM(), NoForgetting()),
}


@pytest.mark.parametrize("slip", GATED)
def test_gated(slip: str) -> None:
    """Forward with one cell, backward with its own derivatives (right) or with the slip's (wrong): at weight_hh."""
    right, wrong = GATED[slip]
    blocks, parts = (4, 2) if isinstance(right, LSTM) else (3, 1)
    rng = np.random.default_rng(1)
    shapes = (blocks * H, D), (blocks * H, H), (blocks * H,), (blocks * H,)
    weights = Weights(*(rng.normal(size=shape) for shape in shapes))
    x, d_outputs = rng.normal(size=(2, T, D)), rng.normal(size=(2, T, H))
    state = tuple(rng.normal(size=(2, H)) for _ in range(parts))

    def loss(weight_hh: np.ndarray) -> float:
        run = sequence.forward(right, weights._replace(weight_hh=weight_hh), x, state)
        return float((run.outputs * d_outputs).sum())

    judge, run = central_differences(loss, weights.weight_hh), sequence.forward(right, weights, x, state)
    nothing = tuple(np.zeros_like(s) for s in state)
    gradients = {
        cell: sequence.backward(cell, weights, run, d_outputs, nothing).weights.weight_hh for cell in (right, wrong)
    }
    assert relative_error(gradients[right], judge) < RIGHT
    assert relative_error(gradients[wrong], judge) > WRONG


@pytest.mark.parametrize("page", ["ERRATA.md", "ERRATA.zh.md"])
def test_the_page_names_these_tests(page: str) -> None:
    """Each entry names its test with its id, and each test has its entry."""
    text = (PACKAGE / "reference" / page).read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:Test: |测试：)`([^`]+)`$", text, re.MULTILINE))
    slips = {f"test_vanilla[{slip}]" for slip in OF_THE_NETWORK} | {f"test_gated[{slip}]" for slip in GATED}
    single = {"test_the_slope_of_the_sigmoid", "test_the_input_of_step_1", "test_the_first_axis_of_nn_rnn_is_time"}
    assert named == slips | single | {"test_one_unit", "test_truncation_off_by_one"}
