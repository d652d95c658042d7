"""Any bytes in, N lines in = N lines out: through the commands, the tokenizers, and as training data."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.reliability.dirt import FRAGMENTS, first_invalid, lines_of
from seq2seq import Predictor, Translator
from seq2seq.cli.main import main
from seq2seq.corpora import readers
from seq2seq.corpora.compression import READ, REFUSED
from seq2seq.errors import UserError
from seq2seq.inference.forced_decoding import ForcedDecoder
from seq2seq.text import (
    CharacterTokenizer,
    LabelTokenizer,
    LetterTokenizer,
    SentencePieceTrainer,
    SpellingTokenizer,
    WhitespaceTokenizer,
)
from tests.bundles import save
from tests.canary import watched
from tests.labels import save_labelling


def is_packed(content: bytes) -> bool:
    """Whether it begins as a compressed file does; hypothesis takes such bytes from the source, and they have tests."""
    magic = content.startswith((*READ, *REFUSED, b"]\0\0"))
    return magic or content[1:4] in (b"\xb5\x2f\xfd", b"\x2a\x4d\x18")


DIRT = (
    st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=6), max_size=25)
    .map(b"".join)
    .filter(lambda content: not is_packed(content))
)
FEW = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CLEAN = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator with bytes to fall back on, one without, a tagger and a classifier."""
    folder = tmp_path_factory.mktemp("bundles")
    save(folder / "words")
    subwords = SentencePieceTrainer(vocabulary_size=290).train(["a man sees the old dog in the house"] * 9)
    save(folder / "bytes", tokenizer=subwords)
    for task in ("tagging", "classification"):
        save_labelling(folder / task, task)
    return folder


def run(command: str, bundle: Path, content: bytes, folder: Path, *options: str) -> tuple[int, list[str] | None]:
    source, target = folder / "in", folder / "out"
    source.write_bytes(content)
    target.unlink(missing_ok=True)
    code = main([command, str(bundle), str(source), str(target), *options])
    found = target.read_bytes().decode() if target.exists() else None
    assert found is None or not found or found.endswith("\n")
    return code, None if found is None else found.split("\n")[:-1]


COMMANDS = [
    ("translate-file", "words"),
    ("translate-file", "bytes"),
    ("predict-file", "tagging"),
    ("predict-file", "classification"),
]


@pytest.mark.parametrize(("command", "name"), COMMANDS)
@given(content=DIRT)
@FEW
def test_a_line_for_a_line(bundles: Path, tmp_path: Path, capsys: Any, command: str, name: str, content: bytes) -> None:
    quick = ["--beam-size", "1", "--max-length", "6"] if command == "translate-file" else []
    code, found = run(command, bundles / name, content, tmp_path, *quick)
    if (bad := first_invalid(content)) is None:
        assert code == 0
        assert found is not None
        assert len(found) == len(lines_of(content))
    else:
        assert (code, found) == (2, None)
        assert f"in:{bad}: byte 0x" in capsys.readouterr().err
    code, found = run(command, bundles / name, content, tmp_path, *quick, "--errors", "replace")
    assert code == 0
    assert found is not None
    assert len(found) == len(lines_of(content))


@pytest.mark.parametrize("form", ["tsv", "json"])
@given(content=DIRT)
@settings(FEW, max_examples=15)
def test_other_formats_have_a_line_for_a_line(bundles: Path, tmp_path: Path, form: str, content: bytes) -> None:
    options = ["--format", form, "--errors", "replace", "--beam-size", "1", "--max-length", "6"]
    code, found = run("translate-file", bundles / "bytes", content, tmp_path, *options)
    assert code == 0
    assert found is not None
    assert len(found) == len(lines_of(content))
    if form == "json":
        sources = [line.decode(errors="replace").rstrip("\r") for line in lines_of(content)]
        assert [json.loads(line)["source"] for line in found] == sources


def test_each_line_becomes_what_it_becomes_alone(bundles: Path, tmp_path: Path) -> None:
    content = b"\n".join(b"".join(FRAGMENTS[i : i + 3]).replace(b"\n", b"") for i in range(0, len(FRAGMENTS), 3))
    options = ["--errors", "replace", "--batch-size", "7", "--beam-size", "2", "--max-length", "5"]
    code, found = run("translate-file", bundles / "bytes", content, tmp_path, *options)
    assert code == 0
    alone, texts = Translator.load(bundles / "bytes"), [line.decode(errors="replace") for line in lines_of(content)]
    assert found == [alone.translate([text], beam_size=2, max_length=5)[0] for text in texts]


@pytest.mark.parametrize("content", [b"dog", b"dog\n", b"", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbfdog\n"])
def test_a_mark_at_the_beginning_is_no_text(bundles: Path, tmp_path: Path, content: bytes, monkeypatch: Any) -> None:
    plain = content.removeprefix(b"\xef\xbb\xbf")
    code, expected = run("translate-file", bundles / "bytes", plain, tmp_path)
    expected = [""] if content and not plain else expected  # a file of the mark alone is one line, of nothing
    assert run("translate-file", bundles / "bytes", content, tmp_path) == (code, expected) == (0, expected)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["translate-file", str(bundles / "bytes"), "-", str(tmp_path / "piped")]) == 0
    assert (tmp_path / "piped").read_bytes() == (tmp_path / "out").read_bytes()


def test_what_is_odd_is_said(bundles: Path, tmp_path: Path, caplog: Any, capsys: Any) -> None:
    with caplog.at_level(logging.WARNING):
        assert run("translate-file", bundles / "bytes", b"dog\rman\n", tmp_path)[0] == 0
        assert "in:1: has a CR within it, and a line ends at LF or CR LF" in caplog.text
        for _ in range(2):
            assert run("predict-file", bundles / "tagging", b"a dog\na dog\tX Y\n\t\n", tmp_path)[0] == 0
        assert caplog.text.count("in:2: has a tab, and the texts of training have none") == 2
        assert run("translate-file", bundles / "bytes", b"dog\nthe \xff\n", tmp_path, "--errors", "replace")[0] == 0
        assert "in:2: byte 0xff at position 5 is not UTF-8; U+FFFD is written" in caplog.text
    assert run("translate-file", bundles / "bytes", "dog\n".encode("utf-16"), tmp_path) == (2, None)
    said = "in:1: byte 0xff at position 1 is not UTF-8 (UTF-16, it seems); convert it to UTF-8"
    assert f"{said} (or write U+FFFD in its place: --errors replace)\n" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "in"), "-i", str(tmp_path / "in")]) == 2
    assert f"{said}\n" in capsys.readouterr().err  # there is no such option


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_the_same_text_however_its_lines_end(bundles: Path, tmp_path: Path, command: str, name: str) -> None:
    plain = "the old dog\n\nman größe\n\u00a0a dog \n".encode()
    expected = run(command, bundles / name, plain, tmp_path)
    assert expected[0] == 0
    windows = b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")
    for content in (windows, windows.removesuffix(b"\r\n"), bz2.compress(windows), gzip.compress(windows)):
        assert run(command, bundles / name, content, tmp_path) == expected


def test_lines_as_python_reads_them_are_the_same_text(bundles: Path) -> None:
    ends = ["dog", "dog\n", "dog\r\n", "dog\r"]
    assert len(set(Translator.load(bundles / "bytes").translate(ends, beam_size=1, max_length=6))) == 1
    assert len(set(Predictor.load(bundles / "tagging").predict(ends))) == 1
    forced = ForcedDecoder.load(bundles / "bytes")
    assert len({round(sum(each.token_log_probs), 4) for each in forced.score([(end, end) for end in ends])}) == 1


def test_references_and_hypotheses_may_end_in_cr_lf(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "lf").write_bytes(b"the old dog sleeps\na man runs to the house\n")
    (tmp_path / "crlf").write_bytes(b"the old dog sleeps\r\na man runs to the house\r\n")
    assert main(["score", str(tmp_path / "lf"), "-i", str(tmp_path / "crlf"), "-m", "bleu", "chrf", "ter"]) == 0
    found = capsys.readouterr().out
    assert main(["score", str(tmp_path / "crlf"), "-i", str(tmp_path / "lf"), "-m", "bleu", "chrf", "ter"]) == 0
    assert [line.split()[2] for line in found.splitlines() if " = " in line][:3] == ["100.00", "100.00", "0.00"]


def test_a_line_of_a_megabyte_is_cut_and_named(bundles: Path, tmp_path: Path, caplog: Any) -> None:
    long = "the old dog " * 85_000
    with caplog.at_level(logging.WARNING):
        code, found = run(
            "translate-file", bundles / "bytes", f"dog\n{long}\nman".encode(), tmp_path, "--max-source", "50"
        )
    assert (code, found and len(found)) == (0, 3)
    assert "line 2: its " in caplog.text
    assert "tokens are cut to the first 50" in caplog.text


def test_a_tagger_labels_every_word_of_a_long_line(bundles: Path, tmp_path: Path) -> None:
    code, found = run("predict-file", bundles / "tagging", b"dog\n" + b"dog cat " * 1_000 + b"\n", tmp_path)
    assert code == 0
    assert found is not None
    assert [len(line.split(" ")) for line in found] == [1, 2_000]


@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"zeros{suffix}"
    with path.open("wb") as file:
        if suffix:
            with zstandard.ZstdCompressor().stream_writer(file) as packed:
                for _ in range(2000):
                    packed.write(bytes(1 << 20))
        else:
            file.truncate(1 << 40)
    with watched(), pytest.raises(UserError, match=r"zeros.*:1: has more than 16,777,216 bytes without a line's end"):
        next(readers.lines(path))


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)$"):
        next(readers.lines(tmp_path))


def test_half_a_character_in_python(bundles: Path) -> None:
    for call in (
        Translator.load(bundles / "bytes"),
        Translator.load(bundles / "words"),
        Predictor.load(bundles / "tagging"),
    ):
        with pytest.raises(UserError, match=r"line 1 holds U\+D800, half of a character"):
            call("a \ud800 b")


WORDS = WhitespaceTokenizer(["a", "dog", "\u2028", "\0"])
TOKENIZERS = {
    "words": WORDS,
    "characters": CharacterTokenizer("ab \u2028\0é"),
    "letters": LetterTokenizer("ab \u2028\u0301e"),
    "spelling": SpellingTokenizer(WORDS),
    "labels": LabelTokenizer(["a", "b"]),
    "bpe": SentencePieceTrainer(vocabulary_size=290).train(["a man sees the old dog in the house"] * 9),
    "char": SentencePieceTrainer("char", None).train(["a man sees the old dog in the house"] * 9),
}


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
@settings(max_examples=100, deadline=None, database=None)
def test_whatever_a_model_says_is_one_line(name: str, data: Any) -> None:
    tokenizer = TOKENIZERS[name]
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    text = tokenizer.decode(ids)
    assert "\n" not in text
    text.encode()


@pytest.mark.parametrize("name", ["bpe", "char", "spelling"])
@given(text=CLEAN | st.lists(st.sampled_from(FRAGMENTS)).map(lambda parts: b"".join(parts).decode(errors="replace")))
@settings(max_examples=100, deadline=None, database=None)
def test_text_comes_back(name: str, text: str) -> None:
    text = text.replace("\n", "")
    text = " ".join(filter(None, text.split(" "))) if name == "spelling" else text
    assert TOKENIZERS[name].decode(TOKENIZERS[name].encode(text)) == text


ROWS = [part.decode(errors="replace").replace("\n", " ").replace("\t", " ") for part in FRAGMENTS]


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["sentencepiece", "unigram", "char", "word", "whitespace"])
def test_dirty_text_is_trained_on(tmp_path: Path, tokenizer: str, monkeypatch: Any) -> None:
    from tests.integration.test_training import TINY

    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    rows = [f"{a} {b}\t{b}{a}\n" for a in ROWS for b in ROWS]
    rows += ["\t\n", "a\t" + "long " * 300_000 + "\n", "\r\t\r\n", "x\ty"]
    for split in ("train", "val"):
        (tmp_path / f"{split}.tsv").write_bytes(b"\xef\xbb\xbf" + "".join(rows).encode())
    corpus = [f"data.corpus.{split}={tmp_path}/{split}.tsv" for split in ("train", "val")]
    corpus += ["data.corpus.source_language=xx", "data.corpus.target_language=yy", "callbacks=loss"]
    sizes = {"sentencepiece": "600", "unigram": "380"}
    corpus += [f"tokenizer.vocabulary_size={sizes.get(tokenizer, 'null')}", f"tokenizer={tokenizer}"]
    short = ["trainer.max_steps=3", "trainer.limit_val_batches=2", f"hydra.run.dir={tmp_path}/run"]
    assert main(["train", *TINY, *corpus, *short]) == 0
    code, found = run("translate-file", tmp_path / "run/bundle", "\n".join(ROWS).encode(), tmp_path)
    assert (code, found and len(found)) == (0, len(ROWS))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", rb'{"source": "\ud800", "target": "b"}', r"x\.jsonl:1: field 'source' holds U\+D800, half of"),
        ("x.jsonl", b'{"source": "a\\nb", "target": "b"}', r"x\.jsonl:1: field 'source' holds a line feed"),
        ("x.jsonl", b'{"source": 7, "target": "b"}', r"x\.jsonl:1: field 'source' is 7, not a text"),
        ("x.jsonl", b"[" * 100_000, r"x\.jsonl:1: is not JSON"),
        ("x.jsonl", b"{}\n\xff", r"x\.jsonl:1: no field 'source'"),
        ("x.jsonl", b"", None),
    ],
)
def test_dirty_json(tmp_path: Path, name: str, content: bytes, message: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    if message is None:
        assert list(readers.json_lines(tmp_path / name, "source", "target")) == []
        return
    with pytest.raises(UserError, match=message):
        list(readers.json_lines(tmp_path / name, "source", "target"))


def test_the_fuzz_runs_clean(tmp_path: Path, capsys: Any) -> None:
    from experiments.reliability.fuzz import KINDS, main

    assert main(["--minutes", "0", "--seed", "1", "--out", str(tmp_path / "fuzz.json")]) == 0
    record = json.loads((tmp_path / "fuzz.json").read_text())
    assert record["findings"] == 0
    assert all(sum(record["trials"][kind].values()) for kind in KINDS)


def test_the_fuzz_finds_what_is_wrong(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    from experiments.reliability import damage_trials, fuzz

    monkeypatch.setattr(damage_trials, "load_bundle", lambda folder: (folder / "written").write_text(""))
    again = ["--minutes", "0", "--seed", "1", "--only", "bundles", "--first", "7"]
    assert fuzz.main([*again, "--out", str(tmp_path / "fuzz.json")]) == 1
    assert "kept: " in capsys.readouterr().err
    assert (tmp_path / "fuzz-1-bundles-7" / "broken").is_dir()
