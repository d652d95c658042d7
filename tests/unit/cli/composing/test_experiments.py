"""Settings that are for any data: they compose with the presets, and the schema takes them."""

import pytest

from seq2seq.cli.composing.configurations import composed, composing
from seq2seq.training import run


@pytest.mark.parametrize("model", ["default", "bahdanau2015"])
def test_low_resource_goes_with_any_model(model: str) -> None:
    with composing():
        config = composed(["experiment=low_resource", f"model={model}", "data=embedded"])
    run.check(config)
    assert config["tokenizer"]["vocabulary_size"] == config["data"]["vocabulary_size"] == 2000
    assert config["embedding"]["share"] is True
    assert config["head"]["_target_"].endswith("TiedHead")
    assert config["scheduler"]["name"] == "plateau"
