"""Every option of every group and every allowed pair: built through its YAML, and right in what it computes."""

import itertools

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.losses import FUSED, token_cross_entropy
from seq2seq.nn.types import IGNORED, DeduplicatedEmbedding, Tokens, map_tensors, unpadded_ids
from tests.conftest import model_config, options, wired

SOURCE, TARGET = 11, 13
PLACES = [
    {"context_to": where, "query": query, "input_feeding": feeding}
    for where, query, feeding in itertools.product(
        ("cell", "first", "readout", "both", "start"), ("previous", "current"), (False, True)
    )
]


def make(*arguments, **changes):
    sizes = {"source": TARGET if changes.get("head") == "pointer" else SOURCE, "target": TARGET}
    return factory.encoder_decoder(model_config(*arguments, **changes), sizes).eval()


def batch(lengths=((4, 3), (1, 5), (6, 1))):
    def tokens(sizes, vocabulary):
        ids = torch.randint(4, vocabulary, (len(sizes), max(sizes)))
        lengths = torch.tensor(sizes)
        result = Tokens(ids, lengths)
        return result._replace(ids=ids * result.mask)

    sources, targets = zip(*lengths)
    return tokens(sources, SOURCE), tokens(targets, TARGET)


def stepwise(model, source, target):
    """The features of a target, a token at a time, as a search asks for them: log-probabilities."""
    state, encoded = model.start(model.encode(source))
    ids, rows, all_weights = torch.full((len(source.ids),), model.bos), [], []
    for t in range(target.ids.size(1)):
        log_probs, state, weights = model.step(ids, state, encoded)
        rows.append(log_probs)
        all_weights.append(weights)
        ids = target.ids[:, t]
    return torch.stack(rows, 1)[target.mask], all_weights


def refused(context, places, head="linear"):
    if head == "pointer" and context in ("fixed", "aligned"):
        context = "additive"  # as in `model_config`
    attends = context not in ("fixed", "aligned")
    if context == "monotonic" and (places["query"] == "previous" or places["input_feeding"]):
        return True
    return (context != "fixed" and places["context_to"] in ("start", "first")) or (
        attends and places["query"] == "current" and places["context_to"] != "readout"
    )


@pytest.mark.numerical
@pytest.mark.parametrize("places", PLACES, ids=lambda p: f"{p['context_to']}-{p['query']}-{p['input_feeding']}")
@pytest.mark.parametrize("context", options("context"))
def test_teacher_forcing_equals_stepping(context, places):
    """Every context at every place: the whole target at once gives what one token at a time gives; pads count not."""
    for head in options("head"):
        if refused(context, places, head):
            with pytest.raises(UserError, match="context_to"):
                make(context=context, head=head, decoder=places)
            continue
        model = make(context=context, head=head, decoder=places)
        source, target = batch()
        expected, weights = stepwise(model, source, target)
        torch.testing.assert_close(model.log_probs(source, target), expected)
        if weights[0] is not None:
            torch.testing.assert_close(weights[0].sum(-1), torch.ones(3))
            assert (weights[0][~source.mask] == 0).all()


@pytest.mark.numerical
@pytest.mark.parametrize("cell", options("cell"))
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("depth", [1, 3])
def test_encoders_by_padding(cell, direction, depth):
    """A sentence's memory is the same alone and among longer ones."""
    model = make(cell, encoder={"direction": direction, "num_layers": depth, "residual": depth > 1})
    source, _ = batch()
    memory = model.encode(source)
    for row, size in enumerate(source.lengths.tolist()):
        alone = model.encode(Tokens(source.ids[row : row + 1, :size], source.lengths[row : row + 1]))
        torch.testing.assert_close(memory.outputs[row : row + 1, :size], alone.outputs)
        map_tensors(lambda t: t, memory.final)
        torch.testing.assert_close(memory.summary[row : row + 1], alone.summary)
    assert memory.summary.size(1) == model.encoder.output_size


@pytest.mark.parametrize(("encoder", "decoder"), list(itertools.product(options("cell"), repeat=2)))
@pytest.mark.parametrize("bridge", options("bridge"))
def test_cells_and_bridges(encoder, decoder, bridge):
    """Different cells, widths and depths meet; `copy` is refused where the states do not fit."""
    changes = {"decoder_cell": decoder, "bridge": bridge}
    if bridge != "copy":
        changes |= {"encoder": {"num_layers": 2}, "decoder": {"num_layers": 3, "hidden_size": 5, "residual": True}}
    with_content = ("lstm", "layer_norm_lstm")
    if bridge == "copy" and (encoder in with_content) != (decoder in with_content):
        with pytest.raises(UserError, match="use bridge=linear"):
            make(encoder, **changes)
        return
    model = make(encoder, **changes)
    source, target = batch()
    expected, _ = stepwise(model, source, target)
    torch.testing.assert_close(model.log_probs(source, target), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": {"hidden_size": 5}}, "size 8, decoder needs 5"),
        ({"decoder": {"num_layers": 2}}, "1 layers, the decoder 2"),
    ],
)
def test_copy_bridge_refuses(changes, message):
    with pytest.raises(UserError, match=message):
        make(bridge="copy", **changes)


@pytest.mark.parametrize("summary", ["last", "mean", "max"])
def test_summaries(summary):
    config = model_config()
    config["context"]["summary"] = summary
    model = factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET}).eval()
    source, _ = batch()
    memory = model.encode(source)
    c = model.start(memory)[1].keys.values[:, 0]
    for row, size in enumerate(source.lengths.tolist()):
        outputs = memory.outputs[row, :size]
        expected = {"last": memory.summary[row], "mean": outputs.mean(0), "max": outputs.amax(0)}[summary]
        torch.testing.assert_close(c[row], expected)


@pytest.mark.numerical
@pytest.mark.parametrize("score", ["dot", "general", "scaled"])
def test_multiplicative_scores(score):
    config = model_config(context="multiplicative")
    config["context"]["score"] = score
    factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})
    config["decoder"]["hidden_size"] = 5
    if score == "general":
        factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})
    else:
        with pytest.raises(UserError, match=f"score={score}.*size 5.*size 8"):
            factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})


@pytest.mark.parametrize("context", options("context"))
@pytest.mark.parametrize("head", options("head"))
def test_gradients_reach_every_parameter(context, head):
    model = make(context=context, head=head, decoder=wired(context, {"context_to": "both", "num_layers": 2})).train()
    source, target = batch()
    model.decoder.outputs.loss(model(source, target), target.ids[target.mask]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_shared_and_tied_weights_are_one():
    config = model_config(head="tied", embedding={"share": True})
    model = factory.encoder_decoder(config, {"source": SOURCE, "target": SOURCE})
    assert model.source_embedding.weight is model.target_embedding.weight is model.decoder.head.weight
    with pytest.raises(UserError, match=r"source has 11 tokens and the target 13.*tokenizer.joint"):
        factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})


@pytest.mark.numerical
@pytest.mark.parametrize(
    "path", ["chunks", pytest.param("torch", marks=pytest.mark.skipif(not FUSED, reason="before 2.13"))]
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_same_on_every_path(smoothing, path):
    features, weight, bias = (torch.randn(*size, dtype=torch.float64) for size in ((700, 8), (13, 8), (13,)))
    targets = torch.randint(13, (700,))
    results = []
    for chosen in (path, "plain"):
        leaves = [t.detach().requires_grad_() for t in (features, weight, bias)]
        loss = token_cross_entropy(*leaves, targets, label_smoothing=smoothing, path=chosen)
        results.append((loss, *torch.autograd.grad(loss / 7, leaves)))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_loss_in_chunks_refuses_second_derivatives_and_stays_finite():
    features = (100 * torch.randn(5, 8)).requires_grad_()
    loss = token_cross_entropy(features, torch.randn(13, 8), torch.zeros(13), torch.arange(5), path="chunks")
    assert loss.isfinite()
    with pytest.raises(UserError, match="second derivatives"):
        torch.autograd.grad(loss, features, create_graph=True)


@pytest.mark.numerical
@pytest.mark.parametrize("path", ["step", "manual", "fused"])
@pytest.mark.parametrize("places", PLACES[:4], ids=str)
def test_distinct_tokens_projected_once_change_nothing(places, path, monkeypatch):
    """Features and all gradients, in float64, with the table of distinct tokens and without it."""
    context = "additive" if places["query"] == "previous" else "fixed"
    model = make(context=context, head="maxout", encoder={"path": path}, decoder={**places, "path": path}).double()
    source, target = batch()
    results = []
    for lookups in (True, False):
        if not lookups:
            monkeypatch.setattr(Embedding, "deduplicated", Embedding.forward)
        else:
            assert isinstance(model.source_embedding.deduplicated(source.ids), DeduplicatedEmbedding)
        model.zero_grad()
        features = model(source, target)
        features.sin().sum().backward()
        results.append([features, *(p.grad for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_dropout_makes_two_vectors_of_a_token_differ_so_there_is_no_table():
    ids = torch.tensor([[5, 5, 6]])
    for rates in ({"dropout": 0.5}, {"word_dropout": 0.5}):
        embedding = Embedding(7, 64, **rates)
        assert not isinstance(embedding.deduplicated(ids), DeduplicatedEmbedding)
        assert isinstance(embedding.eval().deduplicated(ids), DeduplicatedEmbedding)
        torch.testing.assert_close(embedding.deduplicated(ids).dense(), embedding(ids))


@pytest.mark.numerical
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_loss_over_all_rows_ignores_pads(smoothing):
    """What a GPU computes, where selecting the real rows would wait for the device."""
    source, target = batch()
    model = make(context="additive", decoder={"context_to": "both"})
    every_row = target._replace(lengths=torch.full((3,), target.ids.size(1)))
    weight, bias = model.decoder.head.weight, model.decoder.head.bias
    ids = target.ids.masked_fill(~target.mask, IGNORED).flatten()
    over_all = token_cross_entropy(model(source, every_row), weight, bias, ids, label_smoothing=smoothing, path="plain")
    selected = token_cross_entropy(
        model(source, target), weight, bias, unpadded_ids(target), label_smoothing=smoothing, path="plain"
    )
    torch.testing.assert_close(over_all, selected)


@pytest.mark.parametrize("path", ["auto", "fused"])
@pytest.mark.parametrize(
    "changes",
    [
        {"embedding": {"dropout": 0.3}},
        {"context": "additive", "decoder": {"context_to": "both"}, "cell": "lstm"},
        {
            "context": "multiplicative",
            "decoder": {"context_to": "readout", "query": "current", "input_feeding": True, "num_layers": 2},
        },
    ],
)
def test_a_training_step_never_waits_for_the_device(changes, path):
    """Meta tensors have no values: an operation whose result the host needs (a size, a condition) raises on them."""
    decoder = {"path": path, **changes.get("decoder", {})}
    model = make(**{**changes, "encoder": {"path": path}, "decoder": decoder}).to("meta").train()
    source, target = (map_tensors(lambda tensor: tensor.to("meta"), tokens) for tokens in batch())
    head = model.decoder.head
    loss = token_cross_entropy(model(source, target), head.weight, head.bias, unpadded_ids(target))
    (loss / target.lengths.sum()).backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in model.parameters())
    with pytest.raises(NotImplementedError):
        target.ids[target.mask]


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("context", options("context"))
def test_dropout_only_in_training(context, variational):
    dropped = {"num_layers": 2, "dropout": 0.5, "variational": variational}
    model = make(
        context=context,
        encoder=dropped,
        decoder=dropped,
        embedding={"dropout": 0.5, "word_dropout": 0.3, "variational": variational},
    )
    source, target = batch()
    torch.testing.assert_close(model(source, target), model(source, target))
    model.train()
    assert not torch.allclose(model(source, target), model(source, target))


def test_variational_mask_is_held_over_time():
    from seq2seq.nn.embedding import Dropout

    dropped = Dropout(0.5, variational=True)(torch.ones(2, 7, 50)) == 0
    assert (dropped == dropped[:, :1]).all()
    assert 0 < dropped.float().mean() < 1


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("encoder", "hiden_size"), 4, r"encoder.hiden_size.*did you mean encoder.hidden_size"),
        (("encoder", "hidden_size"), "4", r"encoder.hidden_size: '4' is not of type int"),
        (("encoder", "num_layers"), 0, "num_layers=0"),
        (("encoder", "direction"), "up", "direction='up'"),
        (("encoder", "dropout"), 1.0, "dropout=1.0"),
        (("decoder", "query"), "next", "query='next'"),
        (("head", "_target_"), "os.system", "not a component of seq2seq"),
        (("head", "_target_"), "seq2seq.nn.cells.GRU", "is not a Head"),
        (("head", "_target_"), "seq2seq.nn.heads.Head", "is not a Head"),
        (("head", "_target_"), "seq2seq.models.factory.importlib", "is not a component"),
        (("embedding", "width"), 3, "embedding.width"),
    ],
)
def test_configuration_errors(place, value, message):
    config = model_config()
    config[place[0]][place[1]] = value
    with pytest.raises(UserError, match=message):
        factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})


@pytest.mark.parametrize("context", options("context"))
def test_overfits_one_batch(context):
    model = make(
        context=context,
        encoder={"hidden_size": 16},
        decoder=wired(context, {"hidden_size": 32, "context_to": "both"}),
    )  # eval mode: no dropout
    source, target = batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        loss = model.decoder.outputs.loss(model(source, target), target.ids[target.mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() / 9 < 0.1


def test_heads_of_attention_a_token_at_a_time_and_in_training():
    """Each weight of several heads has a gradient, and a search sees the same numbers as training."""
    config = model_config(context="additive", decoder={"context_to": "both"})
    config["context"]["num_heads"] = 2
    model = factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET}).eval()
    source, target = batch()
    log_probs, weights = stepwise(model, source, target)
    features = model(source, target)
    torch.testing.assert_close(model.decoder.head.logits(features).log_softmax(-1), log_probs)
    assert weights[0].shape == source.ids.shape
    model.train().loss(source, target).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
