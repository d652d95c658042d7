"""`task.loss=risk` against all translations of a language of three tokens, and its parts by hand."""

from itertools import product
from types import SimpleNamespace

import pytest
import torch

from seq2seq.models import factory
from seq2seq.nn.losses import ROWS, token_log_probs
from seq2seq.nn.scheduled_sampling import SamplingState
from seq2seq.nn.types import IGNORED, Pairs, Tokens
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD, UNK, WhitespaceTokenizer
from seq2seq.training.losses.objectives import Objective, Risk, bleu_cost, ended, make_objective
from seq2seq.training.tasks.translation import TranslationModule
from tests.conftest import model_config

WORDS = (UNK, 4, 5)  # what may be drawn of six tokens: not pad, bos and eos
LANGUAGE = [ids for length in (0, 1, 2) for ids in product(WORDS, repeat=length)]
SEARCH = SearchOptions(bos=BOS, eos=EOS, pad=PAD, max_length_ratio=0, max_length_extra=2)
MOMENT = SamplingState(1, 0)
SHARPNESS = 0.6


def cost(translations, reference):
    """Any number that a translation and its reference decide."""
    return [
        (sum((i + 2) * (token + 1) for i, token in enumerate(each)) + len(reference)) % 7 / 7 for each in translations
    ]


@pytest.fixture(params=["fixed", "additive"])
def model(request):
    torch.manual_seed(3)
    config = model_config(
        context=request.param, **{part: {"dropout": 0.0} for part in ("embedding", "encoder", "decoder")}
    )
    config["head"]["dropout"] = 0.0
    return factory.encoder_decoder(config, {"source": 9, "target": 6}).double().train()


SOURCE = Tokens(torch.tensor([[5, 6, EOS], [7, EOS, 0]]), torch.tensor([3, 2]))
REFERENCES = [(4, 5, 5), (5,)]  # the first is longer than what is drawn


def log_prob(model, row, ids):
    """log p of one translation of one source, a token at a time."""
    length = int(SOURCE.lengths[row])
    source = Tokens(SOURCE.ids[row : row + 1, :length], SOURCE.lengths[row : row + 1])
    state, encoded = model.start(model.encode(source))
    total, previous = 0.0, BOS
    for token in (*ids, EOS):
        log_probs, state, _ = model.step(torch.tensor([previous]), state, encoded)
        total, previous = total + log_probs[0, token], token
    return total


def by_enumeration(model):
    total = 0.0
    for row, reference in enumerate(REFERENCES):
        every = list(dict.fromkeys([reference, *LANGUAGE]))
        weights = torch.stack([SHARPNESS * log_prob(model, row, ids) for ids in every]).exp()
        total = total + (weights / weights.sum()) @ torch.tensor(cost(every, reference), dtype=torch.double)
    return total


def test_risk_and_gradient_are_those_of_the_whole_language(model):
    """So many draws that none is missing."""
    risk = Risk(600, SHARPNESS, SEARCH, cost)
    target = ended(REFERENCES, EOS, SOURCE.ids)
    assert [set(each) for each in risk.candidates(model, SOURCE, REFERENCES, MOMENT)] == [
        {reference, *LANGUAGE} for reference in REFERENCES
    ]
    assert model.training
    expected, found = by_enumeration(model), risk(model, SOURCE, target, MOMENT)
    torch.testing.assert_close(found, expected)
    parameters = list(model.parameters())
    for one, other in zip(*(torch.autograd.grad(loss, parameters) for loss in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


def test_draws_are_a_function_of_seed_and_step(model):
    risk = Risk(3, SHARPNESS, SEARCH, cost)
    first, again, later = (risk.candidates(model, SOURCE, REFERENCES, SamplingState(1, step)) for step in (0, 0, 1))
    assert first == again != later
    for reference, each in zip(REFERENCES, first, strict=True):
        assert each[0] == reference
        assert len(set(each)) == len(each) <= 4


def test_log_probs_of_rows_in_chunks():
    features, weight = torch.randn(ROWS + 2, 3, dtype=torch.double), torch.randn(5, 3, dtype=torch.double)
    bias, targets = torch.randn(5, dtype=torch.double), torch.randint(5, (ROWS + 2,))
    targets[1] = IGNORED
    found = token_log_probs(features, weight, bias, targets)
    expected = (features @ weight.t() + bias).log_softmax(-1).gather(1, targets.clamp(min=0)[:, None])[:, 0]
    expected[1] = 0
    torch.testing.assert_close(found, expected)


def test_the_cost_is_that_of_sentence_bleu():
    tokenizer = WhitespaceTokenizer(["a", "b", "c"])
    ids = [tuple(tokenizer.encode(text)) for text in ("a b c", "a b c", "a b", "")]
    reference, *translations = [each[:-1] if each and each[-1] == EOS else each for each in ids]
    costs = bleu_cost(tokenizer)(translations, reference)
    assert costs[0] == pytest.approx(0)
    assert 0 < costs[1] < costs[2] == 1


def test_a_configuration_of_before_has_no_risk():
    tokenizer = WhitespaceTokenizer(["a"])
    assert make_objective({"label_smoothing": 0.1}, SEARCH, tokenizer) == (0.1, 0.0, None)
    made = make_objective(
        {"label_smoothing": 0.1, "loss": "risk", "risk": {"samples": 2, "sharpness": 0.1}}, SEARCH, tokenizer
    )
    assert made.risk.search.n_best == 2


@pytest.mark.parametrize("with_risk", [True, False])
def test_throughput_counts_tokens_whatever_the_loss_is_a_sum_over(model, with_risk, monkeypatch):
    """The mean of a risk is over sentences, and tokens_per_second still over target tokens; an idle batch has none."""
    constant, target = {"name": "constant"}, ended(REFERENCES, EOS, SOURCE.ids)
    module = TranslationModule(
        model,
        optimizer=constant,
        scheduler=constant,
        search=SEARCH,
        objective=Objective(risk=Risk(2, SHARPNESS, SEARCH, cost) if with_risk else None),
        target_tokenizer=WhitespaceTokenizer(["a"]),
        references=[],
    )
    optimizers = [SimpleNamespace(param_groups=[{"lr": 1.0}])]
    trainer = SimpleNamespace(
        global_step=0, global_rank=0, world_size=1, accumulate_grad_batches=1, optimizers=optimizers
    )
    monkeypatch.setattr(TranslationModule, "trainer", trainer)
    logged: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.setdefault(name, value))
    pairs = Pairs(SOURCE, target, torch.arange(2))
    module.training_step(pairs, 0)
    loss, count = module.loss(pairs, training=True)
    assert (int(module.trained_tokens), int(count)) == (6, 2 if with_risk else 6)
    torch.testing.assert_close(logged["train_loss"], loss.detach() / count)
    module.training_step(pairs._replace(rows=torch.arange(0)), 1)
    assert module.trained_tokens == 6
