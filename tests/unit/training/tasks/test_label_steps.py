"""A training step of a tagger or classifier: targets with pads are those without, and the host waits for nothing."""

import pytest
import torch

from seq2seq.models.label_model import padded_sets, sets
from seq2seq.nn.types import IGNORED, Pairs, Tokens, map_tensors
from seq2seq.scoring.label_metrics import LabelScorer
from seq2seq.text import BOS, EOS, LabelTokenizer
from seq2seq.training.tasks.labelling import FIRST, LabelModule
from tests.labels import SENTENCES, SIZE, make, tokens

NAMES = [f"l{i}" for i in range(SIZE)]


def targets(form: str, counts: list[int]) -> Tokens:
    """Labels of so many words each, and eos; as sets, with none, one or two labels."""
    labels = LabelTokenizer(NAMES, form)
    words = [["l1", "l2|l3", "O", "l0"][: max(count, 1)] + ["l4"] * (count - 4) for count in counts]
    joined = {"one": lambda row: "l1 " * len(row), "sets": " ".join, "set": lambda row: "l1 l2"}[form]
    rows = [torch.tensor([*labels.encode(joined(row).strip()), EOS]) for row in words]
    return Tokens(
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=7), torch.tensor([len(r) for r in rows])
    )


@pytest.mark.parametrize("form", ["sets", "set"])
def test_padded_sets_are_the_sets_and_rows_that_are_left_out(form: str) -> None:
    target = targets(form, [5, 1, 3])
    width = 6 if form == "sets" else 1
    padded = padded_sets(target, BOS, FIRST, SIZE, width)
    counts = [int((row[:length] == BOS).sum()) for row, length in zip(target.ids, target.lengths, strict=True)]
    known = torch.arange(width) < torch.tensor(counts)[:, None]
    assert torch.equal(padded[known.flatten()], sets(target, BOS, FIRST, SIZE))
    assert (padded[~known.flatten()] == IGNORED).all()


@pytest.mark.parametrize(
    ("task", "form"), [("tagging", "one"), ("tagging", "sets"), ("classification", "one"), ("classification", "set")]
)
def test_a_training_step_never_waits_for_the_device(task: str, form: str) -> None:
    """Meta tensors have no values: an operation whose result the host needs raises on them."""
    model = make(task, many=form != "one").to("meta").train()
    scorer = LabelScorer(LabelTokenizer(NAMES, form), unit="word")
    module = LabelModule(
        model,
        optimizer={},
        scheduler={},
        label_smoothing=0.1 if form == "one" else 0.0,
        scorer=scorer,
        references=(),
        reads_eos=model.reads_eos,
    )
    counts = [len(text.split()) for text in SENTENCES] if task == "tagging" else [1] * len(SENTENCES)
    batch = Pairs(tokens(SENTENCES, spelt=False, end=(EOS,)), targets(form, counts), torch.arange(len(SENTENCES)))
    width = int(batch.source.lengths.max())
    batch = batch._replace(source=batch.source._replace(ids=batch.source.ids[:, :width]))
    loss, count = module.loss(map_tensors(lambda tensor: tensor.to("meta"), batch), training=True)
    (loss / count).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
