"""Trials of dirty text: every reader of corpora, every tokenizer, and training."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np

from experiments.reliability.dirt import dirty, lines_of
from experiments.reliability.trials import QUICK, TRAINING, Trial, call, damaged
from seq2seq.corpora import readers
from seq2seq.corpora.features import read_examples
from seq2seq.corpora.label_corpora import conll, two_columns
from seq2seq.errors import UserError
from seq2seq.text import (
    CharacterTokenizer,
    LetterTokenizer,
    SentencePieceTrainer,
    SpellingTokenizer,
    Tokenizer,
    WhitespaceTokenizer,
)

TOKENIZERS = [
    ["tokenizer=characters"],
    ["tokenizer=sentencepiece", "tokenizer.vocabulary_size=400"],
    ["tokenizer=unigram", "tokenizer.vocabulary_size=310"],
    *([f"tokenizer={name}", "tokenizer.vocabulary_size=null"] for name in ("char", "word", "whitespace")),
]
TINY = [
    *("data=tsv", "data.corpus.source_language=xx", "data.corpus.target_language=yy", "callbacks=loss"),
    *("embedding.size=8", "encoder.hidden_size=8", "decoder.hidden_size=8", "trainer.max_steps=2", "trainer.threads=1"),
    *("trainer.enable_progress_bar=false", "trainer.limit_val_batches=1", "trainer.accelerator=cpu"),
]


class CorpusTrials:
    """Each trial has its own files in `folder`/work."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        words = WhitespaceTokenizer(["a", "dog", "\u2028", "\0"])
        self.tokenizers: list[tuple[Tokenizer, bool]] = [
            (SentencePieceTrainer(vocabulary_size=290).train(TRAINING), True),
            (SentencePieceTrainer("char", None).train(TRAINING), True),
            (SentencePieceTrainer("word", None).train(TRAINING), True),
            (SentencePieceTrainer("unigram", 276).train(TRAINING), True),
            (SentencePieceTrainer("char", None, byte_fallback=False).train(TRAINING), False),
            (words, False),
            (SpellingTokenizer(words), False),
            (CharacterTokenizer("ab \u2028\0é"), False),
            (LetterTokenizer("ab \u2028\u0301e"), False),
        ]
        self.kinds: dict[str, Trial] = {"corpora": self.corpora, "texts": self.texts, "training": self.training}

    def corpora(self, draw: random.Random) -> str:
        """Files as training reads them: text, or one error that names the file."""
        one, other, archive = self.work / "one", self.work / "other", self.work / "one.npz"
        content = dirty(draw, 12)
        if draw.random() < 0.5:
            content = content.replace(b"\n", b"\tx\n").replace(b"\0", b'{"source": "a", "target": "\\ud83d\\ude00"}\n')
        one.write_bytes(draw.choice([content, content.replace(b"a", b'{"features": [[1, 2]], "target": "b"}\n')]))
        other.write_bytes(draw.choice([content, dirty(draw, 12)]))
        savez = draw.choice([np.savez, np.savez_compressed])
        savez(archive, features=np.ones((2, 3, 2), np.float32), targets=np.array(["a", "b"]))
        archive.write_bytes(damaged(draw, archive.read_bytes()))
        read = draw.choice(
            [
                lambda: readers.parallel(one, other),
                lambda: readers.tsv(one, 1, 2),
                lambda: readers.json_lines(one, "source", "target"),
                lambda: two_columns(one),
                lambda: conll(one),
                lambda: read_examples(one),
                lambda: read_examples(archive),
            ]
        )
        try:
            for found in read():
                for text in (text for text in found[:2] if not isinstance(text, np.ndarray)):
                    assert "\n" not in text
                    text.encode()
        except UserError as error:
            if not (str(one) in str(error) or str(other) in str(error)):
                raise
            return "refused"
        return "read"

    def texts(self, draw: random.Random) -> str:
        """A line through a tokenizer, and back where that is promised; any pieces: one line."""
        tokenizer, exact = draw.choice(self.tokenizers)
        text = dirty(draw, 12).decode(errors="replace").replace("\n", " ")
        ids = tokenizer.encode(text)
        assert not exact or tokenizer.decode(ids) == text
        drawn = [draw.randrange(len(tokenizer)) for _ in range(draw.randint(0, 40))]
        assert "\n" not in tokenizer.decode(drawn)
        return "back as it was" if exact else "one line"

    def training(self, draw: random.Random) -> str:
        """Two steps on dirty pairs; the bundle then translates dirt."""
        for split in ("train", "val"):
            content = dirty(draw, 60).replace(b"\t", b" ").replace(b"\n", b"\tthe dog\n") + b"\ta man"
            valid = content.decode(errors="replace").encode() if draw.random() < 0.9 else content
            (self.work / f"{split}.tsv").write_bytes(valid)
        files = [f"data.corpus.{split}={self.work}/{split}.tsv" for split in ("train", "val")]
        run = self.work / "run"
        ended = call("train", *TINY, *files, *draw.choice(TOKENIZERS), f"hydra.run.dir={run}")
        if ended.code == 0:
            (self.work / "in").write_bytes(content := dirty(draw, 12))
            files = [run / "bundle", self.work / "in", self.work / "out"]
            assert call("translate-file", *QUICK, "--errors=replace", *files).code == 0
            assert len(list(readers.lines(self.work / "out"))) == len(lines_of(content))
        shutil.rmtree(run, ignore_errors=True)
        return "refused" if ended.code else "trained"
