"""task=captioning from the command line: what a run leaves, what its bundle says again, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from seq2seq.cli.main import main
from seq2seq.corpora.features import read_features
from seq2seq.errors import UserError
from seq2seq.inference.captioner import Captioner
from seq2seq.inference.translator import Translator

CONF = Path(__file__).parents[2] / "conf"
WORDS = "one two three four".split()
TINY = [
    "task=captioning",
    "embedding.size=16",
    "embedding.dropout=0",
    "encoder.hidden_size=24",
    "encoder.dropout=0",
    "decoder.hidden_size=24",
    "head.dropout=0",
    "task.label_smoothing=0",
    "data=features",
    "data.corpus.target_language=en",
    "data.batch_tokens=40",
    "optimizer.lr=0.01",
    "scheduler=constant",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "callbacks.early_stopping.patience=null",
]
IMAGE = ["encoder.height=3", "encoder.width=4", "encoder.channels=4"]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strips of one to three of four noisy patterns of 12 numbers, each pattern spoken as a word: 48 to train on, of
    which 12 are val too (to see what was learnt by heart), and 12 others to test."""
    folder = tmp_path_factory.mktemp("strips")
    patterns = np.eye(4).repeat(3, axis=1)
    for split, size, seed in (("train", 48, 0), ("val", 12, 0), ("test", 12, 1)):
        random = np.random.default_rng(seed)
        strips, rows = [], []
        for i in range(size):
            rows.append(random.integers(4, size=1 + i % 3))
            strips.append(patterns[rows[-1]] + 0.05 * random.normal(size=(len(rows[-1]), 12)))
        texts = [" ".join(WORDS[i] for i in row) for row in rows]
        if split == "test":
            offsets = np.cumsum([0, *(len(strip) for strip in strips)])
            np.savez(folder / "test.npz", values=np.concatenate(strips), offsets=offsets, targets=texts)
            continue
        items = ({"features": s.tolist(), "target": t} for s, t in zip(strips, texts, strict=True))
        (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    return folder


def run(corpus: Path, folder: Path, *overrides: str) -> int:
    files = [f"data.corpus.{split}={corpus}/{split}.jsonl" for split in ("train", "val")]
    tests = f"data.corpus.tests={{test: {corpus}/test.npz}}"
    return main(["train", *TINY, *files, tests, f"hydra.run.dir={folder}", *overrides])


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param([*IMAGE, "context=additive"], marks=pytest.mark.pictures),
        [*IMAGE, "decoder.context_to=first"],
        [*IMAGE, "trainer.precision=64-true", "decoder.context_to=cell", "cell=lstm"],
        ["encoder=vector", "context=additive"],
        ["encoder=pyramidal", "encoder.num_layers=2", "context=additive"],
    ],
    ids=lambda overrides: " ".join(overrides[-2:]),
)
def test_a_run_learns_and_leaves_everything(corpus: Path, tmp_path: Path, overrides: list[str]) -> None:
    """However the source enters, the words are learnt; the bundle then says what the run said, in batches of any size.

    A vector encoder does not know where a region stands: what it says is right but for the order.
    """
    folder = tmp_path / "a"
    assert run(corpus, folder, *overrides, "trainer.max_epochs=40", "trainer.check_val_every_n_epoch=10") == 0
    found = record(folder)
    assert found["status"] == "finished"
    exact = found["test"]["Exact"]
    assert exact["signature"] == "nrefs:1|bs:1000|seed:12345|unit:line|case:mixed"
    assert exact["value"] >= 30
    assert found["val_exact"] >= (30 if "encoder=vector" in overrides else 90)
    names = {path.name for path in folder.iterdir()}
    assert {"bundle", "curves.png", "metrics.csv", "samples.tsv", "test.captions.txt"} <= names
    assert ("attention.png" in names) is ("context=additive" in overrides)
    assert "predict-file" in (folder / "bundle" / "README.md").read_text(encoding="utf-8")
    captioner = Captioner.load(folder / "bundle")
    strips = list(read_features(corpus / "test.npz", captioner.bundle.model.features))
    said = (folder / "test.captions.txt").read_text(encoding="utf-8").split("\n")[:-1]
    for batch_size in (1, 5, 64):
        assert captioner.caption(strips, batch_size=batch_size) == said
    with pytest.raises(UserError, match=r"^sequence 2: has 11 numbers a row, but 12 are needed"):
        captioner.caption([strips[0], strips[1][:, :11]])
    with pytest.raises(UserError, match="task is captioning, not translation"):
        Translator.load(folder / "bundle")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "train.jsonl:1: has 12 numbers a row, but 64 are needed"),  # the image encoder expects 8 × 8
        (["encoder.height=3"], "train.jsonl:1: has 12 numbers a row, but 24 are needed"),
        ([*IMAGE, "encoder.max_regions=2"], "3 regions in an image, but encoder.max_regions=2; raise it"),
        ([*IMAGE, "bridge=copy"], "no recurrent state to copy"),
        ([*IMAGE, "embedding.share=true"], "the source is numbers"),
        ([*IMAGE, "search.equal_length=true"], "search.equal_length=true"),
        ([*IMAGE, "cell@encoder.cell=gru"], "encoder.cell: ImageEncoder has no option 'cell'"),
        ([*IMAGE, "context=additive", "decoder.context_to=first"], "context=fixed"),
        ([*IMAGE, "callbacks.checkpoint.monitor=exact"], "val_exact"),
        (["encoder=vector", "task=translation", "tokenizer=whitespace"], "this task reads text; use task=captioning"),
    ],
)
def test_mistakes_are_one_clear_error(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], overrides: list[str], message: str
) -> None:
    assert run(corpus, tmp_path / "a", *overrides, "trainer.max_epochs=1") == 2
    captured = capfd.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err
    assert not (tmp_path / "a" / "bundle").exists()


def choices(*overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=["name=x", *overrides])


@pytest.mark.parametrize("encoder", ["vector", "image"])
@pytest.mark.parametrize("task", ["translation", "captioning"])
def test_encoders_without_cells_leave_no_node(encoder: str, task: str) -> None:
    config = choices(f"task={task}", f"encoder={encoder}", "cell=lstm")
    assert "cell" not in config.encoder
    assert config.decoder.cell._target_ == "seq2seq.nn.cells.LSTM"
    assert "cell" in choices(f"task={task}", "encoder=pyramidal").encoder


def test_presets_set_the_cells_that_they_name() -> None:
    """The groups of the cells come before the presets, whose word on them is therefore the last."""
    config = choices("model=cho2014")
    assert config.encoder.cell.reset == config.decoder.cell.reset == "before"
