"""What training reads as the previous token: against teacher forcing, and search, and as a function of the moment."""

import math
from typing import get_args

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.nn.scheduled_sampling import Decay, FreeRunning, SamplingState, ScheduledSampling, TeacherForcing, mixed
from seq2seq.search import SearchOptions, greedy
from tests.conftest import model_config, node, options
from tests.unit.models.test_models import SOURCE, TARGET, batch

BOS, EOS, PAD = 2, 3, 0
DECAYS = get_args(Decay)


def make(feedback="teacher", context="fixed", *, dropout=0.0, decoder=None, **changes):
    feedback = node("feedback", feedback, **changes)
    wiring = {"feedback": feedback, "dropout": dropout, "num_layers": 2, **(decoder or {})}
    config = model_config(context=context, decoder=wiring, embedding={"dropout": dropout}, encoder={"dropout": dropout})
    config["head"]["dropout"] = dropout
    torch.manual_seed(0)
    model = factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET}).double()
    with torch.no_grad():
        model.decoder.head.weight.mul_(6)  # so that it has opinions
        model.decoder.head.bias[[PAD, BOS]] = -math.inf  # a search never produces them
    return model


@pytest.mark.parametrize("name", options("feedback"))
def test_without_a_moment_the_target_is_read(name):
    """Validation, and whoever uses a model outside training: the same features whatever the feedback."""
    source, target = batch()
    assert torch.equal(make(name)(source, target), make()(source, target))


@pytest.mark.numerical
@pytest.mark.parametrize("decay", DECAYS)
def test_sampling_with_probability_one_is_teacher_forcing(decay):
    source, target = batch()
    for step in (0, 10**6):
        scheduled = make("scheduled", decay=decay, floor=1.0, halfway=1)
        assert torch.equal(scheduled(source, target, SamplingState(1, step)), make()(source, target))


@pytest.mark.numerical
@pytest.mark.parametrize("context", options("context"))
@pytest.mark.parametrize("kind", ["free", "scheduled"])
def test_free_running_reads_what_greedy_search_produces(kind, context):
    """Its features are those of teacher forcing on the tokens of a greedy search; so are they where ε has become 0."""
    changes = {"choice": "argmax"} | ({"decay": "linear", "halfway": 1} if kind == "scheduled" else {})
    wirings = [{}] if context == "monotonic" else [{}, {"input_feeding": True}]
    wirings += [] if context in ("additive", "multiplicative") else [{"recurrence": "output"}]
    for decoder in wirings:
        model = make(kind, context, decoder=decoder, **changes)
        source, target = batch(((4, 6), (1, 6), (6, 6)))
        state, encoded = model.start(model.encode(source))
        chosen = SearchOptions(bos=BOS, eos=EOS, pad=PAD, beam_size=1)
        with torch.no_grad():
            model.decoder.head.bias[EOS] = -math.inf  # hypotheses as long as the targets
        found = greedy(model.step, state, encoded, target.lengths, chosen)
        own = target._replace(ids=torch.tensor([hypotheses[0].tokens for hypotheses in found]))
        assert not torch.equal(own.ids[:, :-1], target.ids[:, :-1])
        assert torch.equal(model(source, target, SamplingState(1, 9)), model(source, own))


@pytest.mark.parametrize("choice", ["argmax", "sample"])
def test_draws_depend_on_seed_and_step_alone(choice):
    """The global generator, and what was drawn before, change nothing; in training mode, without dropout."""
    source, target = batch(((4, 9), (1, 9), (6, 9)))
    model = make("scheduled", decay="exponential", halfway=10, choice=choice).train()
    first = model(source, target, SamplingState(1, 20))
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = model(source, target, SamplingState(1, 20))
    assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, model(source, target, SamplingState(2, 20)))
    assert not torch.equal(first, model(source, target, SamplingState(1, 21)))


def test_dropout_falls_on_what_is_learned_and_not_on_the_choice():
    """Choosing leaves every module in its own mode; the forward pass after it drops features as ever."""
    model = make("free", dropout=0.5).train()
    model.encoder.eval()  # a frozen part stays frozen
    modes = [module.training for module in model.modules()]
    source, target = batch()
    assert not torch.equal(model(source, target, SamplingState(1, 1)), model(source, target, SamplingState(1, 1)))
    assert [module.training for module in model.modules()] == modes
    assert True in modes
    assert False in modes


@pytest.mark.parametrize("epsilon", [0.25, 0.75])
def test_the_share_of_told_tokens_is_epsilon(epsilon):
    """A step function that always says 1, and targets that are 5: what is read is a Bernoulli draw a token but bos."""

    def step(ids, state, memory):
        return torch.nn.functional.one_hot(torch.ones_like(ids), 7).float().log(), state + 1, None

    previous = torch.full((300, 40), 5)
    previous[:, 0] = BOS
    feedback = ScheduledSampling(decay="linear", halfway=2)
    assert feedback.truth(1) == 0.75
    read = mixed(feedback, SamplingState(0, {0.75: 1, 0.25: 3}[epsilon]), previous, step, torch.zeros(300), ())
    assert (read[:, 0] == BOS).all()
    assert set(read[:, 1:].unique().tolist()) == {1, 5}
    assert (read[:, 1:] == 5).double().mean().item() == pytest.approx(epsilon, abs=0.02)  # 4.8 standard deviations


def test_samples_follow_the_distribution():
    probabilities = torch.tensor([0.5, 0.2, 0.3, 0.0])

    def step(ids, state, memory):
        return probabilities.log().expand(len(ids), -1), state, None

    read = mixed(
        FreeRunning(choice="sample"), SamplingState(3, 4), torch.full((400, 31), 2), step, torch.zeros(400), ()
    )
    shares = read[:, 1:].flatten().bincount(minlength=4) / (400 * 30)
    torch.testing.assert_close(shares, probabilities, rtol=0, atol=0.02)


def test_decays():
    assert [TeacherForcing().truth(step) for step in (0, 10**9)] == [1, 1]
    assert [FreeRunning().truth(step) for step in (0, 10**9)] == [0, 0]
    linear, exponential, sigmoid = (ScheduledSampling(decay=decay, halfway=100) for decay in DECAYS)
    assert [linear.truth(step) for step in (0, 50, 100, 150, 200, 999)] == [1, 0.75, 0.5, 0.25, 0, 0]
    assert [exponential.truth(step) for step in (0, 100, 200, 300)] == [1, 0.5, 0.25, 0.125]
    k = 29.5366  # k ln k = 100
    for step in (0, 30, 100, 170, 10**9):
        assert sigmoid.truth(step) == pytest.approx(k / (k + math.exp(min(step / k, 500))), abs=1e-6)
    for decay in DECAYS:
        for halfway in (1, 3, 10**6):
            feedback = ScheduledSampling(decay=decay, halfway=halfway, floor=0.1)
            curve = [feedback.truth(step * halfway // 4) for step in range(40)]
            assert feedback.truth(halfway) == pytest.approx(0.5, abs=1e-9)
            assert curve == sorted(curve, reverse=True)
            assert curve[-1] == 0.1
            assert curve[0] <= 1


def test_gradients_do_not_flow_through_the_choice():
    """What chose the tokens has no gradient from it; the vectors of the chosen tokens have one."""
    model = make("free", dropout=0.0)
    source, target = batch()
    weight = model.decoder.head.weight
    loss = model(source, target, SamplingState(1, 1)).square().sum()
    found = torch.autograd.grad(loss, [weight, model.target_embedding.weight], allow_unused=True)
    assert found[0] is None  # the head's weights chose the tokens, and made none of the features
    assert found[1].abs().sum() > 0


def test_overfits_one_batch_while_reading_its_own_tokens():
    model = make("free", decoder={"hidden_size": 24, "num_layers": 1}).float()
    source, target = batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for i in range(80):
        logits = model.decoder.head.logits(model(source, target, SamplingState(1, i)))
        loss = torch.nn.functional.cross_entropy(logits, target.ids[target.mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("free", "choice", "best", "choice='best' is not known; use argmax or sample"),
        ("scheduled", "decay", "cosine", "decay='cosine' is not known; use linear"),
        ("scheduled", "halfway", 0, "halfway=0 is a number of optimizer steps"),
        ("scheduled", "floor", 1.5, "floor=1.5 is a probability"),
        ("scheduled", "flor", 0.5, "decoder.feedback.flor.*did you mean decoder.feedback.floor"),
        ("teacher", "_target_", "seq2seq.nn.heads.LinearHead", "is not a Feedback"),
    ],
)
def test_refusals(name, key, value, message):
    with pytest.raises(UserError, match=message):
        make(name, **{key: value})
