"""Recurrent regularisation of every cell: all paths under one mask, against the equations, and exact when off."""

import copy
import sys

import pytest
import torch
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.models.options import options_of
from seq2seq.nn.cells import GRU, LSTM, MGU, Cell, LayerNormGRU, LayerNormLSTM, MinGRU, Regularization, Vanilla
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs, mask_from_lengths
from tests.conftest import model_config
from tests.unit.models.test_models import SOURCE, TARGET, batch, stepwise

pytestmark = pytest.mark.numerical

E, H, B, T = 3, 4, 3, 5
FORMS = {
    "tanh": lambda o: Vanilla(E, H, regularization=o),
    "relu": lambda o: Vanilla(E, H, activation="relu", regularization=o),
    "gru": lambda o: GRU(E, H, regularization=o),
    "gru-before": lambda o: GRU(E, H, reset="before", regularization=o),
    "gru-write": lambda o: GRU(E, H, update="write", regularization=o),
    "lstm": lambda o: LSTM(E, H, regularization=o),
    "lstm-coupled": lambda o: LSTM(E, H, coupled=True, regularization=o),
    "mgu": lambda o: MGU(E, H, regularization=o),
    "norm-gru": lambda o: LayerNormGRU(E, H, regularization=o),
    "norm-lstm": lambda o: LayerNormLSTM(E, H, regularization=o),
}
MASK = mask_from_lengths(torch.tensor([T, 1, 3]), T)


def made(form, **options):
    torch.manual_seed(0)
    return FORMS[form](Regularization(**options)).double().train()


def run(cell, path, reverse=False):
    """Outputs, last state and all gradients, the masks from a seed."""
    torch.manual_seed(1)
    steps = torch.randn(B, T, E, dtype=torch.double, requires_grad=True)
    state = type(cell.init_state(B))(*(torch.randn_like(s).requires_grad_() for s in cell.init_state(B)))
    weights = torch.randn(B, T, H, dtype=torch.double), torch.randn(B, H, dtype=torch.double)
    torch.manual_seed(2)
    outputs, final = unroll(cell, Inputs(steps), MASK, state, reverse=reverse, path=path)
    loss = (outputs * weights[0]).sum() + sum((s * weights[1]).sum() for s in final)
    return [outputs, *final, *torch.autograd.grad(loss, [steps, *state, *cell.parameters()])]


def assert_close(one, other):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("option", ["weight_drop", "recurrent_dropout", "zoneout", "all"])
@pytest.mark.parametrize("form", FORMS)
def test_paths_agree_under_one_mask(form, option):
    shares = {name: 0.4 for name in ("weight_drop", "recurrent_dropout", "zoneout") if option in (name, "all")}
    cell = made(form, **shares)
    for reverse in (False, True):
        by_step = run(cell, "step", reverse)
        plain = run(made(form), "step", reverse)
        assert not torch.allclose(by_step[0], plain[0])
        for path in cell.paths if "zoneout" not in shares else set(cell.paths) & {"manual"}:
            assert_close(run(cell, path, reverse), by_step)
        assert_close(run(cell, "auto", reverse), by_step)


@pytest.mark.parametrize("form", FORMS)
def test_dropped_weights_are_one_mask_a_sequence(form):
    """As the same cell with the weights that the mask leaves; the parameter itself stays, and has the gradient."""
    cell, twin = made(form, weight_drop=0.4), made(form)
    parameter = cell.weight_hh
    found = run(cell, "step")
    torch.manual_seed(2)
    mask = F.dropout(torch.ones_like(twin.weight_hh), 0.4)
    with torch.no_grad():
        twin.weight_hh.mul_(mask)
    expected = run(twin, "step")
    place = len(found) - len(list(cell.parameters())) + [name for name, _ in cell.named_parameters()].index("weight_hh")
    expected[place] = expected[place] * mask
    assert_close(found, expected)
    assert cell.weight_hh is parameter
    assert list(cell.state_dict()) == list(twin.state_dict())


@pytest.mark.parametrize("form", FORMS)
def test_recurrent_dropout_is_one_mask_on_h_in_the_recurrent_product(form):
    """U (m ⊙ h) with the same m at all steps, by replacing the product itself; the rest of a step sees h as it is."""
    cell, twin = made(form, recurrent_dropout=0.4), made(form)
    torch.manual_seed(2)
    kept = F.dropout(torch.ones(H, dtype=torch.double), 0.4)
    assert 0 < (kept == 0).sum() < H
    module = sys.modules[type(cell).__module__]
    plain = module.linear
    patch = pytest.MonkeyPatch()
    found = run(cell, "step")
    storage = twin.weight_hh.untyped_storage().data_ptr()
    patch.setattr(
        module,
        "linear",
        lambda x, w, b=None: plain(x * kept if w.untyped_storage().data_ptr() == storage else x, w, b),
    )
    try:
        expected = run(twin, "step")
    finally:
        patch.undo()
    assert_close(found, expected)


def test_a_block_has_one_mask():
    cell = made("gru", weight_drop=0.5)
    steps = torch.randn(B, T, E, dtype=torch.double)
    with cell.dropped_weights():
        one, other = (unroll(cell, Inputs(steps))[0] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, unroll(cell, Inputs(steps))[0])


@pytest.mark.parametrize("form", FORMS)
def test_zoneout_by_its_equation(form):
    """A unit keeps its state where the draw says so, and on padding; in evaluation it has the expectation."""
    cell = made(form, zoneout=0.3)
    steps = torch.randn(B, T, E, dtype=torch.double)
    for training in (True, False):
        cell.train(training)
        torch.manual_seed(2)
        outputs, final = unroll(cell, Inputs(steps), MASK)
        torch.manual_seed(2)
        kept = (torch.rand(T, B, H) < 0.3).double() if training else torch.full((T, B, H), 0.3, dtype=torch.double)
        state = cell.init_state(B)
        for t in range(T):
            new = cell.step(cell.project(steps[:, t]), state)
            real = MASK[:, t, None]
            state = type(state)(
                *(torch.where(real, kept[t] * a + (1 - kept[t]) * b, a) for a, b in zip(state, new, strict=True))
            )
            torch.testing.assert_close(outputs[:, t], state.h * real)
        for a, b in zip(final, state, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "norm-lstm"])
def test_gradcheck_of_the_manual_path(form):
    cell = made(form, weight_drop=0.3, recurrent_dropout=0.3, zoneout=0.3)
    steps = torch.randn(2, 4, E, dtype=torch.double, requires_grad=True)
    mask = mask_from_lengths(torch.tensor([4, 2]), 4)
    names, weights = zip(*cell.named_parameters(), strict=True)

    def function(steps, *weights):
        twin = copy.deepcopy(cell)
        for name, weight in zip(names, weights, strict=True):
            place, _, last = name.rpartition(".")
            delattr(twin.get_submodule(place), last)
            setattr(twin.get_submodule(place), last, weight)
        torch.manual_seed(4)
        outputs, final = unroll(twin, Inputs(steps), mask, path="manual", reverse=True)
        return outputs, *final

    assert torch.autograd.gradcheck(function, (steps, *(w.detach().requires_grad_() for w in weights)))


@pytest.mark.parametrize("form", FORMS)
def test_evaluation_and_no_share_draw_nothing(form):
    cell, plain = made(form, weight_drop=0.4, recurrent_dropout=0.4).eval(), made(form)
    before = torch.get_rng_state()
    steps = torch.randn(B, T, E, dtype=torch.double)
    torch.set_rng_state(before)
    assert torch.equal(unroll(cell, Inputs(steps))[0], unroll(plain, Inputs(steps))[0])
    assert torch.equal(torch.get_rng_state(), before)


def model(path="auto", cell="gru", **shares):
    quiet = {part: {"dropout": 0.0} for part in ("embedding", "encoder", "decoder")}
    config = model_config(cell, context="additive", **quiet)
    config["head"]["dropout"] = 0.0
    config["decoder"]["path"] = path
    config["encoder"]["path"] = "step"
    config["decoder"]["cell"] |= shares
    torch.manual_seed(0)
    return factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET}).double().train()


def through_attention(model):
    """The loss and all gradients."""
    torch.manual_seed(2)
    source, target = batch()
    torch.manual_seed(3)
    loss = model.loss(source, target)
    return [loss, *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize(
    "shares", [{"weight_drop": 0.4}, {"recurrent_dropout": 0.4}, {"zoneout": 0.3}, {"weight_drop": 0.4, "zoneout": 0.3}]
)
@pytest.mark.parametrize("cell", ["gru", "lstm", "vanilla"])
def test_attention_in_training_has_one_mask_on_both_paths(cell, shares, monkeypatch):
    """The draws are numbered, for the paths take them in different portions."""
    draws = torch.rand(20, 10, 8, generator=torch.Generator().manual_seed(5)) >= 0.3
    used = {"steps": 0}

    def written(self, shape, mask):
        first = used["steps"]
        used["steps"] += shape[0]
        return draws[first : used["steps"], : shape[1]]

    monkeypatch.setattr(Cell, "written", written)
    found = []
    for path in ("manual", "step"):
        used["steps"] = 0
        found.append(through_attention(model(path, cell, **shares)))
    assert_close(*found)
    assert ("zoneout" in shares) == (used["steps"] > 0)
    assert not torch.allclose(found[0][0], through_attention(model(cell=cell))[0])


@pytest.mark.parametrize("shares", [{"weight_drop": 0.4}, {"zoneout": 0.3}])
def test_a_search_reads_what_training_has_learned(shares):
    """In evaluation, a whole target and a token at a time are the same."""
    source, target = batch()
    made_of = model(**shares).eval()
    whole = made_of.decoder.head.logits(made_of(source, target)).log_softmax(-1)
    torch.testing.assert_close(whole, stepwise(made_of, source, target)[0])


def test_zoneout_and_attention_train():
    source, target = batch()
    zoned = model(zoneout=0.3)
    loss = zoned.loss(source, target)
    loss.backward()
    assert not torch.allclose(loss, model().loss(source, target))
    assert all(parameter.grad is not None for parameter in zoned.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GRU(2, 2, regularization=Regularization(zoneout=1.0)),
            r"GRU: zoneout=1\.0 must be at least 0 and below 1",
        ),
        (lambda: LSTM(2, 2, regularization=Regularization(weight_drop=-0.1)), r"LSTM: weight_drop=-0\.1 must be"),
        (
            lambda: LSTM(2, 2, regularization=Regularization(recurrent_dropout=1.5)),
            r"LSTM: recurrent_dropout=1\.5 must be",
        ),
        (
            lambda: unroll(
                GRU(2, 2, regularization=Regularization(zoneout=0.1)), Inputs(torch.zeros(1, 1, 2)), path="fused"
            ),
            "auto, step, manual",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_cells_without_recurrent_weights_have_neither():
    """Their keys are unknown, and a subclass that passes the group on is refused."""
    assert MinGRU(2, 2).regularization == Regularization()
    assert not {"weight_drop", "recurrent_dropout", "zoneout"} & set(options_of(MinGRU))
    for name in ("weight_drop", "recurrent_dropout"):
        with pytest.raises(UserError, match=f"{name}=0.1: it has no recurrent weights"):
            Regularization(**{name: 0.1}).check("MinGRU", recurrent=False)
