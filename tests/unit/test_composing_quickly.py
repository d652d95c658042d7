"""What the tests compose quickly is what Hydra composes, also the second time, and when what came out was changed."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from seq2seq.runtime.paths import packaged
from tests.composing_quickly import composing_quickly, composing_slowly

OVERRIDES = [
    [],
    ["model=cho2014", "encoder.hidden_size=7", "seed=2"],
    ["encoder.hidden_size=8", "cell=lstm"],
    ["experiment=multi30k", "context=additive", "cell@encoder.cell=lstm", "trainer.max_epochs=1"],
    ["experiment=inflection_features", "~callbacks.samples", "data.corpus.language=german", "logger=wandb"],
    ["task=tagging", "data=conll", "data.corpus.train=t", "scheduler=plateau", "optimizer.lr=0.1,0.2"],
    ["tokenizer.symbols=['<de>','<fr>']", "embedding.vectors={source: a.vec, target: null}", "search=greedy"],
]


@pytest.mark.parametrize("overrides", OVERRIDES, ids=" ".join)
def test_composed_quickly_is_composed(overrides: list[str]) -> None:
    def made() -> dict[object, object] | str:
        try:
            with initialize_config_dir(str(packaged("conf")), version_base="1.3"):
                config = compose("train", overrides, return_hydra_config=True)
        except Exception as error:  # the same fault, too
            return str(error)
        OmegaConf.set_struct(config, False)
        found = OmegaConf.to_container(config)
        config.encoder = config.data = None
        assert isinstance(found, dict)
        return found

    with pytest.MonkeyPatch.context() as patch:
        composing_slowly(patch)
        expected = made()
    with pytest.MonkeyPatch.context() as patch:
        composing_quickly(patch)
        assert [made(), made()] == [expected, expected]
