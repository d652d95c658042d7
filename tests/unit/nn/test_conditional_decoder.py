"""`decoder=conditional`: the equations written out, a whole target against a token at a time, and what is refused."""

import itertools

import numpy as np
import pytest
import torch

from seq2seq import Translator
from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.nn.cells import Cell, Regularization
from seq2seq.nn.types import Tokens
from tests.bundles import save
from tests.conftest import model_config, options
from tests.unit.models.test_models import SOURCE, TARGET, batch, stepwise

CONTEXTS = [name for name in options("context") if name != "monotonic"]  # which has no previous state to ask


def make(context="additive", cell="gru", head="linear", lexical=False, **decoder):
    config = model_config(
        *(cell, context, head), decoder=decoder, decoder_name="conditional", head_options={"lexical": lexical}
    )
    torch.manual_seed(2)
    return factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET}).double().eval()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(w, name, x, h):
    """torch's GRU in NumPy, by the weights of a cell."""
    a, b = (w[f"{name}.weight_{k}"] @ v + w[f"{name}.bias_{k}"] for k, v in (("ih", x), ("hh", h)))
    (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3), np.split(b, 3)
    z = sigmoid(a_z + b_z)
    return (1 - z) * np.tanh(a_n + sigmoid(a_r + b_r) * b_n) + z * h


@pytest.mark.parametrize("transitions", [2, 4])
def test_a_step_follows_the_equations(transitions):
    """s′ = GRU₁(e, s), c = Σ α h of s′, s = GRU_k(c, …): in NumPy, with the features [s ; c] of a linear head."""
    model = make(transitions=transitions)
    source = Tokens(torch.randint(4, SOURCE, (1, 6)), torch.tensor([6]))
    target = Tokens(torch.randint(4, TARGET, (1, 5)), torch.tensor([5]))
    memory = model.encode(source)
    w = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    values, s = memory.outputs[0].detach().numpy(), model.bridge(memory)[0].h[0].detach().numpy()
    keys = values @ w["decoder.context.key.weight"].T + w["decoder.context.key.bias"]
    features = []
    for token in [model.bos, *target.ids[0, :-1].tolist()]:
        s = gru(w, "decoder.layers.0", w["target_embedding.weight"][token], s)
        energies = np.exp(np.tanh(w["decoder.context.query.weight"] @ s + keys) @ w["decoder.context.energy"])
        c = energies / energies.sum() @ values
        for k in range(transitions - 1):
            s = gru(w, f"decoder.transitions.{k}", c, s)
        features.append(np.concatenate([s, c]))
    np.testing.assert_allclose(model(source, target).detach().numpy(), features, rtol=1e-9)


@pytest.mark.numerical
@pytest.mark.parametrize(("context", "cell"), list(itertools.product(CONTEXTS, ["gru", "lstm", "min_gru"])))
def test_a_whole_target_is_as_a_token_at_a_time(context, cell):
    source, target = batch(((4, 3), (1, 5), (6, 1)))
    for feeding, transitions in ((False, 3), (True, 2)):
        model = make(context, cell, "tied", input_feeding=feeding, transitions=transitions)
        expected, weights = stepwise(model, source, target)
        found = model.decoder.head.logits(model(source, target)).log_softmax(-1)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        assert (weights[0] is not None) is model.attends


@pytest.mark.numerical
def test_every_parameter_has_a_gradient_that_differences_confirm():
    model, (source, target) = make(transitions=3, lexical=True, head="maxout"), batch(((4, 3), (2, 2)))
    loss = model.loss(source, target, label_smoothing=0.1)
    for parameter, gradient in zip(
        model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
    ):
        flat, place = parameter.data.view(-1), int(gradient.abs().argmax())
        sides = []
        for change in (1e-5, -2e-5):
            flat[place] += change
            sides.append(float(model.loss(source, target, label_smoothing=0.1)))
        flat[place] += 1e-5
        assert float(gradient.flatten()[place]) == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_weight_drop_has_one_mask_a_target_in_each_transition(monkeypatch):
    model, (source, target) = make(transitions=3), batch()
    seen: list[set[int]] = [set() for _ in range(3)]
    cells = [model.decoder.layers[0], *model.decoder.transitions]
    for cell in cells:
        cell.regularization = Regularization(weight_drop=0.5)
    step = Cell.advance

    def advance(self, gates, state):
        if self in cells:
            seen[cells.index(self)].add(int((self.weight_hh == 0).sum()) if self._weights_dropped else -1)
        return step(self, gates, state)

    monkeypatch.setattr(Cell, "advance", advance)
    model.train()(source, target)
    assert all(len(each) == 1 and min(each) > 0 for each in seen)


def test_dropout_falls_on_c_in_training_only():
    model, (source, target) = make(), batch()
    model.decoder.context_dropout.rate = 0.5
    for module in (model.source_embedding, model.target_embedding, model.encoder, model.decoder.head):
        module.eval()
    assert torch.equal(model(source, target), model(source, target))
    model.decoder.context_dropout.train()
    assert not torch.equal(model(source, target), model(source, target))


def test_a_bundle_translates_whatever_the_batch(tmp_path):
    lines = ["a man sleeps", "the red dog runs in a small house", "dog"]
    save(tmp_path / "a", context="additive", decoder_name="conditional", head_options={"lexical": True})
    translator = Translator.load(tmp_path / "a")
    assert translator.translate(lines, batch_size=3) == [translator.translate([line])[0] for line in lines]
    assert Translator.load([tmp_path / "a", tmp_path / "a"]).translate(lines) == translator.translate(lines)


@pytest.mark.parametrize("transitions", [1, 0, -2, 10**9])
def test_fewer_than_two_transitions_and_too_many_are_refused(transitions):
    with pytest.raises(UserError, match=f"decoder.transitions={transitions}: a conditional step has 2 to 1000"):
        make(transitions=transitions)
