"""Trials of dirty text: every command that reads lines."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from unittest import mock

import numpy as np

from experiments.reliability.dirt import dirty, first_invalid, lines_of
from experiments.reliability.trials import PACK, QUICK, TRAINING, Trial, call, damaged
from seq2seq.cli import translate_file
from seq2seq.corpora import readers
from seq2seq.text import CharacterTokenizer, SentencePieceTrainer
from tests.bundles import save
from tests.labels import save_labelling, save_language_model

NUMBER = re.compile(r"-?\d+\.\d+")
TRANSLATING = ("words", "bytes", "attention")
FORMS = [
    *([[]] * 3),
    ["--format=json"],
    ["--format=tsv"],
    ["--n-best=1", "--sample"],
    ["--no-repeat-ngram=2", "--int8"],
    ["--mbr=3"],
]


def same(one: Path, other: Path, *, exactly: bool) -> bool:
    """Whether two outputs are equal, exactly or in all but the last digits of numbers."""
    if exactly:
        return one.read_bytes() == other.read_bytes()
    texts = [path.read_bytes().decode() for path in (one, other)]
    numbers = [np.array(NUMBER.findall(text), dtype=float) for text in texts]
    return NUMBER.split(texts[0]) == NUMBER.split(texts[1]) and np.allclose(*numbers)


class DirtyTrials:
    """The bundles that they need stand in `folder`; each trial has its own files in `folder`/work."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "work"
        self.work.mkdir()
        subwords = SentencePieceTrainer(vocabulary_size=290).train(TRAINING)
        save(folder / "words")
        save(folder / "bytes", tokenizer=subwords)
        save(folder / "attention", context="additive", joint=False)
        for task in ("tagging", "classification"):
            save_labelling(folder / task, task)
        save_language_model(folder / "characters", CharacterTokenizer("adegmnos \u2028é"))
        save_language_model(folder / "pieces", subwords)
        self.kinds: dict[str, Trial] = {
            "lines": self.lines,
            "parts": self.parts,
            "requests": self.requests,
            "pairs": self.pairs,
            "scores": self.scores,
            "prompts": self.prompts,
        }

    def lines(self, draw: random.Random) -> str:
        """A file or stream through a command: a line for a line, or the first line that is not UTF-8 and no output."""
        content, suffix = dirty(draw), draw.choice(list(PACK))
        source, target = self.work / f"in{suffix}", self.work / f"out{draw.choice(list(PACK))}"
        name = draw.choice([*TRANSLATING, "tagging", "classification"])
        begin = ["translate-file", *QUICK, *draw.choice(FORMS)] if name in TRANSLATING else ["predict-file"]
        replace, piped = draw.random() < 0.5, draw.random() < 0.3
        options = [f"--batch-size={draw.randint(1, 9)}", *["--errors=replace"] * replace]
        source.write_bytes(PACK[suffix](content))
        files = ("-", "-") if piped else (source, target)
        ended = call(*begin, *options, self.folder / name, *files, given=content)
        bad = first_invalid(content)
        if bad is not None and not replace:
            assert (ended.code, target.exists()) == (2, False), ended
            assert f"{'standard input' if piped else source}:{bad}: " in ended.told, ended
            return "refused"
        assert ended.code == 0, ended
        count = ended.output.count(b"\n") if piped else len(list(readers.lines(target)))
        assert count == len(lines_of(content)), ended
        return "a line for a line"

    def parts(self, draw: random.Random) -> str:
        """Interrupted and gone on with: the bytes of a run that nobody disturbed. In shards and merged: its text, and
        its numbers but for their last digits, which depend on what a line's batch is made of."""
        source, target, whole = (self.work / name for name in ("in", "out", "whole"))
        source.write_bytes(dirty(draw))
        form = draw.choice([[], ["--format=tsv"], ["--n-best=2", "--beam-size=2"], ["--format=json"], ["--sample"]])
        begin = ["translate-file", *QUICK, *form, "--errors=replace", self.folder / draw.choice(TRANSLATING), source]
        with mock.patch.object(translate_file, "CHUNK", draw.randint(1, 6)):
            assert call(*begin, whole).code == 0
            resumed = self._resumed if draw.random() < 0.5 else self._merged
            how, code = resumed(draw, [*begin, target], target)
        assert code == 2 or (code == 0 and same(target, whole, exactly="merged" not in how)), how
        return f"{how}: {'refused' if code else 'the same'}"

    def _resumed(self, draw: random.Random, begin: list[object], target: Path) -> tuple[str, int]:
        translate = translate_file.Work.__call__
        left = [draw.randint(0, 4)]

        def interrupted(*arguments: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return translate(*arguments)  # type: ignore[arg-type]

        with mock.patch.object(translate_file.Work, "__call__", interrupted):
            ended = call(*begin)
        assert (ended.code == 130) == (left[0] < 0), ended
        assert target.exists() == (ended.code == 0), ended
        journal = target.with_name("out.partial.journal")
        if harmed := journal.exists() and draw.random() < 0.4:
            first, *rest = journal.read_bytes().splitlines(keepends=True)
            last = draw.random() < 0.5 and bool(rest)
            parts = [first, *rest[:-1], damaged(draw, rest[-1])] if last else [damaged(draw, first), *rest]
            journal.write_bytes(b"".join(parts))
        code = call(*begin, "--resume").code
        return ("resumed" + " from a damaged journal" * harmed, code if harmed else code and 1)

    def _merged(self, draw: random.Random, begin: list[object], target: Path) -> tuple[str, int]:
        count = draw.randint(1, 4)
        for number in draw.sample(range(1, count + 1), count):
            assert call(*begin, f"--shard={number}/{count}").code == 0
        if harmed := draw.random() < 0.4:
            card = draw.choice(sorted(self.work.glob("out.*-of-*.json")))
            card.write_bytes(damaged(draw, card.read_bytes()))
        code = call("merge", target).code
        return ("merged" + " with a damaged card" * harmed, code if harmed else code and 1)

    def requests(self, draw: random.Random) -> str:
        """What a line asks for: prefixes and phrases, of any bytes."""
        source, target = self.work / "in", self.work / "out"
        content = dirty(draw, 12).replace(b" ", draw.choice([b" ", b"\t"]))
        source.write_bytes(content)
        asked = draw.choice([["--prefixes"], ["--constraints"], ["--prefixes", "--constraints"]])
        name = self.folder / draw.choice(TRANSLATING)
        ended = call("translate-file", *QUICK, *asked, "--errors=replace", name, source, target)
        assert target.exists() == (ended.code == 0), ended
        if ended.code:
            assert str(source) in ended.told, ended
            return "refused"
        assert target.read_bytes().count(b"\n") == len(lines_of(content))
        return "a line for a line"

    def pairs(self, draw: random.Random) -> str:
        """Translations that are given: a log-probability each, or one error that names the line."""
        one, other, target = self.work / "one", self.work / "other", self.work / "out"
        content, apart = dirty(draw, 12), draw.random() < 0.5
        one.write_bytes(content if apart else content.replace(b"\n", b"\ta b\n"))
        other.write_bytes(draw.choice([content, dirty(draw, 12)]))
        options = [*(["--targets", other] if apart else []), *draw.choice([[], ["--format=json"]])]
        ended = call("force-decode", self.folder / draw.choice(TRANSLATING), one, target, *options)
        assert target.exists() == (ended.code == 0), ended
        if ended.code:
            assert f"{one}:" in ended.told or f"{other}:" in ended.told, ended
            return "refused"
        assert target.read_bytes().count(b"\n") == len(lines_of(one.read_bytes()))
        return "a number for a pair"

    def scores(self, draw: random.Random) -> str:
        """Lines against lines."""
        one, other = self.work / "one", self.work / "other"
        content = dirty(draw, 12)
        one.write_bytes(content)
        other.write_bytes(draw.choice([content, content[::-1], dirty(draw, 12)]))
        options = ["--format=json", "-m", *draw.sample(["bleu", "chrf", "chrf++", "ter", "exact"], 2)]
        options += draw.choice([[], ["--source", one, "--train-source", other, "--train-target", other], ["-l", "zh"]])
        ended = call("score", one, "-i", other, *options)
        if ended.code:
            assert str(one) in ended.told or str(other) in ended.told, ended
            return "refused"
        json.loads(ended.output, parse_constant=lambda name: 1 / 0)
        return "scored"

    def prompts(self, draw: random.Random) -> str:
        """A prompt as the command line gives it: what is not UTF-8 has become half of a surrogate pair."""
        content = dirty(draw, 6).replace(b"\0", b"")
        name = draw.choice(["characters", "pieces"])
        length, text = draw.randint(1, 30), content.decode(errors="surrogateescape")
        ended = call(
            "sample", self.folder / name, "--length", length, f"--prompt={text}", "--seed", draw.randint(0, 99)
        )
        if ended.code:
            assert "prompt: " in ended.told, ended
            assert not ended.output, ended
            return "refused"
        assert ended.output.startswith(content), ended
        ended.output.decode()
        return "begun with it"
