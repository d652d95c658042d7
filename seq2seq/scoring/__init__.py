"""Scores of text, each with a signature that records how it was computed."""

from seq2seq.scoring.measurement import INTERVALS, SAMPLES, Measurement, Resampling, Score
from seq2seq.scoring.scorer import DEFAULT, NAMES, TOKENIZERS, Scorer, Scores, sentence_bleu

__all__ = [
    "DEFAULT",
    "INTERVALS",
    "NAMES",
    "SAMPLES",
    "TOKENIZERS",
    "Measurement",
    "Resampling",
    "Score",
    "Scorer",
    "Scores",
    "sentence_bleu",
]
