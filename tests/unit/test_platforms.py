"""Other systems than the one at hand: nothing that only POSIX has is needed; bytes do not depend on text modes."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seq2seq.runtime.atomic_files import atomic_write
from seq2seq.runtime.paths import PACKAGE
from seq2seq.training.configuration.schema import _memory

FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.slow
def test_a_system_without_posix_imports_every_module_and_trains(tmp_path):
    (tmp_path / "train.tsv").write_text("a b\tA B\nb a\tB A\n" * 8, encoding="utf-8")
    script = Path(__file__).with_name("other_platform.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "SEQ2SEQ_"))}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    home = tmp_path / f"seq2seq-{os.getuid()}"
    said = f"seq2seq: there is no home folder; downloads and the cache are in {home}"
    assert done.stderr.count(said) == 1
    assert (home / ".cache" / "seq2seq" / "cache" / "encoded").is_dir()
    assert len(list((tmp_path / "run").rglob("*.wandb"))) == 1
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("seq2seq-")} >= {"run", "train.tsv"}
    assert not (tmp_path / "~").exists()
    assert len((tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()) == 1


def test_memory_is_not_checked_where_it_is_not_known(monkeypatch):
    assert (_memory() or 0) > 1 << 28
    monkeypatch.delattr(os, "sysconf")
    assert _memory() is None


def test_a_durable_file_where_folders_cannot_be_opened(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY")
    with atomic_write(tmp_path / "file", durable=True) as path:
        path.write_text("x", encoding="utf-8")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "x"


def text_mode(call: ast.Call) -> str:
    """What is missing in a call that opens, reads or writes a text file: "" where nothing is, or it is no such call."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg for keyword in call.keywords}
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    modes = [text for text in texts if text and set(text) <= set("rwaxbt+")]
    if name == "read_text" and any("." in text for text in texts):
        return ""  # importlib.metadata's, which reads UTF-8
    if name in ("read_text", "write_text"):
        missing = {"encoding"} - given if "utf-8" not in texts else set()
        missing |= {"newline"} - given if name == "write_text" else set()
    elif name == "open" and modes and "b" not in modes[0]:
        missing = ({"encoding", "newline"} if set(modes[0]) & set("wax") else {"encoding"}) - given
    else:
        return ""
    return " and ".join(sorted(missing))


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("p.open('w')", "encoding and newline"),
        ("p.open('r', encoding='utf-8')", ""),
        ("p.open('wb')", ""),
        ("p.write_text('x', encoding='utf-8')", "newline"),
        ("p.write_text('x', 'utf-8', newline='')", ""),
        ("p.read_text()", "encoding"),
        ("f.open(made)", ""),
    ],
)
def test_the_reader_of_calls(source, missing):
    assert text_mode(ast.parse(source).body[0].value) == missing


def test_text_files_are_utf8_with_line_feeds_on_every_system():
    wrong = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: without {missing}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and (missing := text_mode(node))
    ]
    assert wrong == []
