"""Scores of text, each with a signature that records how it was computed."""

from seq2seq.scoring.measurement import INTERVALS, SAMPLES, Measurement, Resampling, Score
from seq2seq.scoring.scorer import DEFAULT, NAMES, Scorer, Scores, sentence_bleu

__all__ = [
    "DEFAULT",
    "INTERVALS",
    "NAMES",
    "SAMPLES",
    "Measurement",
    "Resampling",
    "Score",
    "Scorer",
    "Scores",
    "sentence_bleu",
]
