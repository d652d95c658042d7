"""Scores of labels, each with a signature in the style of sacreBLEU's: F1 of entities or labels, and accuracy.

Labels are scored as text: the labels of one sentence (or text) a line, in the format of `LabelTokenizer.split`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

import numpy as np

from seq2seq.errors import UserError
from seq2seq.scoring import Measurement, Resampling, Scores
from seq2seq.scoring.measurement import NO_RESAMPLING, f1, share
from seq2seq.text import LabelTokenizer
from seq2seq.text.label_tokenizer import is_entity_tag

BIOES = {"L": "E", "U": "S", "W": "S", "M": "I"}
"""The letters of BILOU, BMES and BMEWO that differ from BIOES, and those of BIOES."""

Sets = list[list[list[str]]]
"""The labels of each word (or of the text) of each line."""


class LabelScorer:
    """Computes F1 and accuracy in percent.

    With `entities`, and if all labels are entity tags, F1 is over entities, compared by type and both borders, as in
    seqeval's default mode, which agrees with conlleval and reads IOB1, IOB2 and BIOES tags; BILOU, BMES and BMEWO are
    converted to BIOES. Otherwise (for part-of-speech tags, say) it is micro-F1 over the labels of all words or texts,
    without the label `none`. Accuracy is the share of words or texts (`unit`) with exactly the labels of the reference.
    """

    def __init__(self, labels: LabelTokenizer, *, entities: bool = False, unit: str = "word") -> None:
        if entities and labels.form != "one":
            raise UserError("task.entities=true needs one IOB2 tag a word; set it to false, or labels.many=false")
        self.entities = entities and all(map(is_entity_tag, labels.labels))
        self.labels, self.unit = labels, unit

    def __call__(
        self, hypotheses: Sequence[str], references: Sequence[str], draws: Resampling = NO_RESAMPLING
    ) -> Scores:
        """Score lines against references. Raises `UserError` if the numbers of lines, or of a line's words, differ."""
        if len(hypotheses) != len(references):
            raise UserError(f"scoring: {len(hypotheses)} hypotheses but {len(references)} references")
        predicted, expected = ([self.labels.split(line) for line in lines] for lines in (hypotheses, references))
        for number, (one, other) in enumerate(zip(predicted, expected, strict=True), 1):
            if len(one) != len(other):
                raise UserError(f"scoring: line {number} has {len(one)} words, but {len(other)} in the reference")
        f1_of = entity_f1 if self.entities else partial(micro_f1, none=self.labels.none)
        measured = f1_of(predicted, expected), accuracy(predicted, expected, self.unit)
        return Scores({each.name: each.score(draws) for each in measured})


def entity_f1(hypotheses: Sets, references: Sets) -> Measurement:
    """Micro-F1 of entities (Tjong Kim Sang & De Meulder 2003); 0 if neither side has one."""
    predicted, expected = (
        [set(spans([tag for (tag,) in line])) for line in lines] for lines in (hypotheses, references)
    )
    counted = [(len(one & other), len(one), len(other)) for one, other in zip(predicted, expected, strict=True)]
    signature = f"nrefs:1|average:micro|of:entities|mode:conlleval|seqeval:{version('seqeval')}"
    return Measurement("F1", signature, statistics(counted, 3), f1)


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The entities of a sentence: type, first and last word."""
    from seqeval.metrics.sequence_labeling import get_entities

    entities: list[tuple[str, int, int]] = get_entities([BIOES.get(tag[:1], tag[:1]) + tag[1:] for tag in tags])
    return entities


def micro_f1(hypotheses: Sets, references: Sets, none: str = "") -> Measurement:
    """Micro-F1, 2·correct / (predicted + expected), of the labels of all words or texts; 0 if neither side has one."""
    counted = []
    for line, other in zip(hypotheses, references, strict=True):
        words = [(set(one) - {none}, set(expected) - {none}) for one, expected in zip(line, other, strict=True)]
        counts = [(len(one & expected), len(one), len(expected)) for one, expected in words]
        counted.append([sum(count[column] for count in counts) for column in range(3)])
    return Measurement("F1", "nrefs:1|average:micro|of:labels", statistics(counted, 3), f1)


def accuracy(hypotheses: Sets, references: Sets, unit: str) -> Measurement:
    """The share of words (or texts) with exactly the labels of the reference; 0 if there are none."""
    counted = [
        (sum(set(one) == set(other) for one, other in zip(line, reference, strict=True)), len(line))
        for line, reference in zip(hypotheses, references, strict=True)
    ]
    return Measurement("accuracy", f"nrefs:1|of:{unit}s", statistics(counted, 2), share)


def statistics(lines: Sequence[Sequence[int]], width: int) -> np.ndarray:
    """The counts of each line as an array [n, width]; n may be 0."""
    return np.array(lines, np.float64).reshape(-1, width)
