"""Shapes and numbers at the edge: no NaN, and the gradients of float64 autograd, one step after the other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from seq2seq.inference.stepper import translate_ids
from seq2seq.models import EncoderDecoder, factory
from seq2seq.nn.losses import token_cross_entropy
from seq2seq.nn.types import Tokens
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD, UNK
from tests.conftest import model_config, options

pytestmark = pytest.mark.numerical


def tokens(lengths: list[int], ids: int, width: int | None = None) -> Tokens:
    """Sentences of one and the same id that end with eos; the padding is noise."""
    width = width or max(lengths)
    found = torch.randint(0, ids + 1, (len(lengths), width))
    for row, length in zip(found, lengths, strict=True):
        row[:length] = ids
        row[length - 1] = EOS
    return Tokens(found, torch.tensor(lengths))


def make(sizes: tuple[int, int] = (6, 7), *, hidden: int = 4, **parts: Any) -> EncoderDecoder:
    config = model_config(**parts)
    config["encoder"] |= {"hidden_size": hidden, "dropout": 0.0}
    config["decoder"] |= {"hidden_size": hidden, "dropout": 0.0}
    config["embedding"] |= {"dropout": 0.0}
    config["head"] |= {"dropout": 0.0}
    return factory.encoder_decoder(config, {"source": sizes[0], "target": sizes[1]})


def by_steps(model: EncoderDecoder) -> EncoderDecoder:
    """The same weights in float64, every cell run a step at a time under autograd."""
    exact = copy.deepcopy(model).double()
    for module in exact.modules():
        if hasattr(module, "path"):
            module.path = "step"
    return exact


def run(model: EncoderDecoder, source: Tokens, target: Tokens) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss a token, and the gradient of every parameter."""
    model.zero_grad()
    head, gold = model.decoder.head, target.ids[target.mask]
    loss = token_cross_entropy(model(source, target), head.weight, head.bias, gold) / len(gold)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def agree(model: EncoderDecoder, source: Tokens, target: Tokens, tolerance: float = 2e-4) -> None:
    loss, gradients = run(model, source, target)
    expected, exact = run(by_steps(model), source, target)
    torch.testing.assert_close(loss.double(), expected, rtol=tolerance, atol=tolerance)
    assert gradients.keys() == exact.keys()
    for name, gradient in gradients.items():
        assert gradient.isfinite().all(), name
        scale = exact[name].abs().max().clamp_min(1e-2)
        torch.testing.assert_close(
            gradient.double() / scale, exact[name] / scale, rtol=tolerance, atol=tolerance, msg=name
        )


BATCHES = {
    "length 1": (tokens([1], 4), tokens([1], 4)),
    "one real token": (tokens([1, 1, 1], 4, width=9), tokens([1, 1, 1], 4, width=5)),
    "long beside short": (tokens([60, 1], 4), tokens([1, 40], 4)),
    "all unknown": (tokens([5, 3], UNK), tokens([4, 2], UNK)),
}
PARTS = [
    *({"cell": cell} for cell in options("cell")),
    *({"context": context} for context in ("additive", "multiplicative") if context in options("context")),
    *({"head": head} for head in ("maxout", "tied")),
    *({"bridge": bridge} for bridge in ("zero",)),
]


def allowed(parts: dict[str, Any]) -> dict[str, Any]:
    return parts | ({"decoder": {"context_to": "readout", "query": "current"}} if "context" in parts else {})


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: "-".join(parts.values()))
def test_small_and_uneven_batches(parts: dict[str, Any], batch: str) -> None:
    source, target = BATCHES[batch]
    agree(make(**allowed(parts)), source, target)


@pytest.mark.parametrize("cell", options("cell"))
def test_one_unit_and_one_word(cell: str) -> None:
    source, target = tokens([3, 1], 4), tokens([2, 4], 4)
    agree(make((5, 5), hidden=1, cell=cell, context="additive"), source, target)


@pytest.mark.slow
@pytest.mark.parametrize("cell", options("cell"))
def test_two_thousand_steps(cell: str) -> None:
    agree(make(cell=cell), tokens([2000, 1], 4), tokens([3, 2000], 4), 2e-3)


@pytest.mark.slow
def test_attention_over_two_thousand_steps() -> None:
    agree(make(context="additive"), tokens([2000, 1], 4), tokens([3, 300], 4), 2e-3)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("context", ["fixed", "additive", "multiplicative"])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_masks_of_half_precision(context: str, kind: torch.dtype, scale: float) -> None:
    """The smallest number of the type stands where no token is; however large the energies, nothing becomes NaN, and
    padding has no weight."""
    model = make(hidden=8, context=context, decoder={"context_to": "readout", "query": "current"}).eval()
    with torch.no_grad():
        for parameter in model.decoder.context.parameters():
            parameter.mul_(scale)
    model = model.to(kind)
    source = tokens([1, 7, 3], 4, width=9)
    memory = model.encode(source)
    keys = model.decoder.context.prepare(memory)
    queries, steps = torch.randn(3, 2, 8).to(kind), torch.zeros(3, 2, dtype=torch.long)
    c, weights = model.decoder.context(queries, keys, steps)
    assert c.isfinite().all()
    if weights is not None:
        assert (weights.float().sum(-1) - 1).abs().max() < 0.02
        assert not weights.transpose(1, 2)[~source.mask].any()
    alone = tokens([1], 4)
    few = Tokens(source.ids[:1, :1], alone.lengths)
    torch.testing.assert_close(model.encode(few).summary, memory.summary[:1], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("context", ["fixed", "additive"])
@pytest.mark.parametrize("cell", options("cell"))
def test_mixed_precision_has_the_gradients(cell: str, context: str) -> None:
    """trainer.precision=bf16-mixed on a CPU: what has derivatives by hand runs in float32."""
    model = make(hidden=32, cell=cell, context=context)  # of few units, layer normalisation makes rounding large
    source, target = tokens([1, 30], 4), tokens([20, 1], 4)
    head, gold = model.decoder.head, target.ids[target.mask]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = token_cross_entropy(model(source, target), head.weight, head.bias, gold) / len(gold)
    loss.backward()
    expected, exact = run(by_steps(model), source, target)
    torch.testing.assert_close(loss.double(), expected, rtol=0.02, atol=0.02)
    found = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
    wanted = torch.cat([gradient.flatten() for gradient in exact.values()])
    assert found.isfinite().all()
    assert torch.nn.functional.cosine_similarity(found.double(), wanted, 0) > 0.98
    assert found.norm().double() / wanted.norm() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("lengths", [[1], [1, 1, 50], [50]])
def test_search_at_the_edge(lengths: list[int], beam_size: int) -> None:
    """A vocabulary of one word: a beam is wider than what there is to choose from."""
    model = make((5, 5), hidden=1, context="additive").eval()
    chosen = SearchOptions(bos=BOS, eos=EOS, pad=PAD, beam_size=beam_size, n_best=beam_size)
    for hypotheses in translate_ids(model, tokens(lengths, UNK), chosen):
        assert hypotheses
        assert all(torch.tensor(found.log_prob).isfinite() and found.log_prob <= 0 for found in hypotheses)
