"""Vectors of factors, by NumPy; a factor that is not read changes nothing to the bit; batches change nothing."""

from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.models import EncoderDecoder, factory
from seq2seq.models.graphed_loss import GraphedLoss
from seq2seq.nn.factor_embedding import FactorEmbedding
from seq2seq.nn.types import Tokens
from tests.conftest import model_config

SIZES = {"source": 12, "target": 9}
FACTORS = {"factors.pos": 7, "factors.case": 6}


def made(
    sizes: dict[str, int] | None = None, *, double: bool = True, context: str = "additive", **embedding: Any
) -> EncoderDecoder:
    torch.manual_seed(0)
    config = model_config(context=context, embedding=embedding)
    model = factory.encoder_decoder(config, SIZES | (FACTORS if sizes is None else sizes))
    return model.double().eval() if double else model.eval()


def tokens(*rows: list[int], factors: list[list[list[int]]] | None = None) -> Tokens:
    size = max(map(len, rows))
    ids = torch.tensor([row + [0] * (size - len(row)) for row in rows])
    lengths = torch.tensor(list(map(len, rows)))
    if factors is None:
        return Tokens(ids, lengths)
    padded = [[*each, *[[0, 0]] * (size - len(each))] for each in factors]
    return Tokens(ids, lengths, torch.tensor(padded))


# columns by name: case, then pos
SOURCE = tokens(
    [4, 5, 6, 3],
    [7, 3],
    [4, 4, 3],
    factors=[[[4, 4], [5, 6], [1, 5], [0, 0]], [[5, 5], [0, 0]], [[4, 4], [4, 6], [0, 0]]],
)
TARGET = tokens([4, 5, 3], [6, 3], [7, 8, 3])


@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_vectors_are_those_by_hand(combine: str) -> None:
    widths = {"pos": 2, "case": 3} if combine == "concat" else {"pos": 6, "case": 6}
    model = made(factors=widths, factors_combine=combine)
    embedding, factors = model.source_embedding, model.source_factors
    assert embedding is not None
    assert isinstance(factors, FactorEmbedding)
    assert factors.size == (5 if combine == "concat" else 0)
    seen: list[torch.Tensor] = []
    model.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model.encode(SOURCE)
    table, case, pos = (
        each.detach().numpy() for each in (embedding.weight, *(t.weight for t in factors.tables.values()))
    )
    assert not case[1].any()  # a value that was never seen adds nothing
    ids, columns = SOURCE.ids.numpy(), SOURCE.factors.numpy()
    vectors = [table[ids], case[columns[..., 0]], pos[columns[..., 1]]]
    expected = np.concatenate(vectors, -1) if combine == "concat" else sum(vectors)
    assert np.array_equal(seen[0].detach().numpy(), expected)


@pytest.mark.parametrize("context", ["fixed", "additive"])
def test_factors_that_are_not_read_change_nothing_to_the_bit(context: str) -> None:
    plain = made({}, double=False, context=context).train()
    zero = made(double=False, context=context, factors={"pos": 0, "case": 0}).train()
    assert list(plain.state_dict()) == list(zero.state_dict())
    losses = []
    for model, source in ((plain, SOURCE._replace(factors=None)), (zero, SOURCE)):
        torch.manual_seed(1)  # the same dropout
        losses.append(model.loss(source, TARGET))
        losses[-1].backward()
    assert torch.equal(*losses)
    for one, other in zip(plain.parameters(), zero.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    one = made(double=False, context=context, factors={"pos": 2, "case": 0})
    assert list(one.source_factors.columns.items()) == [("pos", 1)]  # the column stays that of its name


@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_batches_and_padding_change_nothing(combine: str) -> None:
    model = made(factors={"pos": 6, "case": 6}, factors_combine=combine, share=False)
    together = model.loss(SOURCE, TARGET)
    alone = []
    for i in range(3):
        source, target = (
            Tokens(*(None if each is None else each[i : i + 1] for each in side)) for side in (SOURCE, TARGET)
        )
        ids, length = source.ids, int(source.lengths)
        source = source._replace(ids=ids[:, :length], factors=source.factors[:, :length])
        alone.append(model.loss(source, target._replace(ids=target.ids[:, : int(target.lengths)])))
    assert torch.allclose(together, torch.stack(alone).sum(), atol=1e-10)
    wide = SOURCE._replace(
        ids=torch.nn.functional.pad(SOURCE.ids, (0, 3)),
        factors=torch.nn.functional.pad(SOURCE.factors, (0, 0, 0, 3), value=5),
    )
    assert torch.allclose(together, model.loss(wide, TARGET), atol=1e-10)
    assert torch.allclose(together, GraphedLoss(model)(SOURCE, TARGET), atol=1e-10)  # padded, as for a graph
    other = SOURCE._replace(factors=SOURCE.factors.clone())
    other.factors[1, 0, 1] = 6
    assert not torch.allclose(together, model.loss(other, TARGET), atol=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    model = made(factors={"pos": 2, "case": 3})
    model.loss(SOURCE, TARGET).backward()
    for name, parameter in model.source_factors.named_parameters():
        i = np.unravel_index(int(parameter.grad.abs().argmax()), parameter.shape)
        losses = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter[i] += step
                losses.append(float(model.loss(SOURCE, TARGET)))
                parameter[i] -= step
        assert abs((losses[0] - losses[1]) / 2e-5 - float(parameter.grad[i])) < 1e-6, name


@pytest.mark.parametrize(
    ("embedding", "words"),
    [
        ({"factors": {"pos": 2}}, r"has sizes of pos, and the sources have pos, case; name the same"),
        ({"factors": {"pos": 2, "case": -1}}, r"embedding.factors.case=-1: must be a whole number"),
        ({"factors": {"pos": 2, "case": 6}, "factors_combine": "sum"}, r"embedding.factors.pos=2: a sum is of .*=6"),
        (
            {"factors": {"pos": 2, "case": 6}, "factors_combine": "add"},
            r"factors_combine='add' is not known; use concat",
        ),
        ({"factors": 3}, r"embedding.factors=3: must be sizes by name"),
    ],
)
def test_refused_tables(embedding: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        made(**embedding)


@pytest.mark.parametrize("task", ["tagging", "language_modeling", "captioning"])
def test_other_models_read_no_factors(task: str) -> None:
    config = model_config(embedding={"factors": {"pos": 2}}) | {"labels": {"many": False}}
    if task == "language_modeling":
        config["encoder"] = model_config(encoder_name="stack")["encoder"]
    sizes = {"features": 3, "target": 9} if task == "captioning" else SIZES
    with pytest.raises(UserError, match=r"embedding\.factors"):
        factory.model(task, config, sizes)
