"""What a command imports and sets up before it trains, done once in a process whose forks train (see forks.py)."""

import gc
from importlib import import_module

import pytest
from hydra import compose

from experiments.reliability import kill
from seq2seq.cli.composing.configurations import composed, composing
from tests.composing_quickly import composing_quickly
from tests.quick_runs import make_quick

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
make_quick(pytest.MonkeyPatch())
composing_quickly(pytest.MonkeyPatch())
with composing():
    composed([])  # Hydra looks for its plugins, and the parsers of overrides and interpolations learn their grammars
    for job in kill.JOBS.values():
        compose("train", overrides=[*job, *kill.SMALL])
gc.freeze()  # a collection in a fork would write to, and so copy, every page that holds an object
