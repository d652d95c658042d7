"""Complete training runs on a tiny copying task: what they write, how they end, and that numbers are exact."""

import json
import math
import signal
import subprocess
import sys
import time
from itertools import zip_longest
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from seq2seq.cli import train
from seq2seq.cli.main import main
from seq2seq.errors import UserError
from tests.forks import PATIENCE

ROOT = Path(__file__).parents[2]
WORDS = "ein zwei drei vier funf sechs sieben acht neun zehn".split()
TINY = [
    "data=tsv",
    "tokenizer=whitespace",
    "embedding.size=16",
    "encoder.hidden_size=16",
    "decoder.hidden_size=32",
    "trainer.max_epochs=2",
    "trainer.enable_progress_bar=false",
    "trainer.threads=1",
    "trainer.log_every_n_steps=2",
    "trainer.accelerator=cpu",
    "search.beam_size=2",
]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A TSV of number words and the same words with a mark: 120 / 20 / 20 pairs, one of them empty, one too long."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = torch.Generator().manual_seed(1)
    for split, size in (("train", 120), ("val", 20), ("test", 20)):
        rows = []
        for _ in range(size):
            words = [
                WORDS[i]
                for i in torch.randint(10, (int(torch.randint(1, 6, (1,), generator=generator)),), generator=generator)
            ]
            rows.append(" ".join(words) + "\t" + " ".join(w + "x" for w in words))
        if split == "train":
            rows += ["\t", " ".join(["ein"] * 600) + "\tein"]
        (folder / f"{split}.tsv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    languages = ["data.corpus.source_language=de", "data.corpus.target_language=xx"]
    return (
        languages
        + [f"data.corpus.{split}={folder}/{split}.tsv" for split in ("train", "val")]
        + [f"data.corpus.tests={{test: {folder}/test.tsv}}"]
    )


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")


def run(corpus, folder, *overrides):
    return main(["train", *TINY, *corpus, f"hydra.run.dir={folder}", *overrides])


def record(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


@pytest.mark.pictures
def test_a_run_leaves_everything(corpus, tmp_path, capsys):
    assert run(corpus, tmp_path / "a", "context=additive", "logger=[csv,tensorboard]") == 0
    folder = tmp_path / "a"
    names = {path.name for path in folder.iterdir()}
    assert {"run.json", "metrics.csv", "samples.tsv", "curves.png", "attention.png", "bundle", "checkpoints"} <= names
    assert {f"test.{text}.txt" for text in ("sources", "references", "translations")} <= names
    assert {"bleu_by_length.test.png", "tensorboard"} <= names
    assert len((folder / "test.translations.txt").read_text(encoding="utf-8").split("\n")) == 21
    found = record(folder)
    assert found["status"] == "finished"
    bleu = found["test"]["BLEU"]
    assert bleu["signature"].startswith("nrefs:1|bs:1000|seed:12345|case:mixed")
    assert bleu["low"] <= bleu["value"] <= bleu["high"]
    assert found["parameters"] > 0
    assert found["val_perplexity"] == pytest.approx(math.exp(found["val_loss"]))
    card = (folder / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "seq2seq train" in card
    assert "dropped" in card
    assert "bundle:" in capsys.readouterr().out


def test_the_same_command_gives_the_same_weights_and_another_seed_others(corpus, tmp_path):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(corpus, tmp_path / name, f"seed={seed}") == 0
        weights.append(load_file(tmp_path / name / "bundle" / "model.safetensors"))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not all(torch.equal(weights[0][key], weights[2][key]) for key in weights[0])


def test_accumulated_batches_are_one_big_batch(corpus, tmp_path):
    """SGD on two halves of the data accumulated = SGD on all of it: the mean is over tokens, not over batches."""
    still = ["optimizer=sgd", "scheduler=constant", "embedding.dropout=0", "encoder.dropout=0", "head.dropout=0"]
    still += ["trainer.max_epochs=1", "trainer.gradient_clip_val=null", "trainer.precision=64-true"]
    weights = []
    for name, changes in (
        ("whole", ["data.batch_tokens=100000", "data.batch_size=null"]),
        ("parts", ["data.batch_tokens=100", "trainer.accumulate_grad_batches=100000"]),
    ):
        assert run(corpus, tmp_path / name, *still, *changes) == 0
        weights.append(load_file(tmp_path / name / "bundle" / "model.safetensors"))
    for key in weights[0]:
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-9, atol=1e-12)


def test_init_from_starts_from_a_bundle(corpus, tmp_path):
    assert run(corpus, tmp_path / "a", "trainer.max_epochs=1") == 0
    bundle = tmp_path / "a" / "bundle"
    still = ["optimizer=sgd", "optimizer.lr=1e-30", "scheduler=constant", "trainer.max_epochs=1"]
    assert run(corpus, tmp_path / "b", f"init_from={bundle}", *still) == 0
    first, second = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in "ab")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert run(corpus, tmp_path / "c", f"init_from={bundle}", "encoder.hidden_size=8") == 2


@pytest.mark.parametrize("optimizer", ["adamw", "adadelta", "sgd"])
@pytest.mark.parametrize("scheduler", ["plateau", "inverse_sqrt", "constant"])
def test_optimizers_and_schedulers_run(corpus, tmp_path, optimizer, scheduler):
    assert run(corpus, tmp_path / "a", f"optimizer={optimizer}", f"scheduler={scheduler}", "trainer.max_steps=3") == 0


@pytest.mark.slow
def test_minimum_risk_starts_from_a_bundle(corpus, tmp_path):
    """The loss is the expected cost of a sentence, and α is large enough to see that it falls."""
    assert run(corpus, tmp_path / "a", "trainer.max_epochs=6", "optimizer.lr=0.01") == 0
    risk = ["task.loss=risk", "task.risk={samples: 8, sharpness: 1.0}", "trainer.log_every_n_steps=1"]
    start = f"init_from={tmp_path / 'a' / 'bundle'}"
    assert run(corpus, tmp_path / "b", start, *risk, "optimizer.lr=0.003", "trainer.max_epochs=4") == 0
    rows = [line.split(",") for line in (tmp_path / "b" / "metrics.csv").read_text().splitlines()]
    losses = [float(row[rows[0].index("train_loss")]) for row in rows[1:] if row[rows[0].index("train_loss")]]
    assert all(0 <= loss <= 1 for loss in losses)
    assert losses[-1] < losses[0]


def test_training_that_ends_before_a_validation_still_bundles(corpus, tmp_path):
    assert run(corpus, tmp_path / "a", "trainer.max_steps=1", "data.batch_tokens=50") == 0
    assert (tmp_path / "a" / "bundle" / "model.safetensors").exists()


@pytest.mark.pictures
def test_a_sweep_continues_after_a_failure_and_ends_with_a_leaderboard(corpus, tmp_path, capsys):
    folder = tmp_path / "sweep"
    arguments = ["train", "-m", *TINY, *corpus, f"hydra.sweep.dir={folder}", "trainer.max_epochs=1"]
    assert main([*arguments, "cell=vanilla,gru", "encoder.num_layers=0,1"]) == 1
    statuses = [record(folder / str(i))["status"] for i in range(4)]
    assert statuses == ["failed", "finished", "failed", "finished"]
    assert "num_layers=0" in record(folder / "0")["error"]
    assert {"leaderboard.csv", "leaderboard.md", "leaderboard.png"} <= {path.name for path in folder.iterdir()}
    assert "num_layers=0 must be at least 1" in capsys.readouterr().out


def test_a_run_that_its_watcher_gives_up(corpus, tmp_path):
    """After its second validation of two: no bundle, a record that says so, and a leaderboard that has it."""
    from seq2seq.cli.composing.configurations import composed, composing
    from seq2seq.training.run import train

    with composing():
        config = composed([*TINY, *corpus])
    seen = []
    found = train(config, tmp_path / "a", [], watch=lambda number, value: seen.append((number, value)) or number == 1)
    assert [number for number, _ in seen] == [0, 1]
    assert found["status"] == record(tmp_path / "a")["status"] == "pruned"
    assert found["val_bleu"] == pytest.approx(seen[1][1], rel=1e-6)
    assert not (tmp_path / "a" / "bundle").exists()
    assert main(["leaderboard", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["encoder.hiden_size=3"], "hiden_size"),
        (["+encoder.hiden_size=3"], "did you mean encoder.hidden_size"),
        (["encoder.hidden_size=abc"], "is not of type int"),
        (["cell.reset=before"], "encoder.cell.reset"),
        (["optimizer.lr=-1"], "optimizer.lr=-1"),
        (["+trainer.max_epoch=3"], "did you mean trainer.max_epochs"),
        (["callbacks.checkpoint.monitor=bleu"], "val_bleu"),
        (["task.label_smoothing=1"], "label_smoothing=1"),
        (["search.beam_size=0"], "beam_size=0"),
        (["search.coverage_penalty=0.2"], "search.coverage_penalty=0.2: the model has no attention"),
        (["search=sampling", "search.diversity_groups=5"], "search.diversity_groups=5: belongs to beam search"),
        (["data=parallel"], "a value is needed here"),
        (["init_from=nowhere"], "nowhere"),
        (["embedding.share=true", "tokenizer.joint=false"], "tokenizer.joint=true"),
        (["context=additive", "decoder.context_to=start"], "context=fixed"),
        (["+encoder.cell._target_=os.system"], "os"),
    ],
)
def test_mistakes_are_one_clear_error(corpus, tmp_path, capfd, overrides, message):
    base = [] if overrides == ["data=parallel"] else corpus
    assert main(["train", *TINY, *base, f"hydra.run.dir={tmp_path / 'a'}", *overrides]) == 2
    captured = capfd.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err
    assert not (tmp_path / "a" / "bundle").exists()


def compose(*overrides):
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", overrides=list(overrides))


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")))
@pytest.mark.parametrize("cell", [None, "vanilla", "gru", "lstm"])
def test_presets_build_with_every_cell(preset, cell):
    from omegaconf import OmegaConf

    from seq2seq.models import factory

    overrides = [f"model={preset}", "name=x"] + ([f"cell={cell}"] if cell else [])
    plain = OmegaConf.to_container(compose(*overrides), resolve=True)
    if cell not in (None, "gru") and plain["encoder"]["cell"].get("reset"):
        with pytest.raises(UserError, match="no option 'reset'"):
            factory.encoder_decoder(plain, {"source": 20, "target": 20})
        return
    model = factory.encoder_decoder(plain, {"source": 20, "target": 20})
    kind = {"vanilla": "Vanilla", "gru": "GRU", "lstm": "LSTM"}.get(cell)
    cells = [type(layer).__name__ for layer in model.decoder.layers]
    assert kind is None or set(cells) == {kind}


def test_one_override_sets_both_cells_or_one():
    both, one = compose("cell=lstm", "name=x"), compose("cell@encoder.cell=lstm", "name=x")
    assert both.encoder.cell._target_ == both.decoder.cell._target_ == "seq2seq.nn.cells.LSTM"
    assert (one.encoder.cell._target_, one.decoder.cell._target_) == ("seq2seq.nn.cells.LSTM", "seq2seq.nn.cells.GRU")


def test_every_yaml_parses_and_every_option_composes():
    """The first options of all groups together, then the second ones, and so on; a task has groups of its own."""
    groups = {}
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        yaml.safe_load(path.read_text(encoding="utf-8"))
        group = str(path.relative_to(ROOT / "conf").parent)
        if group not in (".", "model", "experiment"):
            value = f"[{path.stem}]" if group == "logger" else path.stem
            where = "feedback@decoder.feedback" if group == "feedback" else group
            groups.setdefault(group, []).append(f"{where}={value}")
    for together in [*zip(groups.pop("task")), *zip_longest(*groups.values())]:
        compose(*filter(None, together), "name=x")


def test_run_is_the_entry_point_of_main():
    assert train.run.__module__ == "seq2seq.cli.train"


@pytest.mark.slow
def test_ctrl_c_ends_with_the_best_bundle(corpus, tmp_path):
    """A real process, interrupted in training after its first validations: code 130, and the bundle translates."""
    folder = tmp_path / "a"
    endless = ["trainer.max_epochs=100000", "callbacks.early_stopping.patience=null", "scheduler=constant"]
    command = [sys.executable, "-m", "seq2seq", "train", *TINY, *corpus, *endless, f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE
    while not (folder / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert record(folder)["status"] == "interrupted"
    assert record(folder)["val_bleu"] is not None
    assert main(["translate-file", str(folder / "bundle"), str(folder / "test.translations.txt"), "-"]) == 0
