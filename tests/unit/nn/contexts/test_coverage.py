"""Attention that reads what it attended to before (See et al. 2017, eqs. 10-11): by hand, whole targets against single
steps, in a search, and no difference where it is off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.nn.contexts import AdditiveContext
from seq2seq.nn.types import Memory, Pairs, Tokens, mask_from_lengths
from seq2seq.search import SearchOptions, search
from seq2seq.training.losses.attention_losses import AttentionLosses
from tests.conftest import model_config, node
from tests.unit.models.test_models import batch, stepwise

pytestmark = pytest.mark.numerical
SIZES = {"source": 20, "target": 20}
WIRINGS: list[dict[str, Any]] = [
    {"context_to": "both"},
    {"query": "current", "context_to": "readout"},
    {"input_feeding": True, "num_layers": 2},
]


def made(coverage: bool = True, weight: float = 2.0, heads: int = 1, **decoder: Any) -> Any:
    """A model whose w_c is no longer 0, so that coverage counts."""
    torch.manual_seed(3)
    config = model_config(context="additive", decoder=decoder)
    config["context"] = node("context", "additive", coverage=coverage, num_heads=heads)
    model = factory.encoder_decoder(config, SIZES).double().eval()
    if coverage:
        with torch.no_grad():
            model.decoder.context.coverage.copy_(torch.randn(8).double() * weight)
    return model


def test_the_equations_by_hand() -> None:
    torch.manual_seed(0)
    context = AdditiveContext(3, 4, attention_size=5, coverage=True).double()
    torch.nn.init.normal_(context.coverage)
    memory = torch.randn(2, 4, 3).double()
    keys = context.prepare(Memory(memory, mask_from_lengths(torch.tensor([4, 3]), 4), memory[:, 0], ()))
    h, w_k, b, w_q, v, w_c = (
        tensor.detach().numpy()
        for tensor in (
            memory,
            context.key.weight,
            context.key.bias,
            context.query.weight,
            context.energy,
            context.coverage,
        )
    )
    covered, coverage = np.zeros((2, 4)), None
    for t in range(3):
        s = torch.randn(2, 1, 4).double()
        c, weights = context(s, keys, torch.full((2, 1), t), coverage)
        coverage = weights if coverage is None else coverage + weights
        for row, length in enumerate((4, 3)):
            energies = np.array(
                [
                    v @ np.tanh(w_q @ s[row, 0].numpy() + w_k @ h[row, i] + b + w_c * covered[row, i])
                    for i in range(length)
                ]
            )
            alpha = np.exp(energies - energies.max())
            alpha /= alpha.sum()
            np.testing.assert_allclose(weights[row, 0, :length].detach().numpy(), alpha, rtol=1e-10)
            np.testing.assert_allclose(c[row, 0].detach().numpy(), alpha @ h[row, :length], rtol=1e-10)
            covered[row, :length] += alpha


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("wiring", WIRINGS, ids=["previous", "current", "feeding"])
def test_a_whole_target_is_single_steps_with_their_gradients(wiring: dict[str, Any], heads: int) -> None:
    model, (source, target) = made(heads=heads, **wiring), batch()
    expected, weights = stepwise(model, source, target)
    found = model.decoder.head.logits(model(source, target)).log_softmax(-1)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    parameters = list(model.parameters())
    factor = torch.randn_like(found)
    pairs = [torch.autograd.grad((each * factor).sum(), parameters, allow_unused=True) for each in (found, expected)]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)
    assert pairs[0][[name for name, _ in model.named_parameters()].index("decoder.context.coverage")].abs().max() > 0
    plain = made(coverage=False, heads=heads, **wiring)
    plain.load_state_dict(
        {key: value for key, value in model.state_dict().items() if key != "decoder.context.coverage"}
    )
    other, first = stepwise(plain, source, target)
    assert not torch.allclose(other, expected)  # coverage counts,
    torch.testing.assert_close(first[0], weights[0])  # but not in the first step


def test_a_weight_of_zero_is_no_coverage() -> None:
    source, target = batch()
    torch.testing.assert_close(made(weight=0)(source, target), made(coverage=False)(source, target))
    assert "coverage" not in " ".join(made(coverage=False).state_dict())


def test_a_sentence_does_not_depend_on_its_neighbours() -> None:
    model, (source, target) = made(), batch()
    together = model(source, target)
    rows = torch.split(together, target.lengths.tolist())
    for i, row in enumerate(rows):
        one = [Tokens(side.ids[i : i + 1, : side.lengths[i]], side.lengths[i : i + 1]) for side in (source, target)]
        torch.testing.assert_close(model(*one), row)


@torch.no_grad()
def test_a_beam_carries_the_coverage_of_each_prefix() -> None:
    model, (source, _) = made(weight=4), batch()
    memory = model.encode(source)
    state, encoded = model.start(memory)
    options = SearchOptions(bos=2, eos=3, pad=0, beam_size=4, n_best=4, length_penalty=0.0)
    for b, hypotheses in enumerate(search(model.step, state, encoded, torch.tensor([6, 5, 6]), options)):
        alone = Tokens(source.ids[b : b + 1, : source.lengths[b]], source.lengths[b : b + 1])
        for each in hypotheses:
            ids = [*each.tokens, *([3] if each.finished else [])]
            target = Tokens(torch.tensor([ids]), torch.tensor([len(ids)]))
            log_probs = model.decoder.head.logits(model(alone, target)).log_softmax(-1)
            expected = log_probs.gather(1, target.ids[0][:, None]).sum().item()
            assert each.log_prob == pytest.approx(expected, abs=1e-4)


def test_it_learns_with_the_loss_on_coverage() -> None:
    model, (source, target) = made(), batch()
    losses = AttentionLosses(0.0, 1.0, None, np.array([4, 1, 6]))
    given = Pairs(source, target, torch.arange(3))
    plain = AttentionLosses(0.0, 0.0, None, np.array([4, 1, 6]))(model, given, label_smoothing=0.0)
    total = losses(model, given, label_smoothing=0.0)
    assert total > plain
    (gradient,) = torch.autograd.grad(total - plain, [model.decoder.context.coverage])
    assert gradient.abs().max() > 0


def test_what_has_no_coverage_says_so() -> None:
    with pytest.raises(UserError, match=r"coverage=true would carry attention past recurrence=output"):
        made(recurrence="output", query="current", context_to="readout")
    config = model_config(context="multiplicative")
    config["context"]["coverage"] = True
    with pytest.raises(UserError, match="coverage"):
        factory.encoder_decoder(config, SIZES)
