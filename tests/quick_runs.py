"""Runs without what takes half of a short one and has tests of its own."""

from pathlib import Path
from typing import Any

import pytest

# One grey point.
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000"
    "040001f61738550000000049454e44ae426082"
)
FIGURES = (
    "attention.attention_figure",
    "bars.leaderboard_figure",
    "bars.over_figure",
    "breakdown_pictures.breakdown_figure",
    "curves.learning_curves_figure",
    "label_pictures.confusion_figure",
    "label_pictures.f1_figure",
    "lengths.bleu_by_length_figure",
)
RESAMPLES = 40


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """The pictures are one point, the intervals of scores come from few resamples, and Hydra composes once: it composes
    a second time only to learn of `hydra.mode`, which is not used here."""
    from hydra._internal.hydra import Hydra

    from seq2seq.scoring.measurement import Measurement

    def save(figure: Any, path: Path, **_: Any) -> Path:
        path.write_bytes(PICTURE)
        return path

    interval = Measurement.interval
    for figure in FIGURES:
        patch.setattr(f"seq2seq.reporting.{figure}", lambda *_, **__: None)
    patch.setattr("seq2seq.reporting.style.save", save)
    patch.setattr(Measurement, "interval", lambda self, *_: interval(self, RESAMPLES))
    patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
