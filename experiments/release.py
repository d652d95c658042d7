"""Checks an installed wheel, by the Python of the environment that it is in; `make release` calls it there.

Version and citation agree, every command has its help, and the embedded corpus trains a model that translates.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

TINY = ["embedding.size=8", "encoder.hidden_size=8", "decoder.hidden_size=8", "trainer.max_steps=2", "search=greedy"]
TINY += ["trainer.val_check_interval=2", "trainer.limit_val_batches=1", "search.max_length_ratio=0"]


def main(citation: Path) -> None:
    """Raises if something is not as it should be."""
    command = Path(sys.executable).with_name("seq2seq")
    wanted = re.findall(r"^version: (.+)$", citation.read_text(encoding="utf-8"), re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:

        def call(*arguments: str) -> str:
            done = subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"seq2seq {' '.join(arguments)}: {done.stdout}{done.stderr}")
            return done.stdout

        version = call("--version").split()[1:]
        if version != wanted:
            raise SystemExit(f"the wheel's version is {version}, that of {citation} {wanted}")
        for name in re.findall(r"^    ([a-z-]+)  ", call("--help"), re.MULTILINE):
            call(name, "--help")
        call("train", *TINY, "hydra.run.dir=run")
        call("translate-file", "run/bundle", "run/test.sources.txt", "again.txt")
        lines = (Path(folder) / "again.txt").read_text(encoding="utf-8").count("\n")
    print(f"seq2seq {version[0]}: installed, trained, and {lines} lines translated")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
