"""Tab completion: what completes a line, and the function that bash is given, run by bash itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seq2seq.cli.completion import complete
from seq2seq.cli.main import main


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("seq2seq ", ["train", "score"]),
        ("seq2seq tr", ["train", "translate-file"]),
        ("seq2seq --", ["--help", "--version"]),
        ("seq2seq train cell=", ["cell=gru", "cell=lstm"]),
        ("seq2seq train cell=lstm encoder.cell.pee", ["encoder.cell.peepholes="]),
        ("seq2seq train ~sche", ["~scheduler"]),
        ("seq2seq train --config-d", ["--config-dir"]),
        ("seq2seq demo optimizer.l", ["optimizer.lr="]),
        ("seq2seq tune space.yaml head=", ["head=linear", "head=tied"]),
        ("seq2seq leaderboard runs --t", ["--test"]),
        ("seq2seq leaderboard --test ", ["permutation", "welch"]),
    ],
)
def test_words(line: str, some: list[str]) -> None:
    found = complete(line)
    assert set(some) <= set(found)
    assert all(word.startswith(line.rpartition(" ")[2]) for word in found)


@pytest.mark.parametrize(
    "line", ["", "seq2seq", "seq2seq nonsense ", "seq2seq score ref", "seq2seq tune ", "seq2seq train cell=x"]
)
def test_where_a_file_may_stand(line: str) -> None:
    assert complete(line) == (complete("seq2seq ") if line in ("", "seq2seq") else [])


def test_the_function_of_bash(tmp_path: Path, capsys) -> None:
    """`cell=` in one word, as a caller may have it, and in two, as bash splits it; it leaves `train` alone."""
    assert main(["train", "-sc", "install=bash"]) == 0
    install = capsys.readouterr().out
    assert main(["train", "-sc", "uninstall=bash"]) == 0
    uninstall = capsys.readouterr().out
    command = tmp_path / "seq2seq"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m seq2seq "$@"\n')
    command.chmod(0o755)
    script = f"""{install}
    ask() {{ COMP_LINE="$1"; COMP_POINT=${{#1}}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
             hydra_bash_completion; echo "${{COMPREPLY[*]}}"; }}
    ask "seq2seq train bridge=" seq2seq train bridge=
    ask "seq2seq train bridge=c" seq2seq train bridge = c
    complete -p
    {uninstall}
    complete -p"""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.splitlines() == [
        "bridge=copy\nbridge=linear\nbridge=zero".replace("\n", " "),
        "copy",
        "complete -o default -F hydra_bash_completion seq2seq",
    ], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_both(shell: str, capsys) -> None:
    assert main(["train", "-sc", f"install={shell}"]) == main(["train", "-sc", f"uninstall={shell}"]) == 0
    assert capsys.readouterr().out.count("seq2seq") >= 2
