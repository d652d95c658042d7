"""Spans go through a translation: as many, and the same, whatever the line, the width of the beam and the models."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.inference.minimum_risk import ExpectedUtility
from seq2seq.inference.protection import ProtectingTranslator, SpanKeeper
from seq2seq.inference.request import Request
from seq2seq.text import EOS, SentencePieceTrainer, Tokenizers, WhitespaceTokenizer
from seq2seq.text.columns import ColumnsTokenizer
from seq2seq.text.protection import symbol_names
from tests.bundles import WORDS, save

PATTERN = r"\{\{.*?\}\}|<[^>]+>|https?://\S+|\d+"
SPANS = ["{{name}}", "<b>", "</b>", "https://a.b/c?d", "12", "7", "{{}}"]


def texts(count: int, seed: int = 0) -> list[str]:
    """Lines of words, punctuation and spans, some of which touch each other; empty ones and spans alone among them."""
    drawn = random.Random(seed)
    parts = [*WORDS, *SPANS, ".", "<", ">", "{{", "x1", "中", "  "]
    lines = ["".join(drawn.choice(parts) + drawn.choice(["", " ", " "]) for _ in range(n % 12)) for n in range(count)]
    return ["", " ", "{{name}}", "12 12", " ".join(SPANS), "<b>man</b> <b>man</b>", *lines]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("protection")
    names = symbol_names(3)
    words = WhitespaceTokenizer([*WORDS, "12", "<", ">", "."], symbols=names)
    subwords = SentencePieceTrainer(vocabulary_size=300, symbols=names).train([" ".join(WORDS), "a 12 <b> 7 . x"])
    save(folder / "words", tokenizer=words, context="additive")
    save(folder / "other", tokenizer=words, seed=3)
    save(folder / "subwords", tokenizer=subwords, spread=6)
    return [folder / "words", folder / "other", folder / "subwords"]


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("members", [[0], [0, 1], [2]])
def test_the_spans_of_a_line_are_those_of_its_translation(
    folders: list[Path], members: list[int], beam_size: int
) -> None:
    translator = ProtectingTranslator.load([folders[i] for i in members])
    translator.protect(PATTERN)
    lines = texts(60)
    changes = {"max_length": 3} if beam_size == 1 else {}
    translated = translator.translate(lines, beam_size=beam_size, batch_size=16, **changes)
    assert len(set(translated)) > len(lines) // 2
    for line, text in zip(lines, translated, strict=True):
        assert Counter(re.findall(PATTERN, text)) == Counter(re.findall(PATTERN, line)), (line, text)
        assert line.strip() or text == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"n_best": 4, "beam_size": 4},
        {"n_best": 4, "beam_size": 4, "diversity_groups": 2},
        {"n_best": 3, "sample": True},
        {"n_best": 3, "sample": True, "top_p": 0.5, "no_repeat_ngram": 1, "max_length": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("mbr", [False, True])
def test_each_of_several_translations_has_the_spans(folders: list[Path], changes: dict[str, Any], mbr: bool) -> None:
    translator = ProtectingTranslator.load(folders[:2])
    translator.protect(PATTERN)
    lines = texts(20, seed=2)
    options = translator.options(**changes)
    translated = translator.translate_full(lines, options, utility=ExpectedUtility() if mbr else None)
    assert max(map(len, translated)) > 1
    for line, several in zip(lines, translated, strict=True):
        for text, _ in several:
            assert Counter(re.findall(PATTERN, text)) == Counter(re.findall(PATTERN, line)), (line, text)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_prefixes_and_constraints_go_with_spans(folders: list[Path], beam_size: int) -> None:
    translator = ProtectingTranslator.load(folders[0])
    translator.protect(PATTERN)
    line = "a {{n}} man 12 7 12 dog <b>"  # five spans and three symbols: 12 and <b> are of those of others, too
    for prefix in ("", "the red", "the 12 dog", "<b> in {{n}} and", "12 7 12 <b> {{n}} sees"):
        for phrases in ((), ("small house", "old")):
            request = Request(line, prefix, phrases)
            text = translator.translate([request], beam_size=beam_size)[0]
            assert text.startswith(prefix), text
            assert all(phrase in text for phrase in phrases)
            assert Counter(re.findall(PATTERN, text)) == Counter(re.findall(PATTERN, line))
    options = translator.options(sample=True, n_best=5)
    (samples,) = translator.translate_full([Request(line, "<b> in 12 and 12")], options)
    assert all(text.startswith("<b> in 12 and 12") for text, _ in samples)
    assert all(Counter(re.findall(PATTERN, text)) == Counter(re.findall(PATTERN, line)) for text, _ in samples)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("a <b>", "the <i>"), "line 1: the prefix 'the <i>' has '<i>' more often than the source"),
        (Request("a 7", "7 7"), "line 1: the prefix '7 7' has '7' more often than the source"),
        (Request("a 7", "", ("a 7",)), "line 1: the constraint 'a 7' has what --protect keeps anyway"),
        (Request("a 7", "The 7"), "line 1: the prefix 'The' would come out as"),
        (Request("a 7", "a " * 60 + "a"), "may need 62 tokens"),
        (Request(" ", "a"), "line 1: has constraints but no text to translate"),
    ],
)
def test_prefixes_and_constraints_that_cannot_be(folders: list[Path], request_: Request, message: str) -> None:
    translator = ProtectingTranslator.load(folders[0])
    translator.protect(PATTERN)
    with pytest.raises(UserError, match=re.escape(message)):
        translator.translate([request_])
    with pytest.raises(UserError, match=re.escape(message)):
        translator.keeper.check([request_], translator.options(), 100)


def test_a_symbol_is_what_the_model_reads(folders: list[Path]) -> None:
    translator = ProtectingTranslator.load(folders[0])
    translator.protect(PATTERN)
    symbols = list(translator.bundle.tokenizers.source.symbols.values())  # type: ignore[attr-defined]
    a, man = (len(symbols) + 4 + WORDS.index(word) for word in ("a", "man"))
    (line, plain) = translator._encode([(0, "a <b> man"), (1, "a man")], translator.options())
    assert line.source == [a, symbols[0], man, EOS]
    assert line.constraints.constraints == ((symbols[0],),)
    assert plain.source == [a, man, EOS]
    assert plain.reserved == line.reserved == tuple(symbols)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_the_command_keeps_spans_with_and_without_workers(folders: list[Path], tmp_path: Path) -> None:
    lines = texts(20, seed=1)
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = ["translate-file", str(folders[0]), str(tmp_path / "in"), "", "--protect", PATTERN, "--beam-size", "2"]
    outputs = []
    for name, more in (("one", []), ("two", ["--workers", "2"])):
        command[3] = str(tmp_path / name)
        assert main([*command, *more]) == 0
        outputs.append((tmp_path / name).read_text(encoding="utf-8").splitlines())
    assert outputs[0] == outputs[1]
    for line, text in zip(lines, outputs[0], strict=True):
        assert Counter(re.findall(PATTERN, text)) == Counter(re.findall(PATTERN, line))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protect", r"\d*"], "matches the empty string"),
        (["--protect", r"\d+", "--copy-unknown"], "--protect: does not go with --copy-unknown"),
        (["--protect", r"\d+", "--alignments", "x"], "--protect: does not go with --alignments"),
        (["--protect", r"\d+", "--attention", "--format", "json"], "--protect: does not go with --attention"),
        (["--protect", r"\d+", "--prefixes"], "in: line 2: the prefix 'the 7' has '7' more often than the source"),
    ],
)
def test_what_does_not_go_together(
    folders: list[Path], tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").write_text("a man\na 8\tthe 7\n" if "--prefixes" in arguments else "a man\n")
    assert main(["translate-file", str(folders[0]), str(tmp_path / "in"), str(tmp_path / "out"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_a_model_that_copies_is_refused(tmp_path: Path) -> None:
    words = WhitespaceTokenizer(WORDS, symbols=symbol_names(3))
    save(tmp_path / "b", tokenizer=words, context="additive", head="pointer")
    with pytest.raises(UserError, match=r"--protect .* the model copies by itself \(head=pointer\)"):
        ProtectingTranslator.load(tmp_path / "b").protect(r"\d+")


def test_a_bundle_of_columns_is_refused() -> None:
    words = WhitespaceTokenizer(WORDS, symbols=symbol_names(3))
    columns = ColumnsTokenizer(["en", "fr"], [words, words], ends=True)
    with pytest.raises(UserError, match="is for sources of one text, and the bundle reads columns"):
        SpanKeeper(r"\d+", Tokenizers(columns, words, joint=False))


def test_a_bundle_without_symbols_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "b")
    with pytest.raises(UserError, match=r"the bundle has no symbols for spans; train it with data\.protect=8"):
        ProtectingTranslator.load(tmp_path / "b").protect(r"\d+")
