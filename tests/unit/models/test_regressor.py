"""The regressor against its equation, whatever the batch; and classifiers of float sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seq2seq.models import factory
from seq2seq.nn.types import Features
from tests.conftest import model_config

WIDTH = 3
MEAN, DEVIATION = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, 0.0, 4.0])


def config(context: str) -> dict[str, Any]:
    parts = model_config(context=context)
    return {key: parts[key] for key in ("encoder", "context", "head", "embedding")} | {"labels": {"many": False}}


def source() -> Features:
    return Features(torch.randn(3, 5, WIDTH), torch.tensor([5, 2, 4]))


@pytest.mark.parametrize("context", ["fixed", "additive"])
def test_the_outputs_by_hand(context: str) -> None:
    model = factory.model("regression", config(context), {"features": WIDTH, "outputs": 2}).eval()
    model.embedding.fit(MEAN, DEVIATION)
    model.fit(torch.tensor([10.0, 20.0]), torch.tensor([3.0, 5.0]))
    given, targets = source(), torch.randn(3, 2)
    z = (given.values - MEAN) / torch.tensor([2.0, 1.0, 4.0])  # a column that never changes is only shifted
    memory = model.encoder(z * given.mask[..., None], given.mask)
    keys = model.pooling.prepare(memory)
    query = None if context == "fixed" else model.query.expand(3, 1, -1)
    c = model.pooling(query, keys, torch.zeros(3, 1, dtype=torch.long))[0][:, 0]
    units = c @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model.predict(given), torch.tensor([10.0, 20.0]) + torch.tensor([3.0, 5.0]) * units)
    expected = ((model.predict(given) - targets) / torch.tensor([3.0, 5.0])).square().sum()
    torch.testing.assert_close(model.loss(given, targets), expected)
    for i, length in enumerate(given.lengths.tolist()):
        alone = Features(given.values[i : i + 1, :length], given.lengths[i : i + 1])
        torch.testing.assert_close(model.predict(alone)[0], model.predict(given)[i])
    assert {"embedding.mean", "embedding.deviation", "mean", "deviation"} <= set(model.state_dict())


def test_a_classifier_reads_numbers_too() -> None:
    model = factory.model("classification", config("fixed"), {"features": WIDTH, "target": 7}).eval()
    assert model.features == WIDTH
    assert model.predict(source()).probabilities.shape == (3, 3)
    text = factory.model("classification", config("fixed"), {"source": 300, "target": 7})
    assert text.features is None
    assert not any("deviation" in name for name in text.state_dict())
