"""Every cell found through its YAML, and every form of it: what holds for all, what each equation promises, and how
weights start."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch.func import functional_call

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.nn.cells import GRU, LSTM, MGU, LayerNormGRU, LayerNormLSTM, MinGRU, MinLSTM, Vanilla
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.cells.min_gru import LinearScan, in_rounds, in_turn
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import HiddenState, Inputs, LSTMState, Tokens, map_tensors, mask_from_lengths
from tests.conftest import model_config, node, options, wired

FORMS = {name: node("cell", name) for name in options("cell")} | {
    "relu": node("cell", "vanilla", activation="relu"),
    "gru_before_write": node("cell", "gru", reset="before", update="write"),
    "peephole": node("cell", "lstm", peepholes=True),
    "coupled": node("cell", "lstm", coupled=True, forget_bias=1.0),
    "coupled_nobias": node("cell", "lstm", coupled=True, bias=False),
    "coupled_peephole": node("cell", "lstm", coupled=True, peepholes=True),
    "mgu_nobias": node("cell", "mgu", bias=False),
    "layer_norm_gru_write": node("cell", "layer_norm_gru", update="write"),
    "layer_norm_lstm": {"_target_": "seq2seq.nn.cells.LayerNormLSTM", "forget_bias": 1.0},
    "min_gru_linear": node("cell", "min_gru", activation="linear", bias=False),
    "min_lstm_linear": node("cell", "min_lstm", activation="linear"),
}
CELLS = sorted({*options("cell"), "layer_norm_lstm"})
PATHS = {
    "vanilla": ("manual", "fused"),
    "relu": ("manual", "fused"),
    "gru": ("manual", "fused"),
    "gru_before_write": ("manual",),
}
PATHS |= {"lstm": ("manual", "fused"), "coupled": ("manual", "fused"), "coupled_nobias": ("manual", "fused")}
PATHS |= dict.fromkeys(("mgu", "mgu_nobias", "layer_norm_gru", "layer_norm_gru_write", "layer_norm_lstm"), ("manual",))
PATHS |= dict.fromkeys(("min_gru", "min_gru_linear", "min_lstm", "min_lstm_linear"), ("scan",))
E, H, B, T = 5, 6, 3, 7
LENGTHS = torch.tensor([T, 1, 4])


def make(form, input_size=E, hidden_size=H, **changes):
    return factory.component({**FORMS[form], **changes}, "cell", ("input_size", "hidden_size"))(input_size, hidden_size)


def random_state(cell, batch=B):
    return map_tensors(torch.randn_like, cell.init_state(batch))


def same(one, other, **tolerance):
    """Two cells (or functions of inputs and state) do the same from a random state."""
    inputs, state = torch.randn(B, T, E, dtype=torch.double), random_state(one)
    for a, b in zip(*(unroll(cell, Inputs(inputs), None, state, path="step")[0] for cell in (one, other))):
        torch.testing.assert_close(a, b, **tolerance)


def copy_weights(source, target, blocks, signs=None):
    """Give `target` the gate rows `blocks` of `source`, each times its sign."""
    signs = signs or [1] * len(blocks)
    with torch.no_grad():
        for name, weight in target.named_parameters():
            rows = dict(source.named_parameters())[name].split(H)
            weight.copy_(torch.cat([sign * rows[block] for block, sign in zip(blocks, signs)]))


def pin(cell, block, value):
    """Hold a gate at σ(value) whatever comes in."""
    with torch.no_grad():
        for weight in cell.parameters():
            weight.split(H)[block].zero_()
        cell.bias_ih.split(H)[block].fill_(value)


# What holds for all


@pytest.mark.numerical
@pytest.mark.parametrize("form", FORMS)
def test_shapes_padding_and_reverse(form):
    """Outputs and states have their shapes; pads change nothing, either way; backwards reads the reversed."""
    cell = make(form).double()
    inputs, start = torch.randn(B, T, E, dtype=torch.double), random_state(cell)
    mask = mask_from_lengths(LENGTHS, T)
    assert type(cell.init_state(B)) is cell.state_type
    assert all(part.shape == (B, H) and not part.any() for part in cell.init_state(B))
    assert cell.paths == PATHS.get(form, ())
    for reverse in (False, True):
        outputs, final = unroll(cell, Inputs(inputs), mask, start, reverse=reverse)
        assert outputs.shape == (B, T, H)
        assert (outputs[~mask] == 0).all()
        for row, size in enumerate(LENGTHS.tolist()):
            alone = inputs[row : row + 1, :size]
            state = map_tensors(lambda part, row=row: part[row : row + 1], start)
            expected, last = unroll(cell, Inputs(alone.flip(1) if reverse else alone), None, state, path="step")
            torch.testing.assert_close(outputs[row : row + 1, :size], expected.flip(1) if reverse else expected)
            for a, b in zip(final, last):
                torch.testing.assert_close(a[row : row + 1], b)


@pytest.mark.numerical
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("form", PATHS)
def test_paths_agree_in_outputs_and_gradients(form, reverse, masked):
    cell = make(form).double()
    inputs = torch.randn(B, T, E, dtype=torch.double, requires_grad=True)
    start = map_tensors(torch.Tensor.requires_grad_, random_state(cell))
    mask = mask_from_lengths(LENGTHS, T) if masked else None
    weight = torch.randn(B, T, H, dtype=torch.double)
    results = []
    for path in ("step", *cell.paths):
        outputs, final = unroll(cell, Inputs(inputs), mask, start, reverse=reverse, path=path)
        loss = (outputs * weight).sum() + sum((part * (2 + index)).sum() for index, part in enumerate(final))
        results.append([outputs, *final, *torch.autograd.grad(loss, [inputs, *start, *cell.parameters()])])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck_of_the_step(form):
    cell = make(form, 2, 3).double()
    names, weights = zip(*((name, weight.detach().requires_grad_()) for name, weight in cell.named_parameters()))
    gates = cell.project(torch.randn(2, 2, dtype=torch.double)).detach().requires_grad_()

    def function(gates, *arguments):
        state = cell.state_type(*arguments[: len(cell.state_type._fields)])
        own = dict(zip(names, arguments[len(state) :]))
        return tuple(functional_call(Stepper(cell), {f"cell.{name}": own[name] for name in own}, (gates, state)))

    start = [part.requires_grad_() for part in random_state(cell, 2)]
    assert torch.autograd.gradcheck(function, (gates, *start, *weights))


class Stepper(torch.nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, gates, state):
        return self.cell.step(gates, state)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("context", options("context"))
def test_overfits_one_batch_with_every_context(cell, context):
    config = model_config(
        context=context,
        encoder={"hidden_size": 8},
        decoder=wired(context, {"hidden_size": 16, "context_to": "both"}),
    )
    config["encoder"]["cell"] = config["decoder"]["cell"] = FORMS[cell]
    model = factory.encoder_decoder(config, {"source": 11, "target": 13}).eval()  # no dropout
    source = Tokens(torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([3, 2]))
    target = Tokens(torch.tensor([[4, 5], [6, 0]]), torch.tensor([2, 1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(15):
        loss = model.decoder.outputs.loss(model(source, target), target.ids[target.mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() / 3 < 0.2 * math.log(13)


# What each equation promises


@pytest.mark.parametrize("update", ["keep", "write"])
@pytest.mark.parametrize("reset", ["before", "after"])
def test_gru_that_keeps_everything_copies_its_state(reset, update):
    """z = 1 where the gate keeps, z = 0 where it writes."""
    cell = GRU(E, H, reset=reset, update=update).double()
    pin(cell, 1, 100.0 if update == "keep" else -100.0)
    start = random_state(cell)
    outputs, _ = unroll(cell, Inputs(torch.randn(B, T, E, dtype=torch.double)), None, start)
    torch.testing.assert_close(outputs, start.h[:, None].expand(-1, T, -1))


@pytest.mark.parametrize("update", ["keep", "write"])
@pytest.mark.parametrize("reset", ["before", "after"])
def test_gru_with_open_gates_is_the_vanilla_cell(reset, update):
    """r = 1, and z = 0 where the gate keeps, z = 1 where it writes."""
    gru, vanilla = GRU(E, H, reset=reset, update=update).double(), Vanilla(E, H).double()
    pin(gru, 0, 100.0)
    pin(gru, 1, -100.0 if update == "keep" else 100.0)
    copy_weights(gru, vanilla, [2])
    same(gru, vanilla)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_keep_and_write_mirror_each_other(reset):
    keep, write = (GRU(E, H, reset=reset, update=update).double() for update in ("keep", "write"))
    copy_weights(keep, write, [0, 1, 2], [1, -1, 1])
    same(keep, write)


def test_minimal_gated_unit_is_a_gru_of_tied_gates():
    mgu, gru = MGU(E, H).double(), GRU(E, H, reset="before", update="write").double()
    copy_weights(mgu, gru, [0, 0, 1])
    same(mgu, gru)


@pytest.mark.numerical
@pytest.mark.parametrize("path", ["step", "manual", "fused"])
def test_coupled_gates_are_the_plain_ones_mirrored(path):
    coupled, plain = LSTM(E, H, coupled=True).double(), LSTM(E, H).double()
    copy_weights(coupled, plain, [0, 0, 1, 2], [-1, 1, 1, 1])
    inputs, start = torch.randn(B, T, E, dtype=torch.double), random_state(plain)
    expected = unroll(plain, Inputs(inputs), None, start, path="step")[0]
    torch.testing.assert_close(unroll(coupled, Inputs(inputs), None, start, path=path)[0], expected)
    parameters = sum(weight.numel() for weight in coupled.parameters())
    assert parameters * 4 == sum(weight.numel() for weight in plain.parameters()) * 3


def test_coupled_gates_keep_the_content_within_one():
    """c_t is a mean of c_{t−1} and tanh(g): from zero it never leaves (−1, 1), where the plain cell's may grow."""
    largest = {}
    for coupled in (False, True):
        cell = LSTM(E, H, coupled=coupled, init="normal", forget_bias=5.0)
        largest[coupled] = unroll(cell, Inputs(torch.ones(1, 50, E)))[1].c.abs().max()
    assert largest[True] <= 1 < largest[False]


@pytest.mark.parametrize("coupled", [False, True])
def test_closed_peepholes_are_the_plain_cell(coupled):
    peeping, plain = LSTM(E, H, peepholes=True, coupled=coupled).double(), LSTM(E, H, coupled=coupled).double()
    copy_weights(peeping, plain, range(plain.blocks))
    with pytest.raises(AssertionError):
        same(peeping, plain)
    with torch.no_grad():
        for name, weight in peeping.named_parameters():
            if name.startswith("peephole"):
                weight.zero_()
    same(peeping, plain)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def numpy_step(cell):
    """The gates of a cell's input and state, its other weights, and the sizes, in NumPy."""
    x, state = torch.randn(1, E, dtype=torch.double), random_state(cell, 1)
    new = cell.step(cell.project(x), state)
    weights = {name: weight.detach().numpy() for name, weight in cell.named_parameters()}
    return x[0].numpy(), [s[0].numpy() for s in state], weights, [s[0].detach().numpy() for s in new]


def test_peepholes_against_numpy():
    cell = LSTM(E, H, peepholes=True).double()
    x, (h, c), w, (new_h, new_c) = numpy_step(cell)
    i, f, g, o = np.split(w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"], 4)
    expected_c = sigmoid(f + w["peephole_f"] * c) * c + sigmoid(i + w["peephole_i"] * c) * np.tanh(g)
    np.testing.assert_allclose(new_c, expected_c, rtol=1e-10)
    np.testing.assert_allclose(new_h, sigmoid(o + w["peephole_o"] * expected_c) * np.tanh(expected_c), rtol=1e-10)


def normalizer(cell, weights):
    with torch.no_grad():
        for weight in (weight for name, weight in cell.named_parameters() if name.startswith("norm")):
            weight.add_(torch.randn_like(weight) * 0.3)

    def normalize(name, a):
        gain, shift = weights()[f"norm_{name}.weight"], weights()[f"norm_{name}.bias"]
        return gain * (a - a.mean()) / np.sqrt(a.var() + 1e-5) + shift

    return normalize


@pytest.mark.parametrize("update", ["keep", "write"])
def test_layer_norm_gru_against_numpy(update):
    cell = LayerNormGRU(E, H, update=update).double()
    norm = normalizer(cell, lambda: w)
    x, (h,), w, (new,) = numpy_step(cell)
    of_x, of_h = w["weight_ih"] @ x, w["weight_hh"] @ h
    r, z = np.split(sigmoid(norm("input_rz", of_x[: 2 * H]) + norm("hidden_rz", of_h[: 2 * H])), 2)
    n = np.tanh(norm("input_n", of_x[2 * H :]) + r * norm("hidden_n", of_h[2 * H :]))
    np.testing.assert_allclose(new, z * h + (1 - z) * n if update == "keep" else (1 - z) * h + z * n, rtol=1e-10)


def test_layer_norm_lstm_against_numpy():
    cell = LayerNormLSTM(E, H).double()
    norm = normalizer(cell, lambda: w)
    x, (h, c), w, (new_h, new_c) = numpy_step(cell)
    i, f, g, o = np.split(norm("input", w["weight_ih"] @ x) + norm("hidden", w["weight_hh"] @ h), 4)
    expected_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(new_c, expected_c, rtol=1e-10)
    np.testing.assert_allclose(new_h, sigmoid(o) * np.tanh(norm("content", expected_c)), rtol=1e-10)


@pytest.mark.parametrize("kind", [LayerNormGRU, LayerNormLSTM, GRU])
def test_layer_norm_forgets_the_scale_of_the_weights(kind):
    """Ba et al. 2016, table 1: invariant to re-scaling the weight matrix (ε apart); the plain cell is not."""
    one, other = kind(E, H).double(), kind(E, H).double()
    other.load_state_dict(one.state_dict())
    for cell in (one, other):
        for norm in (part for part in cell.modules() if isinstance(part, torch.nn.LayerNorm)):
            norm.eps = 1e-30
    with torch.no_grad():
        other.weight_hh.mul_(7)
        other.weight_ih.mul_(0.3)
    if kind is GRU:
        with pytest.raises(AssertionError):
            same(one, other)
    else:
        same(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.numerical
@pytest.mark.parametrize("activation", ["positive", "linear"])
def test_minimal_cells_against_numpy(activation):
    def candidate(a):
        return a if activation == "linear" else np.where(a >= 0, a + 0.5, sigmoid(a))

    x, (h,), w, (new,) = numpy_step(MinGRU(E, H, activation=activation).double())
    z, n = np.split(w["weight_ih"] @ x + w["bias_ih"], 2)
    np.testing.assert_allclose(new, (1 - sigmoid(z)) * h + sigmoid(z) * candidate(n), rtol=1e-10)
    x, (h,), w, (new,) = numpy_step(MinLSTM(E, H, activation=activation).double())
    i, f, n = np.split(w["weight_ih"] @ x + w["bias_ih"], 3)
    i, f = sigmoid(i), sigmoid(f)
    np.testing.assert_allclose(new, f / (f + i) * h + i / (f + i) * candidate(n), rtol=1e-10)


@pytest.mark.parametrize("kind", [MinGRU, MinLSTM])
def test_scan_against_the_papers_logarithms(kind):
    """Feng et al. 2024, appendix B.1: log h = Σ log a + logcumsumexp(log b − Σ log a), from a positive h_0."""
    cell = kind(E, H).double()
    inputs, h = torch.randn(B, T, E, dtype=torch.double), torch.rand(B, H, dtype=torch.double)
    a, b = cell.coefficients(cell.project(inputs))
    total = torch.cat([h[:, None].log() * 0, a.log().cumsum(1)], 1)
    expected = (total + torch.logcumsumexp(torch.cat([h[:, None], b], 1).log() - total, 1)).exp()[:, 1:]
    torch.testing.assert_close(unroll(cell, Inputs(inputs), None, HiddenState(h), path="scan")[0], expected)


@pytest.mark.numerical
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_scan_in_rounds_is_the_scan_in_turn(length, reverse):
    """Where the gates are shut for long as well: 0 and 1 among the factors."""
    a = torch.rand(length, B, H, dtype=torch.double).mul(3).sub(1).clamp(0, 1)
    b, h = torch.randn_like(a), torch.randn_like(a[0])
    torch.testing.assert_close(in_rounds(a, b, h, reverse), in_turn(a, b, h, reverse), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_differentiated_twice(reverse):
    a, b, h = torch.rand(4, 1, 2).double(), torch.randn(4, 1, 2).double(), torch.randn(1, 2).double()

    def function(*arguments):
        return LinearScan.apply(*arguments, reverse)

    arguments = [part.requires_grad_() for part in (a, b, h)]
    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


@pytest.mark.parametrize("form", FORMS)
def test_extreme_inputs_stay_finite(form):
    """Saturated gates, also where the minimal LSTM's quotient would be 0/0; the gradients too."""
    cell = make(form)
    inputs = (torch.randn(B, T, E) * 1e4).requires_grad_()
    outputs, final = unroll(cell, Inputs(inputs))
    (outputs.mean() + final.h.mean()).backward()
    assert all(torch.isfinite(values).all() for values in (outputs, inputs.grad, *(w.grad for w in cell.parameters())))


# How weights start


@pytest.mark.parametrize("init", get_args(Init))
@pytest.mark.parametrize("form", CELLS)
def test_initializations(form, init):
    inputs, hidden = 30, 40
    if not make(form).recurrent and init in ("orthogonal", "identity"):
        with pytest.raises(UserError, match=f"init={init} is about recurrent weights.*init=xavier"):
            make(form, init=init)
        return
    cell = make(form, inputs, hidden, init=init)
    own = dict(cell.named_parameters(recurse=False))
    assert all((bias == 0).all() == (init != "uniform") for name, bias in own.items() if name.startswith("bias"))
    for name in own.keys() & {"weight_ih", "weight_hh"}:
        for block in own[name].detach().split(hidden):
            check_block(block, init, recurrent=name == "weight_hh")
    torch.manual_seed(3)
    whole = make(form, inputs, hidden, init=init)
    torch.manual_seed(3)
    half = make(form, inputs, hidden, init=init, init_scale=0.5)
    torch.testing.assert_close(half.weight_ih, whole.weight_ih / 2)


def check_block(block, init, recurrent):
    hidden, inputs = block.shape
    if init == "normal" or (init == "identity" and not recurrent):
        torch.testing.assert_close(block.std().item(), 1.0 if init == "normal" else 1e-3, rtol=0.15, atol=0)
    elif init == "identity":
        assert torch.equal(block, torch.eye(hidden))
    elif init == "orthogonal" and recurrent:
        torch.testing.assert_close(block @ block.t(), torch.eye(hidden), rtol=0, atol=1e-5)
    else:
        bound = hidden**-0.5 if init == "uniform" else math.sqrt(6 / (hidden + inputs))
        assert 0.95 * bound < block.abs().max() <= bound


def test_identity_with_relu_passes_the_state_on():
    """Le et al. 2015: with no input, the state of the IRNN stands still where it is positive."""
    cell = Vanilla(E, H, activation="relu", init="identity")
    outputs, _ = unroll(cell, Inputs(torch.zeros(1, 9, E)), None, HiddenState(torch.full((1, H), 0.3)))
    assert torch.equal(outputs, torch.full((1, 9, H), 0.3))


@pytest.mark.parametrize("form", ["lstm", "coupled", "peephole", "layer_norm_lstm", "min_lstm"])
def test_forget_bias_raises_the_forget_gate(form):
    closed, opened = (make(form, init="xavier", forget_bias=bias) for bias in (0.0, 2.0))
    bias = {"layer_norm_lstm": "norm_input.bias"}.get(form, "bias_ih")
    shift = opened.get_parameter(bias) - closed.get_parameter(bias)
    forget = 0 if form == "coupled" else 1
    assert [block.unique().tolist() for block in shift.split(H)] == [
        [2.0] if block == forget else [0.0] for block in range(closed.blocks)
    ]
    with pytest.raises(UserError, match=r"forget_bias=2.0 needs bias=true"):
        make(form, forget_bias=2.0, bias=False)


def test_the_scan_is_chosen():
    assert MinGRU(E, H).preferred_paths(torch.device("cpu")) == ("scan",)
    assert LSTM(E, H, peepholes=True).preferred_paths(torch.device("cpu")) == ()


@pytest.mark.parametrize(
    ("form", "changes", "message"),
    [
        ("gru", {"init": "glorot"}, r"cell.init='glorot' is not known; use uniform, normal"),
        ("lstm", {"init_scale": 0.0}, r"LSTM: init_scale=0.0 must be a positive number"),
        ("layer_norm_gru", {"update": "copy"}, r"cell.update='copy' is not known; use keep or write"),
        ("min_gru", {"activation": "tanh"}, r"cell.activation='tanh' is not known; use positive or linear"),
    ],
)
def test_errors_name_the_remedy(form, changes, message):
    with pytest.raises(UserError, match=message):
        make(form, **changes)


@pytest.mark.parametrize(
    ("form", "path"), [("peephole", "manual"), ("peephole", "fused"), ("mgu", "fused"), ("gru", "scan")]
)
def test_a_path_that_a_form_has_not_is_refused(form, path):
    """By `unroll`, and by the method itself."""
    cell = make(form)
    with pytest.raises(UserError, match=f"path='{path}' is not one of"):
        unroll(cell, Inputs(torch.zeros(1, 2, E)), path=path)
    gates, state = torch.zeros(2, 1, cell.blocks * H), cell.init_state(1)
    method, arguments = {
        "manual": (cell.manual, (gates, None, state, False)),
        "scan": (cell.scan, (gates, None, state, False)),
        "fused": (cell.fused, (torch.zeros(2, 1, E), state, None)),
    }[path]
    with pytest.raises(UserError, match="use path=auto"):
        method(*arguments)


def test_states_of_the_minimal_lstm_hold_no_content():
    assert make("min_lstm").state_type is HiddenState
    assert make("layer_norm_lstm").state_type is LSTMState


@pytest.mark.parametrize("form", [form for form, paths in PATHS.items() if "fused" in paths])
def test_fused_kernels_get_states_as_cudnn_wants_them(form, monkeypatch):
    """A state that is a part of a wider tensor, as a bridge makes them: a CPU takes it, cuDNN does not."""
    starts = []

    def watched(kernel):
        def call(inputs, start, *rest):
            starts.extend(start if isinstance(start, tuple) else [start])
            return kernel(inputs, start, *rest)

        return call

    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        monkeypatch.setattr(torch, name, watched(getattr(torch, name)))
    cell = make(form)
    state = map_tensors(lambda part: torch.randn(3, 2 * part.size(1))[:, ::2], cell.init_state(3))
    outputs, _ = cell.fused(torch.randn(4, 3, E), state, None)
    assert outputs.shape == (4, 3, H)
    assert starts
    assert all(start.is_contiguous() for start in starts)
