"""A table of a test's scores by part of speech and tag, where sources have tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seq2seq.reporting.forms import breakdowns, rows
from seq2seq.runtime.atomic_files import write_lines
from seq2seq.text import Tokenizer, columns_of


def write_table(
    split: str,
    texts: tuple[Sequence[str], Sequence[str], Sequence[str]],
    tokenizer: Tokenizer,
    metrics: Sequence[str],
    folder: Path,
) -> list[str]:
    """Write SPLIT.by_tag.tsv into `folder`, of the `texts` sources, references and outputs; returns the scores by part
    of speech as lines to print. Nothing where sources have no tags."""
    sources, references, outputs = texts
    columns = columns_of(tokenizer)
    scored = breakdowns(sources, {split: outputs}, references, columns, metrics) if columns else []
    if not scored:
        return []
    tables = [list(rows(breakdown)) for breakdown in scored]
    lines = [["kind", "value", *tables[0][0][1:]]]
    lines += [[table[0][0], *row] for table in tables for row in table[1:]]
    write_lines(["\t".join(cells) for cells in lines], folder / f"{split}.by_tag.tsv")
    widths = [max(map(len, column)) for column in zip(*tables[0], strict=True)]
    aligned = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in tables[0]]
    return [f"{split}: {line.rstrip()}" for line in aligned]
