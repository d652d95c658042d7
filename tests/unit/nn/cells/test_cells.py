"""The four ways to run a cell agree, in outputs and every gradient; each cell is found through its YAML."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.nn.cells import GRU, LSTM, Cell, LayerNormGRU, LayerNormLSTM, Vanilla
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs, map_tensors, mask_from_lengths
from tests.conftest import node

pytestmark = pytest.mark.numerical

FORMS = {
    "tanh": lambda i, h: Vanilla(i, h),
    "relu": lambda i, h: Vanilla(i, h, activation="relu"),
    "gru": lambda i, h: GRU(i, h),
    "gru-before": lambda i, h: GRU(i, h, reset="before"),
    "gru-write": lambda i, h: GRU(i, h, update="write"),
    "gru-before-write": lambda i, h: GRU(i, h, reset="before", update="write"),
    "gru-nobias": lambda i, h: GRU(i, h, bias=False),
    "lstm": lambda i, h: LSTM(i, h, forget_bias=1.0),
    "lstm-nobias": lambda i, h: LSTM(i, h, bias=False),
    "norm-gru": lambda i, h: scaled(LayerNormGRU(i, h)),
    "norm-lstm": lambda i, h: scaled(LayerNormLSTM(i, h)),
    "norm-lstm-nobias": lambda i, h: scaled(LayerNormLSTM(i, h, bias=False)),
    "norm-gru-write-nobias": lambda i, h: scaled(LayerNormGRU(i, h, update="write", bias=False)),
}
E, C, H, B, T = 5, 4, 6, 3, 7


def scaled(cell: Cell) -> Cell:
    """Normalisations that do something: γ and β drawn, which begin as 1 and 0."""
    for name, parameter in cell.named_parameters():
        if name.startswith("norm"):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return cell


def run(cell: Cell, path: str, masked: bool, reverse: bool, once: bool):
    torch.manual_seed(1)
    steps = torch.randn(B, T, E, dtype=torch.double, requires_grad=True)
    c = torch.randn(B, C, dtype=torch.double, requires_grad=True)
    state = map_tensors(lambda s: torch.randn_like(s).requires_grad_(), cell.init_state(B))
    mask = mask_from_lengths(torch.tensor([T, 1, 4]), T) if masked else None
    cell.zero_grad()
    if not once:
        steps = torch.cat([steps, c[:, None].expand(-1, T, -1)], -1).detach().requires_grad_()
    outputs, final = unroll(cell, Inputs(steps, c if once else None), mask, state, reverse=reverse, path=path)
    weight = torch.randn_like(outputs)
    loss = (outputs * weight).sum() + sum((s * torch.randn_like(s)).sum() for s in final)
    wanted = [steps, *state, *cell.parameters(), *([c] if once else [])]
    return [outputs, *final], torch.autograd.grad(loss, wanted)


@pytest.mark.parametrize(("masked", "reverse", "once"), list(itertools.product((False, True), repeat=3)))
@pytest.mark.parametrize("form", FORMS)
def test_paths_agree(form, masked, reverse, once):
    torch.manual_seed(0)
    cell = FORMS[form](E + C, H).double()
    outputs, gradients = run(cell, "step", masked, reverse, once)
    assert cell.paths
    for path in cell.paths:
        others, other_gradients = run(cell, path, masked, reverse, once)
        for a, b in itertools.chain(zip(outputs, others), zip(gradients, other_gradients)):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck_by_hand(form):
    torch.manual_seed(0)
    cell = FORMS[form](2, 3).double()
    steps = torch.randn(2, 4, 2, dtype=torch.double, requires_grad=True)
    mask = mask_from_lengths(torch.tensor([4, 2]), 4)
    names, weights = zip(*cell.named_parameters())

    def function(steps, *weights):
        twin = copy.deepcopy(cell)
        for name, weight in zip(names, weights):
            place, _, last = name.rpartition(".")
            delattr(twin.get_submodule(place), last)
            setattr(twin.get_submodule(place), last, weight)
        outputs, final = unroll(twin, Inputs(steps), mask, path="manual", reverse=True)
        return outputs, *final

    assert torch.autograd.gradcheck(function, (steps, *(w.detach().requires_grad_() for w in weights)))


@pytest.mark.parametrize(
    ("form", "kind"), [("tanh", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)], ids=["RNN", "GRU", "LSTM"]
)
def test_parity_with_torch(form, kind):
    """Our parameters, in torch's layout, in torch's own module, packed."""
    torch.manual_seed(0)
    cell, module = FORMS[form](E, H).double(), kind(E, H, batch_first=True).double()
    module.load_state_dict({f"{name}_l0": weight for name, weight in cell.state_dict().items()})
    steps, lengths = torch.randn(B, T, E, dtype=torch.double), torch.tensor([T, 1, 4])
    packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
    expected, last = module(packed)
    expected = nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)[0]
    outputs, final = unroll(cell, Inputs(steps), mask_from_lengths(lengths, T), path="step")
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(final.h, (last[0] if form == "lstm" else last)[0])


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("update", ["keep", "write"])
def test_gru_against_numpy(reset, update):
    torch.manual_seed(0)
    cell = GRU(E, H, reset=reset, update=update).double()
    w, u, b, d = (p.detach().numpy() for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh))
    x, h = np.random.default_rng(0).normal(size=(T, E)), np.zeros(H)

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    outputs, _ = unroll(cell, Inputs(torch.tensor(x)[None]))
    for t in range(T):
        r = sigmoid(w[:H] @ x[t] + b[:H] + u[:H] @ h + d[:H])
        z = sigmoid(w[H : 2 * H] @ x[t] + b[H : 2 * H] + u[H : 2 * H] @ h + d[H : 2 * H])
        recurrent = r * (u[2 * H :] @ h + d[2 * H :]) if reset == "after" else u[2 * H :] @ (r * h) + d[2 * H :]
        n = np.tanh(w[2 * H :] @ x[t] + b[2 * H :] + recurrent)
        h = z * h + (1 - z) * n if update == "keep" else (1 - z) * h + z * n
        np.testing.assert_allclose(outputs[0, t].detach().numpy(), h, rtol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_changes_nothing(form, reverse):
    """A sentence alone and the same among longer ones: the same state to rounding by the step path."""
    cell = FORMS[form](E, H)
    steps, lengths = torch.randn(2, T, E), torch.tensor([3, T])
    _, both = unroll(cell, Inputs(steps), mask_from_lengths(lengths, T), reverse=reverse, path="step")
    _, alone = unroll(cell, Inputs(steps[:1, :3]), reverse=reverse, path="step")
    torch.testing.assert_close(both.h[:1], alone.h, rtol=1e-6, atol=1e-6)


def test_errors_name_the_remedy():
    for name, option, message in (
        ("vanilla", {"activation": "sin"}, r"activation='sin' is not known; use tanh or relu"),
        ("gru", {"reset": "never"}, r"reset='never' is not known; use before or after"),
    ):
        with pytest.raises(UserError, match=message):
            factory.component(node("cell", name, **option), "cell", ("input_size", "hidden_size"))
    with pytest.raises(UserError, match="hidden_size=0"):
        LSTM(2, 0)
    with pytest.raises(UserError, match="'fused' is not one of GRU's"):
        unroll(GRU(2, 2, reset="before"), Inputs(torch.zeros(1, 1, 2)), path="fused")
