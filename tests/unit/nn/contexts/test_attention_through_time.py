"""The hand-derived attention loop against autograd over single steps: outputs and every gradient, in float64."""

import pytest
import torch

from seq2seq.models import factory
from seq2seq.nn.cells import GRU, LSTM, LayerNormGRU, Vanilla
from seq2seq.nn.contexts import AdditiveContext, FixedContext, Keys, MultiplicativeContext
from seq2seq.nn.contexts.attention_through_time import attend_through_time, offers
from seq2seq.nn.types import Memory, Tokens, mask_from_lengths
from tests.conftest import model_config

pytestmark = pytest.mark.numerical

B, S, T, E, H, D, A = 3, 5, 4, 6, 8, 8, 4

CELLS = {
    "vanilla": lambda: Vanilla(E + D, H),
    "relu": lambda: Vanilla(E + D, H, activation="relu", bias=False),
    "gru keep": lambda: GRU(E + D, H),
    "gru write": lambda: GRU(E + D, H, update="write", bias=False),
    "lstm": lambda: LSTM(E + D, H, forget_bias=1.0),
}
CONTEXTS = {
    "additive": lambda: AdditiveContext(D, H, attention_size=A),
    "heads": lambda: AdditiveContext(D, H, attention_size=A, num_heads=2),
    "general": lambda: MultiplicativeContext(D, H),
    "scaled": lambda: MultiplicativeContext(D, H, score="scaled"),
}


def by_autograd(cell, context, gates, keys, state):
    tops, cs = [], []
    for t in range(len(gates)):
        c, _ = context(state.h[:, None], keys, torch.full((B, 1), t))
        state = cell.step(gates[t] + cell.project(c[:, 0], E, bias=False), state)
        tops.append(state.h)
        cs.append(c[:, 0])
    return torch.stack(tops), torch.stack(cs)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_and_gradients_are_those_of_autograd(cell, context, double):
    cell, context = CELLS[cell](), CONTEXTS[context]()
    assert offers(cell, context)
    outputs = torch.randn(B, S, D, requires_grad=True)
    inputs = torch.randn(T, B, E, requires_grad=True)
    state = type(cell.init_state(1))(*(torch.randn(B, H, requires_grad=True) for _ in cell.state_type._fields))
    leaves = [*cell.parameters(), *context.parameters(), outputs, inputs, *state]
    mask = mask_from_lengths(torch.tensor([5, 1, 3]), S)
    found = []
    for run in (by_autograd, lambda *arguments: attend_through_time(*arguments, E)):
        keys = context.prepare(Memory(outputs, mask, outputs[:, 0], ()))
        tops, cs = run(cell, context, cell.project(inputs), keys, state)
        loss = (tops * torch.linspace(-1, 1, H)).sin().sum() + (cs * torch.linspace(1, 2, D)).cos().sum()
        found.append((tops, cs, *torch.autograd.grad(loss, leaves)))
    for plain, by_hand in zip(*found, strict=True):
        torch.testing.assert_close(by_hand, plain, rtol=1e-10, atol=1e-12)


def test_large_energies_neither_overflow_nor_lose_their_order():
    """In float32: keys far outside the range of exp, where tanh is ±1."""
    cell, context = GRU(E + D, H), AdditiveContext(D, H, attention_size=A)
    keys = Keys(torch.randn(B, S, D), 300 * torch.randn(B, S, A), torch.ones(B, S, dtype=torch.bool))
    gates, state = cell.project(torch.randn(T, B, E)), cell.init_state(B)
    plain = by_autograd(cell, context, gates, keys, state)
    for expected, found in zip(plain, attend_through_time(cell, context, gates, keys, state, E), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_has_no_derivatives_says_so():
    assert not offers(LayerNormGRU(E + D, H), AdditiveContext(D, H))
    assert not offers(GRU(E + D, H, reset="before"), AdditiveContext(D, H))
    assert not offers(LSTM(E + D, H, peepholes=True), AdditiveContext(D, H))
    assert not offers(GRU(E + D, H), FixedContext(D, H))


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("heads", ["maxout", "linear"])
@pytest.mark.parametrize("context_to", ["cell", "both"])
def test_the_decoder_gives_the_same_either_way(context_to, heads, double):
    """A whole model, forwards and backwards, with path=auto (by hand) and path=step (autograd)."""
    config = model_config(context="additive", head=heads, decoder={"context_to": context_to, "query": "previous"})
    config["embedding"]["dropout"] = config["encoder"]["dropout"] = 0.0
    source = Tokens(torch.randint(4, 11, (3, 5)), torch.tensor([5, 2, 3]))
    target = Tokens(torch.randint(4, 13, (3, 6)), torch.tensor([4, 6, 1]))
    found = []
    for path in ("auto", "step"):
        torch.manual_seed(5)
        config["decoder"]["path"] = path
        model = factory.encoder_decoder(config, {"source": 11, "target": 13})
        assert model.decoder._offers_manual_loop() is (path == "auto")
        features = model(source, target)
        gradients = torch.autograd.grad(features.sin().sum(), list(model.parameters()), allow_unused=True)
        found.append([features, *(gradient for gradient in gradients if gradient is not None)])
    assert len(found[0]) == len(found[1])
    for by_hand, plain in zip(*found, strict=True):
        torch.testing.assert_close(by_hand, plain, rtol=1e-9, atol=1e-12)
