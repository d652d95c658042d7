"""Statistics of the embedded corpus as Markdown for data/README.md: `python -m
seq2seq.corpora.datasets.grammar_card`."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from seq2seq.corpora.datasets.grammar import Example, Grammar, checksum

SPLITS = ("train", "val", "test")
SPANS = ((3, 5), (6, 8), (9, 11), (12, 14), (15, 17), (18, 20), (21, 25), (26, 30))


def statistics(splits: Mapping[str, Sequence[Example]], seed: int) -> str:
    """Sizes, lengths, vocabulary, kinds of sentence, phenomena, examples and checksum of a sampled corpus."""
    examples = [example for split in SPLITS for example in splits[split]]
    pairs = {split: [(example.source, example.target) for example in splits[split]] for split in SPLITS}
    patterns = Counter(example.pattern for example in examples)
    shown = Counter(phenomenon for example in examples for phenomenon in example.shows)
    return "\n\n".join(
        [
            f"Seed {seed}; SHA-256 of the six files, one after the other: `{checksum(pairs)}`.",
            _sizes(pairs),
            _lengths(pairs),
            _table(
                ["kind of sentence", "share", "example"], _shares(patterns, examples, {e.pattern: e for e in examples})
            ),
            _table(["phenomenon", "share of the sentences"], _shares(shown, examples)),
        ]
    )


def words(sentence: str) -> list[str]:
    """The words of a sentence, without its punctuation."""
    return re.findall(r"[\w'-]+", sentence)


def _sizes(pairs: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    rows = [[split, f"{len(pairs[split]):,}"] for split in SPLITS]
    for side in (0, 1):
        texts = {split: [word for pair in pairs[split] for word in words(pair[side])] for split in SPLITS}
        for row, split in zip(rows, SPLITS, strict=True):
            unseen = set(texts[split]) - set(texts["train"])
            row += [f"{len(texts[split]):,}", f"{len(set(texts[split])):,}", str(len(unseen))]
    columns = [f"{language} {what}" for language in ("English", "German") for what in ("words", "vocabulary", "unseen")]
    return _table(["split", "pairs", *columns], rows)


def _lengths(pairs: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    lengths = [[len(pair[side].split()) for split in SPLITS for pair in pairs[split]] for side in (0, 1)]
    rows = [
        [f"{low} to {high}", *(f"{sum(low <= n <= high for n in side) / len(side):.1%}" for side in lengths)]
        for low, high in SPANS
    ]
    means = ", ".join(
        f"{language} {sum(side) / len(side):.1f} on average ({min(side)} to {max(side)})"
        for language, side in zip(("English", "German"), lengths, strict=True)
    )
    return f"Words a sentence: {means}.\n\n" + _table(["words", "English", "German"], rows)


def _shares(
    counts: Counter[str], examples: Sequence[Example], shown: Mapping[str, Example] | None = None
) -> list[list[str]]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [[name, f"{count / len(examples):.1%}"] for name, count in ranked]
    return [[*row, f"{shown[row[0]].source}<br>{shown[row[0]].target}"] for row in rows] if shown else rows


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the statistics of a grammar."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--grammar", type=Path, help="another grammar than the project's own")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(statistics(Grammar(arguments.grammar).examples(arguments.seed), arguments.seed))


if __name__ == "__main__":
    main()
