"""Every encoder, found by its YAML: shapes, padding, gradients, overfitting; pyramid and GNMT by their equations."""

import itertools
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from seq2seq.errors import UserError
from seq2seq.inference.stepper import translate_ids
from seq2seq.models import factory
from seq2seq.nn.bridges import CopyBridge
from seq2seq.nn.encoders import Encoder, GNMTEncoder, PyramidalEncoder
from seq2seq.nn.encoders.pyramidal import halve
from seq2seq.nn.losses import token_cross_entropy
from seq2seq.nn.types import Features, Memory, Tokens
from seq2seq.search import SearchOptions
from tests.conftest import model_config, node, options

WIDTH, TARGET = 12, 13
LENGTHS = torch.tensor([5, 1, 8, 7, 3])
SIZES = {"image": {"height": 3, "width": 4, "channels": 3}}
"""What an encoder's YAML leaves to its data."""


def encoder_node(name: str, cell: str = "gru", **changes: Any) -> dict[str, Any]:
    """The YAML of an encoder, small, with the cell that it may need."""
    found = node("encoder", name, hidden_size=6, **SIZES.get(name, {}), **changes)
    return found if name in ("vector", "projection", "image", "unordered") else found | {"cell": node("cell", cell)}


def make(name: str, **changes: Any) -> Encoder:
    encoder: Encoder = factory.component(encoder_node(name, **changes), "encoder", ("input_size",))(WIDTH)
    return encoder.eval()


def frames(lengths: torch.Tensor = LENGTHS) -> Features:
    values = torch.randn(len(lengths), int(lengths.max()), WIDTH)
    return Features(values, lengths)


def read(encoder: Encoder, source: Features) -> Memory:
    memory: Memory = encoder(source.values, source.mask)
    return memory


CELLS = [(name, cell) for name in options("encoder") for cell in ("gru", "lstm")]


@pytest.mark.numerical
@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_shapes_and_padding(name: str, cell: str) -> None:
    """A sequence's memory is the same alone, among longer ones, and whatever stands in the padding."""
    encoder, source = make(name, cell=cell), frames()
    memory = read(encoder, source)
    assert memory.outputs.shape[::2] == (5, encoder.output_size)
    assert memory.summary.shape == (5, encoder.output_size)
    assert [type(state) for state in memory.final] == [shape.kind for shape in encoder.state_shapes]
    assert [state.h.size(1) for state in memory.final] == [shape.size for shape in encoder.state_shapes]
    lengths = memory.mask.sum(1)
    assert lengths.tolist() == [-(-int(length) // encoder.stride) for length in LENGTHS]
    assert (memory.outputs[~memory.mask] == 0).all()
    noise = source.values + 9 * torch.randn_like(source.values) * ~source.mask[..., None]
    for found, same in zip(_tensors(memory), _tensors(read(encoder, Features(noise, LENGTHS))), strict=True):
        torch.testing.assert_close(found, same)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = read(encoder, Features(source.values[row : row + 1, :length], LENGTHS[row : row + 1]))
        assert alone.mask.all()
        torch.testing.assert_close(memory.outputs[row, : lengths[row]], alone.outputs[0])
        for found, same in zip(_tensors(memory)[1:], _tensors(alone)[1:], strict=True):
            torch.testing.assert_close(found[row : row + 1], same)


def _tensors(memory: Memory) -> list[torch.Tensor]:
    return [memory.outputs, memory.summary, *itertools.chain.from_iterable(memory.final)]


@pytest.mark.parametrize("name", options("encoder"))
def test_gradients_reach_every_parameter_and_no_padding(name: str) -> None:
    encoder, source = make(name), frames()
    values = source.values.requires_grad_()
    memory = read(encoder, Features(values, LENGTHS))
    (memory.outputs.square().sum() + memory.summary.sum()).backward()
    for place, parameter in encoder.named_parameters():
        assert parameter.grad is not None, place
        assert parameter.grad.abs().sum() > 0, place
    assert values.grad is not None
    assert (values.grad[~source.mask] == 0).all()
    assert values.grad[source.mask].abs().sum(-1).all()


def model_of(name: str, **changes: Any) -> Any:
    config = model_config(**changes)
    config["encoder"] = encoder_node(name)
    return factory.encoder_decoder(config, {"features": WIDTH, "target": TARGET}).eval()


@pytest.mark.parametrize("name", options("encoder"))
@pytest.mark.parametrize("context", ["fixed", "additive"])
@pytest.mark.parametrize("bridge", ["zero", "linear"])
def test_overfits_one_batch_of_float_sequences(name: str, context: str, bridge: str) -> None:
    model, source = model_of(name, context=context, bridge=bridge, decoder={"hidden_size": 24}), frames()
    target = Tokens(torch.randint(4, TARGET, (5, 4)), torch.tensor([4, 2, 3, 1, 4]))
    gold, head = target.ids[target.mask], model.decoder.head
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        loss = token_cross_entropy(model(source, target), head.weight, head.bias, gold)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.3 * len(gold):
            break
    assert loss < 0.3 * len(gold)


def test_what_has_no_state_cannot_be_copied() -> None:
    for name in ("vector", "projection", "image", "unordered"):
        with pytest.raises(UserError, match=r"^CopyBridge: this encoder has no recurrent state .* bridge=linear or"):
            model_of(name, bridge="copy")
    assert CopyBridge(12, make("recurrent").state_shapes, make("recurrent").state_shapes)


def test_pyramid_halves_as_the_equation_says() -> None:
    """Eq. 5 of Chan et al.: the layer above reads [h_{2t} ; h_{2t+1}]; the odd last frame is paired with zeros."""
    vectors = torch.arange(1.0, 11).view(1, 5, 2)
    pairs, mask = halve(vectors, torch.tensor([[True] * 5]))
    assert pairs.tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0]]]
    assert mask.tolist() == [[True] * 3]
    _, mask = halve(vectors, torch.tensor([[True, True, True, False, False]]))
    assert mask.tolist() == [[True, True, False]]
    encoder = make("pyramidal", num_layers=3)
    assert isinstance(encoder, PyramidalEncoder)
    source = frames(torch.tensor([6]))
    first, _ = encoder.layers[0](source.values, source.mask)
    second, _ = encoder.layers[1](first.reshape(1, 3, -1), torch.ones(1, 3, dtype=torch.bool))
    last = torch.cat([second, torch.zeros_like(second[:, :1])], 1).reshape(1, 2, -1)
    expected, _ = encoder.layers[2](last, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(read(encoder, source).outputs, expected)


@pytest.mark.numerical
def test_gnmt_layer_by_layer() -> None:
    """Bottom both ways, the second layer plain, the third and fourth added to their inputs (Wu et al. 2016, eq. 6)."""
    encoder, source = make("gnmt", num_layers=4), frames()
    assert isinstance(encoder, GNMTEncoder)
    assert [len(layer) for layer in encoder.layers] == [2, 1, 1, 1]  # type: ignore[arg-type]
    outputs = source.values
    for depth, layer in enumerate(encoder.layers):
        found, state = layer(outputs, source.mask)
        outputs = found + outputs if depth >= 2 else found
    memory = read(encoder, source)
    torch.testing.assert_close(memory.outputs, outputs)
    torch.testing.assert_close(memory.summary, state.h)


@pytest.mark.parametrize("context", ["fixed", "additive"])
def test_order_of_regions(context: str) -> None:
    """An image encoder tells 37 from 73, a vector encoder does not: a region's vector knows its place, or nothing."""
    source = frames(torch.tensor([3]))
    for name, tells in (("image", True), ("vector", False)):
        encoder = make(name)
        memory, turned = read(encoder, source), read(encoder, source._replace(values=source.values.flip(1)))
        same = torch.allclose(memory.summary, turned.summary, atol=1e-6)
        if context == "additive":
            same = torch.allclose(memory.outputs, turned.outputs.flip(1), atol=1e-6)
        assert same is not tells


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("pyramidal", {"num_layers": 1}, "num_layers=1.*2 layers or more; or use encoder=recurrent"),
        ("gnmt", {"num_layers": 1}, "num_layers=1.*2 layers or more"),
        ("vector", {"activation": "sin"}, "activation='sin' is not known; use tanh or relu"),
        ("image", {"height": 5}, "12 numbers is no image of 5 × 4 pixels .20 numbers"),
        ("image", {"height": 1, "width": 12}, "height=1 must be at least 2"),
        ("image", {"max_regions": 0}, "max_regions=0"),
    ],
)
def test_values_that_make_no_encoder(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        factory.component(encoder_node(name) | changes, "encoder", ("input_size",))(WIDTH)


def test_more_regions_than_places() -> None:
    with pytest.raises(UserError, match=r"8 regions in an image, but encoder.max_regions=7; raise it"):
        read(make("image", max_regions=7), frames())


@pytest.mark.slow
def test_a_pyramid_is_cheaper_on_long_sequences() -> None:
    """T = 400 frames, equal depth and width: a quarter of the memory, less work, and still every frame is heard."""
    source = Features(torch.randn(2, 400, 40), torch.tensor([400, 397]))
    target = Tokens(torch.randint(4, TARGET, (2, 30)), torch.full((2,), 30))
    work = {}
    for name, length in (("recurrent", 400), ("pyramidal", 100)):
        config = model_config(context="additive", decoder={"hidden_size": 64})
        config["encoder"] = encoder_node(name, num_layers=3) | {"hidden_size": 48}
        model = factory.encoder_decoder(config, {"features": 40, "target": TARGET}).eval()
        values = source.values.clone().requires_grad_()
        with FlopCounterMode(display=False) as counted:
            features = model(source._replace(values=values), target)
            features.square().sum().backward()
        assert model.encode(source).outputs.size(1) == length
        assert values.grad is not None
        assert values.grad[source.mask].abs().sum(-1).all()
        work[name] = counted.get_total_flops()
    assert work["pyramidal"] < 0.7 * work["recurrent"], work


def test_a_projection_at_the_first_step_is_the_captioner_of_textbooks() -> None:
    """h_1 = tanh(U x_1 + W s_0 + V x + b), and h_t = tanh(U x_t + W h_{t-1} + b) after it."""
    config = model_config("vanilla", bridge="zero", decoder={"context_to": "first"})
    config["encoder"] = node("encoder", "projection")
    model = factory.encoder_decoder(config, {"features": WIDTH, "target": TARGET}).double().eval()
    x, cell = torch.randn(2, 1, WIDTH).double(), model.decoder.layers.first
    state, encoded = model.start(model.encode(Features(x, torch.ones(2, dtype=torch.long))))
    embeddings, u, v = model.target_embedding.weight, *cell.weight_ih.split([6, WIDTH], 1)
    h = torch.zeros(2, 8).double()
    for t, ids in enumerate(torch.randint(4, TARGET, (3, 2))):
        image = x[:, 0] @ v.T if t == 0 else 0
        h = torch.tanh(embeddings[ids] @ u.T + h @ cell.weight_hh.T + image + cell.bias_ih + cell.bias_hh)
        _, state, _ = model.step(ids, state, encoded)
        torch.testing.assert_close(state.layers[0].h, h)
    config["encoder"] = node("encoder", "projection", hidden_size=5)
    assert factory.encoder_decoder(config, {"features": WIDTH, "target": TARGET}).encoder.project.weight.shape == (
        5,
        WIDTH,
    )


def test_a_kind_to_a_melody() -> None:
    """One label in, a sequence of any length out: a one-token source through the vector encoder, every kind learnt."""
    melodies = [[5, 6, 7], [7, 6], [9, 9, 4, 4, 5, 8], [8]]
    config = model_config(decoder={"hidden_size": 24}, embedding={"dropout": 0.0})
    config["encoder"] = encoder_node("vector") | {"hidden_size": 16}
    model = factory.encoder_decoder(config, {"source": 4 + len(melodies), "target": 12}).eval()
    kinds = Tokens(torch.arange(4, 8)[:, None], torch.ones(4, dtype=torch.long))
    rows = [torch.tensor([*melody, 3]) for melody in melodies]
    target = Tokens(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows]))
    head, optimizer = model.decoder.head, torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        loss = token_cross_entropy(model(kinds, target), head.weight, head.bias, target.ids[target.mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = translate_ids(model, kinds, SearchOptions(bos=2, eos=3, pad=0, beam_size=2))
    assert [best[0].tokens for best in found] == melodies
