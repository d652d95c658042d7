"""The language model: state in, state out; both truncations against NumPy; what is drawn, and how it is told."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.inference.text_sampler import SamplingOptions, Transcript
from seq2seq.models import LanguageModel, factory
from seq2seq.nn.cells import Vanilla
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.encoders import RecurrentStack
from seq2seq.nn.heads import LinearHead
from seq2seq.nn.types import map_tensors
from seq2seq.reference.losses import softmax_cross_entropy
from seq2seq.reference.network import Network, forward, initialise
from seq2seq.reference.truncation import truncated, windowed
from seq2seq.text import EOS, CharacterTokenizer, SentencePieceTrainer, WhitespaceTokenizer
from tests.conftest import node, options

V = 9


def make(cell: str = "gru", *, head: str = "linear", dropout: float = 0.0, **changes: Any) -> LanguageModel:
    stack = node("encoder", "stack", hidden_size=5, cell=node("cell", cell), **{"dropout": dropout, **changes})
    config = {"embedding": {"size": 4}, "encoder": stack, "head": node("head", head, dropout=0.0)}
    model = factory.model("language_modeling", config, {"source": V, "target": V})
    assert isinstance(model, LanguageModel)
    return model.double()


def nats(model: LanguageModel, features: Tensor, targets: Tensor) -> Tensor:
    logits = model.head.logits(features)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


@pytest.mark.numerical
@pytest.mark.parametrize("cell", options("cell"))
@pytest.mark.parametrize(
    ("num_layers", "residual", "head"), [(1, False, "linear"), (3, True, "tied"), (2, False, "maxout")]
)
def test_windows_and_steps_are_one_long_unroll(cell: str, num_layers: int, residual: bool, head: str) -> None:
    model, ids = make(cell, num_layers=num_layers, residual=residual, head=head), torch.randint(V, (3, 11))
    whole, end = model(ids, model.init_state(3))
    for size in (1, 4):
        state, parts = model.init_state(3), []
        for window in ids.split(size, 1):
            features, state = model(window, state)
            parts.append(features)
        torch.testing.assert_close(torch.cat(parts, 1), whole)
        torch.testing.assert_close(state, end)
    state, rows = model.init_state(3), []
    for column in ids.t():
        log_probs, state = model.step(column, state)
        rows.append(log_probs)
    torch.testing.assert_close(torch.stack(rows, 1), model.head.logits(whole).log_softmax(-1))
    assert not torch.allclose(model(ids, end)[0], whole)


@pytest.mark.numerical
@pytest.mark.parametrize("cell", options("cell"))
@pytest.mark.parametrize("reach", [0, 3, 10])
def test_no_value_depends_on_the_reach(cell: str, reach: int) -> None:
    model, ids = make(cell, num_layers=2, residual=True), torch.randint(V, (3, 11))
    state = map_tensors(lambda x: torch.randn_like(x), model.init_state(3))
    torch.testing.assert_close(model(ids, state, reach=reach), model(ids, state))


def textbook(network: Network) -> LanguageModel:
    """The textbook's network: one-hot vectors; U, W and b in a vanilla cell, V and c in the head."""
    size, inputs = network.U.shape
    embedding = Embedding(inputs, inputs)
    stack = RecurrentStack(inputs, size, Vanilla)
    model = LanguageModel(embedding, stack, LinearHead(size, 0, embedding.weight)).double()
    (cell,) = stack.layers
    values = {embedding.weight: np.eye(inputs), cell.weight_ih: network.U, cell.weight_hh: network.W}
    values |= {cell.bias_ih: network.b, cell.bias_hh: 0 * network.b, model.head.weight: network.V}
    with torch.no_grad():
        for parameter, value in (values | {model.head.bias: network.c}).items():
            parameter.copy_(torch.from_numpy(value))  # type: ignore[union-attr]
    return model


def gradients(model: LanguageModel, s_0: Tensor) -> list[np.ndarray]:
    (cell,) = model.encoder.layers
    found = [cell.weight_ih, cell.weight_hh, model.head.weight, cell.bias_ih, model.head.bias, s_0]
    return [np.zeros(p.shape) if p.grad is None else p.grad.numpy() for p in found]  # type: ignore[union-attr, misc]


@pytest.fixture
def problem() -> tuple[Any, ...]:
    """A network, 12 words and what follows each, its trace and errors, and the state that it starts from."""
    rng = np.random.default_rng(3)
    network, ids, s_0 = initialise(V, 6, V, rng), rng.integers(V, size=13), rng.normal(size=6)
    network = network._replace(W=network.W * 2, b=rng.normal(size=6))
    trace = forward(network, ids[:-1], s_0)
    _, e = softmax_cross_entropy(trace.o, ids[1:])
    return network, torch.from_numpy(ids)[None], trace, e, torch.from_numpy(s_0)[None].requires_grad_()


@pytest.mark.parametrize("k", [0, 1, 2, 5, 10, 11, 12, 40])
def test_each_error_goes_back_k_steps_as_in_numpy(problem: tuple[Any, ...], k: int) -> None:
    network, ids, trace, e, s_0 = problem
    model = textbook(network)
    start = (model.encoder.state_shapes[0].kind(s_0),)
    features, _ = model(ids[:, :-1], start, reach=k)
    nats(model, features, ids[:, 1:]).backward()
    expected = truncated(network, trace, e, k)
    for ours, theirs in zip(gradients(model, s_0), expected[:6], strict=True):
        np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=1e-10, atol=1e-13)
    rows = np.zeros((V, V))  # what reaches a step's vector reaches its row of the table
    np.add.at(rows, ids[0, :-1].numpy(), expected.x)
    np.testing.assert_allclose(model.embedding.weight.grad.numpy(), rows, rtol=1e-10, atol=1e-13)  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [1, 2, 5, 12, 40])
def test_stateful_windows_have_the_gradients_of_numpys(problem: tuple[Any, ...], size: int) -> None:
    network, ids, trace, e, s_0 = problem
    model = textbook(network)
    state = (model.encoder.state_shapes[0].kind(s_0),)
    for inputs, targets in zip(ids[:, :-1].split(size, 1), ids[:, 1:].split(size, 1), strict=True):
        features, state = model(inputs, state)
        nats(model, features, targets).backward()
        state = map_tensors(Tensor.detach, state)
    for ours, theirs in zip(gradients(model, s_0), windowed(network, trace, e, size)[:6], strict=True):
        np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=1e-10, atol=1e-13)


def test_wrong_sizes() -> None:
    with pytest.raises(UserError, match="num_layers=0"):
        make(num_layers=0)
    model = make()
    with pytest.raises(UserError, match="truncate=-1"):
        model(torch.randint(V, (1, 3)), model.init_state(1), reach=-1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": node("encoder", "recurrent", cell=node("cell", "gru"))}, "encoder=stack"),
        ({"embedding": {"size": 4, "share": True}}, "one side only"),
        ({"embedding": {"size": 4, "dropuot": 0.1}}, "did you mean embedding.dropout"),
    ],
)
def test_a_configuration_that_makes_no_language_model(changes: dict[str, Any], message: str) -> None:
    stack = node("encoder", "stack", cell=node("cell", "gru"))
    config = {"embedding": {"size": 4}, "encoder": stack, "head": node("head", "linear"), **changes}
    with pytest.raises(UserError, match=message):
        factory.model("language_modeling", config, {"source": V, "target": V})


@pytest.mark.parametrize(
    "wrong",
    [{"length": 0}, {"temperature": 0.0}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}],
)
def test_sampling_options_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))}="):
        SamplingOptions(**wrong)


@pytest.mark.parametrize("kind", ["characters", "words", "bytes"])
def test_a_transcript_tells_the_text_in_parts(kind: str) -> None:
    lines = ["to be, or not", "", "né à 北京 to", " to  be"] if kind != "words" else ["to be or", "", "not to be"]
    tokenizer = {
        "characters": lambda: CharacterTokenizer("".join(sorted(set("".join(lines))))),
        "words": lambda: WhitespaceTokenizer(["to", "be", "or", "not"]),
        "bytes": lambda: SentencePieceTrainer("bpe", 275).train(["to be", "or not to be", "be"]),
    }[kind]()
    ids = list(itertools.chain.from_iterable([*tokenizer.encode(line), EOS] for line in lines))
    for begin in range(len(tokenizer.encode(lines[0]))):
        told = [transcript.add(i) for transcript in [Transcript(tokenizer, ids[:begin])] for i in ids[begin:]]
        prompt = tokenizer.decode(ids[:begin])
        assert prompt + "".join(told) == "".join(f"{line}\n" for line in lines)
        assert not any("\ufffd" in part for part in told)
