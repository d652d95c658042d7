"""The example in each command's help runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from seq2seq.cli import lessons
from seq2seq.cli.commands import COMMANDS, EXAMPLES
from seq2seq.cli.main import main
from seq2seq.text import CharacterTokenizer
from tests import runs
from tests.labels import save_labelling, save_language_model

pytestmark = pytest.mark.slow
TINY = ["embedding.size=8", "encoder.hidden_size=8", "decoder.hidden_size=16", "trainer.max_steps=2", "search=greedy"]
TINY += ["trainer.val_check_interval=2", "trainer.limit_val_batches=1", "trainer.threads=1", "trainer.accelerator=cpu"]
TINY += [
    "search.max_length_ratio=0",
    "search.max_length_extra=3",
    "trainer.enable_progress_bar=false",
    "tokenizer=whitespace",
]
SMALLER = {"train": TINY, "demo": TINY, "tune": [*TINY[2:], "--trials", "1"]}
FILES = {
    "train.en": "a dog\nthe man runs\n",
    "train.de": "ein Hund\nder Mann\n",
    "pairs.tsv": "a dog\tthe man\n",
    "utterances.txt": "the cat sees a dog\n",
    "gold.align": "0-0 1-1\n",
    "system.align": "0-0 1-0\n",
    "space.yaml": "encoder.hidden_size: [4, 8]\nembedding.size: [4, 8]\n",
}


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two runs, a sweep of two, a tagger, a language model, and small files."""
    folder = tmp_path_factory.mktemp("examples")
    for number, name in enumerate(("runs/first", "runs/second", "sweeps/cells/0", "sweeps/cells/1"), 1):
        recorded = {"command": "seq2seq train trainer.max_steps=2"}
        runs.write(folder / name, seed=number, bundle={"context": "fixed", "provenance": recorded})
    save_labelling(folder / "runs" / "slots" / "bundle", "tagging")
    save_language_model(folder / "runs" / "letters" / "bundle", CharacterTokenizer("abcdef "))
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def test_every_command_has_an_example_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(EXAMPLES) == list(COMMANDS)
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert EXAMPLES[name] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    program, *command = shlex.split(EXAMPLES[name])
    assert (program, command[0]) == ("seq2seq", name)
    if name in SMALLER:
        request.getfixturevalue("quick_runs")
        if name == "train":
            monkeypatch.chdir(tmp_path)
    if name == "serve":
        uvicorn: Any = pytest.importorskip("uvicorn")
        pytest.importorskip("fastapi")
        monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: [each.close() for each in sockets])
    if name == "merge":
        shards = ["translate-file", "runs/second/bundle", "utterances.txt", "sharded.txt", "--shard"]
        assert [main([*shards, f"{number}/2"]) for number in (1, 2)] == [0, 0]
    if name == "lessons":
        monkeypatch.setattr(lessons, "find_spec", lambda name: True)
        monkeypatch.setattr(lessons.subprocess, "call", lambda *rest, **named: 0)
    if name == "translate":
        monkeypatch.setattr("sys.stdin", StringIO("a dog\n"))
    assert main([*command, *SMALLER.get(name, [])]) == 0
