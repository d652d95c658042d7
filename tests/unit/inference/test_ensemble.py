"""Several models as one: the mean of their probabilities, over one vocabulary."""

import pytest
import torch

from seq2seq import Translator
from seq2seq.bundle.format import load_bundle
from seq2seq.errors import UserError
from seq2seq.inference.ensemble import Ensemble
from seq2seq.models import factory
from seq2seq.nn.types import Tokens
from seq2seq.text import BOS
from tests.bundles import WORDS, save
from tests.conftest import model_config, node

pytestmark = pytest.mark.numerical

SOURCE = Tokens(torch.tensor([[4, 5, 6, 3], [7, 3, 0, 0]]), torch.tensor([4, 2]))
LINES = ["a man sleeps", "", "the red dog runs in a small house", "dog", "zebra"]
ATTENTION = {"context": "additive", "decoder": {"context_to": "both"}}


@pytest.fixture
def folders(tmp_path):
    """Three models of different shapes."""
    save(tmp_path / "a", seed=1, **ATTENTION)
    save(tmp_path / "b", seed=2, cell="lstm")
    save(tmp_path / "c", seed=3, **ATTENTION | {"encoder": {"num_layers": 2}})
    return [tmp_path / name for name in "abc"]


def trace(model, steps=(BOS, 5, 9)):
    """Log-probabilities and weights of the steps of one prefix for both sentences."""
    state, encoded = model.start(model.encode(SOURCE))
    found = []
    for i in steps:
        log_probs, state, weights = model.step(torch.tensor([i, i]), state, encoded)
        found.append((log_probs, weights))
    return found


@torch.inference_mode()
def test_every_step_is_the_mean_of_the_members_probabilities(folders):
    models = [load_bundle(folder).model for folder in folders]
    together, apart = trace(Ensemble(models)), [trace(model) for model in models]
    for t, (log_probs, weights) in enumerate(together):
        mean = torch.stack([each[t][0].double().exp() for each in apart]).mean(0)
        torch.testing.assert_close(log_probs.double().exp(), mean, rtol=1e-5, atol=1e-7)
        assert log_probs.max() <= 0
        torch.testing.assert_close(weights, (apart[0][t][1] + apart[2][t][1]) / 2)


def test_the_same_bundle_twice_translates_as_once(folders):
    one, twice = Translator.load(folders[0]), Translator.load([folders[0], folders[0]])
    assert twice.translate(LINES) == one.translate(LINES)


@pytest.mark.parametrize("int8", [False, True])
def test_an_ensemble_is_its_own_model_whatever_the_batch(folders, int8):
    translator = Translator.load(folders, int8=int8)
    options = translator.options(n_best=3)
    found = translator.translate_full(LINES, options, batch_size=1)
    again = translator.translate_full(LINES, options, batch_size=64)
    assert [[t.text for t in line] for line in found] == [[t.text for t in line] for line in again]
    assert any(found[0][0].text != Translator.load(folder)(LINES[0]) for folder in folders)


def test_weights_are_those_of_the_members_that_look_at_the_same_positions():
    configs = [model_config(), model_config(**ATTENTION), model_config(**ATTENTION)]
    configs[2]["encoder"] = node("encoder", "pyramidal", hidden_size=4, num_layers=2, cell=node("cell", "gru"))
    models = [factory.encoder_decoder(config, {"source": 18, "target": 18}).eval() for config in configs]
    assert Ensemble(models).attending == [1]
    assert Ensemble(models[::-1]).attending == [0]
    assert [each.shape[1] for _, each in trace(Ensemble(models))] == [4, 4, 4]
    assert [each.shape[1] for _, each in trace(Ensemble(models[::-1]))] == [2, 2, 2]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"joint": False}, "different target vocabularies: 18 tokens in the one, 19 in the other"),
        ({"words": [*WORDS[:3], "cat", *WORDS[4:]]}, "different target vocabularies: token 7 is 'dog' in the one and"),
        ({"words": WORDS, "source": WORDS[::-1]}, "different source vocabularies: token 4 is 'a' in the one and 'and'"),
        (
            {"words": WORDS, "lowercase": True},
            "the tokens are the same, but not how text is split",
        ),
    ],
)
def test_members_must_share_their_vocabularies(tmp_path, second, message, monkeypatch):
    from seq2seq.text import Tokenizers, WhitespaceTokenizer

    save(tmp_path / "a")
    if words := second.pop("words", None):
        target = WhitespaceTokenizer(words)
        source = WhitespaceTokenizer(second.pop("source", words), lowercase=second.pop("lowercase", False))
        monkeypatch.setattr("tests.bundles.tokenizers", lambda *, joint: Tokenizers(source, target, False))
    save(tmp_path / "b", **second)
    with pytest.raises(UserError, match=message) as caught:
        Translator.load([tmp_path / "a", tmp_path / "b"])
    assert str(tmp_path / "a") in str(caught.value)
    assert str(tmp_path / "b") in str(caught.value)
