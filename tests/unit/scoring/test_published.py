"""`seq2seq score` as a published score was made: against sacreBLEU's own command line, sets and tokenizers included."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import sacrebleu
from sacrebleu.dataset import DATASETS

from seq2seq.errors import UserError
from seq2seq.scoring import TOKENIZERS, Scorer
from seq2seq.scoring.metrics import LANGUAGES
from seq2seq.scoring.suitability import weakness
from tests.unit.scoring.test_scoring import HYPOTHESES, OTHERS, REFERENCES, run

SET = "multi30k/2016"
PAIR = ["--test-set", SET, "--language-pair", "en-de"]
BOTH = """
import contextlib, io, json, sys
from sacrebleu import sacrebleu
from seq2seq.cli import main

def printed(function, *arguments):
    sys.argv[1:] = arguments
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function(list(arguments))
    return json.loads(out.getvalue())

class Kept:
    fileno = staticmethod(sys.stdout.fileno)

theirs, ours = [], []
for options in ([], ["--lowercase"], ["--tokenize", "none", "--lowercase"], ["--tokenize", "char"]):
    given = ["-i", "system.de", "-m", "bleu", "chrf", "ter"]
    out, sys.argv = io.StringIO(), ["sacrebleu", "-t", "multi30k/2016", "-l", "en-de", *options, *given, "-w", "6"]
    kept, opened = (sys.stdin, sys.stdout), open
    sacrebleu.open = lambda file, *rest, **more: (out if more.get("mode") == "w" else kept[0])
    sacrebleu.main()
    del sacrebleu.open
    sys.stdin, sys.stdout = kept
    theirs.append(json.loads(out.getvalue()))
    published = ["--test-set", "multi30k/2016", "--language-pair", "en-de"]
    ours.append(printed(main.main, "score", *published, *options, *given, "-f", "json")["system.de"])
print(json.dumps([theirs, ours]))
"""


def fill(folder: Path) -> None:
    """What sacreBLEU keeps of a set."""
    (folder / SET).mkdir(parents=True)
    for field, lines in {"src": OTHERS, "ref": REFERENCES}.items():
        (folder / SET / f"multi30k_2016.en-de.{field}").write_text("".join(f"{line}\n" for line in lines), "utf-8")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, where sacreBLEU looks for the set; there is no network."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(DATASETS[SET], "_outdir", str(folder / SET))
    monkeypatch.setattr(DATASETS[SET], "_rawdir", str(folder / SET / "raw"))

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return folder


@pytest.fixture
def system(tmp_path: Path) -> str:
    (tmp_path / "system.de").write_text("".join(f"{line}\n" for line in HYPOTHESES), "utf-8")
    return str(tmp_path / "system.de")


@pytest.mark.slow
def test_a_test_set_is_scored_as_by_the_command_line_of_sacrebleu(tmp_path, system):
    """Its cache is the folder SACREBLEU."""
    fill(tmp_path / "cache")
    Path(system).write_text("".join(f"{line.upper()}\n" for line in HYPOTHESES), "utf-8")
    environment = {**os.environ, "SACREBLEU": str(tmp_path / "cache"), "PYTHONPATH": str(Path.cwd())}
    argv = [sys.executable, "-c", BOTH]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout)
    assert len({scores[0]["score"] for scores in theirs}) == len(theirs)  # the options make a difference
    for expected, found in zip(theirs, ours, strict=True):
        for one, name in zip(expected, ("BLEU", "chrF", "TER"), strict=True):
            assert found[name]["value"] == pytest.approx(one["score"], abs=1e-6)
            assert found[name]["signature"] == one["signature"]


@pytest.mark.parametrize("tokenize", ["none", "13a", "intl", "char", "zh", None])
@pytest.mark.parametrize("lowercase", [False, True])
def test_equals_sacrebleu(tokenize, lowercase):
    oracle = sacrebleu.BLEU(tokenize=tokenize, lowercase=lowercase)
    found = Scorer(["bleu", "chrf"], tokenize=tokenize, lowercase=lowercase)(HYPOTHESES, [REFERENCES, OTHERS])
    assert found["BLEU"].value == pytest.approx(oracle.corpus_score(HYPOTHESES, [REFERENCES, OTHERS]).score)
    assert found["BLEU"].signature == str(oracle.get_signature())
    assert found["chrF"] == Scorer(["chrf"])(HYPOTHESES, [REFERENCES, OTHERS])["chrF"]


def test_names_are_those_of_sacrebleu():
    assert sorted(TOKENIZERS) == sorted(sacrebleu.BLEU.TOKENIZERS)
    assert sacrebleu.BLEU._TOKENIZER_MAP == LANGUAGES


def test_a_cached_set_needs_no_network(cache, system, capsys):
    fill(cache)
    assert run(*PAIR, "-i", system, "-f", "json", "--lowercase") == 0
    found = json.loads(capsys.readouterr().out)[system]
    assert found == Scorer(lowercase=True)(HYPOTHESES, REFERENCES).as_dict()
    with pytest.raises(UserError, match=r"multi30k/2016,multi30k/2016 en-de, reference 1 has 8"):
        run("-t", f"{SET},{SET}", "--language-pair", "en-de", "-i", system)


def test_a_set_that_cannot_be_had_is_one_line(cache, system, monkeypatch, capsys):
    with pytest.raises(UserError) as error:
        run(*PAIR, "-i", system)
    assert "multi30k/2016: sacreBLEU cannot get it (Name or service not known)" in str(error.value)
    assert str(cache / SET) in str(error.value)
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.SACREBLEU_DIR", str(cache))
    with pytest.raises(UserError, match="--tokenize flores200: sacreBLEU cannot get it"):
        run(system, "-i", system, "--tokenize", "flores200")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--test-set", "multi30k/2061", "--language-pair", "en-de"], "no such set; did you mean multi30k/201"),
        (["--test-set", SET, "--language-pair", "de-en"], "multi30k/2016 has en-fr, en-de, en-cs"),
        (["--test-set", SET], "needs --language-pair"),
        (["--language-pair", "en-de"], "no references"),
        (["SYSTEM", *PAIR], "give one of the two"),
        (["SYSTEM", "--language-pair", "en-de"], "belongs to --test-set"),
        ([*PAIR, "--language", "fr"], "--language-pair en-de says de"),
        (["SYSTEM", "--tokenize", "13a", "--language", "zh"], "zh has the tokenizer zh; give one of the two"),
        (["SYSTEM", "--tokenize", "zh", "--language", "de"], "one of zh; give one of the two"),
        (["SYSTEM", "--tokenize", "none", "-m", "chrf"], "is of bleu, which -m leaves out"),
        (["SYSTEM", "--lowercase", "-m", "chrf"], "is of bleu and bleu-char"),
    ],
)
def test_refused(argv, message, system, cache):
    with pytest.raises(UserError, match=message):
        run(*[system if part == "SYSTEM" else part for part in argv], "-i", system)


def test_what_agrees_is_not_refused():
    found = Scorer(["bleu"], tokenize="zh", language="zh-CN")(["我爱小猫"], ["我爱小猫。"])
    assert "tok:zh" in found["BLEU"].signature
    assert "tok:none" in Scorer(["bleu"], tokenize="none", language="de")(["a"], ["a"])["BLEU"].signature
    with pytest.raises(UserError, match=r"no tokenizer '13b'; choose from none, 13a"):
        Scorer(tokenize="13b")


def test_a_tokenizer_decides_whether_bleu_means_something():
    references = ["我爱小猫和小狗"] * 3
    assert weakness("bleu", references) is not None
    assert weakness("bleu", references, tokenize="13a") is not None
    assert weakness("bleu", references, tokenize="zh") is None
    assert weakness("bleu", references, tokenize="char") is None
