"""Pictures and tables of what was learned: curves, BLEU by length, attention, leaderboards."""
