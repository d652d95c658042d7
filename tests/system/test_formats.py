"""What translate-file and force-decode write: every format against the Python interface, and what is refused."""

import json
import math
import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq import Translator
from seq2seq.cli.main import main
from seq2seq.inference.files import formats
from seq2seq.inference.files.formats import DECIMALS, DIGITS, rounded
from seq2seq.text import Tokenizers, WhitespaceTokenizer
from tests.bundles import WORDS, save

LINES = ["a man sleeps", "", "the red\u2028dog\truns", "dog", "a woman sees the old zebra"]
ATTENTION = {"context": "additive", "decoder": {"context_to": "both"}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    save(tmp_path / "bundle", **ATTENTION)
    save(tmp_path / "fixed", seed=2)
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    (tmp_path / "pairs.tsv").write_text("a man\ta dog\n\t\nthe dog runs\tthe\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(name: str) -> list[str]:
    *found, end = Path(name).read_text(encoding="utf-8").split("\n")
    assert end == ""
    return found


def found(*bundles: str, **options):
    translator = Translator.load(bundles or ["bundle"])
    return translator.translate_full(LINES, translator.options(return_attention=True, **options))


@pytest.mark.parametrize("n_best", [1, 2])
def test_tsv_and_json_say_what_python_says(folder, n_best):
    for form in ("tsv", "json"):
        arguments = ["--format", form, "--n-best", str(n_best), "--alignments", f"{form}.links"]
        assert main(["translate-file", "bundle", "in.txt", form, *arguments]) == 0
    expected = [
        (index, rank, text, hypothesis)
        for index, line in enumerate(found(n_best=n_best))
        for rank, (text, hypothesis) in enumerate(line, 1)
    ]
    rows, objects = [line.split("\t", 4) for line in lines("tsv")], [json.loads(line) for line in lines("json")]
    assert lines("tsv.links") == lines("json.links")
    for row, described, (index, rank, text, hypothesis) in zip(rows, objects, expected, strict=True):
        assert row == [str(index), str(rank), *(str(rounded(x)) for x in (hypothesis.score, hypothesis.log_prob)), text]
        assert (described["index"], described["rank"], described["text"]) == (index, rank, text)
        assert described["source"] == LINES[index]
        assert described["log_prob"] == rounded(hypothesis.log_prob)
        assert len(described["tokens"]) == len(described["token_log_probs"]) == len(hypothesis.token_log_probs)
        assert (described["tokens"][-1:] == ["</s>"]) == bool(hypothesis.finished and hypothesis.token_log_probs)
        assert "attention" not in described


def test_attention_is_read_by_its_tokens(folder):
    arguments = ["--format", "json", "--attention", "--alignments", "links"]
    assert main(["translate-file", "bundle", "in.txt", "out", *arguments]) == 0
    for line, links in zip(lines("out"), lines("links"), strict=True):
        one = json.loads(line)
        assert one["alignment"] == links
        assert len(one["attention"]) == (len(one["tokens"]) if one["source"] else 0)
        assert all(len(row) == len(one["source_tokens"]) for row in one["attention"])
        assert all(sum(row) == pytest.approx(1, abs=2e-3) for row in one["attention"])
        words = len(one["source"].split(" "))
        for link in links.split():
            assert re.fullmatch(r"\d+-\d+", link)
            source, target = map(int, link.split("-"))
            row = one["attention"][target]
            assert source < words
            assert row[source] == max(row)  # every token of this tokenizer is a word


def test_an_ensemble_from_the_command_line(folder):
    assert main(["translate-file", "bundle", "in.txt", "out", "--ensemble", "fixed"]) == 0
    assert lines("out") == [line[0].text for line in found("bundle", "fixed")]
    assert main(["translate-file", "bundle", "in.txt", "three", "--ensemble", "fixed", "--ensemble", "fixed"]) == 0
    assert lines("three") == [line[0].text for line in found("bundle", "fixed", "fixed")]


def test_unknown_words_are_copied(folder, monkeypatch, caplog):
    """A target that knows no word at all but unk: all that is translated is copied."""
    none = Tokenizers(WhitespaceTokenizer(WORDS), WhitespaceTokenizer(["\u2603"]), False)
    monkeypatch.setattr("tests.bundles.tokenizers", lambda *, joint: none)
    save(Path("unknown"), seed=12, **ATTENTION)
    arguments = ["in.txt", "out", "--beam-size", "1", "--alignments", "links"]
    assert main(["translate-file", "unknown", *arguments]) == 0
    plain = lines("out")
    assert main(["translate-file", "unknown", *arguments, "--copy-unknown"]) == 0
    assert any("⁇" in line for line in plain)
    for line, before, links, source in zip(lines("out"), plain, lines("links"), LINES, strict=True):
        assert "⁇" not in line
        words, sources = line.split(" "), source.split(" ")
        linked = {int(t): sources[int(s)] for s, t in (link.split("-") for link in links.split())}
        for t, (word, old) in enumerate(zip(words, before.split(" "), strict=True)):
            assert word == (linked.get(t, word) if old == "⁇" else old)
            assert old != "⁇" or word in sources
    assert caplog.messages == []


def test_force_decode_files_and_streams(folder, capfd, monkeypatch):
    assert main(["force-decode", "bundle", "pairs.tsv", "out", "--batch-size", "1"]) == 0
    assert main(["force-decode", "bundle", "pairs.tsv"]) == 0
    columns = [line.split("\t") for line in lines("out")]
    printed = [line.split("\t") for line in capfd.readouterr().out.split("\n")[:-1]]
    for row, other in zip(columns, printed, strict=True):
        assert [float(cell) for cell in row] == pytest.approx([float(cell) for cell in other], abs=2e-4)
    assert columns[1] == ["0.0", "0.0", "0"]
    assert [row[2] for row in columns] == ["3", "0", "2"]
    for name, column in (("s.txt.gz", 0), ("t.txt", 1)):
        content = "".join(f"{line.split(chr(9))[column]}\n" for line in lines("pairs.tsv"))
        import gzip

        Path(name).write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else content.encode())
    arguments = ["--targets", "t.txt", "--format", "json", "--attention", "--alignments", "links"]
    assert main(["force-decode", "bundle", "s.txt.gz", "json", *arguments]) == 0
    for line, row, pair, links in zip(lines("json"), columns, lines("pairs.tsv"), lines("links"), strict=True):
        one = json.loads(line)
        assert one["log_prob"] == pytest.approx(float(row[0]), abs=2e-4)
        assert sum(one["token_log_probs"]) == pytest.approx(one["log_prob"], abs=1e-3)
        assert (one["source"], one["target"], one["alignment"]) == (*pair.split("\t"), links)
        assert len(one["attention"]) == len(one["tokens"]) == int(row[2])


def test_numbers_are_written_to_so_many_digits():
    values = [-123.456789, -12.3456789, -1.23456789, -0.123456789, -0.0000049, 99.99996, 0.0, 7e6 + 0.4]
    assert [rounded(value) for value in values] == [-123.46, -12.346, -1.2346, -0.1235, 0.0, 100.0, 0.0, 7e6]
    assert str(rounded(-0.00001)) == "0.0"
    assert (rounded(-math.inf), formats.number(-math.inf)) == (-math.inf, None)


@given(st.floats(-500, 0), st.floats(-1, 1))
def test_rounding_errors_change_the_last_digit_by_one_at_most(value, error):
    near = value + 1e-5 * error * max(1, abs(value))
    assert abs(rounded(value) - rounded(near)) <= unit(value) * 1.001


def unit(value: float) -> float:
    """One in the last digit of a number that is written."""
    return max(10.0**-DECIMALS, 10.0 ** (len(str(int(max(abs(value), 1)))) - DIGITS))


def close(one: object, other: object, relative: float = 0.0) -> list[bool]:
    """Whether numbers are written equally, one by one; raises where anything else differs, or by more than a digit and
    more than `relative`, a share of the number."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list):
        return [same for pair in zip(one, other, strict=True) for same in close(*pair, relative)]
    if not isinstance(one, float):
        assert one == other
        return []
    largest = max(one, other, key=abs)
    assert abs(one - other) <= max(unit(largest) * 1.001, relative * abs(largest))
    return [one == other]


def read(line: str) -> list[object]:
    """A line of any format, numbers with a point as such."""
    if line.startswith("{"):
        return [json.loads(line)]
    return [float(part) if re.fullmatch(r"-?\d+\.\d+|-?inf", part) else part for part in re.split(r"\t| \|\|\| ", line)]


@pytest.mark.numerical
@pytest.mark.parametrize(
    "command",
    [
        ["translate-file", "--format", "json", "--attention", "--n-best", "2"],
        ["translate-file", "--format", "tsv", "--n-best", "2", "--int8"],
        ["translate-file", "--n-best", "2", "--ensemble", "fixed"],
        ["force-decode", "--format", "json", "--attention"],
        ["force-decode"],
    ],
    ids=" ".join,
)
def test_what_is_written_depends_on_the_batch_by_a_last_digit_at_most(folder, command):
    """Texts are equal; numbers are mostly so, too. The same through shards of another batch size."""
    draw, (name, *options) = random.Random(1), command
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) for _ in range(40)]
    force = name == "force-decode"
    Path("many").write_text("".join(f"{text}\t{text[::2]}\n" if force else f"{text}\n" for text in texts))
    outputs = []
    for size in (1, 3, 7, 64):
        assert main([name, "bundle", "many", f"out{size}", *options, "--batch-size", str(size)]) == 0
        outputs.append(lines(f"out{size}"))
    if not force:
        for number in ("1/2", "2/2"):
            assert main([name, "bundle", "many", "parts", *options, "--batch-size", "5", "--shard", number]) == 0
        assert main(["merge", "parts"]) == 0
        outputs.append(lines("parts"))
    relative = 1e-3 if "--int8" in options else 0.0  # a feature between two of its levels may be rounded to the other
    for output in outputs[1:]:
        pairs = zip(map(read, outputs[0]), map(read, output), strict=True)
        equal = [same for pair in pairs for same in close(*pair, relative)]
        assert len(equal) >= 40
        assert sum(equal) > 0.9 * len(equal)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate-file", "bundle", "in.txt", "out", "--attention"], "use --format json"),
        (["translate-file", "bundle", "in.txt", "out", "--alignments", "out"], "is the output as well"),
        (["translate-file", "bundle", "in.txt", "out", "--alignments", "in.txt"], "is the input as well"),
        (["translate-file", "bundle", "in.txt", "out", "--alignments", "no/where"], "is a folder, or in none"),
        (["translate-file", "fixed", "in.txt", "out", "--alignments", "links"], "no attention"),
        (["translate-file", "fixed", "in.txt", "out", "--copy-unknown"], "no attention"),
        (["translate-file", "bundle", "in.txt", "out", "--ensemble", "nowhere"], "nowhere: is not a bundle"),
        (["translate-file", "bundle", "in.txt", "out", "--format", "xml"], "invalid choice: 'xml'"),
        (["force-decode", "bundle", "in.txt", "out"], "in.txt:1: has 1 columns between tabs"),
        (["force-decode", "bundle", "in.txt", "out", "--targets", "pairs.tsv"], "pairs.tsv:4: ends after 3 lines"),
        (["force-decode", "bundle", "-", "out", "--targets", "pairs.tsv"], "with --targets both are files"),
        (["force-decode", "bundle", "pairs.tsv", "pairs.tsv"], "is the input as well"),
        (["force-decode", "bundle", "in.txt", "t.txt", "--targets", "t.txt"], "t.txt: is the targets as well"),
        (["force-decode", "fixed", "pairs.tsv", "out", "--alignments", "links"], "no attention"),
    ],
)
def test_mistakes_are_one_line_and_no_file(folder, arguments, message, capsys):
    Path("t.txt").write_text("a\n" * 5)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_notebook_draws_what_was_looked_at(folder):
    for name, columns in (("bundle", 4), ("fixed", 0)):
        shown = Translator.load(name).show("a <b>man sleeps")
        assert str(shown) == shown.text == Translator.load(name)("a <b>man sleeps")
        root = ElementTree.fromstring(shown._repr_html_())  # well formed, and escaped
        squares = root.findall(".//{http://www.w3.org/2000/svg}rect")
        assert len(squares) == len(shown.target) * (columns + 1)
        opacity = [float(each.get("fill-opacity")) for each in squares if each.get("fill-opacity")]
        assert opacity == pytest.approx([0.04 + 0.96 * w for row in shown.weights for w in row], abs=1e-3)
        assert len(shown.log_probs) == len(shown.target)
    assert "svg" not in Translator.load("bundle").show(" ")._repr_html_()
