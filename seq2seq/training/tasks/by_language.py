"""Scores by tag and language pair, where there are several: metrics of a validation, and a table of the tests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.corpora import Corpus
from seq2seq.corpora.entries import Part
from seq2seq.corpora.tags import Divided
from seq2seq.inference.request import TaggedRequest
from seq2seq.runtime.atomic_files import write_lines
from seq2seq.scoring import NAMES, Scorer

TABLE = "by_language.tsv"


class Group(NamedTuple):
    """The pairs of a split that have a tag, or else a pair of languages, in common."""

    rows: list[int]
    language: str  # of the references


def label(part: Part, corpus: Corpus) -> str:
    """The word that a part is called by: its tag, else its languages; letters and digits, as metrics are named."""
    source, target = languages(part, corpus)
    return re.sub(r"\W+", "", part.tag or "") or f"{source}_{target}"


def languages(part: Part, corpus: Corpus) -> tuple[str, str]:
    """Source and target language of a part: its own, or the corpus's."""
    return part.source_language or corpus.source_language, part.target_language or corpus.target_language


def groups(divided: Divided, corpus: Corpus) -> dict[str, Group]:
    """The groups of a split by their labels; none where all pairs would be in one."""
    rows: dict[str, Group] = {}
    for part, begin, end in zip(divided.parts, divided.bounds, divided.bounds[1:], strict=False):
        group = rows.setdefault(label(part, corpus), Group([], languages(part, corpus)[1]))
        group.rows.extend(range(begin, end))
    return rows if len(rows) > 1 else {}


def scores(
    groups: Mapping[str, Group], texts: Mapping[int, str], references: Sequence[str], metrics: Sequence[str]
) -> dict[str, float]:
    """The scores of each group by the names under which a validation logs them; `texts` are outputs by their rows."""
    by_name: dict[str, float] = {}
    for name, group in groups.items():
        if rows := [i for i in group.rows if i in texts]:
            scored = Scorer(metrics, language=group.language)([texts[i] for i in rows], [references[i] for i in rows])
            by_name |= {f"val_{metric}_{name}": scored[NAMES[metric]].value for metric in metrics}
    return by_name


def language_of(divided: Divided, corpus: Corpus) -> str:
    """The language of a split's references: that of its parts where they agree, else the corpus's."""
    own = {languages(part, corpus)[1] for part in divided.parts}
    return own.pop() if len(own) == 1 else corpus.target_language


def tagged(sources: Sequence[str], divided: Divided) -> list[TaggedRequest]:
    """The sources of a split with the tags of their entries."""
    return [TaggedRequest(source, tag=tag) for source, tag in zip(sources, divided.tags(), strict=True)]


def write_table(
    parts: Mapping[str, Sequence[Part]], tests: Mapping[str, Mapping[str, Any]], corpus: Corpus, folder: Path
) -> list[str]:
    """A table of the tests by language pair, in `folder` and as lines to print; none where there is one pair only."""
    rows = [
        (split, *languages(part, corpus), part.tag or "")
        for split, split_parts in parts.items()
        for part in split_parts[:1]
    ]
    if len({row[1:] for row in rows}) < 2:
        return []
    names = list(dict.fromkeys(name for split in parts for name in tests[split]))
    table = [["test", "source", "target", "tag", *names]]
    for row in rows:
        scores = tests[row[0]]
        table.append([*row, *(f"{scores[name]['value']:.2f}" if name in scores else "" for name in names)])
    write_lines(["\t".join(cells) for cells in table], folder / TABLE)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in table]
