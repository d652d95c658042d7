"""Random dirt and random damage, for as long as one likes; every finding is kept with what made it.

    python -m experiments.reliability.fuzz --minutes 10            # writes fuzz.json
    python -m experiments.reliability.fuzz --minutes 1 --seed 7 --only bundles

What is tried, and what must hold:

- lines: any bytes through translate-file and predict-file, compressed or not, refused or replaced: a line for a line,
  or one error that names the first line that is not UTF-8, and no output.
- corpora: any bytes as parallel text, TSV, JSON lines, labels: read, or one error that names the file.
- texts: any text through every tokenizer: back as it was where that is promised; any pieces: one line.
- bundles: bytes changed, cut or exchanged, all checksums right: loaded, or one error; nothing is executed, written or
  unpickled, and memory is bounded.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import io
import json
import logging
import lzma
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

from experiments.reliability.dirt import FRAGMENTS, dirty, first_invalid, lines_of
from experiments.study import table
from seq2seq.bundle import load_bundle
from seq2seq.cli.main import main as command
from seq2seq.corpora import readers
from seq2seq.corpora.labels import conll, two_columns
from seq2seq.errors import UserError
from seq2seq.text import (
    CharacterTokenizer,
    LetterTokenizer,
    SentencePieceTrainer,
    SpellingTokenizer,
    Tokenizer,
    WhitespaceTokenizer,
)
from tests.bundles import edit, save
from tests.canary import watched
from tests.labels import save_labelling

HERE = Path(__file__).parent
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
TRAINING = ["a man sees the old dog in the house"] * 9
QUICK = ["--beam-size", "1", "--max-length", "8", "--max-source", "60"]


class Fuzz:
    """One kind of trial each method: it returns how the trial ended, and raises for a finding."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        subwords = SentencePieceTrainer(vocabulary_size=290).train(TRAINING)
        save(folder / "words")
        save(folder / "bytes", tokenizer=subwords)
        for task in ("tagging", "classification"):
            save_labelling(folder / task, task)
        words = WhitespaceTokenizer(["a", "dog", "\u2028", "\0"])
        self.tokenizers: list[tuple[Tokenizer, bool]] = [
            (subwords, True),
            (SentencePieceTrainer("char", None).train(TRAINING), True),
            (SentencePieceTrainer("word", None).train(TRAINING), True),
            (SentencePieceTrainer("unigram", 276).train(TRAINING), True),
            (SentencePieceTrainer("char", None, byte_fallback=False).train(TRAINING), False),
            (words, False),
            (SpellingTokenizer(words), False),
            (CharacterTokenizer("ab \u2028\0é"), False),
            (LetterTokenizer("ab \u2028\u0301e"), False),
        ]
        for name in ("words", "bytes"):
            load_bundle(folder / name)  # what is imported late is imported before the watch begins

    def lines(self) -> str:
        """A file through a command."""
        content, suffix = dirty(self.draw), self.draw.choice(list(PACK))
        source, target = self.folder / f"in{suffix}", self.folder / "out"
        source.write_bytes(PACK[suffix](content))
        target.unlink(missing_ok=True)
        name = self.draw.choice(["words", "bytes", "tagging", "classification"])
        begin = ["translate-file", *QUICK] if name in ("words", "bytes") else ["predict-file"]
        replace = self.draw.random() < 0.5
        options = ["--batch-size", str(self.draw.randint(1, 9)), *["--errors=replace"] * replace]
        with contextlib.redirect_stderr(io.StringIO()) as told:
            code = command([*begin, *options, str(self.folder / name), str(source), str(target)])
        bad = first_invalid(content)
        if bad is not None and not replace:
            assert (code, target.exists()) == (2, False), told.getvalue()
            assert f"{source}:{bad}: " in told.getvalue(), told.getvalue()
            return "refused"
        assert code == 0, told.getvalue()
        assert target.read_bytes().count(b"\n") == len(lines_of(content))
        return "a line for a line"

    def corpora(self) -> str:
        """Files as training reads them."""
        one, other = self.folder / "one", self.folder / "other"
        content = dirty(self.draw, 12)
        if self.draw.random() < 0.5:
            content = content.replace(b"\n", b"\tx\n").replace(b"\0", b'{"source": "a", "target": "\\ud83d\\ude00"}\n')
        one.write_bytes(content)
        other.write_bytes(self.draw.choice([content, dirty(self.draw, 12)]))
        read = self.draw.choice(
            [
                lambda: readers.parallel(one, other),
                lambda: readers.tsv(one, 1, 2),
                lambda: readers.json_lines(one, "source", "target"),
                lambda: two_columns(one),
                lambda: conll(one),
            ]
        )
        try:
            for found in read():
                for text in found[:2]:
                    assert isinstance(text, str)
                    assert "\n" not in text
                    text.encode()
        except UserError as error:
            if not (str(one) in str(error) or str(other) in str(error)):
                raise
            return "refused"
        return "read"

    def texts(self) -> str:
        """A line through a tokenizer, and any ids back."""
        tokenizer, exact = self.draw.choice(self.tokenizers)
        text = dirty(self.draw, 12).decode(errors="replace").replace("\n", " ")
        ids = tokenizer.encode(text)
        assert not exact or tokenizer.decode(ids) == text
        drawn = [self.draw.randrange(len(tokenizer)) for _ in range(self.draw.randint(0, 40))]
        assert "\n" not in tokenizer.decode(drawn)
        return "back as it was" if exact else "one line"

    def bundles(self) -> str:
        """A bundle that is not as it was saved."""
        whole, damaged = self.folder / self.draw.choice(["words", "bytes"]), self.folder / "damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(whole, damaged)
        files = [path.name for path in sorted(whole.iterdir()) if path.name not in ("README.md", "checksums.json")]
        for _ in range(self.draw.randint(1, 3)):
            name = self.draw.choice(files)
            edit(damaged, name, self._damaged((damaged / name).read_bytes()))
        _sign(damaged)
        if self.draw.random() < 0.1:
            (damaged / "checksums.json").write_bytes(self._damaged((damaged / "checksums.json").read_bytes()))
        try:
            with watched():
                load_bundle(damaged)
        except UserError:
            return "refused"
        return "loaded"

    def _damaged(self, content: bytes) -> bytes:
        if not content:
            return b"\0"
        a, b = sorted(self.draw.randrange(len(content) + 1) for _ in range(2))
        head = min(len(content), 4000)  # where formats have their numbers
        i = self.draw.randrange(head if self.draw.random() < 0.7 else len(content))
        return self.draw.choice(
            [
                lambda: content[:i] + bytes([content[i] ^ 1 << self.draw.randrange(8)]) + content[i + 1 :],
                lambda: content[:i] + self.draw.randbytes(4) + content[i + 4 :],
                lambda: content[:a],
                lambda: content[:a] + content[b:],
                lambda: content[:i] + self.draw.choice(FRAGMENTS) + content[i:],
                lambda: content[:i] + content[i:].replace(b"1", b"9" * self.draw.randint(1, 30), 1),
                lambda: content[:i] + content[i:].replace(b'"', b'"a": {"_target_": "os.system"}, "', 1),
                lambda: content[:i] + content[i:].replace(b"[", b"[" * self.draw.randint(1, 9999), 1),
            ]
        )()


def _sign(folder: Path) -> None:
    """Let the description of a tokenizer have the right checksum of its model, where it can still be read."""
    if (folder / "joint.model").exists():
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            described = json.loads((folder / "joint.json").read_text())
            digest = hashlib.sha256((folder / "joint.model").read_bytes()).hexdigest()
            edit(folder, "joint.json", json.dumps(described | {"model_sha256": digest}).encode())


KINDS = ("lines", "corpora", "texts", "bundles")


def trials(minutes: float, kinds: list[str]) -> Iterator[str]:
    """The kinds in turn until the time is over, each at least once."""
    end, number = time.monotonic() + 60 * minutes, 0
    while number < len(kinds) or time.monotonic() < end:
        yield kinds[number % len(kinds)]
        number += 1


def main(arguments: list[str] | None = None) -> int:
    """Print and write a table of what was tried; returns 1 if there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--out", type=Path, default=HERE / "fuzz.json")
    chosen = parser.parse_args(arguments)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    ended: Counter[tuple[str, str]] = Counter()
    logging.disable(logging.WARNING)  # of what is odd in each of thousands of files
    with tempfile.TemporaryDirectory() as made:
        fuzz = Fuzz(Path(made), chosen.seed)
        for kind in trials(chosen.minutes, chosen.only):
            try:
                ended[kind, getattr(fuzz, kind)()] += 1
            except Exception:
                ended[kind, "FOUND"] += 1
                kept = chosen.out.with_name(f"fuzz-{kind}-{sum(ended.values())}")
                shutil.copytree(made, kept, dirs_exist_ok=True)
                print(traceback.format_exc(), f"kept: {kept}", file=sys.stderr)
    logging.disable(logging.NOTSET)
    findings = sum(count for (_, how), count in ended.items() if how == "FOUND")
    print(table(["kind", "ended", "trials"], [[*key, f"{count:,}"] for key, count in sorted(ended.items())]))
    print(f"seed {chosen.seed}, {chosen.minutes:g} minutes, {findings} findings")
    counts = {kind: {how: count for (each, how), count in sorted(ended.items()) if each == kind} for kind in KINDS}
    record = {"seed": chosen.seed, "minutes": chosen.minutes, "trials": counts, "findings": findings}
    chosen.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
