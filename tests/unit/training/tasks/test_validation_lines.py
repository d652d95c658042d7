"""`trainer.validation_lines`: some of val are translated, the same ones at each validation, and as they would be."""

import pytest
import torch

from seq2seq.models import factory
from seq2seq.nn.types import Pairs
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD, WhitespaceTokenizer
from seq2seq.training.losses.objectives import Objective
from seq2seq.training.tasks.translation import TranslationModule, spread
from tests.conftest import model_config
from tests.unit.models.test_models import SOURCE, TARGET, batch

CONSTANT = {"name": "constant"}


@pytest.mark.parametrize(
    "total, count, expected",
    [(10, 10, list(range(10))), (3, 8, [0, 1, 2]), (10, 3, [0, 3, 6]), (1014, 4, [0, 253, 507, 760]), (5, 1, [0])],
)
def test_rows_are_evenly_spread(total, count, expected):
    assert spread(total, count) == expected


@pytest.mark.parametrize("searched", [None, {7}, {2, 9}, {1000}])
def test_only_these_rows_are_translated(searched):
    model = factory.encoder_decoder(model_config(), {"source": SOURCE, "target": TARGET})
    module = TranslationModule(
        model,
        optimizer=CONSTANT,
        scheduler=CONSTANT,
        search=SearchOptions(bos=BOS, eos=EOS, pad=PAD, beam_size=1, n_best=1),
        objective=Objective(0.0, 0.0),
        target_tokenizer=WhitespaceTokenizer([f"w{i}" for i in range(TARGET - 4)]),
        references=[],
    ).eval()
    pairs = Pairs(*batch(), rows=torch.tensor([9, 2, 7]))
    with torch.no_grad():
        module.validate(pairs)
        everything = dict(module.validation_texts)
        module.on_validation_epoch_start()
        module.searched = searched
        module.validate(pairs)
    assert set(everything) == {9, 2, 7}
    rows = everything.keys() if searched is None else searched & everything.keys()
    assert module.validation_texts == {row: everything[row] for row in rows}
