"""Scores by length, unseen words and frequency: explicit buckets, scores by sacreBLEU, and what a user sees of them."""

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import sacrebleu

from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.reporting.breakdown_pictures import breakdown_figure
from seq2seq.scoring import Resampling, Scorer
from seq2seq.scoring.breakdowns import FEW, by_frequency, by_lines, counts, length_groups, unseen_groups
from seq2seq.scoring.metrics import Words


def test_lengths_and_unseen_shares_by_their_definition():
    sources = ["", "a b", "a b c d e", "a b c d e f", "w " * 100, "w " * 101]
    assert length_groups(sources) == [("1–5", [0, 1, 2]), ("6–10", [3]), ("76–100", [4]), ("101+", [5])]
    assert length_groups(["我爱你们。", "我"], Words("zh")) == [("1–5", [0, 1])]
    assert length_groups(["我们爱你们。"], Words("zh")) == [("6–10", [0])]
    lines = ["", "a b.", "a a a a a a a a a x", "a x", "x y", "a b c x"]
    assert unseen_groups(lines, {"a", "b", "c", "."}, Words()) == [
        ("0%", [0, 1]),
        (">0–10%", [2]),
        (">20–30%", [5]),
        (">30–50%", [3]),
        (">50–100%", [4]),
    ]


def test_frequency_by_its_definition():
    """`the` twice against three times: two matches, so F1 = 2·2 / (2+3); `cat` is missing, `dog` is wrong."""
    training = Counter({"the": 2000, "cat": 7, "dog": 9, "sat": 1})
    found = by_frequency({"s": ["the the dog sat new"]}, [["the the the cat sat old"]], training, Words())
    buckets = {bucket.label: (bucket.size, bucket.scores[0].value) for bucket in found.systems["s"]}
    assert buckets == {"0": (1, 0.0), "1": (1, 100.0), "5–9": (1, 0.0), "1000+": (3, pytest.approx(80.0))}
    assert found.systems["s"][0].scores[0].signature == "nrefs:1|unit:word|tok:13a|case:mixed"


def test_frequency_of_two_references_is_of_two_pairs_and_of_the_languages_words():
    training = counts(["我 们", "我"], Words("zh"))
    assert training == {"我": 2, "们": 1}
    found = by_frequency({"s": ["我们"]}, [["我们"], ["我我"]], training, Words("zh"), Resampling(100))
    assert [(each.label, each.size, each.scores[0].value) for each in found.systems["s"]] == [
        ("1", 1, pytest.approx(200 * 1 / (2 + 1))),
        ("2", 3, pytest.approx(200 * 2 / (2 + 3))),
    ]
    assert "nrefs:2|bs:100|seed:12345|unit:word|tok:zh" in found.systems["s"][0].scores[0].signature


def test_lines_of_a_bucket_are_scored_alone_and_few_have_no_interval():
    references = [f"one two three four {i % 7} six" for i in range(FEW + 3)]
    outputs = [line.replace("three", "3") if i % 2 else line for i, line in enumerate(references)]
    groups = [("many", list(range(FEW))), ("few", list(range(FEW, FEW + 3)))]
    measured = {"s": Scorer(["bleu", "ter"]).measure(outputs, references)}
    many, few = by_lines("x", groups, measured, Resampling(100)).systems["s"]
    assert many.scores[0].value == pytest.approx(sacrebleu.corpus_bleu(outputs[:FEW], [references[:FEW]]).score)
    assert few.scores[1].value == pytest.approx(sacrebleu.corpus_ter(outputs[FEW:], [references[FEW:]]).score)
    low, high = many.scores[0].interval
    assert low < many.scores[0].value < high
    assert few.scores[0].interval is None


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    """25 short lines and 3 long ones; `a_b|c.de`, whose name means something in LaTeX and Markdown, is wrong at their
    ends."""
    lines = [f"ein Haus am See {i}" for i in range(25)] + [" ".join(f"w{i}" for i in range(12))] * 3
    texts = {
        "ref.de": lines,
        "good.de": lines,
        "a_b|c.de": [line[:-1] + "x" for line in lines],
        "src.en": lines,
        "train.en": ["ein Haus am See", "w0 w1 w2"],
        "train.de": ["ein Haus"] * 12,
        "short.de": lines[:-1],
        "empty.de": [],
    }
    for name, content in texts.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
    return SimpleNamespace(**{name.split(".")[0].replace("_b|c", ""): str(tmp_path / name) for name in texts}, **{
        "source": str(tmp_path / "src.en"), "words": str(tmp_path / "train.de"), "unseen": str(tmp_path / "train.en"),
    })  # fmt: skip


def test_command_as_json(files, capsys, tmp_path):
    arguments = ["--source", files.source, "--train-source", files.unseen, "--train-target", files.words]
    plot = tmp_path / "plots" / "b.png"
    command = ["score", files.ref, "-i", files.good, files.a, "-m", "bleu", "exact", "-f", "json", *arguments]
    assert main([*command, "--plot", str(plot), "--confidence", "--samples", "100"]) == 0
    found = json.loads(capsys.readouterr().out)[files.a]
    assert found["Exact"]["high"] == 0
    assert found["BLEU"]["low"] <= found["BLEU"]["value"] <= found["BLEU"]["high"]
    by = found["breakdowns"]
    assert list(by) == ["source words", "unseen source words", "frequency of words in training"]
    assert [(each["bucket"], each["size"]) for each in by["source words"]] == [("1–5", 25), ("11–15", 3)]
    assert [(each["bucket"], each["size"]) for each in by["unseen source words"]] == [(">10–20%", 25), (">50–100%", 3)]
    assert [(each["bucket"], each["size"]) for each in by["frequency of words in training"]] == [
        ("0", 111),
        ("10–99", 50),
    ]
    assert by["frequency of words in training"][1]["scores"]["F1"]["value"] == 100.0
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("layout", ["text", "markdown", "latex"])
def test_command_as_tables(files, capsys, layout):
    command = [
        "score",
        files.ref,
        "-i",
        files.good,
        files.a,
        "-m",
        "bleu",
        "ter",
        "-f",
        layout,
        "--source",
        files.source,
    ]
    assert main([*command, "--paired-ar", "--samples", "100", "--baseline", files.a, "--confidence"]) == 0
    out = capsys.readouterr().out
    name = {"text": "a_b|c.de", "markdown": "a_b\\|c.de", "latex": "a\\_b|c.de"}[layout]
    assert name in out
    assert re.search(r"100\.00 \[100\.00, 100\.00\].*p = 0\.0099\*", out, re.S)
    assert "nrefs:1|bs:100|ar:100|seed:12345|case:mixed" in out
    assert "paired approximate randomisation against " in out
    assert out.count("\\toprule") == out.count("\\bottomrule") == (2 if layout == "latex" else 0)
    tables = [line for line in out.split("\n") if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == ({4, 6} if layout == "markdown" else set())


def test_one_system_keeps_its_lines(files, capsys):
    assert main(["score", files.ref, "-i", files.a, "-m", "exact", "--confidence", "--source", files.source]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Exact =  0.00 [0.00, 0.00]  nrefs:1|bs:1000|seed:12345|unit:line|case:mixed\n")
    assert re.search(r"^1–5 +25 +0\.00 \[0\.00, 0\.00\]$", out, re.M)
    assert re.search(r"^11–15 +3 +0\.00$", out, re.M)


def test_figure(files):
    lines = Path(files.ref).read_text().split("\n")[:-1]
    other = Path(files.a).read_text().split("\n")[:-1]
    measured = {"a": Scorer(["bleu"]).measure(lines, lines), "b": Scorer(["bleu"]).measure(other, lines)}
    found = [by_lines("source words", length_groups(lines), measured, Resampling(100))]
    found.append(by_frequency({"a": lines, "b": other}, [lines], Counter(), Words()))
    figure = breakdown_figure(found)
    first, second = figure.axes
    values = [score.value for each in found[0].systems.values() for bucket in each for score in bucket.scores]
    assert [bar.get_height() for bar in first.patches] == pytest.approx(values)
    assert [bar.get_alpha() for bar in first.patches] == [1, 0.3, 1, 0.3]  # three lines are few
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert [axes.get_ylabel() for axes in (first, second)] == ["BLEU", "F1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ref", "short", "-i", "good"], r"short.de: 27 lines, but .*ref.de has 28"),
        (["ref", "-i", "good", "short"], r"short.de: 27 lines, but .*ref.de has 28"),
        (["ref", "-i", "empty"], r"empty.de: 0 lines, but .*ref.de has 28"),
        (["ref", "-i", "good", "--source", "short"], r"short.de: 27 lines, but .*ref.de has 28"),
        (["ref", "-i", "good", "nowhere"], "nowhere: no such file"),
        (["ref", "-i", "good", "--train-target", "nowhere"], "nowhere: no such file"),
        (["ref", "-i", "good", "good"], "given more than once"),
        (["ref", "-i", "good", "--paired-bs"], "there is one"),
        (["ref", "-i", "good", "a", "--baseline", "good"], "belongs to a test"),
        (["ref", "-i", "good", "a", "--paired-ar", "--baseline", "ref"], "not among the systems"),
        (["ref", "-i", "good", "--samples", "500"], "--samples belongs to"),
        (["ref", "-i", "good", "--confidence", "--samples", "3"], "at least 100"),
        (["ref", "-i", "good", "--train-source", "unseen"], "need --source"),
        (["ref", "-i", "good", "--plot", "x.png"], "--source or --train-target"),
        (["ref", "-i", "good", "--source", "source", "--plot", "x.pdf"], "a .png file"),
    ],
)
def test_command_refuses(files, capsys, arguments, message):
    assert main(["score", *(getattr(files, word, word) for word in arguments)]) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_words_of_a_language_that_needs_a_package(monkeypatch):
    monkeypatch.setattr("seq2seq.scoring.metrics.find_spec", lambda name: None)
    for make in (lambda: Scorer(["bleu"], language="ja"), lambda: Words("ja-JP")):
        with pytest.raises(UserError, match=r"'seq2seq-recurrent\[ja\]'"):
            make()
    Scorer(["chrf", "bleu-char"], language="ja")
    assert Words("ko-fonipa").signature == "13a"
