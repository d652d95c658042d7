"""What makes translating fast: the input table gives the model's own step, and int8 is what its formula says."""

from itertools import chain

import pytest
import torch

from seq2seq.inference.stepper import Stepper, translate_ids
from seq2seq.models import factory
from seq2seq.nn import int8
from seq2seq.nn.int8 import Int8Linear
from seq2seq.nn.types import Tokens
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD
from tests.conftest import model_config

pytestmark = pytest.mark.numerical

SOURCE = Tokens(torch.tensor([[5, 6, 7, EOS], [8, EOS, PAD, PAD]]), torch.tensor([4, 2]))


def model(**changes):
    config = model_config(**changes)
    found = factory.encoder_decoder(config, {"source": 11, "target": 13}).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(3)
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "lstm"},
        {"context": "additive", "head": "maxout", "decoder": {"context_to": "both"}},
        {
            "context": "multiplicative",
            "decoder": {"context_to": "readout", "query": "current", "input_feeding": True, "num_layers": 2},
        },
    ],
)
@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_table_of_inputs_changes_nothing(changes, beam_size):
    """Also where a wrong row of the table would show: every hypothesis and its log-probability."""
    found = model(**changes)
    options = SearchOptions(bos=BOS, eos=EOS, pad=PAD, beam_size=beam_size, n_best=beam_size)
    plain = translate_ids(found, SOURCE, options)
    fast = translate_ids(found, SOURCE, options, Stepper(found))
    for one, other in zip(chain(*plain), chain(*fast), strict=True):
        assert one.tokens == other.tokens
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-5)


def test_int8_is_its_formula_in_integers():
    features, weight, bias = torch.randn(5, 16), torch.randn(30, 16), torch.randn(30)
    sigma, tau = weight.abs().amax(1) / 127, features.abs().amax(1) / 127
    q = torch.round(weight / sigma[:, None]).long()
    p = torch.round(features / tau[:, None]).long()
    expected = (p @ q.T).double() * tau[:, None].double() * sigma.double() + bias.double()
    found = Int8Linear(weight, bias)(features)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    exact = features @ weight.T + bias
    assert (found - exact).abs().max() < 0.05 * exact.abs().max()
    assert not torch.equal(found, exact)


def test_int8_rows_do_not_know_their_neighbours():
    layer = Int8Linear(torch.randn(40, 32), torch.zeros(40))
    rows = torch.randn(9, 32)
    rows[4] *= 1000  # would ruin a scale that were shared
    together = layer(rows)
    for i, row in enumerate(rows):
        torch.testing.assert_close(layer(row[None])[0], together[i])


def no_such_kernel(*_):
    raise RuntimeError("_int_mm is not implemented here")


def saturating(a, b):
    return (a.int() @ b.int()).clamp(max=2**15 - 1)


@pytest.mark.parametrize("product", [no_such_kernel, saturating])
def test_int8_where_torch_has_no_such_product(monkeypatch, product):
    """The same numbers: products of 8-bit integers are exact in float64, too."""
    layer, rows = Int8Linear(torch.randn(40, 96), torch.zeros(40)), torch.randn(9, 96)
    expected = layer(rows)
    monkeypatch.setattr(torch, "_int_mm", product)
    int8._integers_work.cache_clear()
    try:
        torch.testing.assert_close(layer(rows), expected)
    finally:
        int8._integers_work.cache_clear()


def test_int8_of_nothing_but_zeros():
    assert torch.equal(Int8Linear(torch.zeros(3, 4), torch.ones(3))(torch.zeros(2, 4)), torch.ones(2, 3))
