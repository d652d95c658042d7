"""`head.lexical` (Nguyen & Chiang 2018): the equations in NumPy, every way to run them, and what is refused."""

import itertools

import numpy as np
import pytest
import torch

from seq2seq import Translator
from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.models.vocabulary_transfer import transfer
from seq2seq.nn.heads import LexicalFeatures
from seq2seq.nn.types import Tokens
from seq2seq.search import SearchOptions, beam
from tests.bundles import save, tokenizers
from tests.conftest import model_config, node, options
from tests.unit.models.test_models import SOURCE, TARGET, batch, stepwise

ATTENTIONS = {
    "additive": ("additive", {}),
    "heads": ("additive", {"num_heads": 2}),
    "multiplicative": ("multiplicative", {}),
}
WIRINGS = [
    {"context_to": "cell", "query": "previous"},
    {"context_to": "both", "query": "previous", "num_layers": 2},
    {"context_to": "readout", "query": "current"},
    {"context_to": "readout", "query": "current", "input_feeding": True},
]


def make(attention="additive", head="linear", lexical=True, **decoder):
    context, choices = ATTENTIONS[attention]
    config = model_config(context=context, head=head, decoder=decoder, head_options={"lexical": lexical})
    config["context"].update(choices)
    torch.manual_seed(2)
    return factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET}).double().eval()


@pytest.mark.parametrize("head", [name for name in options("head") if name != "pointer"])  # it has no such option
def test_the_logits_are_those_of_the_equations(head):
    """f^ℓ = tanh(Σ_s α_s f_s), h^ℓ = tanh(W f^ℓ) + f^ℓ, and W^ℓ h^ℓ is added to what the head gives without it."""
    model, (source, target) = make(head=head, context_to="both"), batch()
    module = model.decoder.head
    state, encoded = model.start(model.encode(source))
    embedded = model.target_embedding(target.ids[:, 0])
    with torch.no_grad():
        features, _, alphas = model.decoder.step(embedded, state, encoded)
        found = module.logits(features).numpy()
    w = {name: weight.detach().numpy() for name, weight in module.named_parameters()}
    table, width = model.source_embedding.weight.detach().numpy(), module.feature_size
    for b, length in enumerate(source.lengths.tolist()):
        words = alphas[b, :length].numpy() @ table[source.ids[b, :length].numpy()]
        f = np.tanh(words)
        h = np.tanh(w["lexical.hidden.weight"] @ f) + f
        readout = features[b, :width].numpy()
        weight = module.weight.detach().numpy()
        np.testing.assert_allclose(features[b, width:].numpy(), h, rtol=1e-10)
        np.testing.assert_allclose(found[b], weight @ readout + w["lexical.weight"] @ h + w["bias"], rtol=1e-10)


@pytest.mark.numerical
@pytest.mark.parametrize(("attention", "wiring"), list(itertools.product(ATTENTIONS, WIRINGS)))
def test_a_whole_target_is_as_a_token_at_a_time(attention, wiring):
    model, (source, target) = make(attention, "tied", **wiring), batch(((4, 3), (1, 5), (6, 1)))
    expected, _ = stepwise(model, source, target)
    found = model.decoder.head.logits(model(source, target)).log_softmax(-1)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.numerical
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_manual_path_has_the_gradients_of_the_steps(attention):
    """Through the attention to the source words' vectors, too; with `path=step` autograd does it all."""
    source, target = batch(((4, 3), (1, 5), (6, 1)))
    found = []
    for path in ("auto", "step"):
        model = make(attention, "maxout", context_to="both", path=path)
        assert model.decoder._offers_manual_loop() is (path == "auto")
        loss = model.loss(source, target, label_smoothing=0.1)
        found.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
    for manual, steps in zip(*found, strict=True):
        torch.testing.assert_close(manual, steps, rtol=1e-9, atol=1e-12)


def test_gradients_of_the_features():
    torch.manual_seed(0)
    features = LexicalFeatures(5, 3).double()
    words = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(features, words)


def test_dropout_falls_on_them_in_training_only():
    model, (source, target) = make(head="maxout"), batch()
    assert torch.equal(model(source, target), model(source, target))
    model.train().decoder.head.dropout.rate = 0.5
    width = model.decoder.head.feature_size
    assert (model(source, target)[:, width:] == 0).any()


def test_switched_off_the_head_is_as_it_was():
    with_words, without = make(), make(lexical=False)
    names = set(without.state_dict())
    assert set(with_words.state_dict()) - names == {
        "decoder.head.lexical.hidden.weight",
        "decoder.head.lexical.weight",
    }
    assert without.decoder.head.output_weight() is without.decoder.head.weight
    assert without.encode(batch()[0]).words is None


def test_a_hypothesis_of_a_beam_has_the_probability_of_its_tokens():
    model, (source, _) = make(context_to="both"), batch(((5, 1), (2, 1), (7, 1)))
    chosen = SearchOptions(bos=2, eos=3, pad=0, beam_size=4, n_best=4, length_penalty=0.0)
    state, encoded = model.start(model.encode(source))
    with torch.inference_mode():
        for i, found in enumerate(beam(model.step, state, encoded, torch.tensor([6, 4, 8]), chosen)):
            alone = Tokens(source.ids[i : i + 1, : source.lengths[i]], source.lengths[i : i + 1])
            for each in found:
                ids = torch.tensor([[*each.tokens, 3]] if each.finished else [each.tokens])
                target = Tokens(ids, torch.tensor([ids.size(1)]))
                log_probs = model.decoder.head.log_probs(model(alone, target), ids[0])
                assert each.log_prob == pytest.approx(float(log_probs.sum()), abs=1e-5)  # a beam sums in float32


@pytest.mark.parametrize("int8", [False, True])
def test_a_bundle_translates_alone_and_in_an_ensemble(tmp_path, int8):
    lines = ["a man sleeps", "the red dog runs in a small house", "dog"]
    shape = {"context": "additive", "decoder": {"context_to": "both"}}
    save(tmp_path / "a", seed=1, head_options={"lexical": True}, **shape)
    save(tmp_path / "b", seed=2, **shape)
    alone = Translator.load(tmp_path / "a", int8=int8).translate(lines)
    assert Translator.load([tmp_path / "a", tmp_path / "a"], int8=int8).translate(lines) == alone
    assert len(Translator.load([tmp_path / "a", tmp_path / "b"], int8=int8).translate(lines)) == 3


def test_a_new_vocabulary_carries_the_rows_of_its_tokens():
    small = tokenizers()
    sizes = {"source": len(small.source), "target": len(small.target)}
    config = model_config(context="additive", head_options={"lexical": True})
    start, model = (factory.encoder_decoder(config, sizes) for _ in range(2))
    transfer(model, start, small, small, "match")
    assert torch.equal(model.decoder.head.lexical.weight, start.decoder.head.lexical.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "fixed"}, "head.lexical=true: reads the source words that attention looks at"),
        ({"context": "aligned"}, "use context=additive or multiplicative"),
        ({"context": "additive", "encoder_name": "pyramidal"}, "joins several words in one"),
        ({"context": "additive", "extra_encoders": {"tags": node("encoder", "unordered")}}, "has several inputs"),
    ],
)
def test_without_words_to_attend_to_it_is_refused(changes, message):
    config = model_config(**changes, head_options={"lexical": True})
    with pytest.raises(UserError, match=message):
        factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})


def test_numbers_are_no_words():
    config = model_config(context="additive", head_options={"lexical": True})
    with pytest.raises(UserError, match="the source is numbers"):
        factory.encoder_decoder(config, {"features": 6, "target": TARGET})
