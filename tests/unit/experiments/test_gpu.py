"""experiments/gpu: the plain twin is the same model, the script runs and survives what fails, and graphs' padding
changes nothing."""

import copy
import json
from pathlib import Path

import pytest
import torch

from experiments.gpu import check, report
from experiments.gpu.twin import Twin
from experiments.throughput.learners import project_model
from experiments.throughput.pairs import random_batches, synthetic
from experiments.throughput.sizes import Sizes
from seq2seq.inference.graphed_step import GraphedStep
from seq2seq.inference.stepper import Stepper, translate_ids
from seq2seq.models import factory
from seq2seq.models.graphed_loss import Batch, GraphedLoss, Loss, bucket, gradients
from seq2seq.nn.types import Tokens
from seq2seq.search import SearchOptions
from seq2seq.text.vocabulary import BOS, EOS, PAD
from tests.conftest import model_config, node

SIZES = Sizes(4, 8, 60)
VOCABULARY = {"source": 60, "target": 60}


@pytest.mark.parametrize("model", ["c", "a"])
def test_the_plain_twin_is_the_same_model(model: str) -> None:
    ours = project_model(model, SIZES).double()
    twin = Twin(model, SIZES).double()
    twin.copy_weights(ours.state_dict())
    for batch in random_batches(synthetic(60, 40).train, 8, 2):
        wanted = ours.loss(batch.source, batch.target) / batch.target.lengths.sum()
        torch.testing.assert_close(twin.loss(batch), wanted)


@pytest.mark.parametrize("model", ["c", "a", "luong"])
def test_a_loss_padded_to_a_bucket_is_the_same(model: str) -> None:
    """Loss and gradients, for sizes that are no bucket's; what a former batch left in the buffers does not matter."""
    plain = project_model(model, SIZES).double()
    padded = copy.deepcopy(plain)
    loss = GraphedLoss(padded, label_smoothing=0.1)
    for size in (9, 5):
        [batch] = random_batches(synthetic(60, 40).train, size, 1)
        for each, function in ((plain, plain.loss), (padded, loss)):
            each.zero_grad()
            options = {"label_smoothing": 0.1} if function is not loss else {}
            function(batch.source, batch.target, **options).backward()
        for one, other in zip(plain.parameters(), padded.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("head", ["linear", "tied"])
def test_the_loss_of_aliases_has_the_gradients_of_the_parameters(head: str) -> None:
    """What a graph captures; a table that is the output's weight, too, is one parameter."""
    size = {} if head == "tied" else {"size": 7}
    model = factory.encoder_decoder(
        model_config(head=head, context="additive") | {"head": node("head", head, **size)}, VOCABULARY
    )
    model.double().train()
    model.decoder.layers.first.weight_drop = 0.3
    [batch] = random_batches(synthetic(60, 40).train, 5, 1)
    torch.manual_seed(1)
    loss, aliases = Loss(GraphedLoss(model)).of_aliases(Batch(batch.source, batch.target))
    found = gradients(loss, aliases, torch.tensor(2.0, dtype=torch.double))
    torch.manual_seed(1)
    (2 * model.loss(batch.source, batch.target)).backward()
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient) if parameter.grad is None else parameter.grad)


@pytest.mark.parametrize("options", [{"beam_size": 1}, {"beam_size": 3}, {"sample": True, "n_best": 2}], ids=str)
@pytest.mark.parametrize("model", ["c", "a", "luong"])
def test_a_search_of_padded_steps_finds_the_same(model: str, options: dict[str, object]) -> None:
    """Sentences leave the batch, so that the shape changes; attention weights are kept."""
    network = project_model(model, SIZES).double().eval()
    for parameter in network.parameters():
        parameter.data.mul_(4)
    search = SearchOptions(BOS, EOS, PAD, return_attention=model != "c", **options)
    plain, padded = Stepper(network), GraphedStep(Stepper(network))
    for size in (11, 1, 6):
        [batch] = random_batches(synthetic(60, 40).train, size, 1)
        wanted, found = (translate_ids(network, batch.source, search, step) for step in (plain, padded))
        for one, other in zip(wanted, found, strict=True):
            assert [each.tokens for each in one] == [each.tokens for each in other]
            if one[0].attention is not None:
                torch.testing.assert_close(one[0].attention, other[0].attention)
    assert len(padded.known) > 3


@pytest.mark.parametrize(
    ("context", "head"),
    [("coverage", "linear"), ("coverage", "pointer"), ("monotonic", "linear"), ("monotonic", "pointer")],
)
def test_padded_steps_with_states_of_source_positions_find_the_same(context: str, head: str) -> None:
    """A long source leaves nothing in the buffers that a shorter one would read."""
    torch.manual_seed(0)
    config = model_config(context="monotonic" if context == "monotonic" else "additive", head=head)
    config["context"] |= {"coverage": True} if context == "coverage" else {}
    network = factory.encoder_decoder(config, VOCABULARY).double().eval()
    for name, parameter in network.named_parameters():
        parameter.data = torch.randn_like(parameter) if name.endswith("coverage") else parameter.data * 4
    search = SearchOptions(BOS, EOS, PAD, beam_size=3, return_attention=True)
    plain, padded = Stepper(network), GraphedStep(Stepper(network))
    [batch] = random_batches(synthetic(60, 40).train, 6, 1)
    for length in (16, 12, 9):  # of one padded length
        source = Tokens(
            batch.source.ids.new_full((6, length), 7), batch.source.lengths.new_tensor([length, 9, 3, 9, 1, 2])
        )
        wanted, found = (translate_ids(network, source, search, step) for step in (plain, padded))
        for one, other in zip(wanted, found, strict=True):
            assert [each.tokens for each in one] == [each.tokens for each in other]
            torch.testing.assert_close(one[0].score, other[0].score)
            torch.testing.assert_close(one[0].attention, other[0].attention)


@pytest.mark.parametrize("context", ["additive", "monotonic"])
@pytest.mark.parametrize("head", ["linear", "pointer"])
def test_losses_of_log_probabilities_padded_to_a_bucket_are_the_same(context: str, head: str) -> None:
    torch.manual_seed(0)
    plain = factory.encoder_decoder(model_config(context=context, head=head), VOCABULARY).double().eval()
    padded = copy.deepcopy(plain)
    [batch] = random_batches(synthetic(60, 40).train, 5, 1)
    plain.loss(batch.source, batch.target, label_smoothing=0.1).backward()
    GraphedLoss(padded, label_smoothing=0.1)(batch.source, batch.target).backward()
    for one, other in zip(plain.parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_buckets_are_few_and_near() -> None:
    sizes = [bucket(size) for size in range(1, 513)]
    assert all(size <= rounded <= max(size + 3, size * 9 / 8) for size, rounded in enumerate(sizes, 1))
    assert len(set(sizes)) < 50
    assert sizes == sorted(sizes)


def test_a_case_that_fails_is_recorded_and_the_next_one_runs(tmp_path: Path) -> None:
    setting = check.Setting("cpu", True, tmp_path, float("inf"))
    cases = check.Cases(setting, "models")
    cases.run("bad", lambda: 1 / 0)
    cases.run("good", lambda: {"ok": True})
    found = json.loads((tmp_path / "results.json").read_text())["models"]
    assert "ZeroDivisionError" in found["bad"]["error"]
    assert found["good"]["ok"] is True
    assert check.failures(found) == ["bad"]
    setting.kept = {"models": found}
    again = check.Cases(setting, "models")
    assert again.run("good", lambda: 1 / 0) == found["good"]  # it passed, and is kept
    assert again.run("bad", lambda: {"ok": True})["ok"] is True
    setting.deadline = 0.0
    assert cases.run("late", lambda: {"ok": True}) is None
    report.write(setting.results, tmp_path)
    assert (tmp_path / "results.md").is_file()


def test_missing_packages_are_named() -> None:
    assert check.missing({"torch": "torch", "no_such_module_here": "its-package"}) == ["its-package"]


@pytest.mark.slow
def test_the_script_runs_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    sections = [name for name in check.SECTIONS if name not in (*check.ALONE, "processes")]  # which start processes
    assert check.main(["--device", "cpu", "--quick", "--output", str(tmp_path / "out"), "--only", *sections]) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all(found[name] for name in sections)
    assert "| speed |" in (tmp_path / "out" / "results.md").read_text()
