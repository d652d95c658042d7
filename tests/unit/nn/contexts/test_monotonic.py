"""Sums over hard alignments against all alignments one by one, and the model against its equations written out."""

import itertools
import math

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.inference.ensemble import Ensemble
from seq2seq.inference.stepper import translate_ids
from seq2seq.models import factory
from seq2seq.nn.contexts import MonotonicContext
from seq2seq.nn.hard_alignment import LOWEST, Lattice, best_path, log_marginal, posterior
from seq2seq.nn.types import Memory, Tokens, mask_from_lengths
from seq2seq.search import SearchOptions
from tests.conftest import model_config

pytestmark = pytest.mark.numerical
SOURCE, TARGET = 11, 13
FORMS = [
    {"order": order, "monotone": monotone, "max_jump": 2}
    for order, monotone in itertools.product((0, 1), (True, False))
]


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def random_lattice(steps: int, positions: int, monotone: bool) -> Lattice:
    transitions = torch.randn(1, steps, positions, positions)
    if monotone:
        transitions = transitions.masked_fill(~torch.ones(positions, positions, dtype=torch.bool).triu(), LOWEST)
    transitions = transitions.log_softmax(-1).detach().requires_grad_()
    return Lattice(transitions, torch.randn(1, steps, positions).log_softmax(-1).detach().requires_grad_())


def path_log_prob(lattice: Lattice, path: tuple[int, ...]) -> torch.Tensor:
    before, total = 0, torch.zeros(())
    for t, s in enumerate(path):
        total = total + lattice.transitions[0, t, before, s] + lattice.emissions[0, t, s]
        before = s
    return total


@pytest.mark.parametrize("monotone", [True, False])
@pytest.mark.parametrize(("steps", "positions"), [(1, 1), (1, 5), (5, 1), (2, 3), (3, 4), (5, 3), (4, 5)])
def test_the_sum_its_gradient_the_posterior_and_the_best_path_are_those_of_all_paths(
    steps: int, positions: int, monotone: bool, double: None
) -> None:
    lattice = random_lattice(steps, positions, monotone)
    paths = list(itertools.product(range(positions), repeat=steps))
    each = torch.stack([path_log_prob(lattice, path) for path in paths])
    expected, mask = each.logsumexp(0), torch.ones(1, steps, dtype=torch.bool)
    gradients = torch.autograd.grad(expected, lattice)
    total = log_marginal(lattice, mask)[0]
    torch.testing.assert_close(total, expected, rtol=1e-10, atol=1e-10)
    for one, other in zip(torch.autograd.grad(total, lattice), gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(posterior(lattice, mask), gradients[1], rtol=1e-10, atol=1e-10)
    best = tuple(best_path(lattice, mask)[0].tolist())
    assert best == paths[int(each.argmax())]
    assert not monotone or list(best) == sorted(best)


def test_what_is_after_the_end_of_a_target_has_no_influence(double: None) -> None:
    long = random_lattice(5, 4, True)
    mask = mask_from_lengths(torch.tensor([3]), 5)
    short = Lattice(*(each[:, :3] for each in long))
    full = torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(log_marginal(long, mask), log_marginal(short, full))
    torch.testing.assert_close(posterior(long, mask)[:, :3], posterior(short, full))
    assert best_path(long, mask)[:, :3].tolist() == best_path(short, full).tolist()


def make(head: str = "linear", *, form: dict | None = None, cell: str = "gru"):
    config = model_config(cell, "monotonic", head)
    config["context"] |= form or {}
    return factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET}).eval()


def pair(source: int, target: int) -> tuple[Tokens, Tokens]:
    made = [torch.randint(4, most, (1, n)) for most, n in ((SOURCE, source), (TARGET, target))]
    return Tokens(made[0], torch.tensor([source])), Tokens(made[1], torch.tensor([target]))


def written_out(model, source: Tokens, target: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(a_t = s | a_{t−1} = s′) [T, S, S] and log p(y_t | a_t = s) [T, S], a number at a time."""
    decoder, memory = model.decoder, model.encode(source)
    context, values = decoder.context, memory.outputs[0]
    state, size = model.bridge(memory), len(values)
    transitions, emissions = torch.full((target.ids.size(1), size, size), -math.inf), []
    for t, y in enumerate(target.ids[0].tolist()):
        read = model.bos if t == 0 else int(target.ids[0, t - 1])
        embedded = model.target_embedding.weight[read][None]
        state, top = decoder.layers.step(decoder.project(embedded), state, None)
        energies = [float(top[0] @ context.key.weight @ value) for value in values]
        for before in range(size):
            after = [s for s in range(size) if s >= before or not context.monotone]
            scores = [energies[s] for s in after]
            if context.order:
                u = context.jump_query(top)[0] + context.jump_key(values[before])
                least = 0 if context.monotone else -2
                scores = [e + float(u[min(max(s - before, least), 2) - least]) for e, s in zip(scores, after)]
            transitions[t, before, after] = torch.tensor(scores).log_softmax(0)
        shown = [decoder.head.readout(top, value[None], embedded) for value in values]
        emissions.append(torch.stack([decoder.head.logits(each).log_softmax(-1)[0, y] for each in shown]))
    return transitions, torch.stack(emissions)


@pytest.mark.parametrize("head", ["linear", "tied", "maxout"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_model_gives_the_sum_over_all_alignments_of_its_equations(form: dict, head: str, double: None) -> None:
    model, (source, target) = make(head, form=form), pair(4, 3)
    transitions, emissions = written_out(model, source, target)
    lattice = Lattice(transitions[None], emissions[None])
    paths = [path_log_prob(lattice, path) for path in itertools.product(range(4), repeat=3)]
    expected = torch.stack(paths).logsumexp(0)
    torch.testing.assert_close(model.loss(source, target), -expected, rtol=1e-9, atol=1e-9)
    rows = torch.zeros(1, dtype=torch.long)
    torch.testing.assert_close(model.sequence_log_probs(source, target, rows)[0], expected, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        (weights,) = model.posterior(source, target, rows)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3))
    before = -1
    for s in torch.cummax(weights.cumsum(-1).ge(0.5).int().argmax(-1), 0).values.tolist() if form["monotone"] else []:
        assert s >= before  # the medians of a monotone alignment do not go back
        before = s


def test_order_0_that_may_go_back_is_the_mixture_of_wu_shapiro_and_cotterell(double: None) -> None:
    """p(y_t | y_<t, x) = Σ_s softmax(e_t)_s p(y_t | s): each step by itself."""
    model, (source, target) = make(form={"monotone": False}), pair(5, 4)
    transitions, emissions = written_out(model, source, target)
    expected = (transitions[:, 0] + emissions).logsumexp(-1)
    log_probs = model.log_probs(source, target).gather(1, target.ids[0][:, None])[:, 0]
    torch.testing.assert_close(log_probs, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_best_path_of_a_model_is_monotone(form: dict) -> None:
    context = MonotonicContext(6, 8, **form)
    values, mask = 3 * torch.randn(20, 7, 6), mask_from_lengths(torch.randint(1, 8, (20,)), 7)
    transitions = context.transitions(
        3 * torch.randn(20, 9, 8), context.prepare(Memory(values, mask, values[:, 0], ()))
    )
    paths = best_path(Lattice(transitions, torch.randn(20, 9, 7)), torch.ones(20, 9, dtype=torch.bool))
    assert mask.gather(1, paths).all()
    goes_back = (paths.diff(dim=1) < 0).any(1)
    assert not goes_back.any() if form["monotone"] else goes_back.any()


@pytest.mark.parametrize("beam_size", [1, 4])
@torch.no_grad()
def test_a_search_carries_the_sum_in_its_state_and_shows_the_posterior(beam_size: int) -> None:
    model = make("maxout", form={"order": 1}, cell="lstm")
    for parameter in model.parameters():
        parameter.mul_(3)
    source = Tokens(torch.randint(4, SOURCE, (3, 6)), torch.tensor([6, 2, 4]))
    options = SearchOptions(
        bos=2, eos=3, pad=0, beam_size=beam_size, n_best=beam_size, length_penalty=0.0, return_attention=True
    )
    results = translate_ids(model, source, options)
    for row, hypotheses in enumerate(results):
        for each in hypotheses:
            ids = [*each.tokens, *[3] * each.finished]
            target, rows = Tokens(torch.tensor([ids]), torch.tensor([len(ids)])), torch.tensor([row])
            assert each.log_prob == pytest.approx(float(model.sequence_log_probs(source, target, rows)), abs=1e-4)
            torch.testing.assert_close(each.attention, model.posterior(source, target, rows)[0], atol=1e-4, rtol=0)
            assert not each.attention[:, source.lengths[row] :].any()


@torch.no_grad()
def test_members_of_an_ensemble_may_differ_in_their_attention() -> None:
    models = [make(), factory.encoder_decoder(model_config(context="additive"), {"source": 11, "target": 13}).eval()]
    source = Tokens(torch.randint(4, SOURCE, (2, 5)), torch.tensor([5, 3]))
    both, ids = Ensemble(models), torch.tensor([2, 2])
    for step in (ids, ids + 4):
        state, encoded = both.start(both.encode(source))
        apart = [model.step(step, *model.start(model.encode(source)))[0].exp() for model in models]
        torch.testing.assert_close(both.step(step, state, encoded)[0].exp(), torch.stack(apart).mean(0))
    assert both.posterior(source, source, torch.arange(2)) is None
    assert Ensemble([models[0]] * 2).posterior(source, source, torch.arange(2)).shape == (2, 5, 5)


def test_alignments_are_with_one_source() -> None:
    config = model_config(context="monotonic")
    config["extra_encoders"] = {"tags": config["encoder"]}
    with pytest.raises(UserError, match="alignments with one source; with extra_encoders use a context that attends"):
        factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})


@pytest.mark.parametrize(
    ("context", "decoder", "message"),
    [
        (
            {},
            {"query": "previous", "context_to": "cell"},
            r"query=previous, context_to=cell.* use decoder.query=current",
        ),
        ({}, {"input_feeding": True}, "without decoder.input_feeding"),
        ({"order": 2}, {}, "context.order=2 is not known; use 0 or 1"),
        ({"max_jump": 0}, {}, "max_jump=0 must be at least 1"),
    ],
)
def test_refusals(context: dict, decoder: dict, message: str) -> None:
    config = model_config(context="monotonic", decoder=decoder)
    config["context"] |= context
    with pytest.raises(UserError, match=message):
        factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})
