"""What a command imports and sets up before it trains, done once in a process whose forks train (see forks.py)."""

import gc
from importlib import import_module

from seq2seq.cli.composing.configurations import composed, composing

for name in (
    "joblib",
    "rapidfuzz.distance",
    "sacrebleu",
    "seq2seq.cli.train",
    "seq2seq.training.finish",
    "seq2seq.training.run",
    "seq2seq.training.tasks.captioning",
    "seq2seq.training.tasks.language_modeling",
    "seq2seq.training.tasks.tagging",
    "seq2seq.training.tasks.translation",
    "seq2seq.tuning.study",
):
    import_module(name)
with composing():
    composed([])  # Hydra looks for its plugins, and the parsers of overrides and interpolations learn their grammars
gc.freeze()  # a collection in a fork would write to, and so copy, every page that holds an object
