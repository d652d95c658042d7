"""Spans that a translation keeps: are they there exactly once, and what does it cost elsewhere?

    python experiments/protection/run.py MULTI30K BUNDLE [--before BUNDLE] [--ensemble BUNDLE] [--lines 1000] [--seed 1]

inserts 0 to 5 spans into the lines of test_2016_flickr, at random between words: placeholders, markup, addresses, in
one line of twenty one of them twice; one line of fifty is emptied, one is a span alone. Each line is translated by
`seq2seq translate-file --protect` with a beam of 1 and of 5, with workers, by an ensemble, and as samples. The multiset
of the spans of each line must be that of its translation. BLEU is of the lines that have text: of the plain ones, and
of those with spans, which are taken out of the translation again, with the p-value of a paired bootstrap test.
"""

from __future__ import annotations

import gzip
import random
import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from machine import write_results  # noqa: E402
from readme import fill  # noqa: E402
from study import RUNS, table  # noqa: E402

PATTERN = r"\{\{.*?\}\}|<[^>]+>|https?://\S+"
NAMES = ("name", "count", "user.first", "Ort", "größe_2", "x")
TAGS = ("<b>", "</b>", "<br/>", '<a href="a.html">', "</a>", "<i>", "</i>")
MOST = 5


class Line(NamedTuple):
    """A line with spans, and whether there is text in it to score."""

    text: str
    scored: bool


def span(drawn: random.Random) -> str:
    """A placeholder, a tag or an address."""
    kind = drawn.randrange(3)
    if kind == 0:
        return f"{{{{{drawn.choice(NAMES)}}}}}"
    return drawn.choice(TAGS) if kind == 1 else f"https://example.org/{drawn.randrange(1000)}?q={drawn.choice(NAMES)}"


def insert(lines: Sequence[str], seed: int) -> list[Line]:
    """The lines with 0 to 5 spans each; of fifty lines one is emptied, one is a span alone."""
    drawn, made = random.Random(seed), []
    for number, line in enumerate(lines):
        words, spans = line.split(" "), [span(drawn) for _ in range(drawn.randrange(MOST + 1))]
        if len(spans) > 1 and drawn.random() < 0.1:
            spans[1] = spans[0]
        for each in spans:
            words.insert(drawn.randrange(len(words) + 1), each)
        alone = {0: "", 1: span(drawn)}.get(number % 50)
        made.append(Line(" ".join(words), True) if alone is None else Line(alone, False))
    return made


def spans_of(text: str) -> Counter[str]:
    """The spans of a line with their counts."""
    return Counter(re.findall(PATTERN, text))


def without(text: str) -> str:
    """A line without its spans."""
    return re.sub(" +", " ", re.sub(PATTERN, " ", text)).strip()


def translate(bundle: Path, source: Path, output: Path, *options: str) -> list[str]:
    """The lines of a translation by the command, which is printed."""
    from seq2seq.cli.main import main as command

    words = ["translate-file", str(bundle), str(source), str(output), "--threads", "1", *options]
    print("seq2seq", shlex.join(words), flush=True)
    if command(words):
        raise SystemExit(f"{output}: was not translated")
    return output.read_bytes().decode("utf-8").split("\n")[:-1]  # a sample may have other line ends


def settings(arguments: Namespace) -> dict[str, list[str]]:
    """The options of each row of the table."""
    rows = {
        "beam 1": ["--beam-size", "1"],
        "beam 5": ["--beam-size", "5"],
        "beam 5, 2 workers": ["--beam-size", "5", "--workers", "2"],
        "a sample": ["--sample", "--seed", str(arguments.seed)],
        "MBR of 8 samples": ["--mbr", "8", "--seed", str(arguments.seed)],
    }
    if arguments.ensemble:
        rows["ensemble, beam 5"] = ["--beam-size", "5", "--ensemble", str(arguments.ensemble)]
    return rows


def compare(plain: Sequence[str], kept: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """BLEU of both, and the p-value of their difference."""
    from seq2seq.scoring import Scorer
    from seq2seq.scoring.measurement import SAMPLES, Resampling

    one, other = (Scorer(("bleu",)).measure(lines, references)[0] for lines in (plain, kept))
    tested = Resampling(test="bs", trials=SAMPLES["bs"])
    return {"plain": one.score().as_dict(), "kept": other.score(tested, one).as_dict()}


def main() -> None:
    """Translate, check, score, print the table and put it into the page."""
    parser = ArgumentParser(description="Spans that a translation keeps.")
    parser.add_argument("multi30k", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--before", type=Path, help="the bundle from which BUNDLE was fine-tuned, without symbols")
    parser.add_argument("--ensemble", type=Path)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="into results.json and README.md of this folder")
    arguments = parser.parse_args()
    folder = RUNS / "protection"
    folder.mkdir(parents=True, exist_ok=True)
    sources, references = (_read(arguments, language) for language in ("en", "de"))
    lines = insert(sources, arguments.seed)
    for name, texts in (("plain", sources), ("spans", [line.text for line in lines])):
        (folder / f"{name}.en").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="\n")
    results = {}
    scored = [i for i, line in enumerate(lines) if line.scored]
    for name, options in settings(arguments).items():
        kept = translate(arguments.bundle, folder / "spans.en", folder / "kept.de", "--protect", PATTERN, *options)
        plain = translate(arguments.bundle, folder / "plain.en", folder / "plain.de", *options)
        wrong = sum(spans_of(a.text) != spans_of(b) for a, b in zip(lines, kept, strict=True))
        texts = [[plain[i] for i in scored], [without(kept[i]) for i in scored], [references[i] for i in scored]]
        results[name] = {"lines": len(lines), "wrong": wrong, **compare(*texts)}
    if arguments.before:
        before = translate(arguments.before, folder / "plain.en", folder / "before.de", "--beam-size", "5")
        texts = [[before[i] for i in scored], [before[i] for i in scored], [references[i] for i in scored]]
        results["before"] = compare(*texts)
    total = sum((spans_of(line.text) for line in lines), Counter()).total()
    print(f"{len(lines)} lines, {total} spans, {len(scored)} lines scored; {results['beam 5']['plain']['signature']}")
    made = _table(results)
    print(made)
    if arguments.write:
        write_results(HERE / "results.json", results, indent=1)
        fill(HERE / "README.md", {"results": made})


def _table(results: dict[str, Any]) -> str:
    rows = []
    for name, each in results.items():
        if name == "before":
            rows.append(["beam 5, before symbols were learnt", "", f"{each['plain']['value']:.1f}", "", ""])
            continue
        plain, kept = each["plain"], each["kept"]
        p = kept.get("p_value")
        rows.append(
            [name, f"{each['wrong']} of {each['lines']}", f"{plain['value']:.1f}", f"{kept['value']:.1f}", f"{p:.2f}"]
        )
    return table(["", "lines with other spans", "BLEU, plain lines", "BLEU, lines with spans", "p"], rows)


def _read(arguments: Namespace, language: str) -> list[str]:
    path = arguments.multi30k / f"test_2016_flickr.{language}.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().split("\n")[: arguments.lines]


if __name__ == "__main__":
    main()
