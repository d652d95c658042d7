"""Sources of several inputs: each is read as if it were alone, whatever the batch, and tags in any order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.bundle.format import load_bundle
from seq2seq.cli.composing.configurations import composed, composing
from seq2seq.errors import UserError
from seq2seq.inference.translator import Translator
from seq2seq.models import EncoderDecoder, factory
from seq2seq.models.inputs import inputs_of
from seq2seq.nn.contexts import FixedContext, SeveralContexts
from seq2seq.nn.types import Tokens
from seq2seq.text import CharacterTrainer, Column, train_tokenizers, with_columns
from tests import bundles
from tests.conftest import model_config

EOS, SIZES = 3, {"source": 12, "target": 9}
TAGS = {"_target_": "seq2seq.nn.encoders.UnorderedEncoder", "hidden_size": 5}
TEXT = {"_target_": "seq2seq.nn.encoders.RecurrentEncoder", "hidden_size": 3}
CONTEXTS = {
    "fixed": {"_target_": "seq2seq.nn.contexts.FixedContext"},
    "additive": {"_target_": "seq2seq.nn.contexts.AdditiveContext"},
    "multiplicative": {"_target_": "seq2seq.nn.contexts.MultiplicativeContext"},
}


def made(context: str = "additive", extra: dict[str, Any] | None = None, **changes: Any) -> EncoderDecoder:
    torch.manual_seed(0)
    config = model_config(**changes) | {"context": CONTEXTS[context], "extra_encoders": extra or {"tags": TAGS}}
    return factory.encoder_decoder(config, SIZES).double().eval()


def tokens(*rows: list[int]) -> Tokens:
    lengths = torch.tensor([len(row) for row in rows])
    return Tokens(torch.tensor([row + [0] * (int(lengths.max()) - len(row)) for row in rows]), lengths)


SOURCE = tokens([4, 5, 6, EOS, 7, 8, 9, EOS], [5, EOS, 9, EOS], [4, 4, 4, 4, EOS, 8, EOS])
TARGET = tokens([4, 5, EOS], [6, EOS], [7, 8, EOS])


def test_inputs_are_taken_apart_at_eos() -> None:
    first, second = inputs_of(SOURCE, 2, EOS)
    for number, part in enumerate((first, second)):
        for row, length, whole in zip(part.ids.tolist(), part.lengths.tolist(), SOURCE.ids.tolist(), strict=True):
            ends = [i for i, token in enumerate(whole) if token == EOS]
            begin = 0 if number == 0 else ends[0] + 1
            assert row == whole[begin : ends[number] + 1] + [0] * (len(row) - length)
    (only,) = inputs_of(TARGET, 1, EOS)
    assert torch.equal(only.ids, TARGET.ids)
    missing = inputs_of(tokens([4, EOS]), 2, EOS)[1]
    assert missing.lengths.tolist() == [0]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("extra", [{"tags": TAGS}, {"fr": TEXT, "tags": TAGS}])
def test_batches_and_padding_change_nothing(context: str, extra: dict[str, Any]) -> None:
    model = made(context, extra)
    three = tokens([4, EOS, 7, 5, EOS, 8, EOS], [5, 6, EOS, EOS, 9, EOS], [4, EOS, 5, EOS, 6, EOS])
    source = SOURCE if len(extra) == 1 else three
    together = model.loss(source, TARGET)
    alone = [
        model.loss(*(Tokens(ids[i : i + 1, : lengths[i]], lengths[i : i + 1]) for ids, lengths, _ in (source, TARGET)))
        for i in range(3)
    ]
    assert torch.allclose(together, torch.stack(alone).sum(), atol=1e-10)
    wide = source._replace(ids=torch.nn.functional.pad(source.ids, (0, 4)))
    assert torch.allclose(together, model.loss(wide, TARGET), atol=1e-10)
    memory = model.encode(source)
    assert len(memory.more) == len(extra)
    state, encoded = model.start(memory)
    ids = torch.full((3,), model.bos)
    log_probs = []
    for target in TARGET.ids.unbind(1):
        scores, state, weights = model.step(ids, state, encoded)
        log_probs.append(scores.gather(1, target[:, None])[:, 0])
        ids = target
    assert torch.allclose((torch.stack(log_probs, 1) * TARGET.mask).sum(), -together, atol=1e-10)  # step by step
    assert (weights is None) == (context == "fixed")


def test_the_order_of_tags_changes_nothing() -> None:
    model = made()
    shuffled = tokens([4, 5, 6, EOS, 9, 7, 8, EOS], [5, EOS, 9, EOS], [4, 4, 4, 4, EOS, 8, EOS])
    assert torch.allclose(model.loss(SOURCE, TARGET), model.loss(shuffled, TARGET), atol=1e-12)
    other = tokens([4, 5, 6, EOS, 7, 8, 10, EOS], [5, EOS, 9, EOS], [4, 4, 4, 4, EOS, 8, EOS])
    assert not torch.allclose(model.loss(SOURCE, TARGET), model.loss(other, TARGET), atol=1e-6)
    ordered = made(extra={"tags": TEXT})
    assert not torch.allclose(ordered.loss(SOURCE, TARGET), ordered.loss(shuffled, TARGET), atol=1e-8)


@pytest.mark.parametrize("context", CONTEXTS)
def test_gradients_are_those_of_finite_differences(context: str) -> None:
    model = made(context)
    model.loss(SOURCE, TARGET).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name  # every part has a gradient, which several processes need
        i = np.unravel_index(int(parameter.grad.abs().argmax()), parameter.shape)
        with torch.no_grad():
            value = parameter[i].item()
            losses = []
            for step in (1e-5, -1e-5):
                parameter[i] = value + step
                losses.append(float(model.loss(SOURCE, TARGET)))
            parameter[i] = value
        assert abs((losses[0] - losses[1]) / 2e-5 - float(parameter.grad[i])) < 1e-6, name


def test_a_context_of_several_is_the_contexts_side_by_side() -> None:
    model = made("additive")
    context = model.decoder.context
    assert isinstance(context, SeveralContexts)
    memory = model.encode(SOURCE)
    queries, steps = torch.randn(3, 2, context.first.query.in_features).double(), torch.zeros(3, 2, dtype=torch.long)
    c, weights = context(queries, context.prepare(memory), steps)
    first, expected = context.first(queries, context.first.prepare(memory), steps)
    tags = context.more["tags"]
    second, _ = tags(queries, tags.prepare(memory.more[0]), steps)
    assert torch.equal(c, torch.cat([first, second], -1))
    assert torch.equal(weights, expected)
    assert isinstance(made("fixed").decoder.context.first, FixedContext)


def test_saved_and_loaded_and_translated(tmp_path: Path) -> None:
    pairs = [("kuzu\tN;LOC;SG", "kuzuda"), ("vade\tN;SG;1", "vadem")]
    trainer = with_columns(CharacterTrainer(), (Column("lemma"), Column("features", ";")), ends=True)
    source = train_tokenizers(trainer, lambda: pairs, 2).source
    model = bundles.save(tmp_path / "bundle", tokenizer=source, context="additive", extra_encoders={"tags": TAGS})
    again = load_bundle(tmp_path / "bundle").model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    translator = Translator.load(tmp_path / "bundle")
    lines = ["kuzu\tN;LOC;SG", "vade\tN"]
    options = translator.options(n_best=1, return_attention=True)
    (best,), (other,) = translator.translate_full(lines, options)
    assert [best.text, other.text] == [translator(line) for line in lines]
    assert best.text == translator("kuzu\tSG;N;LOC")
    assert best.hypothesis.attention.size(1) >= 5  # k u z u </s>
    assert len(translator.aligner().source_ids(lines[0])) == 4
    two = Translator.load([tmp_path / "bundle", tmp_path / "bundle"])
    assert two.translate(lines) == [best.text, other.text]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"a b": TAGS}, "extra_encoders.a b: 'a b' must be a name"),
        ({"tags": {**TAGS, "hiden_size": 3}}, "extra_encoders.tags.hiden_size: UnorderedEncoder .*hidden_size"),
        ({"tags": {"_target_": "seq2seq.nn.bridges.ZeroBridge"}}, "extra_encoders.tags._target_: .*not a Encoder"),
        ({"tags": 3}, "extra_encoders.tags: a component with _target_ is expected"),
        ([TAGS], "extra_encoders=.*: must be encoders by name"),
    ],
)
def test_refused_encoders(extra: Any, words: str) -> None:
    config = model_config() | {"extra_encoders": extra}
    with pytest.raises(UserError, match=words):
        factory.encoder_decoder(config, SIZES)


def with_bridge(extra: dict[str, Any] | None, inputs: str) -> EncoderDecoder:
    torch.manual_seed(0)
    config = model_config(context="additive") | {"extra_encoders": extra}
    config["bridge"] |= {"inputs": inputs}
    return factory.encoder_decoder(config, SIZES).double().eval()


def test_a_bridge_of_all_inputs_is_that_of_their_summaries_side_by_side() -> None:
    model = with_bridge({"fr": TEXT, "tags": TAGS}, "all")
    three = tokens([4, EOS, 7, 5, EOS, 8, EOS], [5, 6, EOS, EOS, 9, EOS], [4, EOS, 5, EOS, 6, EOS])
    memory = model.encode(three)
    c = np.concatenate([each.summary.detach().numpy() for each in (memory, *memory.more)], -1)
    weight, bias = (parameter.detach().numpy() for parameter in model.bridge.parameters())
    (state,) = model.bridge(memory)
    assert np.allclose(state.h.detach().numpy(), np.tanh(c @ weight.T + bias), atol=1e-12)
    first, alone = with_bridge({"tags": TAGS}, "first"), with_bridge(None, "first")
    assert first.bridge.linear.weight.shape == alone.bridge.linear.weight.shape  # bundles of before are as they were
    everything = with_bridge(None, "all")
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in everything.state_dict().items())


def test_tags_reach_the_state_of_the_recipe_that_attends_to_them() -> None:
    with composing():
        config = composed(["experiment=inflection_features", "name=x"])
    torch.manual_seed(0)
    model = factory.encoder_decoder(config, {"source": 12, "target": 12}).eval()
    states = []
    for tags in ([7, 8], [9, 10]):
        state, encoded = model.start(model.encode(tokens([4, 5, 6, EOS, *tags, EOS])))
        _, state, _ = model.step(torch.tensor([model.bos]), state, encoded)
        states.append(state.layers[0].h)
    assert (states[0] - states[1]).abs().max() > 1e-3
