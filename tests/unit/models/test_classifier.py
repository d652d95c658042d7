"""Classifiers: every pooling, the same whatever the batch, softmax and sigmoid."""

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.text import EOS
from tests.labels import CHARACTERS, SENTENCES, SIZE, WORDS, config, make, tokens

TEXTS = [*SENTENCES, ""]
POOLINGS = {
    "last": ("fixed", {"summary": "last"}),
    "mean": ("fixed", {"summary": "mean"}),
    "max": ("fixed", {"summary": "max"}),
    "additive": ("additive", {}),
    "general": ("multiplicative", {"score": "general"}),
    "dot": ("multiplicative", {"score": "dot"}),
    "scaled": ("multiplicative", {"score": "scaled"}),
}


def pooling(name, **changes):
    context, change = POOLINGS[name]
    nodes = config(context=context, **changes)
    nodes["context"] |= change
    source = 300 if nodes["embedding"]["characters"] else len(WORDS)
    return factory.model("classification", nodes, {"source": source, "target": SIZE + 4}).eval()


def batch(texts, *, spelt=False):
    return tokens(texts, spelt=spelt, end=(EOS,))


@pytest.mark.numerical
@pytest.mark.parametrize("characters", [None, CHARACTERS], ids=["words", "characters"])
@pytest.mark.parametrize("name", POOLINGS)
def test_a_text_is_classified_the_same_alone_and_in_a_batch(name, characters):
    model = pooling(name, embedding={"characters": characters}, encoder={"num_layers": 2})
    together = model(batch(TEXTS, spelt=bool(characters)))
    torch.testing.assert_close(together, torch.cat([model(batch([text], spelt=bool(characters))) for text in TEXTS]))
    assert len({tuple(row.tolist()) for row in together.detach()}) == len(TEXTS)  # it tells them apart


@pytest.mark.numerical
@pytest.mark.parametrize("name", POOLINGS)
def test_poolings_by_their_definitions(name):
    model, source = pooling(name), batch(TEXTS)
    words = model.embedding(source)
    memory = model.encoder(words.vectors, words.mask)
    c, weights = model.pool(source)
    for row, length in enumerate(source.lengths.tolist()):
        states = memory.outputs[row, :length]
        if name == "last":  # forwards after the last word, backwards after the first
            expected = torch.cat([states[-1, :5], states[0, 5:]])
        elif name in ("mean", "max"):
            expected = states.mean(0) if name == "mean" else states.amax(0)
        elif name == "additive":
            hidden = torch.tanh(model.pooling.query(model.query) + model.pooling.key(states))
            expected = (hidden @ model.pooling.energy).softmax(0) @ states
        else:
            keys = model.pooling.key(states) if name == "general" else states
            scale = 10**-0.5 if name == "scaled" else 1.0
            expected = (keys @ model.query * scale).softmax(0) @ states
        torch.testing.assert_close(c[row], expected)
        if weights is not None:
            torch.testing.assert_close(weights[row].sum(), torch.tensor(1.0))
            assert not weights[row, length:].any()


def test_only_attention_has_a_query():
    assert pooling("max").query is None
    assert pooling("additive").query.shape == (10,)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("name", ["last", "mean", "additive", "dot"])
def test_overfits_one_batch(name, many):
    model, source = pooling(name, many=many, encoder={"hidden_size": 16}), batch(TEXTS)
    targets = torch.randint(2, (len(TEXTS), SIZE)).float() if many else torch.arange(len(TEXTS))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(80):
        loss = model.loss(model(source), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = model.predict(source)
    assert loss.item() / len(TEXTS) < 0.1
    assert torch.equal(found.chosen.float() if many else found.chosen.int().argmax(-1), targets)
    assert found.counts.tolist() == [1] * len(TEXTS)


def test_one_answer_of_yes_or_no():
    """A single label with a sigmoid is binary classification."""
    nodes = config(many=True)
    model = factory.model("classification", nodes, {"source": len(WORDS), "target": 5}).eval()
    found = model.predict(batch(TEXTS))
    assert found.probabilities.shape == (len(TEXTS), 1)
    assert torch.equal(found.chosen, found.probabilities >= 0.5)


def test_a_context_that_follows_a_target_is_refused():
    with pytest.raises(UserError, match="one vector a text; use context=fixed or an attention"):
        make("classification", context="aligned")
