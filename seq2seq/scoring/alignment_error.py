"""How well links between words agree with given ones (Och and Ney 2003, "A Systematic Comparison of Various Statistical
Alignment Models", §6).

With A the links of a system, S the sure ones and P ⊇ S the possible ones of people:

    precision = |A ∩ P| / |A|    recall = |A ∩ S| / |S|    AER = 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

Links = Collection[tuple[int, int]]


class AlignmentError(NamedTuple):
    """Sums over sentences: links of the system, sure links, and those of the system that are sure, or possible."""

    system: int = 0
    sure: int = 0
    hit_sure: int = 0
    hit_possible: int = 0

    @property
    def precision(self) -> float:
        """The share of the system's links that are possible; 1 where it has none."""
        return self.hit_possible / self.system if self.system else 1.0

    @property
    def recall(self) -> float:
        """The share of the sure links that the system has; 1 where there are none."""
        return self.hit_sure / self.sure if self.sure else 1.0

    @property
    def aer(self) -> float:
        """The alignment error rate, from 0 (best) to 1."""
        total = self.system + self.sure
        return 1 - (self.hit_sure + self.hit_possible) / total if total else 0.0


def alignment_error(sentences: Iterable[tuple[Links, Links, Links]]) -> AlignmentError:
    """The counts over sentences, each the links of the system, the sure and the possible ones. Sure links are possible,
    whether they are listed as such or not."""
    counts = AlignmentError()
    for system, sure, possible in sentences:
        own, certain = set(system), set(sure)
        added = (len(own), len(certain), len(own & certain), len(own & (certain | set(possible))))
        counts = AlignmentError(*map(sum, zip(counts, added, strict=True)))
    return counts
