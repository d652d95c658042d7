"""The command line's frame: which command runs, what its end looks like, and the demo around a made-up training run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from seq2seq import __version__
from seq2seq.cli.commands import COMMANDS
from seq2seq.cli.main import main
from seq2seq.errors import UserError

HEAVY = {
    "torch",
    "numpy",
    "hydra",
    "omegaconf",
    "pytorch_lightning",
    "sacrebleu",
    "sentencepiece",
    "matplotlib",
    "wandb",
}


def put(monkeypatch: pytest.MonkeyPatch, name: str, **functions: object) -> None:
    """Let the command `name` be a module of these functions."""
    module = ModuleType(f"seq2seq.cli.{name}")
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(f"seq2seq.cli.{name}", module, raising=False)


def score_that(outcome: int | BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def add_arguments(parser: ArgumentParser) -> None:
        parser.add_argument("references", nargs="+")

    def run(arguments: Namespace) -> int:
        assert arguments.references == ["a", "b"]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    put(monkeypatch, "score", add_arguments=add_arguments, run=run)


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = "import sys; from seq2seq.cli.main import main; assert main(['--help']) == 0; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, modules = done.stdout.removesuffix("\n").split("\n")
    assert all(name in "\n".join(shown) for name in COMMANDS)
    assert HEAVY.isdisjoint(modules.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"seq2seq {__version__}\n"


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        (0, 0, ""),
        (3, 3, ""),
        (UserError("x.txt:3: no such word"), 2, "seq2seq: error: x.txt:3: no such word\n"),
        (PermissionError(13, "Permission denied", "/x"), 2, "seq2seq: error: /x: Permission denied\n"),
        (KeyboardInterrupt(), 130, "seq2seq: interrupted\n"),
    ],
)
def test_how_a_command_ends(
    outcome: int | BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    score_that(outcome, monkeypatch)
    assert main(["score", "a", "b"]) == code
    assert capsys.readouterr().err == message


def test_a_mistake_of_the_project_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    score_that(OSError("no file is to blame"), monkeypatch)
    with pytest.raises(OSError, match="no file"):
        main(["score", "a", "b"])


def test_a_reader_that_goes_away_is_not_an_error() -> None:
    command = [sys.executable, "-m", "seq2seq", "--help"]
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "seq2seq: error: no command 'trian'; did you mean 'train'?\n"),
        (["translate-fil"], "seq2seq: error: no command 'translate-fil'; did you mean 'translate-file'?\n"),
        (["qqq"], f"seq2seq: error: no command 'qqq'; choose from {', '.join(COMMANDS)}\n"),
        (["demo", "--fodler", "x"], "seq2seq: error: unrecognized arguments: --fodler\n"),
        (
            ["demo", "data=x"],
            "seq2seq: error: demo: 'data=x': it has its own corpus and --folder; use `seq2seq train data=x`\n",
        ),
        (["demo", "data.corpus.source_language=de"], "use `seq2seq train data.corpus.source_language=de`\n"),
        (["demo", "+hydra.run.dir=x"], "--folder; use `seq2seq train +hydra.run.dir=x`\n"),
    ],
)
def test_a_mistake_ends_in_one_line(
    argv: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(monkeypatch, "train", run=pytest.fail)
    assert main(argv) == 2
    assert capsys.readouterr().err.endswith(message)


def test_train_hands_its_arguments_to_hydra_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    untouched = ["-m", "cell=gru,lstm", "--help", "--cfg", "job"]
    put(monkeypatch, "train", run=lambda argv: 7 if argv == untouched else 8)
    assert main(["train", *untouched]) == 7


class Trained:
    """Stands for the commands `train` and `translate-file`, and for the embedded corpus: 12 pairs."""

    source_language, target_language = "en", "de"

    def __init__(self, test: Mapping[str, object] | None, code: int = 0) -> None:
        self.test, self.code, self.argv, self.prepared = test, code, [""], False

    def train(self, argv: list[str]) -> int:
        self.argv = argv
        folder = Path(argv[1].removeprefix("hydra.run.dir=").strip("'"))
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"test": self.test}), encoding="utf-8")
        (folder / "learning.png").touch()
        return self.code

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name in ("bundle", "input", "output"):
            parser.add_argument(name, type=Path)

    def translate(self, arguments: Namespace) -> int:
        assert arguments.bundle.name == "bundle"
        arguments.output.write_text(arguments.input.read_text().replace("word", "Wort"))
        return 0

    def prepare(self) -> None:
        self.prepared = True

    def pairs(self, split: str) -> list[tuple[str, str]]:
        assert split == "test"
        assert self.prepared
        return [(f"word {number}", f"Wort! {number}") for number in range(12)]


@pytest.fixture
def demonstrate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    def run(stand_in: Trained, *overrides: str) -> int:
        put(monkeypatch, "train", run=stand_in.train)
        put(monkeypatch, "translate_file", add_arguments=stand_in.add_arguments, run=stand_in.translate)
        monkeypatch.setattr("seq2seq.corpora.datasets.embedded.Embedded", lambda: stand_in)
        return main(["demo", "--folder", str(tmp_path / "a run"), *overrides])

    return run


SCORES = {name: {"value": value, "signature": f"{name}|v:1"} for name, value in [("BLEU", 93.104), ("chrF", 97.0)]}


def test_demo_shows_scores_translations_pictures_and_the_bundle(
    demonstrate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, folder = Trained(SCORES), tmp_path / "a run"
    assert demonstrate(trained, "cell=lstm") == 0
    assert trained.argv == ["experiment=demo", f"hydra.run.dir='{folder}'", "cell=lstm"]
    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert lines[-2:] == ["test BLEU = 93.10", f"bundle: {folder / 'bundle'}"]
    assert lines[-8:-6] == [f"  $ seq2seq {name} '{folder / 'bundle'}'" for name in ("translate", "serve")]
    assert lines[-6:-3] == [
        f"  $ seq2seq {words}" for words in ("train model=bahdanau2015", f"report '{folder}' -o report.html", "lessons")
    ]
    assert {"  BLEU = 93.10  BLEU|v:1", "  chrF = 97.00  chrF|v:1", f"  {folder / 'learning.png'}"} <= set(lines)
    assert [line for line in lines if line.startswith("  translation")] == [
        f"  translation Wort {n}" for n in range(0, 12, 3)
    ]
    assert "  source      word 3\n  translation Wort 3\n  reference   Wort! 3" in "\n".join(lines)


def test_demo_offers_commands_that_the_shell_finds_and_says_what_they_need(
    demonstrate: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from seq2seq.cli import demo

    monkeypatch.setattr(demo.sys, "argv", [".venv/bin/seq2seq", "demo"])
    monkeypatch.setattr(demo.shutil, "which", lambda name: None)
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "fastapi" else True)
    assert demonstrate(Trained(SCORES)) == 0
    out = capsys.readouterr().out
    assert "  $ .venv/bin/seq2seq translate " in out
    assert "\n(For serve: pip install 'seq2seq-recurrent[serve]')\n" in out


@pytest.mark.parametrize(("test", "code", "expected"), [(None, 0, 2), ({}, 0, 2), (SCORES, 130, 130)])
def test_demo_of_a_run_without_a_test_says_so(
    test: Mapping[str, object] | None,
    code: int,
    expected: int,
    demonstrate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert demonstrate(Trained(test, code)) == expected
    assert "test BLEU" not in (printed := capsys.readouterr()).out
    assert ("the run ended before its test" in printed.err) is (expected == 2)


def test_demo_never_mixes_two_runs(
    demonstrate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [demonstrate(Trained(SCORES)), demonstrate(Trained(SCORES))] == [0, 2]
    assert f"--folder {tmp_path / 'a run'} already holds a run" in capsys.readouterr().err
    assert [main(["demo"]) for _ in range(3)] == [0] * 3
    assert [path.name for path in sorted(Path("runs").iterdir())] == ["demo", "demo-2", "demo-3"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_full_disk_of_stdout_is_one_line(size: int) -> None:
    code = (
        f"import sys; from seq2seq.cli import main as m; m._run = lambda argv: print('x' * {size}); sys.exit(m.main())"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "seq2seq: error: an output: No space left on device\n")


def test_what_stdout_cannot_say_is_escaped() -> None:
    name = "Mädchen \udcff …"  # a byte that is not UTF-8, in the name of a file
    for encoding, expected in (("ascii", r"M\xe4dchen \udcff \u2026"), ("utf-8:strict", r"Mädchen \udcff …")):
        code = f"import sys; sys.argv = ['x', '--version']; from seq2seq.cli import main; main.main(); print({name!r})"
        given = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, check=True)
        assert done.stdout.decode().split("\n")[1] == expected


def test_output_that_became_a_pipe_after_the_start(monkeypatch, tmp_path):
    """A parent process may put a pipe in the place of a file: Python then cannot ask where the output stands."""
    reads, writes = os.pipe()
    with open(tmp_path / "out", "w", encoding="utf-8") as out, open(reads, encoding="utf-8") as pipe:
        os.dup2(writes, out.fileno())
        os.close(writes)
        with pytest.raises(OSError, match="Illegal seek"):
            out.reconfigure(errors="backslashreplace")
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["--version"]) == 0
        out.close()
        assert __version__ in pipe.read()
