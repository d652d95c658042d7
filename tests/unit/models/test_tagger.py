"""Taggers: each word's labels whatever the batch, words by their characters, both losses against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.models.label_model import sets
from seq2seq.nn.character_embedding import split, without_last
from seq2seq.nn.losses import label_cross_entropy
from seq2seq.nn.types import Tokens
from seq2seq.reference.losses import sigmoid_cross_entropy
from seq2seq.text import BOS, BYTES, EOS, UNK
from tests.conftest import node, options
from tests.labels import CHARACTERS, SENTENCES, SIZE, SPELT, config, make, tokens


def counts(texts):
    return [len(text.split(" ")) for text in texts]


@pytest.mark.parametrize("characters", [None, CHARACTERS], ids=["words", "characters"])
@pytest.mark.parametrize("cell", options("cell"))
def test_a_sentence_is_tagged_the_same_alone_and_in_a_batch(cell, characters):
    model = make("tagging", cell, embedding={"characters": characters}, encoder={"num_layers": 2})
    together = model(tokens(SENTENCES, spelt=bool(characters)))
    alone = [model(tokens([text], spelt=bool(characters))) for text in SENTENCES]
    assert [len(features) for features in alone] == counts(SENTENCES)
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("head", ["linear", "maxout"])
def test_predictions_are_labels_with_probabilities(head, many):
    model = make("tagging", head=head, many=many)
    source = tokens(SENTENCES, spelt=False)
    found = model.predict(source)
    logits = model.head.logits(model(source))
    assert found.chosen.shape == (sum(counts(SENTENCES)), SIZE)  # no column for pad, unk, bos or eos
    assert found.counts.tolist() == counts(SENTENCES)
    if many:
        torch.testing.assert_close(found.probabilities, 1 / (1 + torch.exp(-logits)))
        assert torch.equal(found.chosen, found.probabilities >= 0.5)
    else:
        torch.testing.assert_close(found.probabilities.sum(-1), torch.ones(len(logits)))
        assert torch.equal(found.chosen.int().argmax(-1), logits.argmax(-1))
        assert (found.chosen.sum(-1) == 1).all()


def test_the_end_mark_and_empty_sentences_have_no_label():
    model = make("tagging")
    with_end = tokens([*SENTENCES, ""], spelt=False, end=(EOS,))
    torch.testing.assert_close(model(without_last(with_end)), model(tokens(SENTENCES, spelt=False)))
    assert model.predict(without_last(with_end)).counts.tolist() == [*counts(SENTENCES), 0]
    assert len(model(without_last(tokens([""], spelt=False, end=(EOS,))))) == 0


@pytest.mark.numerical
def test_unknown_words_differ_by_their_characters_only():
    texts = ["a zebra", "a giraffe", "A zebra"]
    first, second, third = make("tagging")(tokens(texts, spelt=False)).view(3, 2, -1)
    torch.testing.assert_close(first, second)  # both are unk; rows of one product are equal to rounding only
    torch.testing.assert_close(first, third)  # lower case
    first, second, third = make("tagging", embedding={"characters": CHARACTERS})(tokens(texts, spelt=True)).view(
        3, 2, -1
    )
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, third)  # characters keep their case


@pytest.mark.numerical
def test_each_different_word_is_read_once_and_as_if_alone():
    model = make("tagging", embedding={"characters": CHARACTERS, "dropout": 0.0})
    vectors, mask = model.embedding(tokens(SENTENCES, spelt=True))
    words = [word for text in SENTENCES for word in text.split(" ")]
    for vector, word in zip(vectors[mask], words, strict=True):
        encoded = SPELT.encode(word)
        number = encoded[0] if encoded[0] == UNK else encoded[0] - len(BYTES)
        spelled = torch.tensor([[i - BYTES[0] + 1 for i in encoded[1:]]])
        read = model.embedding.characters.encoder(model.embedding.characters.table(spelled), spelled > 0).summary[0]
        torch.testing.assert_close(vector, torch.cat([model.embedding.table.weight[number], read]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.text("aBé中", min_size=1, max_size=5), max_size=4), min_size=1, max_size=4))
def test_spelt_sentences_are_taken_apart(sentences):
    rows = [[*SPELT.encode(" ".join(words)), EOS] for words in sentences]
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    found = split(Tokens(ids, torch.tensor([len(row) for row in rows])), BYTES)
    assert found.words.lengths.tolist() == [len(words) + 1 for words in sentences]
    for b, words in enumerate(sentences):
        for t, word in enumerate(words):
            spelled = [i - 1 for i in found.characters[b, t].tolist() if i]
            assert bytes(spelled).decode() == word
        assert found.words.ids[b, len(words)] == EOS
        assert not found.characters[b, len(words) :].any()


def test_sigmoid_loss_is_the_reference():
    logits, targets = np.random.default_rng(1).normal(size=(7, 5)) * 9, np.arange(35).reshape(7, 5) % 3 == 0
    features = torch.from_numpy(logits).requires_grad_()
    weight, bias = torch.eye(5, dtype=torch.double), torch.zeros(5, dtype=torch.double)
    loss = label_cross_entropy(features, weight, bias, torch.from_numpy(targets).double())
    expected, gradient = sigmoid_cross_entropy(logits, targets.astype(float))
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(torch.autograd.grad(loss, features)[0].numpy(), gradient, rtol=1e-10, atol=1e-14)


def test_sets_are_rows_of_zeros_and_ones():
    ids = torch.tensor([[BOS, 4, 6, BOS, EOS, 5], [BOS, 5, EOS, 4, 4, 4]])  # {0, 2}, {} and {1}; noise as padding
    found = sets(Tokens(ids, torch.tensor([5, 3])), BOS, EOS + 1, 3)
    assert found.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("characters", [None, CHARACTERS], ids=["words", "characters"])
def test_overfits_one_batch(characters, many):
    model = make("tagging", many=many, embedding={"characters": characters}, encoder={"hidden_size": 24})
    source = tokens(SENTENCES, spelt=bool(characters))
    total = sum(counts(SENTENCES))
    targets = torch.randint(2, (total, SIZE)).float() if many else torch.randint(SIZE, (total,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        loss = model.loss(model(source), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() / total < 0.1
    chosen = model.predict(source).chosen
    assert torch.equal(chosen.float() if many else chosen.int().argmax(-1), targets)


def test_every_parameter_learns():
    model = make("tagging", embedding={"characters": CHARACTERS}).train()
    model.loss(model(tokens(SENTENCES, spelt=True)), torch.randint(SIZE, (sum(counts(SENTENCES)),))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding": {"characters": {"width": 3}}}, r"embedding.characters.width"),
        ({"embedding": {"share": True}}, "embedding.share=true: labels have no vectors"),
        ({"embedding": {"letters": {}}}, "embedding.letters"),
        ({"labels": {"many": "yes"}}, "labels.many='yes' must be true or false"),
        ({"labels": {"seperator": "|"}}, "did you mean labels.separator"),
    ],
)
def test_configuration_errors(changes, message):
    with pytest.raises(UserError, match=message):
        factory.model("tagging", config(**changes), {"source": 300, "target": 8})


def test_an_encoder_that_shortens_time_is_refused():
    nodes = config()
    nodes["encoder"] = node("encoder", "pyramidal", hidden_size=4, cell=node("cell", "gru"))
    model = factory.model("tagging", nodes, {"source": 9, "target": 8})
    with pytest.raises(UserError, match="PyramidalEncoder leaves no vector a word"):
        model(tokens(["a dog sees a dog"], spelt=False))
