"""The textbook's network: derivation, graph, autograd and differences agree; truncation keeps the paths it says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.reference import graph, sequence
from seq2seq.reference.differences import central_differences, relative_error
from seq2seq.reference.gru import GRU
from seq2seq.reference.losses import one_hot, sigmoid_cross_entropy, softmax_cross_entropy
from seq2seq.reference.network import Gradients, Network, Trace, backward, forward, initialise
from seq2seq.reference.sequence import Weights
from seq2seq.reference.squashing import sigmoid, softmax
from seq2seq.reference.truncation import (
    kept_by_truncation,
    kept_by_windows,
    paths_of_time,
    truncated,
    windowed,
)
from seq2seq.reference.vanilla import Vanilla
from seq2seq.runtime.paths import PACKAGE

D, H, O = 3, 4, 5  # noqa: E741
LOSSES: dict[str, Any] = {
    "softmax": softmax_cross_entropy,
    "multi-label": sigmoid_cross_entropy,
    "binary": sigmoid_cross_entropy,
}


def example(steps: int = 7, loss: str = "softmax", words: bool = False) -> tuple[Network, Any, Any, Any]:
    """A random network (biases too), inputs, initial state and targets."""
    rng, outputs = np.random.default_rng(steps), 1 if loss == "binary" else O
    network = initialise(D, H, outputs, rng)._replace(b=rng.normal(size=H), c=rng.normal(size=outputs))
    x = rng.integers(D, size=steps) if words else rng.normal(size=(steps, D))
    answers = rng.integers(2, size=(steps, outputs)).astype(float)
    return network, x, rng.normal(size=H), rng.integers(O, size=steps) if loss == "softmax" else answers


def solved(steps: int = 7) -> tuple[Network, Trace, np.ndarray]:
    network, x, s_0, y = example(steps)
    trace = forward(network, x, s_0)
    return network, trace, softmax_cross_entropy(trace.o, y)[1]


def assert_equal(ours: Any, theirs: Any, tolerance: float = 1e-10) -> None:
    assert len(ours) == len(theirs)
    assert max(map(relative_error, ours, theirs)) < tolerance


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_gradient_three_ways(loss: str, words: bool, steps: int) -> None:
    """Manual backward = autograd = central differences: U, W, V, b, c, s_0 and x."""
    network, x, s_0, y = example(steps, loss, words)
    trace = forward(network, x, s_0)
    value, e = LOSSES[loss](trace.o, y)
    ours = backward(network, trace, e)
    leaves = [torch.tensor(a, requires_grad=True) for a in (*network, s_0, trace.x)]
    U, W, V, b, c, s, xs = leaves
    logits = []
    for x_t in xs:
        s = torch.tanh(b + W @ s + U @ x_t)
        logits.append(c + V @ s)
    outputs, targets = torch.stack(logits), torch.tensor(y)
    function = F.cross_entropy if loss == "softmax" else F.binary_cross_entropy_with_logits
    theirs = function(outputs, targets, reduction="sum")
    assert relative_error(trace.o, outputs.detach().numpy()) < 1e-10
    assert value == pytest.approx(theirs.item(), rel=1e-12)
    assert_equal(ours, [gradient.numpy() for gradient in torch.autograd.grad(theirs, leaves)])

    values = [*network, s_0, trace.x]
    for place in range(len(values)):

        def moved(a: np.ndarray, place: int = place) -> float:
            *weights, start, xs = [*values[:place], a, *values[place + 1 :]]
            return float(LOSSES[loss](forward(Network(*weights), xs, start).o, y)[0])

        assert relative_error(ours[place], central_differences(moved, values[place])) < 1e-7


def test_a_state_of_zeros_is_the_default() -> None:
    network, x, _, _ = example()
    assert_equal(forward(network, x), forward(network, x, np.zeros(H)))


def test_the_textbooks_letters_and_torchs_layout_are_one_network() -> None:
    """U, W, b of the textbook are W_ih, W_hh, b_ih + b_hh of the cell; both biases receive ∂L/∂b."""
    network, trace, e = solved()
    U, W, V, b, _ = network
    weights = Weights(U, W, b / 4, 3 * b / 4)
    run = sequence.forward(Vanilla(), weights, trace.x[None], (trace.s[:1],))
    d = sequence.backward(Vanilla(), weights, run, (e @ V)[None], (np.zeros((1, H)),))
    ours = backward(network, trace, e)
    assert_equal([run.outputs[0], d.x[0], d.state[0][0]], [trace.s[1:], ours.x, ours.s_0])
    assert_equal(d.weights, [ours.U, ours.W, ours.b, ours.b])


def test_the_graph_yields_the_same_gradients() -> None:
    network, x, s_0, y = example()
    trace = forward(network, x, s_0)
    value, e = softmax_cross_entropy(trace.o, y)
    leaves, start, xs = graph.leaves_of(network), graph.Node(s_0), [graph.Node(x_t) for x_t in x]
    loss = graph.vanilla_network(leaves, start, xs, y)
    theirs = graph.gradients(loss, [*leaves, start, *xs])
    assert loss.value == pytest.approx(value, rel=1e-12)
    assert_equal(backward(network, trace, e), [*theirs[:6], np.stack(theirs[6:])])


def test_the_graph_finds_the_grus_gradients_too() -> None:
    """multiply, add, tanh and σ suffice for h' = n + z(h − n), n with the reset before the product."""
    rng = np.random.default_rng(0)
    weights = Weights(*(rng.normal(size=s) for s in ((3 * H, D), (3 * H, H), (3 * H,), (3 * H,))))
    x, h_0 = rng.normal(size=(4, D)), rng.normal(size=H)
    leaves = [[graph.Node(block) for block in np.split(part, 3)] for part in weights]
    (W_r, W_z, W_n), (U_r, U_z, U_n), (b_r, b_z, b_n), (c_r, c_z, c_n) = leaves
    h = start = graph.Node(h_0)
    minus = graph.Node(-np.ones(H))
    for x_t in map(graph.Node, x):
        r = graph.sigmoid(W_r @ x_t + b_r + U_r @ h + c_r)
        z = graph.sigmoid(W_z @ x_t + b_z + U_z @ h + c_z)
        n = graph.tanh(W_n @ x_t + b_n + U_n @ (r * h) + c_n)
        h = n + z * (h + minus * n)
    theirs = graph.gradients(graph.total(h), [start, *(leaf for part in leaves for leaf in part)])
    run = sequence.forward(GRU("before"), weights, x[None], (h_0[None],))
    ours = sequence.backward(GRU("before"), weights, run, np.zeros((1, 4, H)), (np.ones((1, H)),))
    assert_equal([run.final[0][0], ours.state[0][0]], [h.value, theirs[0]])
    assert_equal(ours.weights, [np.concatenate(theirs[i : i + 3]) for i in range(1, 13, 3)])


def test_the_factor_that_cancels() -> None:
    """−log softmax and −log σ, each as two separate operations, leave ŷ − y: no ŷ(1 − ŷ) remains."""
    logits, y = np.array([0.3, -1.2, 0.8]), np.array([0.0, 1.0, 0.0])
    node = graph.Node(logits)
    (d,) = graph.gradients(graph.cross_entropy(graph.softmax(node), y), [node])
    np.testing.assert_allclose(d, softmax(logits) - y, rtol=1e-12)
    minus, one = graph.Node(-np.ones(3)), graph.Node(np.ones(3))
    yes = graph.sigmoid(node)
    loss = graph.cross_entropy(yes, y) + graph.cross_entropy(one + minus * yes, 1 - y)
    np.testing.assert_allclose(graph.gradients(loss, [node])[0], sigmoid(logits) - y, rtol=1e-12)
    assert graph.gradients(loss, [graph.Node(logits)])[0].tolist() == [0, 0, 0]  # a node that it does not depend on


def test_losses_by_their_formula_and_masked() -> None:
    """Two equal logits: ln 2. A masked step leaves neither loss nor gradient; large logits do not overflow."""
    mask = np.array([True, False])
    loss, e = softmax_cross_entropy(np.zeros((2, 2)), np.array([0, 1]), mask)
    assert loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(e, [[-0.5, 0.5], [0, 0]])
    loss, e = sigmoid_cross_entropy(np.zeros((2, 1)), np.array([[1.0], [0.0]]), mask)
    assert loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(e, [[-0.5], [0]])
    with np.errstate(all="raise", under="ignore"):
        assert softmax_cross_entropy(np.array([[1e4, -1e4]]), np.array([1]))[0] == pytest.approx(2e4)
        assert sigmoid_cross_entropy(np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]]))[0] == pytest.approx(2e4)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_gradient_is_the_sum_over_paths_of_time(steps: int) -> None:
    network, trace, e = solved(steps)
    paths = paths_of_time(network, trace, e)
    assert not paths[~kept_by_truncation(steps, steps)].any()
    assert_equal([paths.sum((0, 1))], [backward(network, trace, e).W])


@pytest.mark.parametrize("reach", [0, 1, 2, 5, 6, 7, 9])
def test_both_truncations_keep_the_paths_of_their_picture(reach: int) -> None:
    network, trace, e = solved(7)
    paths, full = paths_of_time(network, trace, e), backward(network, trace, e)
    carried, windows = truncated(network, trace, e, reach), windowed(network, trace, e, reach + 1)
    assert_equal([carried.W], [paths[kept_by_truncation(7, reach)].sum(0)])
    assert_equal([windows.W], [paths[kept_by_windows(7, reach + 1)].sum(0)])
    assert_equal([carried.V, carried.c, windows.V, windows.c], [full.V, full.c] * 2)  # no time in them
    for ours, reached_all in ((carried, reach >= 7), (windows, reach + 1 >= 7)):
        errors = [relative_error(a, b) for a, b in zip(ours, full)]
        assert (max(errors) < 1e-10) if reached_all else (max(errors) > 1e-6)
    # One connection less than T is all that the weights need; the last leads to s_0.
    assert (relative_error(carried.W, full.W) < 1e-10) == (reach >= 6)


def test_the_two_truncations_differ() -> None:
    """With the same longest reach, 2 connections, the windows lose paths that the other keeps, and never the reverse;
    with windows of 1 and k = 0 both keep each step's own."""
    network, trace, e = solved(7)
    by_reach, by_window = kept_by_truncation(7, 2), kept_by_windows(7, 3)
    assert (by_reach.sum(), by_window.sum()) == (18, 13)
    assert not (by_window & ~by_reach).any()
    assert relative_error(truncated(network, trace, e, 2).W, windowed(network, trace, e, 3).W) > 1e-3
    assert_equal(truncated(network, trace, e, 0)[:5], windowed(network, trace, e, 1)[:5])


def test_windows_are_what_detach_does() -> None:
    """The state carried forward and detached between windows, in torch; the forward pass does not notice."""
    network, trace, e = solved(7)
    U, W, V, b, c = leaves = [torch.tensor(a, requires_grad=True) for a in network]
    s, loss = torch.tensor(trace.s[0]), torch.zeros((), dtype=torch.double)
    for t, (x_t, e_t) in enumerate(zip(torch.tensor(trace.x), torch.tensor(e))):
        s = torch.tanh(b + W @ (s.detach() if t % 3 == 0 else s) + U @ x_t)
        loss = loss + e_t @ (c + V @ s)
    assert_equal(windowed(network, trace, e, 3)[:5], [g.numpy() for g in torch.autograd.grad(loss, leaves)])


def test_windows_carry_the_state() -> None:
    network, x, s_0, _ = example(7)
    first = forward(network, x[:3], s_0)
    assert_equal(forward(network, x[3:], first.s[-1]).o, forward(network, x, s_0).o[3:])


def test_impossible_truncations_are_refused() -> None:
    with pytest.raises(UserError, match="k=-1"):
        truncated(*solved(2), -1)
    with pytest.raises(UserError, match="size=0"):
        windowed(*solved(2), 0)


def test_one_hot_inputs_pick_columns() -> None:
    """∂L/∂U of a word is that of its column: nothing elsewhere."""
    network, _, s_0, y = example(2)
    trace = forward(network, np.array([1, 1]), s_0)
    gradients: Gradients = backward(network, trace, softmax_cross_entropy(trace.o, y)[1])
    assert gradients.U[:, 1].all()
    assert not gradients.U[:, [0, 2]].any()
    assert one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_no_torch_is_needed() -> None:
    modules = [f"seq2seq.reference.{path.stem}" for path in (PACKAGE / "reference").glob("[!_]*.py")]
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "False"
