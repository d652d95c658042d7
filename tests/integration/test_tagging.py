"""Complete runs of taggers and classifiers on tiny corpora: what they learn, write, and refuse."""

import json
import random
from pathlib import Path

import pytest

from seq2seq.cli.main import main
from seq2seq.inference.predictor import Predictor
from tests.bundles import save

TINY = [
    "embedding.size=12",
    "embedding.dropout=0",
    "encoder.hidden_size=12",
    "encoder.dropout=0",
    "head.dropout=0",
    "optimizer.lr=0.02",
    "scheduler=constant",
    "data.batch_size=8",
    "trainer.max_epochs=6",
    "trainer.enable_progress_bar=false",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "data.corpus.source_language=xx",
]
NAMES = ["Ann", "Bob", "Cid", "Dora"]
WORDS = ["sees", "calls", "the", "dog", "old"]
CHARACTERS = "{size: 6, hidden_size: 6}"


def sentence(draw: random.Random) -> list[tuple[str, str]]:
    """Words, where each name is a person and "dog" with what follows an animal."""
    words = draw.choices(NAMES + WORDS, k=draw.randint(2, 6))
    tags = ["B-person" if word in NAMES else "B-animal" if word == "dog" else "O" for word in words]
    for i in range(1, len(words)):
        if tags[i] == "O" and words[i - 1] == "dog":
            tags[i] = "I-animal"
    return list(zip(words, tags))


def label(words: list[str]) -> str:
    return "animal" if "dog" in words else "none"


def labels(words: list[str]) -> str:
    return " ".join([*(["animal"] if "dog" in words else []), *(["person"] if set(words) & set(NAMES) else [])])


ROWS = {
    "tags": lambda pairs: " ".join(tag for _, tag in pairs),
    "sets": lambda pairs: " ".join({"B-person": "person|name", "B-animal": "animal"}.get(tag, "O") for _, tag in pairs),
    "label": lambda pairs: label([word for word, _ in pairs]),
    "labels": lambda pairs: labels([word for word, _ in pairs]),
}
TASKS = {
    "tags": ["task=tagging", "data=tagged"],
    "sets": ["task=tagging", "data=tagged", "labels.many=true", "task.entities=false"],
    "label": ["task=classification", "data=labelled", "context=additive"],
    "labels": ["task=classification", "data=labelled", "labels.many=true", "context.summary=max"],
}


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KIND.SPLIT of each kind of labels, 150 / 20 / 20 sentences; the raw test sentences are input.txt."""
    folder, draw = tmp_path_factory.mktemp("labels"), random.Random(1)
    for split, size in (("train", 150), ("val", 20), ("test", 20)):
        sentences = [sentence(draw) for _ in range(size)] + ([[]] if split == "test" else [])
        texts = [" ".join(word for word, _ in pairs) for pairs in sentences]
        for kind, row in ROWS.items():
            lines = (f"{text}\t{row(pairs)}\n" for text, pairs in zip(texts, sentences))
            (folder / f"{kind}.{split}").write_text("".join(lines), encoding="utf-8")
    lines = [*texts, "Eve calls the dog"]  # one empty, one with a word never seen
    (folder / "input.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def run(corpora: Path, kind: str, folder: Path, *overrides: str) -> int:
    files = [f"data.corpus.{split}={corpora}/{kind}.{split}" for split in ("train", "val")]
    files.append(f"data.corpus.tests={{test: {corpora}/{kind}.test}}")
    return main(["train", *TASKS[kind], *TINY, *files, f"hydra.run.dir={folder}", *overrides])


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


@pytest.mark.parametrize(
    ("kind", "characters"),
    [
        pytest.param("tags", CHARACTERS, marks=pytest.mark.pictures),
        ("sets", "null"),
        pytest.param("label", "null", marks=pytest.mark.pictures),
        ("labels", CHARACTERS),
    ],
)
def test_a_run_learns_and_leaves_everything(corpora, tmp_path, kind, characters, capsys):
    folder = tmp_path / "run"
    assert run(corpora, kind, folder, f"embedding.characters={characters}") == 0
    found = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert found["status"] == "finished"
    assert found["test"]["accuracy"]["value"] > 85
    assert found["val_f1"] > 70
    names = {path.name for path in folder.iterdir()}
    assert {"metrics.csv", "samples.tsv", "curves.png", "test.labels.txt", "f1_by_label.test.png", "bundle"} <= names
    assert ("confusion.test.png" in names) is (kind == "label")
    card = (folder / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "seq2seq predict-file BUNDLE" in card
    assert f"{'token' if kind in ('tags', 'sets') else 'text'}-classification" in card

    inputs, output = read(corpora / "input.txt"), tmp_path / "out.txt"
    assert main(["predict-file", str(folder / "bundle"), str(corpora / "input.txt"), str(output)]) == 0
    written = read(output)
    assert written[:21] == read(folder / "test.labels.txt")
    assert len(written) == len(inputs)
    if kind in ("tags", "sets"):
        assert [len(line.split()) for line in written] == [len(line.split()) for line in inputs]
    predictor = Predictor.load(folder / "bundle")
    assert predictor.predict(inputs, batch_size=1) == written
    assert predictor(inputs[0]) == written[0]

    assert main(["predict-file", str(folder / "bundle"), str(corpora / "input.txt"), "-", "--probabilities"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.split("\n") if line.startswith("{")]
    assert len(rows) == len(inputs)
    for row, line in zip(rows, written):
        assert predictor.labels.join(row["labels"]) == line
        for chosen, probabilities in zip(row["labels"], row["probabilities"], strict=True):
            assert all(0 <= p <= 1 for p in probabilities.values())
            assert kind not in ("tags", "label") or sum(probabilities.values()) == pytest.approx(1, abs=1e-3)
            assert sorted(chosen) == sorted(name for name in list(probabilities)[: len(chosen)])  # most likely first


def test_the_batch_decides_neither_loss_nor_scores(corpora, tmp_path):
    found = []
    for name, size in (("a", 3), ("b", 20)):
        still = [
            "optimizer.lr=1e-30",
            "+trainer.limit_train_batches=1",
            "trainer.max_epochs=1",
            "data.batch_tokens=100",
            f"data.batch_size={size}",
        ]
        assert run(corpora, "sets", tmp_path / name, *still) == 0
        found.append(json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8")))
    assert found[0]["val_loss"] == pytest.approx(found[1]["val_loss"], rel=1e-5)
    assert found[0]["test"] == found[1]["test"]


@pytest.mark.parametrize(
    ("kind", "overrides", "message"),
    [
        ("tags", ["data=embedded"], "Embedded has sentences for targets, not labels; use data=snips"),
        ("tags", ["data=labelled"], "Labelled has no labels of each word here"),
        ("label", ["data=tagged"], "Tagged has no labels of each text here"),
        ("tags", ["tokenizer=sentencepiece"], "exactly one token a word; use tokenizer=whitespace"),
        ("label", ["tokenizer=sentencepiece", "embedding.characters={size: 4, hidden_size: 4}"], "spells words"),
        ("sets", ["task.entities=true"], "task.entities=true needs one IOB2 tag a word"),
        ("sets", ["task.label_smoothing=0.1"], "labels.many=true knows no smoothing"),
        ("tags", ["task.label_smoothing=1"], "label_smoothing=1"),
        ("tags", ["encoder=pyramidal"], "leaves no vector a word"),
        ("label", ["context=aligned"], "needs one vector a text"),
        ("tags", ["head=tied"], "labels have none; use head=linear"),
        ("tags", ["callbacks.checkpoint.monitor=val_bleu"], "val_f1"),
        ("tags", ["+task.beam=3"], "task.beam"),
        ("tags", ["+labels.sign=x"], "labels.sign"),
    ],
)
def test_mistakes_are_one_clear_error(corpora, tmp_path, capfd, kind, overrides, message):
    if "data=embedded" in overrides:
        given = ["train", *TASKS[kind], f"hydra.run.dir={tmp_path / 'a'}", *overrides]
        assert main(given) == 2
    else:
        assert run(corpora, kind, tmp_path / "a", *overrides) == 2
    captured = capfd.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err
    assert not (tmp_path / "a" / "bundle").exists()


@pytest.mark.parametrize(
    ("kind", "val", "message"),
    [
        ("tags", "Ann dog\tB-person\n", ":1: 2 words, but 1 tags"),
        ("tags", "dog\tB-animal\nAnn\tB-robot\n", ":2: label 'B-robot' was never seen in training"),
        ("label", "dog\tanimal none\n", ":1: 'animal none' is not exactly one label"),
        ("labels", "dog\tanimal\n\tplant\n", ":2: label 'plant' was never seen"),
    ],
)
def test_wrong_data_are_named_by_file_and_line(corpora, tmp_path, capfd, kind, val, message):
    (tmp_path / "val").write_text(val, encoding="utf-8")
    assert run(corpora, kind, tmp_path / "a", f"data.corpus.val={tmp_path / 'val'}") == 2
    assert f"{tmp_path / 'val'}{message}" in capfd.readouterr().err
    assert not (tmp_path / "a" / "bundle").exists()


def test_each_bundle_has_its_command(corpora, tmp_path, capsys):
    save(tmp_path / "translation")
    assert run(corpora, "tags", tmp_path / "run", "trainer.max_epochs=1") == 0
    text, output = str(corpora / "input.txt"), str(tmp_path / "out")
    for command, bundle, message in (
        ("predict-file", tmp_path / "translation", "task is translation, .*use `seq2seq translate-file`"),
        ("translate-file", tmp_path / "run" / "bundle", "task is tagging, .*use `seq2seq predict-file`"),
    ):
        capsys.readouterr()
        assert main([command, str(bundle), text, output]) == 2
        error = capsys.readouterr().err
        assert all(part in error for part in message.split(".*")), error
        assert not (tmp_path / "out").exists()
    assert main(["predict-file", str(tmp_path / "run" / "bundle"), str(tmp_path / "nothing"), output]) == 2
    assert main(["predict-file", str(tmp_path / "run" / "bundle"), text, output, "--threads", "0"]) == 2
    assert main(["predict-file", str(tmp_path / "run" / "bundle"), text, output, "--max-length", "9"]) == 2
    (tmp_path / "bad").write_bytes(b"a\n\xff\n")
    assert main(["predict-file", str(tmp_path / "run" / "bundle"), str(tmp_path / "bad"), output]) == 2
    assert "bad:2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_fine_tuning_keeps_the_labels(corpora, tmp_path):
    assert run(corpora, "tags", tmp_path / "a", "trainer.max_epochs=1") == 0
    start = [f"init_from={tmp_path / 'a' / 'bundle'}", "optimizer.lr=1e-30", "trainer.max_epochs=1"]
    assert run(corpora, "tags", tmp_path / "b", *start) == 0
    first, second = (read(tmp_path / name / "test.labels.txt") for name in "ab")
    assert first == second


def test_features_become_texts(tmp_path, capsys):
    """predict-file with a captioning bundle: one text a sequence, from JSON lines; labels' options are refused."""
    rows = [
        {"features": [[i % 3 == k for k in range(3)]], "target": ["red", "green", "blue"][i % 3]} for i in range(30)
    ]
    text = "".join(json.dumps({**row, "features": [list(map(int, row["features"][0]))]}) + "\n" for row in rows)
    (tmp_path / "data.jsonl").write_text(text, encoding="utf-8")
    files = [f"data.corpus.{split}={tmp_path / 'data.jsonl'}" for split in ("train", "val")]
    sizes = ["embedding.size=8", "encoder.hidden_size=8", "decoder.hidden_size=8", "data.corpus.target_language=xx"]
    running = ["trainer.max_epochs=1", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu"]
    kind = ["task=captioning", "data=features", "encoder=vector", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main(["train", *kind, *files, *sizes, *running]) == 0
    bundle, source, output = (str(tmp_path / name) for name in ("run/bundle", "data.jsonl", "out.txt"))
    assert main(["predict-file", bundle, source, output]) == 0
    assert len(read(Path(output))) == 30
    capsys.readouterr()
    assert main(["predict-file", bundle, source, output, "--max-length", "1"]) == 0
    cut = sum(map(bool, read(Path(output))))  # what ended by itself is empty
    assert (f"{cut} of 30 outputs were cut off at the search's length limit" in capsys.readouterr().err) is (cut > 0)
    for arguments, message in (
        ([bundle, source, output, "--probabilities"], "--probabilities: the bundle's task is captioning"),
        ([bundle, "-", output], "-: features are read from a .npz or JSON lines file"),
    ):
        assert main(["predict-file", *arguments]) == 2
        assert message in capsys.readouterr().err
