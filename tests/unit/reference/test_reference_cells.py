"""The NumPy cells against torch: `step` under autograd, the hand-derived and fused paths, its modules; and Keras."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from seq2seq.errors import UserError
from seq2seq.nn import cells
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs
from seq2seq.reference import sequence
from seq2seq.reference.differences import central_differences, relative_error
from seq2seq.reference.gru import GRU
from seq2seq.reference.losses import one_hot, sigmoid_cross_entropy, softmax_cross_entropy
from seq2seq.reference.lstm import LSTM
from seq2seq.reference.sequence import Weights
from seq2seq.reference.vanilla import Vanilla

D, H, B = 3, 4, 3
GRUS = [(reset, update) for reset in ("after", "before") for update in ("keep", "write")]
FORMS: dict[str, tuple[Any, Any]] = {
    "tanh": (Vanilla(), lambda **o: cells.Vanilla(D, H, **o)),
    "relu": (Vanilla("relu"), lambda **o: cells.Vanilla(D, H, activation="relu", **o)),
    **{f"gru-{r}-{u}": (GRU(r, u), lambda r=r, u=u, **o: cells.GRU(D, H, reset=r, update=u, **o)) for r, u in GRUS},
    "lstm": (LSTM(), lambda **o: cells.LSTM(D, H, **o)),
}
MODULES: dict[str, Any] = {
    "tanh": nn.RNN,
    "relu": functools.partial(nn.RNN, nonlinearity="relu"),
    "gru-after-keep": nn.GRU,
    "lstm": nn.LSTM,
}


class Case:
    """A random batch, in NumPy: inputs, initial and final states' parts, and the loss's weights on what comes out."""

    def __init__(self, form: str, steps: int, padded: bool = False) -> None:
        rng = np.random.default_rng(steps)
        parts = 2 if form == "lstm" else 1
        self.lengths = np.array([steps, 1, (steps + 1) // 2] if padded else [steps] * B)
        self.mask = np.arange(steps) < self.lengths[:, None]
        self.x = rng.normal(size=(B, steps, D))
        self.state = tuple(rng.normal(size=(B, H)) for _ in range(parts))
        self.d_outputs = rng.normal(size=(B, steps, H))
        self.d_final = tuple(rng.normal(size=(B, H)) for _ in range(parts))

    def by_numpy(self, cell: Any, weights: Weights, reverse: bool) -> list[np.ndarray]:
        """Outputs, final state; then the gradients of inputs, initial state and weights."""
        run = sequence.forward(cell, weights, self.x, self.state, self.mask, reverse=reverse)
        d = sequence.backward(cell, weights, run, self.d_outputs, self.d_final)
        return [run.outputs, *run.final, d.x, *d.state, *d.weights]

    def loss(self, outputs: Any, final: Any) -> Any:
        """Linear in all that comes out, so that the gradients at it are `d_outputs` and `d_final`."""
        kind = torch.tensor if isinstance(outputs, torch.Tensor) else np.asarray
        return (outputs * kind(self.d_outputs)).sum() + sum((s * kind(d)).sum() for s, d in zip(final, self.d_final))

    def leaves(self) -> list[torch.Tensor]:
        return [torch.tensor(array, requires_grad=True) for array in (self.x, *self.state)]

    def by_torch(self, cell: cells.Cell[Any], path: str, reverse: bool) -> list[np.ndarray]:
        x, *state = leaves = self.leaves()
        mask = torch.tensor(self.mask)
        outputs, final = unroll(cell, Inputs(x), mask, cell.state_shape.kind(*state), reverse=reverse, path=path)
        return self.differentiated(outputs, final, [*leaves, *cell.parameters()])

    def by_module(self, cell: cells.Cell[Any], module: Any, reverse: bool) -> list[np.ndarray]:
        """torch's own module, packed; bidirectional, of which one side has the cell's weights and is compared."""
        names = [f"{name}_l0{'_reverse' if reverse else ''}" for name, _ in cell.named_parameters()]
        module.load_state_dict({**module.state_dict(), **dict(zip(names, cell.parameters()))})
        x, *state = leaves = self.leaves()
        start = [torch.stack([s, s]) for s in state]
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(self.lengths), True, enforce_sorted=False)
        outputs, final = module(packed, tuple(start) if len(start) == 2 else start[0])
        outputs = nn.utils.rnn.pad_packed_sequence(outputs, True)[0]
        side = [s[int(reverse)] for s in (final if len(start) == 2 else [final])]
        weights = [module.get_parameter(name) for name in names]
        return self.differentiated(outputs[..., H:] if reverse else outputs[..., :H], side, [*leaves, *weights])

    def differentiated(self, outputs: torch.Tensor, final: Any, wanted: list[torch.Tensor]) -> list[np.ndarray]:
        gradients = torch.autograd.grad(self.loss(outputs, final), wanted)
        return [tensor.detach().numpy() for tensor in (outputs, *final, *gradients)]


def weights_of(cell: cells.Cell[Any]) -> Weights:
    """The torch cell's own parameters, as they lie in memory."""
    return Weights(*(parameter.detach().numpy() for parameter in cell.parameters()))


def assert_equal(ours: list[np.ndarray], theirs: list[np.ndarray], tolerance: float = 1e-10) -> None:
    assert len(ours) == len(theirs)
    assert max(map(relative_error, ours, theirs)) < tolerance


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_numpy_torch_and_its_modules_agree(form: str, padded: bool, reverse: bool, steps: int) -> None:
    """Outputs, final states and every gradient: NumPy, autograd over `step`, manual, fused, nn.RNN/GRU/LSTM."""
    ours, make = FORMS[form]
    cell, case = make().double(), Case(form, steps, padded)
    expected = case.by_numpy(ours, weights_of(cell), reverse)
    for path in ("step", *cell.paths):
        assert_equal(expected, case.by_torch(cell, path, reverse))
    if form in MODULES:
        module = MODULES[form](D, H, batch_first=True, bidirectional=True).double()
        assert_equal(expected, case.by_module(cell, module, reverse))


@pytest.mark.parametrize("form", FORMS)
def test_without_biases(form: str) -> None:
    """A cell without biases is one whose biases are 0."""
    ours, make = FORMS[form]
    cell, case = make(bias=False).double(), Case(form, 5, padded=True)
    zeros = np.zeros(len(cell.weight_hh))
    expected = case.by_numpy(ours, Weights(*(p.detach().numpy() for p in cell.parameters()), zeros, zeros), False)
    assert_equal(expected[:-2], case.by_torch(cell, "step", False))


@pytest.mark.parametrize("form", FORMS)
def test_central_differences(form: str) -> None:
    """Every gradient again, padded and read right to left, by a judge that knows no derivation."""
    cell, make = FORMS[form]
    case, weights = Case(form, 3, padded=True), weights_of(make().double())
    values = [case.x, *case.state, *weights]

    def loss(place: int, moved: np.ndarray) -> float:
        x, *rest = [*values[:place], moved, *values[place + 1 :]]
        state, w = tuple(rest[:-4]), Weights(*rest[-4:])
        run = sequence.forward(cell, w, x, state, case.mask, reverse=True)
        return float(case.loss(run.outputs, run.final))

    gradients = case.by_numpy(cell, weights, True)[1 + len(case.state) :]
    for place, gradient in enumerate(gradients):
        numeric = central_differences(lambda moved, place=place: loss(place, moved), values[place])
        assert relative_error(gradient, numeric) < 1e-8


@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives_of_the_step_path(form: str) -> None:
    """`step` is plain autograd, so that derivatives of derivatives exist as well, by weights too; the functions derived
    by hand have none, and say so rather than give wrong ones."""
    cell, case = FORMS[form][1]().double(), Case(form, 2)
    names = [name for name, _ in cell.named_parameters()]
    leaves = [leaf[:1].detach() for leaf in case.leaves()] + [weight.detach() for weight in cell.parameters()]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    parts = len(case.state)

    def outputs(path: str, *values: torch.Tensor) -> torch.Tensor:
        x, state, weights = values[0], values[1 : 1 + parts], values[1 + parts :]
        unrolled = Unrolled(cell, path)
        own = {f"cell.{name}": weight for name, weight in zip(names, weights)}
        return functional_call(unrolled, own, (x, cell.state_shape.kind(*state)))

    assert torch.autograd.gradgradcheck(functools.partial(outputs, "step"), leaves, fast_mode=True)
    with pytest.raises(UserError, match=r"no second derivatives.*use path=step"):
        torch.autograd.grad(outputs("manual", *leaves).sum(), leaves, create_graph=True)


class Unrolled(nn.Module):
    def __init__(self, cell: cells.Cell[Any], path: str) -> None:
        super().__init__()
        self.cell, self.path = cell, path

    def forward(self, x: torch.Tensor, state: Any) -> torch.Tensor:
        return unroll(self.cell, Inputs(x), None, state, path=self.path)[0]


@pytest.mark.parametrize("loss", ["softmax", "binary", "multi-label"])
@pytest.mark.parametrize("form", FORMS)
def test_a_network_of_any_cell(form: str, loss: str) -> None:
    """One-hot words of unequal sentences through the cell, o_t = V h_t + c and a loss a step, back to every weight."""
    ours, make = FORMS[form]
    cell, case, rng = make().double(), Case(form, 6, padded=True), np.random.default_rng(1)
    outputs = 1 if loss == "binary" else 5
    V, c, words = rng.normal(size=(outputs, H)), rng.normal(size=outputs), rng.integers(D, size=(B, 6))
    y = rng.integers(outputs, size=(B, 6)) if loss == "softmax" else rng.integers(2, size=(B, 6, outputs)) * 1.0
    weights = weights_of(cell)
    run = sequence.forward(ours, weights, one_hot(words, D), case.state, case.mask)
    logits = run.outputs @ V.T + c
    if loss == "softmax":
        value, e = softmax_cross_entropy(logits, y, case.mask)
    else:
        value, e = sigmoid_cross_entropy(logits, y, case.mask)
    d = sequence.backward(ours, weights, run, e @ V, tuple(map(np.zeros_like, case.state)))

    leaves = [torch.tensor(array, requires_grad=True) for array in (V, c)]
    state, mask = map(torch.tensor, case.state), torch.tensor(case.mask)
    steps = nn.functional.one_hot(torch.tensor(words), D).double()
    hidden, _ = unroll(cell, Inputs(steps), mask, cell.state_shape.kind(*state), path="step")
    theirs, targets = nn.functional.linear(hidden, *leaves)[mask], torch.tensor(y)[mask]
    judge = nn.functional.cross_entropy if loss == "softmax" else nn.functional.binary_cross_entropy_with_logits
    expected = judge(theirs, targets, reduction="sum")
    gradients = torch.autograd.grad(expected, [*leaves, *cell.parameters()])
    assert value == pytest.approx(expected.item(), rel=1e-12)
    by_hand = [np.einsum("bto,bth->oh", e, run.outputs), e.sum((0, 1)), *d.weights]
    assert_equal(by_hand, [gradient.numpy() for gradient in gradients])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_an_empty_sentence_keeps_its_state(form: str, reverse: bool) -> None:
    """A row without a token: outputs of 0, the state and its gradient as they came, on every path."""
    ours, make = FORMS[form]
    cell, case = make().double(), Case(form, 3, padded=True)
    case.mask[1] = False
    expected = case.by_numpy(ours, weights_of(cell), reverse)
    parts = len(case.state)
    assert not expected[0][1].any()
    for state, final, d_state, d_final in zip(
        case.state, expected[1:], expected[2 + parts :], case.d_final, strict=False
    ):
        np.testing.assert_array_equal(final[1], state[1])
        np.testing.assert_array_equal(d_state[1], d_final[1])
    for path in ("step", *cell.paths):
        assert_equal(expected, case.by_torch(cell, path, reverse))


def test_properties_of_the_gru_forms() -> None:
    """z = 1 under keep copies; r = 1 and z = 0 is the vanilla cell; keep and write mirror each other."""
    case, cell = Case("gru", 5), cells.GRU(D, H).double()
    w = weights_of(cell)

    def run(cell: Any, weights: Weights) -> np.ndarray:
        return sequence.forward(cell, weights, case.x, case.state).outputs

    def with_gate_biases(r: float, z: float) -> Weights:
        bias = w.bias_ih.copy()
        bias[:H], bias[H : 2 * H] = r, z
        return w._replace(bias_ih=bias)

    for reset in ("before", "after"):
        copied = run(GRU(reset), with_gate_biases(0.0, 1e3))
        np.testing.assert_array_equal(copied, np.repeat(case.state[0][:, None], 5, 1))
        vanilla = run(Vanilla(), Weights(*(part[2 * H :] for part in w)))
        np.testing.assert_allclose(run(GRU(reset), with_gate_biases(1e3, -1e3)), vanilla, rtol=1e-12)
        signs = np.repeat([1.0, -1.0, 1.0], H)
        mirrored = Weights(
            w.weight_ih * signs[:, None], w.weight_hh * signs[:, None], w.bias_ih * signs, w.bias_hh * signs
        )
        np.testing.assert_allclose(run(GRU(reset, "keep"), w), run(GRU(reset, "write"), mirrored), rtol=1e-12)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UserError, match="activation='sin'"):
        Vanilla("sin")
    with pytest.raises(UserError, match="reset='never'"):
        GRU("never")
    with pytest.raises(UserError, match="update='both'"):
        GRU(update="both")


@pytest.mark.parametrize("reset", ["after", "before"])
def test_keras(reset: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An implementation that shares nothing with torch's GRU: `reset_after` both ways (its blocks are z, r, h), with
    padding and an initial state. Keras 3 rounds matrix products to float32 whatever the dtype, hence 1e-6."""
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend here")
    case, after = Case("gru", 7, padded=True), reset == "after"
    layer = keras.layers.GRU(H, reset_after=after, return_sequences=True, return_state=True, dtype="float64")
    layer.build((B, 7, D))
    variables = [np.random.default_rng(0).normal(size=tuple(v.shape)) for v in layer.trainable_variables]
    layer.set_weights(variables)
    x, h = case.leaves()
    outputs, final = layer(x.cpu(), initial_state=[h], mask=torch.tensor(case.mask))
    outputs = outputs * torch.tensor(case.mask)[:, :, None]  # Keras repeats the last output on padding
    theirs = case.differentiated(outputs, [final], [x, h, *(v.value for v in layer.trainable_variables)])

    def torch_order(blocks: np.ndarray) -> np.ndarray:
        z, r, n = np.split(blocks, 3, axis=-1)
        return np.concatenate([r, z, n], -1).T

    kernel, recurrent, bias = map(torch_order, variables)
    biases = (bias[:, 0], bias[:, 1]) if after else (bias, np.zeros_like(bias))
    ours = case.by_numpy(GRU(reset, "keep"), Weights(kernel, recurrent, *biases), False)
    gradients = [torch_order(gradient) for gradient in theirs[4:]]
    *rest, bias_ih, bias_hh = ours
    rest.append(np.stack([bias_ih, bias_hh], -1) if after else bias_ih)
    assert_equal(rest, [*theirs[:4], *gradients], tolerance=1e-6)
