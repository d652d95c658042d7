"""Scores of text, each with the signature that says how it was computed."""

from seq2seq.scoring.scorer import DEFAULT, ERROR_RATES, NAMES, Score, Scorer, Scores, sentence_bleu

__all__ = ["DEFAULT", "ERROR_RATES", "NAMES", "Score", "Scorer", "Scores", "sentence_bleu"]
