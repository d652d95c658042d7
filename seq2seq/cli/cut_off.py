"""Outputs that the search's length limit ended: counted while a file is written, and reported when it is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence


class CutOff:
    """Counts outputs, and those that the limit cut off; `option` is what allows longer ones."""

    def __init__(self, option: str = "--max-length N") -> None:
        self.option = option
        self.outputs, self.cut = 0, 0
        self.first: int | None = None

    def add(self, outputs: int, cut: Sequence[int]) -> None:
        """Count so many outputs; `cut` are the numbers, from 0, of those that were cut off."""
        self.outputs, self.cut = self.outputs + outputs, self.cut + len(cut)
        self.first = min([*cut, *([] if self.first is None else [self.first])], default=None)

    def report(self) -> None:
        """Print one line on standard error, where any was cut off."""
        if self.first is not None:
            print(
                f"seq2seq: warning: {self.cut:,} of {self.outputs:,} outputs were cut off at the search's length "
                f"limit, the first of them in line {self.first + 1:,}; {self.option} lets them be longer",
                file=sys.stderr,
            )
