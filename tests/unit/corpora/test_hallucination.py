"""Hallucinated forms: only the stem changes, and alike in lemma and form."""

import random
from collections import Counter
from pathlib import Path

import pytest

from seq2seq.cli.main import main
from seq2seq.corpora.hallucination import Form, hallucinated, longest_common_substring
from seq2seq.errors import UserError

FORMS = [Form("kuzu", "kuzuda", "N;LOC;SG"), Form("iç ağ", "iç ağları", "N;PL"), Form("ev", "evi", "N;ACC")]


def test_the_longest_common_substring_is_that_of_all_substrings() -> None:
    draw = random.Random(1)
    for _ in range(300):
        one, other = ("".join(draw.choices("abc", k=draw.randrange(9))) for _ in range(2))
        begin, end, length = longest_common_substring(one, other)
        assert one[begin : begin + length] == other[end : end + length]
        parts = {one[i:j] for i in range(len(one) + 1) for j in range(i, len(one) + 1)}
        assert length == max(len(part) for part in parts if part in other)


def test_only_the_stem_changes_alike_in_lemma_and_form() -> None:
    made = list(hallucinated(FORMS, 40, seed=3))
    assert made == list(hallucinated(FORMS, 40, seed=3))
    assert made != list(hallucinated(FORMS, 40, seed=4))
    assert Counter(form.tags for form in made) == {"N;LOC;SG": 20, "N;PL": 20}  # each as often; "ev" has no stem
    letters = set("kuzuiçağev")
    for form in made:
        ending = "da" if form.tags == "N;LOC;SG" else "ları"
        assert form.form == form.lemma + ending
        assert set(form.lemma) <= letters | {" "}
        assert form.lemma.find(" ") == (-1 if ending == "da" else 2)  # a space is no letter
    assert len({form.lemma for form in made}) > 30
    kept = [form.lemma for form in hallucinated(FORMS[:1], 200, seed=1, share=0.5)]
    assert 60 < sum(lemma[0] == "k" for lemma in kept) < 160  # half are kept, and a sixth of the others drawn again
    with pytest.raises(UserError, match="no lemma and form have 3 letters in common"):
        next(hallucinated(FORMS[2:], 1, seed=1))


def test_the_command_writes_forms_and_their_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("forms").write_text("".join("\t".join(form) + "\n" for form in FORMS), encoding="utf-8")
    command = ["augment", "--how", "hallucinate", "--forms", "forms", "--output", "more", "--count", "7"]
    assert main(command) == 0
    lines = Path("more/pairs.tsv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 7
    assert all(line.split("\t")[1].startswith(line.split("\t")[0]) for line in lines)
    card = Path("more/README.md").read_text(encoding="utf-8")
    assert "seq2seq augment --how hallucinate --forms forms --count 7 --seed 1 --share 1 --output more" in card
    assert "data.corpus.train=[forms, more/pairs.tsv]" in card
    for more, words in (
        (["bundle"], "reads --forms, and no bundles"),
        (["--share", "0"], "--share 0.0: must be above 0"),
        (["--how", "forward"], "--how forward needs a BUNDLE"),
    ):
        assert main([*command, *more]) != 0
        assert words in capsys.readouterr().err
    Path("forms").write_text("a\tb\tn\n", encoding="utf-8")
    assert main(command) != 0
    assert "forms:1: the tag 'n' is a letter" in capsys.readouterr().err
