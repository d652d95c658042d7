"""CoNLL files as people have them: what is a word, what is none, and one clear error with the line for each fault."""

import logging
from pathlib import Path

import pytest

from seq2seq.corpora import Tagged, conll
from seq2seq.errors import UserError
from seq2seq.scoring.label_metrics import LabelScorer
from seq2seq.text import LabelTokenizer


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    conll._say.cache_clear()


def read(text: str, **options: object) -> list[tuple[str, str]]:
    Path("train").write_bytes(text.encode())
    corpus = Tagged("en", "tags", "train", "val", format="conll", **options)  # type: ignore[arg-type]
    return [(row.text, row.labels) for row in corpus.rows("train")]


ANN = [("Ann sees #", "B-PER O O"), ("#fun sees Bob", "O O B-PER")]

CONLL_U = """\
# newdoc id = d1
# sent_id = 1
# text = Vámonos # al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tv\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tp\t_\t1\tobj\t_\t_
2.1\tvamos\tir\tVERB\tv\t_\t_\t_\t1:x\t_
3\t#\t#\tSYM\ts\t_\t1\tdep\t_\tB-X

# sent_id = 2
1\tsí\tsí\tINTJ\ti\t_\t0\troot\t_\t_
"""


@pytest.mark.parametrize(
    "text",
    [
        "# id 1\tdomain=en\nAnn _ _ B-PER\nsees _ _ O\n# _ _ O\n\n#fun _ _ O\nsees _ _ O\nBob _ _ B-PER\n",
        "# id 1\tdomain=en\nAnn\tB-PER\nsees\tO\n#\tO\n\n# id 2\tdomain=en\n#fun\tO\nsees\tO\nBob\tB-PER\n",
        "# sent_id = 1\n# text = O\nAnn a b B-PER\nsees c d O\n# e f O\n\n#fun a b O\nsees c d O\nBob e f B-PER\n\n",
        "#begin document (a); part 000\nAnn B-PER\nsees O\n# O\n\n#fun O\nsees O\nBob B-PER\n\n#end document\n",
        "\ufeff-DOCSTART- -X- O\n\nAnn B-PER \nsees  O\t\n#\tO\n \t \n\n#fun \t O\nsees O\r\nBob B-PER",
        "# newdoc\n# newpar\nAnn B-PER\r\nsees O\r\n# O\r\n\r\n#fun O\r\nsees O\r\nBob B-PER\r\n",
    ],
)
def test_comments_are_left_out_and_words_stay(text: str) -> None:
    assert read(text) == ANN


def test_a_word_that_begins_a_sentence_with_a_hash_has_a_tag_that_words_have() -> None:
    assert read("a N\n# $\n\n# $\nb V\n\n#x V\n\n# 12\nc N\n") == [
        ("a #", "N $"),
        ("# b", "$ V"),
        ("#x", "V"),
        ("c", "N"),
    ]
    assert read("#x B-NEW\na O\n") == [("#x a", "B-NEW O")]


def test_what_might_have_been_a_word_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    text = "a N\n\n#b NEW\nc N\n\n#d OTHER\ne N\n"
    with caplog.at_level(logging.WARNING):
        assert read(text) == read(text) == [("a", "N"), ("c", "N"), ("e", "N")]
    assert caplog.messages == ["train:3: '#b NEW' is left out as a comment, as are others like it"]


def test_conll_u(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read(CONLL_U) == read(CONLL_U) == [("Vamos nos #", "VERB PRON SYM"), ("sí", "INTJ")]
    assert caplog.messages == [
        "train: is CoNLL-U; its words are column 2 and its tags column 4 (data.corpus.tag_column)"
    ]
    assert read(CONLL_U, tag_column=5)[0] == ("Vamos nos #", "v p s")
    assert read(CONLL_U, word_column=3, tag_column=10)[0] == ("ir nosotros #", "_ _ B-X")
    with pytest.raises(UserError, match=r"^train:1: .* has no tag in column 4 \(data.corpus.tag_column\)"):
        read("1\ta" + "\t_" * 8 + "\n")


def test_other_columns() -> None:
    numbered = "#\thttp://x [2009]\n1\tAnn\tB-PER\tO\n2\tsees\tO\tO\n"  # GermEval 2014
    assert read(numbered, word_column=2, tag_column=3) == [("Ann sees", "B-PER O")]
    with pytest.raises(UserError, match=r"^train:2: the first of its 4 columns numbers .*word_column=2.*tag_column"):
        read(numbered)
    assert read("B-A\tx\nO\ty\n", word_column=2, tag_column=1) == [("x y", "B-A O")]
    varying = "d 0 x N - (A0*\nd 1 y V - *)\n\nd 0 z N -\n"  # more columns in some sentences, as in CoNLL 2012
    assert read(varying, word_column=3, tag_column=4) == [("x y", "N V"), ("z", "N")]
    assert read("a\tN\tx\nb\tV\t\n", tag_column=2) == [("a b", "N V")]  # an optional column is empty


def test_white_space_within_words() -> None:
    assert read("10\u00a0000\tO\nin\u2003x\tO\n") == [("10\u00a0000 in\u2003x", "O O")]
    assert read("10\u00a0000 O\na\u00a0 O\n") == [("10\u00a0000 a\u00a0", "O O")]
    assert read("New York\tB-LOC\nleft\tO\n", space="\u00a0") == [("New\u00a0York left", "B-LOC O")]
    assert read("New York\tB-LOC\n", space="_") == [("New_York", "B-LOC")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("left\tO\nNew York\tB-LOC\n", "^train:2: the word 'New York' holds a space, .*data.corpus.space=_ "),
        ("a\tB LOC\n", "^train:1: the tag 'B LOC' holds a space"),
        ("a x O\nb O\n", "^train:2: 2 columns, but line 1 has 3; columns are split at tabs where a line has one"),
        ("a O\nb x O\n", "^train:2: 3 columns, but line 1 has 2"),
        ("a\tO\n\tO\n", "^train:2: ' O' has no word in column 1"),
        ("a\tO\nb\t\n", "^train:2: 'b ' has no tag"),
        ("a\tO\nNew York\t\n", "^train:2: 'New York ' has no tag"),
        ("a O\n\n# c\n#\n", None),
        ("a\n", "^train:1: 'a' has no tag"),
    ],
)
def test_each_fault_names_its_line(text: str, words: str | None) -> None:
    if words is None:
        assert read(text) == [("a", "O")]
        return
    with pytest.raises(UserError, match=words):
        read(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "lines", "tag_column": 2}, "are for data.corpus.format=conll"),
        ({"tag_column": 0}, "tag_column=0: columns count from 1"),
        ({"word_column": 3, "tag_column": 3}, "tag_column=3: is the column of the word"),
        ({"tag_column": 1}, "tag_column=1: is the column of the word"),
        ({"space": " "}, "space=' ': must be a sign other than a space"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Tagged("en", "tags", "train", "val", **{"format": "conll"} | options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("right", "found"),
    [
        ("B-x I-x O B-x B-y", "B-x I-x O O B-y"),  # IOB2
        ("I-x I-x O I-x I-y", "I-x I-x O O I-y"),  # IOB1
        ("B-x E-x O S-x S-y", "B-x E-x O O S-y"),  # BIOES
        ("B-x L-x O U-x U-y", "B-x L-x O O U-y"),  # BILOU
        ("B-x E-x O W-x W-y", "B-x E-x O O W-y"),  # BMEWO
    ],
)
def test_entities_in_every_scheme(right: str, found: str) -> None:
    scorer = LabelScorer(LabelTokenizer(sorted({*right.split()})), entities=True)
    assert scorer.entities
    assert scorer([right], [right])["F1"].value == 100
    assert scorer([found], [right])["F1"].value == pytest.approx(100 * 2 * 2 / 5)


def test_three_words_of_one_entity_are_one_in_every_scheme() -> None:
    for tags in ("B-x I-x E-x", "B-x I-x L-x", "B-x M-x E-x", "B M E"):
        scorer = LabelScorer(LabelTokenizer(tags.split()), entities=True)
        broken = tags.replace("E", "S").replace("L", "U")
        assert scorer([broken], [tags])["F1"].value == 0
        assert scorer([tags], [tags])["F1"].value == 100


def test_other_tags_are_counted_as_labels() -> None:
    scorer = LabelScorer(LabelTokenizer(["NOUN", "VERB", "INTJ"]), entities=True)
    scores = scorer(["NOUN VERB VERB"], ["NOUN VERB INTJ"])
    assert not scorer.entities
    assert scores["F1"].value == pytest.approx(scores["accuracy"].value) == pytest.approx(200 / 3)
    assert "of:labels" in scores["F1"].signature
