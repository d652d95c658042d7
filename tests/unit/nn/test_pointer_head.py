"""The pointer-generator against NumPy, against the linear head, and in searches with tokens that no vocabulary has."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.inference.ensemble import Ensemble
from seq2seq.inference.stepper import Stepper, translate_ids
from seq2seq.models import factory
from seq2seq.nn.heads import LinearHead
from seq2seq.nn.pointer_head import PointerHead
from seq2seq.nn.types import Tokens, unpadded_ids
from seq2seq.search import SearchOptions
from tests.conftest import model_config

pytestmark = pytest.mark.numerical
H, C, E, V, UNSEEN, S = 5, 4, 3, 7, 2, 6
WIRINGS = {
    "loop": ("additive", {}),
    "feeding": ("additive", {"context_to": "both", "input_feeding": True}),
    "parallel": ("multiplicative", {"query": "current", "context_to": "readout"}),
    "alignments": ("monotonic", {}),
    "coverage": ("additive", {}),  # both of See et al. (2017)
    "parallel_coverage": ("additive", {"query": "current", "context_to": "readout"}),
    "conditional": ("additive", {"input_feeding": False}),
}


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def head(size: int | None = 8, unseen: int = UNSEEN) -> PointerHead:
    return PointerHead(H, C, torch.nn.Parameter(torch.randn(V, E)), size=size, unseen=unseen)


def inputs(count: int = 3):
    """States, contexts, previous vectors, attention, and a source in which two tokens are unknown and one is twice."""
    sizes = ((2, count, H), (2, count, C), (2, count, E))
    return (
        *(torch.randn(*size) for size in sizes),
        torch.randn(2, count, S).softmax(-1),
        torch.tensor([[4, 7, 4, 8, 7, 3], [5, 5, 5, 6, 3, 0]]),
    )


def by_numpy(made: PointerHead, s, c, e, weights, ids) -> np.ndarray:
    """p(v) as in the paper, a number at a time."""
    values = {name: parameter.detach().numpy() for name, parameter in made.named_parameters()}
    s, c, e, weights, ids = (each.detach().numpy() for each in (s, c, e, weights, ids))
    p = np.zeros((*s.shape[:2], V + UNSEEN))
    for b, t in np.ndindex(*s.shape[:2]):
        read = np.concatenate([s[b, t], c[b, t]])
        f = np.tanh(values["hidden.weight"] @ read + values["hidden.bias"]) if made.hidden is not None else read
        logits = values["weight"] @ f + values["bias"]
        gate = values["gate.weight"][0] @ np.concatenate([read, e[b, t]]) + values["gate.bias"][0]
        p_g = 1 / (1 + np.exp(-gate))
        p[b, t, :V] = p_g * np.exp(logits) / np.exp(logits).sum()
        for i in range(S):
            p[b, t, ids[b, i]] += (1 - p_g) * weights[b, t, i]
    return p


@pytest.mark.parametrize("size", [8, None])
def test_the_distribution_is_that_of_the_paper(size: int | None) -> None:
    made, (s, c, e, weights, ids) = head(size), inputs()
    log_probs = made.log_distribution(made.readout(s, c, e), weights, ids)
    expected = by_numpy(made, s, c, e, weights, ids)
    np.testing.assert_allclose(log_probs.exp().detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 3))


def test_all_gradients_are_those_of_differences() -> None:
    made, (s, c, e, energies, ids) = head(), inputs(2)

    def run(s, c, e, energies):
        return made.log_distribution(made.readout(s, c, e), energies.softmax(-1), ids)[..., :V]

    leaves = [each.detach().requires_grad_() for each in (s, c, e, energies)]
    assert torch.autograd.gradcheck(run, leaves)
    log_probs = made.log_distribution(made.readout(s, c, e), energies, ids)
    log_probs[:, :, ids[0, 1]].sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


def test_a_gate_that_only_generates_is_the_linear_head() -> None:
    made, (s, c, e, weights, ids) = head(), inputs()
    linear = LinearHead(H, C, torch.nn.Parameter(torch.randn(V, E)), size=8)
    linear.load_state_dict({k: v for k, v in made.state_dict().items() if not k.startswith("gate")})
    with torch.no_grad():
        made.gate.weight.zero_()
        made.gate.bias.fill_(1e3)
    log_probs = made.log_distribution(made.readout(s, c, e), weights, ids)
    expected = linear.logits(linear.readout(s, c, e)).log_softmax(-1)
    torch.testing.assert_close(log_probs[..., :V], expected, rtol=1e-10, atol=1e-10)
    assert (log_probs[..., V:].exp() == 0).all()


def model(wiring: str = "loop", **changes):
    context, decoder = WIRINGS[wiring]
    name = "conditional" if wiring == "conditional" else "recurrent"
    config = model_config(context=context, decoder=decoder, head="pointer", decoder_name=name, **changes)
    config["head"] |= {"size": 6, "unseen": UNSEEN}
    covers = wiring.endswith("coverage")
    config["context"] |= {"coverage": True} if covers else {}
    made = factory.encoder_decoder(config, {"source": 13, "target": 13}).eval()
    if covers:
        torch.nn.init.normal_(made.decoder.context.coverage)  # it starts at 0
    return made


SOURCE = Tokens(torch.tensor([[4, 13, 9, 14, 3], [13, 3, 0, 0, 0], [5, 6, 7, 3, 0]]), torch.tensor([5, 2, 4]))
TARGET = Tokens(torch.tensor([[13, 14, 9, 3], [13, 3, 0, 0], [7, 3, 0, 0]]), torch.tensor([4, 2, 2]))


@pytest.mark.parametrize("wiring", WIRINGS)
def test_losses_and_steps_have_the_log_probabilities_of_the_head(wiring: str) -> None:
    made = model(wiring)
    log_probs, ids = made.log_probs(SOURCE, TARGET), unpadded_ids(TARGET)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(8))
    chosen = log_probs.gather(1, ids[:, None])[:, 0]
    torch.testing.assert_close(made.loss(SOURCE, TARGET), -chosen.sum())
    smoothed = -(0.9 * chosen + 0.1 * log_probs[:, :13].mean(1)).sum()
    torch.testing.assert_close(made.loss(SOURCE, TARGET, label_smoothing=0.1), smoothed)
    rows = torch.arange(3)
    sums = [each.sum() for each in chosen.split(TARGET.lengths.tolist())]
    torch.testing.assert_close(made.sequence_log_probs(SOURCE, TARGET, rows), torch.stack(sums))
    assert float(made.loss(SOURCE, TARGET, r_drop=1.0)) == pytest.approx(float(-chosen.sum()))  # no dropout: KL is 0
    assert not log_probs[ids >= 13][:, 13:].isnan().any()
    assert log_probs[-1, 13:].tolist() == [-torch.inf, -torch.inf]  # a source without unknown tokens
    for step in (made.step, Stepper(made)):
        state, encoded = made.start(made.encode(SOURCE))
        read, rows = torch.full((3,), 2), []
        for column in TARGET.ids.unbind(1):
            each, state, _ = step(read, state, encoded)
            rows.append(each)
            read = column
        torch.testing.assert_close(torch.stack(rows, 1)[TARGET.mask], log_probs)


@torch.no_grad()
def test_a_search_finds_unknown_tokens_and_an_ensemble_averages_their_probabilities() -> None:
    made = model("alignments")
    made.decoder.head.gate.bias.fill_(-20)  # it copies
    options = SearchOptions(bos=2, eos=3, pad=0, beam_size=3, n_best=3, length_penalty=0.0)
    results = translate_ids(made, SOURCE, options)
    assert any(token >= 13 for hypotheses in results for each in hypotheses for token in each.tokens)
    assert all(token < 13 for each in results[2] for token in each.tokens)
    for hypothesis in results[0]:
        ids = [*hypothesis.tokens, *[3] * hypothesis.finished]
        target = Tokens(torch.tensor([ids]), torch.tensor([len(ids)]))
        expected = made.sequence_log_probs(SOURCE, target, torch.tensor([0]))
        assert hypothesis.log_prob == pytest.approx(float(expected), abs=1e-4)
    plain = factory.encoder_decoder(model_config(), {"source": 13, "target": 13}).eval()
    together, ids = Ensemble([made, plain]), torch.full((3,), 2)
    log_probs, _, _ = together.step(ids, *together.start(together.encode(SOURCE)))
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(3))
    alone, _, _ = made.step(ids, *made.start(made.encode(SOURCE)))
    torch.testing.assert_close(log_probs[:, 13:].exp(), alone[:, 13:].exp() / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "fixed"}, "head=pointer: copies from where attention is"),
        ({"context": "aligned"}, "use context=additive, multiplicative or monotonic"),
        ({"encoder_name": "pyramidal"}, "this memory's positions are none; use encoder=recurrent"),
        (
            {"sizes": {"source": 12, "target": 13}},
            "source has 12 tokens and the target 13; set tokenizer.joint=true",
        ),
        ({"unseen": -1}, "unseen=-1 must be at least 0 and at most 1,000"),
    ],
)
def test_refusals(changes: dict, message: str) -> None:
    given = SimpleNamespace(
        **{"context": "additive", "encoder_name": "recurrent", "sizes": None, "unseen": 2} | changes
    )
    config = model_config(context="additive", head="pointer", encoder_name=given.encoder_name)
    config["context"] = model_config(context=given.context)["context"]
    config["head"]["unseen"] = given.unseen
    with pytest.raises(UserError, match=message):
        factory.encoder_decoder(config, given.sizes or {"source": 13, "target": 13})
