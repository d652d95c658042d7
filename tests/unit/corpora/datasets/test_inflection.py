"""Inflection data from a local server: downloaded once, checked; scores by tag and part of speech."""

import gzip
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seq2seq.corpora import Inflection
from seq2seq.corpora.datasets import inflection
from seq2seq.errors import UserError
from seq2seq.reporting import html
from seq2seq.reporting.forms import breakdowns, forms, rows
from seq2seq.reporting.runs import Notes, Run
from seq2seq.reporting.tested import Tested
from seq2seq.scoring import Scorer
from seq2seq.scoring.breakdowns import confusions
from seq2seq.text import CharacterTokenizer, ColumnsTokenizer, Tokenizers
from seq2seq.text.columns import TagTokenizer
from seq2seq.text.words import WhitespaceTokenizer
from seq2seq.training.tasks import by_tag

DATA = Path(__file__).parents[5] / "shared" / "data"
LINE = "kuzu\tkuzuda\tN;LOC;SG\n"


class Handler(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def log_message(self, format: str, *args: object) -> None:
        self.asked.append(self.path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with the files of Turkish; that of the test has no known checksum."""
    for name in ("all/task1/turkish-train-low", "all/task1/turkish-dev", "answers/task1/turkish-uncovered-test"):
        path = tmp_path / "served" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LINE, encoding="utf-8")
    checksum = hashlib.sha256(LINE.encode()).hexdigest()
    monkeypatch.setattr(inflection, "CHECKSUMS", {"turkish-train-low": checksum, "turkish-dev": checksum})
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "data"))
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "served")) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def test_downloaded_once_and_checked(server: str, tmp_path: Path) -> None:
    corpus = Inflection(size="low", url=server)
    corpus.prepare()
    corpus.prepare()
    assert len(Handler.asked) == 3
    assert list(corpus.pairs("test")) == [("kuzu\tN;LOC;SG", "kuzuda")]
    assert corpus.name == "Inflection-turkish-low"
    folder = tmp_path / "data" / "inflection"
    for name in ("turkish-dev", "turkish-test"):  # one of a known checksum, one of the first download's
        (folder / name).write_text(LINE * 2, encoding="utf-8")
        with pytest.raises(UserError, match=f"{name}: is damaged .*delete it"):
            corpus.prepare()
        (folder / name).unlink()
        (folder / f"{name}.gz").write_bytes(gzip.compress(LINE.encode()))
        corpus.prepare()
    with pytest.raises(UserError, match=r"turkish-train-high: cannot be downloaded .the server answers 404"):
        Inflection(size="high", url=server).prepare()
    with pytest.raises(UserError, match="language=klingon: there are albanian, arabic"):
        Inflection("klingon")
    (tmp_path / "more").write_text(LINE, encoding="utf-8")
    more = Inflection(size="high", url=server, train=[str(tmp_path / "more"), str(folder / "turkish-train-low")])
    more.prepare()
    assert len(list(more.pairs("train"))) == 2


@pytest.mark.skipif(not (DATA / "inflection").exists(), reason="needs the data")
def test_the_task_s_files_are_read() -> None:
    for language, size, count in (("turkish", "high", 10_000), ("german", "medium", 1000), ("spanish", "low", 100)):
        corpus = Inflection(language, size, root=str(DATA))  # type: ignore[arg-type]
        corpus.prepare()
        assert [sum(1 for _ in corpus.pairs(split)) for split in corpus.splits] == [count, 1000, 1000]


def test_scores_of_forms_by_tag(tmp_path: Path) -> None:
    sources = ["kuzu\tN;LOC;SG", "vade\tSG;N", "gel\tV;1", "git\tV;SG"]
    references, outputs = ["kuzuda", "vade", "gelim", "gider"], ["kuzuda", "vadi", "gelin", "gider"]
    scores = Scorer(["exact", "levenshtein"])(outputs, references)
    assert [score.value for score in scores.values()] == [50, 0.5]  # 2 of 4; distances 0, 1, 1, 0
    tags = TagTokenizer(["1", "LOC", "N", "SG", "V"], ";")
    columns = ColumnsTokenizer(["lemma", "features"], [WhitespaceTokenizer(["a"]), tags], ends=False)
    speech, by = breakdowns(sources, {"one": outputs}, references, columns)
    assert list(rows(speech)) == [
        ["part of speech", "forms", "Exact", "Levenshtein"],
        ["N", "2", "50.00", "0.50"],
        ["V", "2", "50.00", "0.50"],
    ]
    assert list(rows(by))[1:3] == [["SG", "3", "66.67", "0.33"], ["N", "2", "50.00", "0.50"]]
    texts = sources, references, outputs
    printed = by_tag.write_table("test", texts, columns, ["exact"], tmp_path)
    assert printed[1].split() == ["test:", "N", "2", "50.00"]
    assert (tmp_path / "test.by_tag.tsv").read_text().splitlines()[:2] == [
        "kind\tvalue\tforms\tExact",
        "part of speech\tN\t2\t50.00",
    ]
    assert confusions(outputs, references) == Counter({("e", "i"): 1, ("m", "n"): 1})
    assert confusions(["ab"], ["b"]) == {("", "a"): 1}
    assert (
        by_tag.write_table("test", (sources, references, outputs), WhitespaceTokenizer(["a"]), ["exact"], tmp_path)
        == []
    )


def test_errors_of_several_runs_are_side_by_side(tmp_path: Path) -> None:
    tags = TagTokenizer(["N", "SG", "V"], ";")
    columns = ColumnsTokenizer(["lemma", "features"], [CharacterTokenizer("abdekuvz"), tags], ends=False)
    Tokenizers(columns, columns, joint=True).save(tmp_path / "one" / "bundle")
    sources, references = ["kuzu\tN;SG", "vade\tV", "ab\tN"], ["kuzu", "vadeb", "ab"]
    outputs = {"one": ["kuzu", "vade", "ab"], "other": ["kuzu", "vadeb", "ad"]}
    tests = [
        Tested(Run(tmp_path / name, name, {}, "translation", {}, {}, []), "test", sources, references, lines)
        for name, lines in outputs.items()
    ]
    found = forms(tests, Notes())
    assert found is not None
    assert list(found.errors) == [1, 2]
    assert found.confusions == [[(("b", ""), 1)], [(("b", "d"), 1)]]
    assert list(rows(found.breakdowns[0]))[:2] == [
        ["part of speech", "forms", "Exact one", "Levenshtein one", "Exact other", "Levenshtein other"],
        ["N", "2", "100.00", "0.00", "50.00", "0.50"],
    ]
    shown = html._forms("test", found)
    assert shown["errors"] == [
        ["2", "vade\tV", "vadeb", "vade", "vadeb"],
        ["3", "ab\tN", "ab", "ab", "ad"],
    ]
    assert shown["confused"] == [["one", "b", "nothing", "1"], ["other", "b", "d", "1"]]
    assert forms([test._replace(sources=["a", "b", "c"]) for test in tests], Notes()) is None
