"""A very small bundle, trained in seconds: it maps each of a dozen English words to a German one."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

WORDS = {
    "a": "ein",
    "the": "der",
    "man": "Mann",
    "dog": "Hund",
    "house": "Haus",
    "child": "Kind",
    "small": "klein",
    "old": "alt",
    "red": "rot",
    "sleeps": "schläft",
    "runs": "läuft",
    "sees": "sieht",
}


def sentences(count: int, seed: int) -> Iterator[str]:
    """Lines of two to five words."""
    draw, words = random.Random(seed), list(WORDS)
    for _ in range(count):
        yield " ".join(draw.choices(words, k=draw.randint(2, 5)))


def write(path: Path, count: int, seed: int = 0) -> Path:
    """A file of such lines."""
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in sentences(count, seed))
    return path


def bundle(folder: Path) -> Path:
    """Train, unless it is there."""
    if not (folder / "run" / "bundle").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for split, count in (("train", 2000), ("val", 100)):
            pairs = ((line, " ".join(WORDS[word] for word in line.split())) for line in sentences(count, len(split)))
            (folder / f"{split}.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
        options = ["data=tsv", "data.corpus.source_language=en", "data.corpus.target_language=de"]
        options += [f"data.corpus.{split}={folder / split}.tsv" for split in ("train", "val")]
        options += ["tokenizer=whitespace", "embedding.size=16", "encoder.hidden_size=16", "decoder.hidden_size=32"]
        options += ["context=additive", "decoder.context_to=both", "optimizer.lr=0.02", "data.batch_tokens=512"]
        options += ["trainer.max_epochs=8", "trainer.threads=1", "trainer.enable_progress_bar=false"]
        command = [sys.executable, "-m", "seq2seq", "train", *options, f"hydra.run.dir={folder / 'run'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "run" / "bundle"
