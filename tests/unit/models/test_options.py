"""Options that are grouped in dataclasses keep their flat keys, and an old value means what it meant."""

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.models.options import arguments_of, options_of
from seq2seq.nn.decoder import Decoder
from seq2seq.nn.decoder_options import Layers, Wiring
from tests.conftest import model_config

SIZES = {"source": 8, "target": 9}


def test_the_fields_of_a_group_are_options_of_the_component():
    options = options_of(Decoder)
    assert {"context_to", "query", "num_layers", "dropout", "path", "feedback"} <= set(options)
    assert not {"wiring", "layers"} & set(options)
    assert options["dropout"].default == Layers().dropout
    given = {"query": "current", "dropout": 0.3, "hidden_size": 7}
    expected = {"hidden_size": 7, "wiring": Wiring(query="current"), "layers": Layers(dropout=0.3)}
    assert arguments_of(Decoder, given) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contxt_to": "cell"}, r"decoder\.contxt_to: Decoder has no option.*did you mean decoder\.context_to\?"),
        ({"wiring": {"query": "current"}}, r"decoder\.wiring: Decoder has no option 'wiring'"),
        ({"query": "next"}, r"decoder\.query='next' is not known; use previous or current"),
        ({"input_feeding": 1}, r"decoder\.input_feeding: 1 is not of type bool"),
        ({"dropout": 1.0}, r"decoder\.dropout=1\.0 must be at least 0 and below 1"),
        ({"num_layers": 0}, r"decoder\.num_layers=0 must be at least 1"),
        ({"path": "quick"}, r"decoder\.path='quick' is not known; use auto, step, scan, manual or fused"),
    ],
)
def test_flat_keys_are_checked_as_those_of_the_component(changes, message):
    with pytest.raises(UserError, match=message):
        factory.encoder_decoder(model_config(decoder=changes), SIZES)


@pytest.mark.parametrize("context", ["fixed", "additive"])
def test_the_old_name_of_the_manual_path(context):
    """In a configuration, and so in the bundles that hold one."""
    models = []
    for path in ("hand", "manual"):
        torch.manual_seed(0)
        config = model_config(context=context, decoder={"path": path}, encoder={"path": path})
        models.append(factory.encoder_decoder(config, SIZES))
    assert [model.decoder.path for model in models] == ["manual", "manual"]
    assert [model.encoder.layers.first.path for model in models] == ["manual", "manual"]
