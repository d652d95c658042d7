"""`task.r_drop`: the loss of two passes against the equation, from torch's own functions."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from seq2seq.models import factory
from seq2seq.nn.losses import ROWS, symmetric_divergence
from seq2seq.nn.types import IGNORED, Features, Pairs, Tokens, twice, unpadded_ids
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD, WhitespaceTokenizer
from seq2seq.training.losses.objectives import Objective
from seq2seq.training.tasks.translation import TranslationModule
from tests.conftest import model_config
from tests.unit.models.test_models import SOURCE, TARGET, batch

ALPHA = 0.7


def make(dropout):
    config = model_config(embedding={"dropout": dropout}, decoder={"dropout": dropout})
    config["head"]["dropout"] = dropout
    model = factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})
    return model.double().train()


def by_hand(model, source, target, smoothing=0.1):
    """Both passes, one after the other, by the rows of a batch of double size."""
    features = model(twice(source), twice(target))
    logits, y = model.decoder.head.logits(features), unpadded_ids(target)
    first, second = logits[: len(y)], logits[len(y) :]
    losses = [F.cross_entropy(each, y, reduction="sum", label_smoothing=smoothing) for each in (first, second)]
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    divergences = [F.kl_div(a, b, reduction="sum", log_target=True) for a, b in ((p, q), (q, p))]
    return sum(losses) / 2, sum(divergences) / 2


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


def test_the_loss_and_its_gradients_are_those_of_the_equation():
    model, (source, target) = make(0.4), batch()
    torch.manual_seed(5)
    loss, divergence = by_hand(model, source, target)
    assert divergence > 0.01
    expected = gradients(model, loss + ALPHA * divergence)
    torch.manual_seed(5)
    found = model.loss(source, target, label_smoothing=0.1, r_drop=ALPHA)
    torch.testing.assert_close(found, loss + ALPHA * divergence)
    for one, other in zip(gradients(model, found), expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other)


def test_without_dropout_both_passes_are_one():
    model, (source, target) = make(0.0), batch()
    plain = model.loss(source, target, label_smoothing=0.1)
    found = model.loss(source, target, label_smoothing=0.1, r_drop=ALPHA)
    torch.testing.assert_close(found, plain)
    for one, other in zip(gradients(model, found), gradients(model, plain), strict=True):
        assert one is None or torch.allclose(one, other, atol=1e-12)


def test_switched_off_nothing_changes():
    model, (source, target) = make(0.4), batch()
    torch.manual_seed(5)
    plain = model.loss(source, target)
    torch.manual_seed(5)
    assert torch.equal(model.loss(source, target, r_drop=0.0), plain)


def test_divergence_in_chunks_leaves_out_pads():
    rows = ROWS + 3
    weight, bias = torch.randn(7, 4, dtype=torch.double), torch.randn(7, dtype=torch.double)
    one, other = torch.randn(2, rows, 4, dtype=torch.double)
    targets = torch.zeros(rows, dtype=torch.long)
    targets[[1, ROWS]] = IGNORED
    known = targets != IGNORED
    p, q = (F.linear(each[known], weight, bias).softmax(-1) for each in (one, other))
    expected = ((p - q) * (p / q).log()).sum() / 2
    torch.testing.assert_close(symmetric_divergence(one, other, weight, bias, targets), expected)


def test_gradients_of_the_divergence():
    targets = torch.tensor([1, IGNORED, 0])
    parts = [torch.randn(*size, dtype=torch.double, requires_grad=True) for size in ((3, 2), (3, 2), (4, 2), (4,))]
    assert torch.autograd.gradcheck(lambda *each: symmetric_divergence(*each, targets), parts)


def test_twice():
    ids, lengths = torch.tensor([[4, 5], [6, 0]]), torch.tensor([2, 1])
    found = twice(Tokens(ids, lengths))
    assert found.ids.tolist() == [[4, 5], [6, 0], [4, 5], [6, 0]]
    assert found.lengths.tolist() == [2, 1, 2, 1]
    assert isinstance(twice(Features(torch.zeros(1, 2, 3), torch.tensor([2]))), Features)


@pytest.mark.parametrize("training", [True, False])
def test_the_task_has_it_in_training_only(training, monkeypatch):
    model, (source, target) = make(0.4), batch()
    constant = {"name": "constant"}
    module = TranslationModule(
        model,
        optimizer=constant,
        scheduler=constant,
        search=SearchOptions(bos=BOS, eos=EOS, pad=PAD),
        objective=Objective(0.1, ALPHA),
        target_tokenizer=WhitespaceTokenizer(["a"]),
        references=[],
    )
    trainer = SimpleNamespace(global_step=0, global_rank=0)
    monkeypatch.setattr(TranslationModule, "trainer", trainer)
    torch.manual_seed(5)
    found, count = module.loss(Pairs(source, target, torch.arange(3)), training=training)
    torch.manual_seed(5)
    options = {"label_smoothing": 0.1, "r_drop": ALPHA} if training else {}
    assert torch.equal(found, model.loss(source, target, **options))
    assert count == target.lengths.sum()
