"""`seq2seq filter` in the process: what is kept, the report, what was left out, scores as force-decode's."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from seq2seq.cli.main import main
from seq2seq.inference.forced_decoding import ForcedDecoder
from tests.bundles import WORDS, save

PAIRS = [
    ("a man sleeps", "und a man"),
    ("a dog", "a dog"),
    ("a man sleeps", "und a man"),
    ("the", "the old dog sleeps and runs"),
    ("", "dog"),
    ("a woman runs", "собака спит"),
    ("the red house", "a small house"),
]
REASONS = {2: "identical", 3: "duplicates", 4: "ratio", 5: "length", 6: "script"}
ALL = ["--length", "1:10", "--ratio", "3", "--identical", "--script", "--duplicates"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for end, side in zip(("en", "de"), zip(*PAIRS, strict=True), strict=True):
        Path(f"t.{end}").write_text("".join(f"{line}\n" for line in side), encoding="utf-8")


def lines(name: str) -> list[str]:
    return Path(name).read_text(encoding="utf-8").splitlines()


def test_every_reason_is_counted_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "t.en", "t.de", "-o", "ok", *ALL, "--rejected", "no.tsv", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["read"] == len(PAIRS)
    assert report["kept"] == len(PAIRS) - len(REASONS)
    assert report["rejected"] == dict.fromkeys(REASONS.values(), 1)
    rejected = [line.split("\t") for line in lines("no.tsv")]
    assert {int(number): name for number, name, *_ in rejected} == REASONS
    kept = list(zip(lines("ok.en"), lines("ok.de"), strict=True))
    assert kept == [pair for number, pair in enumerate(PAIRS, 1) if number not in REASONS]
    assert sorted([*kept, *((source, target) for _, _, source, target in rejected)]) == sorted(PAIRS)


def test_the_text_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "t.en", "t.de", "-o", "ok", "--identical"]) == 0
    read, identical, kept = capsys.readouterr().out.splitlines()
    assert (read.split(), identical.split()[:3], kept.split()[:3]) == (
        ["read", "7"],
        ["identical", "1", "14.3%"],
        ["kept", "6", "85.7%"],
    )


def test_compressed_files_keep_their_ends() -> None:
    for end in ("en", "de"):
        Path(f"z.{end}.gz").write_bytes(gzip.compress(Path(f"t.{end}").read_bytes()))
    assert main(["filter", "z.en.gz", "z.de.gz", "-o", "ok", "--identical"]) == 0
    assert len(gzip.decompress(Path("ok.en.gz").read_bytes()).splitlines()) == 6
    Path("u.en").write_bytes(Path("t.de").read_bytes())
    assert main(["filter", "t.en", "u.en", "-o", "same", "--identical"]) == 0
    assert Path("same.source.en").exists()
    assert Path("same.target.en").exists()


def test_alignments_stay_with_their_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    links = [f"{i}-0" for i in range(len(PAIRS))]
    Path("t.align").write_text("".join(f"{line}\n" for line in links))
    Path("t.pos").write_text("".join(f"{line}\n" for line in links))
    more = ["--alignments", "t.align", "--factors", "t.pos"]
    assert main(["filter", "t.en", "t.de", "-o", "ok", *ALL, *more]) == 0
    assert (
        lines("ok.pos") == lines("ok.align") == [link for number, link in enumerate(links, 1) if number not in REASONS]
    )
    Path("u.align").write_text("0-0\n" * 9)
    Path("v.align").write_text("0-0\n" * 3)
    Path("w.en").write_text("0-0\n")
    for name, message in (
        ("u.align", "u.align:8: the corpus ends after 7 lines, and u.align does not"),
        ("v.align", "v.align:4: v.align ends after 3 lines, and the corpus does not"),
        ("w.en", "its name ends as a side's"),
    ):
        assert main(["filter", "t.en", "t.de", "-o", "no", "--identical", "--alignments", name]) == 2
        assert message in capsys.readouterr().err
        assert not list(Path().glob("no.*"))


def test_the_least_probable_are_those_of_force_decode(capsys: pytest.CaptureFixture[str]) -> None:
    save(Path("b"), joint=False)
    sides = [[" ".join(WORDS[(i * k) % len(WORDS)] for k in (1, 3, step)) for i in range(1, 15)] for step in (2, 5)]
    sides[1] = [f"red {text}" for text in sides[1]]
    for end, side in zip(("en", "de"), sides, strict=True):
        Path(f"s.{end}").write_text("".join(f"{line}\n" for line in ["same", *side]), encoding="utf-8")
    options = ["--identical", "--score", "b", "--quantile", "0.25", "--batch-size", "1", "--format", "json"]
    assert main(["filter", "s.en", "s.de", "-o", "ok", *options]) == 0
    pairs = list(zip(*sides, strict=True))
    scores = [forced.mean_log_prob for forced in ForcedDecoder.load("b").score(pairs, batch_size=1)]
    least = sorted(scores)[3]
    assert list(zip(lines("ok.en"), lines("ok.de"), strict=True)) == [
        pair for pair, score in zip(pairs, scores, strict=True) if score >= least
    ]
    assert json.loads(capsys.readouterr().out)["rejected"] == {"identical": 1, "score": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["t.en", "t.de", "-o", "ok"], "nothing to filter by"),
        (["t.en", "none.de", "-o", "ok", "--identical"], "none.de: no such file"),
        (["t.en", "t.de", "-o", "t", "--identical"], "is the input as well"),
        (["t.en", "t.de", "-o", "ok", "--score", "b"], "belong together"),
        (["t.en", "t.de", "-o", "ok", "--score", "b", "--quantile", "1"], "--quantile 1"),
        (["t.en", "t.de", "-o", "ok", "--identical", "--tag", "<fr>"], "is for --score BUNDLE"),
        (["t.en", "t.de", "-o", "ok", "--ratio", "0.5"], "--ratio 0.5"),
        (["t.en", "t.de", "-o", "ok", "--identical", "--rejected", "ok.de"], "is an output as well"),
        (["t.en", "t.de", "-o", "ok", "--length", "50:"], "all 7 pairs are left out (7 by --length)"),
        (["t.en", "short.de", "-o", "ok", "--identical"], "short.de:2: ends after 1 lines"),
    ],
)
def test_what_is_refused_leaves_nothing(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("short.de").write_text("x\n")
    assert main(["filter", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("ok.en").exists()
    assert not Path("ok.de").exists()


def test_a_span_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "t.en", "t.de", "-o", "ok", "--length", "9"]) == 2
    assert "'9' is not MIN:MAX" in capsys.readouterr().err
