"""A homograph that only its part of speech disambiguates: learned with token factors, guessed without; and every
command that reads sources reads their factors."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.bundle.format import load_bundle
from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.inference.forced_decoding import ForcedDecoder
from seq2seq.inference.translator import Translator
from seq2seq.training.task_module import TaskModule

NOUNS = ["run", "walk", "play", "work"]
COMMON = [
    *("tokenizer=whitespace", "tokenizer.joint=false", "context=aligned", "scheduler=constant", "optimizer.lr=0.02"),
    *("embedding.size=8", "embedding.dropout=0", "encoder.hidden_size=12", "decoder.hidden_size=24", "head.dropout=0"),
    *(
        "data.batch_tokens=120",
        "trainer.threads=1",
        "search=greedy",
        "search.equal_length=true",
        "callbacks.early_stopping=null",
    ),
]
FACTORS = ["data.corpus.factors=[pos,subword]", "embedding.factors={pos: 4, subword: 2}"]


def write(folder: Path) -> None:
    """Words that are a noun (N) or a verb (V), each translated as its part of speech says."""
    for split, count in (("train", 400), ("val", 40), ("test", 100)):
        random = np.random.default_rng(count)
        words = [random.choice(NOUNS, random.integers(1, 4)).tolist() for _ in range(count)]
        tags = [random.choice(["N", "V"], len(line)).tolist() for line in words]
        targets = [[f"{word}-{tag}" for word, tag in zip(*pair)] for pair in zip(words, tags)]
        for name, lines in {"en": words, "pos": tags, "xx": targets}.items():
            (folder / f"{split}.{name}").write_text("".join(f"{' '.join(line)}\n" for line in lines))


def train(folder: Path, name: str, *overrides: str) -> int:
    files = [f"data.corpus.{split}={folder / split}" for split in ("train", "val")]
    command = ["train", "data=parallel", "data.corpus.source_language=en", "data.corpus.target_language=xx", *files]
    tests = f"data.corpus.tests={{test: {folder / 'test'}}}"
    return main([*command, tests, *COMMON, f"hydra.run.dir={folder / name}", *overrides])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, and a run with factors."""
    folder = tmp_path_factory.mktemp("factors")
    write(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seq2seq.reporting.style.save", lambda figure, path, **_: path)
        assert train(folder, "with", *FACTORS, "trainer.max_epochs=6") == 0
    return folder


def exact(lines: list[str], references: Path) -> float:
    return float(
        np.mean([line == other for line, other in zip(lines, references.read_text().splitlines(), strict=True)])
    )


@pytest.mark.slow
def test_a_homograph_is_learned_with_its_tag_and_guessed_without(corpus: Path) -> None:
    assert exact((corpus / "with" / "test.translations.txt").read_text().splitlines(), corpus / "test.xx") == 1
    assert train(corpus, "without", "trainer.max_epochs=6") == 0
    lines = (corpus / "without" / "test.translations.txt").read_text().splitlines()
    words = [
        (word, right)
        for line, other in zip(lines, (corpus / "test.xx").read_text().splitlines())
        for word, right in zip(line.split(), other.split())
    ]
    assert np.mean([word[:-2] == right[:-2] for word, right in words]) > 0.95  # the word is known, not its tag
    assert 0.3 < np.mean([word == right for word, right in words]) < 0.7


def test_commands_and_python_read_the_same(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, source, pos = str(corpus / "with" / "bundle"), corpus / "test.en", corpus / "test.pos"
    expected = (corpus / "with" / "test.translations.txt").read_text()
    given = ["--factors", f"pos={pos}"]
    assert main(["translate-file", bundle, str(source), str(tmp_path / "out"), *given, "--batch-size", "7"]) == 0
    assert (tmp_path / "out").read_text() == expected
    joined = [f"{text}\t{tags}" for text, tags in zip(source.read_text().splitlines(), pos.read_text().splitlines())]
    (tmp_path / "joined").write_text("".join(f"{line}\n" for line in joined))
    assert joined == (corpus / "with" / "test.sources.txt").read_text().splitlines()
    assert main(["translate-file", bundle, str(tmp_path / "joined"), str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_text() == expected
    for part in ("1/2", "2/2"):
        assert main(["translate-file", bundle, str(source), str(tmp_path / "s"), *given, "--shard", part]) == 0
    assert main(["merge", str(tmp_path / "s")]) == 0
    assert (tmp_path / "s").read_text() == expected
    translator = Translator.load([bundle, bundle])
    texts, tags = (path.read_text().splitlines() for path in (source, pos))
    assert translator.translate(texts, factors={"pos": tags}) == expected.splitlines()
    assert translator.translate(["run walk", "", "run"], factors={"pos": ["V N", "", "N"]}) == [
        "run-V walk-N",
        "",
        "run-N",
    ]
    assert translator("run\tV") == "run-V"


def test_given_translations_are_scored_with_factors(corpus: Path, tmp_path: Path) -> None:
    bundle = str(corpus / "with" / "bundle")
    (tmp_path / "en").write_text("run\nrun walk\n")
    (tmp_path / "xx").write_text("run-V\nrun-N walk-V\n")
    (tmp_path / "pos").write_text("V\nN V\n")
    command = ["force-decode", bundle, str(tmp_path / "en"), str(tmp_path / "out"), "--targets", str(tmp_path / "xx")]
    assert main([*command, "--factors", f"pos={tmp_path / 'pos'}", "--format", "json"]) == 0
    scored = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [each["source"] for each in scored] == ["run", "run walk"]
    decoder = ForcedDecoder.load(bundle)
    pairs = [("run\tV", "run-V"), ("run walk\tN V", "run-N walk-V")]
    for each, forced in zip(scored, decoder.score(pairs), strict=True):
        assert each["log_prob"] == pytest.approx(forced.log_prob, abs=1e-3)
    wrong = next(iter(decoder.score([("run\tN", "run-V")])))
    assert wrong.log_prob < scored[0]["log_prob"] - 2  # the factor decides
    assert main([*command, "--factors", f"pos={tmp_path / 'en'}"]) == 0  # unknown values are read as such


@pytest.mark.parametrize(
    ("lines", "factors", "words"),
    [
        ("run\n", [], r"in: line 1: has no values of the factor pos, .*--factors"),
        ("run\nrun walk\n", ["pos=pos"], r"pos:2: the factor pos has 1 value for 2 words"),
        ("run\n", ["pos=pos"], r"in: ends after 1 lines, but pos has more"),
        ("run\nrun\nrun\n", ["pos=pos"], r"pos:3: ends after 2 lines, but in has more"),
        ("run\nrun\n", ["lemma=pos"], r"--factors lemma=pos: this bundle reads the factors pos; leave lemma out"),
        ("run\nrun\n", ["pos=nothing"], r"nothing: no such file"),
        (
            "run\tx\nrun\n",
            ["pos=pos"],
            r"in: line 1: has 3 tab-separated columns, and this model reads 2: text<TAB>pos",
        ),
        ("run\nrun\n", ["pos"], r"no factor with its file"),
    ],
)
def test_refused_lines(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: str,
    factors: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").write_text(lines)
    Path("pos").write_text("V\nN\n")
    given = ["--factors", *factors] if factors else []
    assert main(["translate-file", str(corpus / "with" / "bundle"), "in", "out", *given]) == 2
    message = capsys.readouterr().err
    assert not Path("out").exists()
    assert re.search(words, message), message


def test_other_bundles_and_exports_refuse_factors(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = corpus / "with" / "bundle"
    assert main(["export", str(bundle), str(tmp_path / "exported")]) == 2
    assert "factors" in capsys.readouterr().err
    with pytest.raises(
        UserError, match=r"this bundle reads the factor pos of each word, and it is missing; add factors="
    ):
        Translator.load(bundle).translate(["run"], factors={})
    with pytest.raises(UserError, match=r"lines: ends after 1 lines, and others do not"):
        Translator.load(bundle).translate(["run"], factors={"pos": ["N", "V"]})
    copied = shutil.copytree(bundle, tmp_path / "copied")
    (copied / "factors.json").unlink()
    with pytest.raises(UserError, match=r"factors.json"):
        load_bundle(copied)


@pytest.mark.slow
def test_workers_read_factors(corpus: Path, tmp_path: Path) -> None:
    command = ["translate-file", str(corpus / "with" / "bundle"), str(corpus / "test.en"), str(tmp_path / "out")]
    assert main([*command, "--factors", f"pos={corpus / 'test.pos'}", "--workers", "2"]) == 0
    assert (tmp_path / "out").read_text() == (corpus / "with" / "test.translations.txt").read_text()


@pytest.mark.slow
def test_a_run_is_resumed_to_the_bit(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(corpus, "long", *FACTORS, "trainer.max_epochs=2") == 0
    step, count = TaskModule.training_step, iter(range(100))

    def killed(self: TaskModule, batch: Any, index: int) -> torch.Tensor:
        if next(count) == 15:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "training_step", killed)
        train(corpus, "short", *FACTORS, "trainer.max_epochs=2")
    assert train(corpus, "short", *FACTORS, "trainer.max_epochs=2", "resume=auto") == 0
    states = [load_bundle(corpus / name / "bundle").model.state_dict() for name in ("long", "short")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.slow
def test_a_bundle_with_factors_is_fine_tuned(corpus: Path) -> None:
    start = f"init_from={corpus / 'with' / 'bundle'}"
    assert train(corpus, "tuned", *FACTORS, start, "trainer.max_epochs=1", "optimizer.lr=0.0001") == 0
    assert exact((corpus / "tuned" / "test.translations.txt").read_text().splitlines(), corpus / "test.xx") == 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([FACTORS[0]], r"data.corpus.factors: pos has no vectors; set embedding.factors"),
        ([FACTORS[1]], r"embedding.factors.pos: the sources of Parallel have no such factor"),
        ([*FACTORS, "data.protect=8"], r"data.protect=8: makes other tokens"),
        ([*FACTORS, "init_from=BUNDLE", "init_vocabulary=match"], r"init_vocabulary=match: makes other tokens"),
        (["init_from=BUNDLE"], r"embedding.factors.pos: the sources of Parallel have no such factor"),
    ],
)
def test_refused_configurations(
    corpus: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], words: str
) -> None:
    given = [each.replace("BUNDLE", str(corpus / "with" / "bundle")) for each in overrides]
    assert train(corpus, "refused", *given) == 2
    assert re.search(words, capsys.readouterr().err)
