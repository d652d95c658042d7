"""Figures and tables of runs: learning curves, BLEU by length, attention, leaderboards, reports."""
