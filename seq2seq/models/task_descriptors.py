"""The tasks, one descriptor each: all that other rooms need to know of a task, so that none compares names.

A new task is a descriptor in `TASKS`, a builder of its model, and a `Task` in seq2seq/training/tasks/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any, Literal, NamedTuple

from seq2seq.errors import UserError


class TaskDescriptor(NamedTuple):
    """What a task is made of and how it is used. Classes and functions are names, imported when they are needed."""

    name: str
    nodes: tuple[str, ...]
    """The nodes of the configuration that make the model; a bundle keeps them."""
    builder: str
    """The function (module:name) that makes the model of configuration, sizes and trusted packages."""
    training: str
    """The class (module:name) of its `Task`."""
    command: str
    """The subcommand that uses a bundle of this task."""
    source: Literal["text", "features"] | None
    """What the model reads in addition to what it writes."""
    trial_sizes: Mapping[str, int]
    """Vocabulary sizes of a model that is only built to check a configuration."""
    val_metric: str
    """The logged metric that chooses the best model where `monitor` is auto."""
    test_metric: str
    """The first score of a test."""
    output: str
    """A run writes its output of a test split to SPLIT.{output}.txt."""
    embeddings: Mapping[str, str]
    """Where the model has the table of vectors of a side; labels have no vectors."""
    optional: tuple[str, ...] = ()
    """Nodes that make the model where a configuration has them."""
    groups: tuple[str, ...] = ("tokenizer",)
    """Groups of the configuration that this task reads in addition to its nodes and to those of every task."""
    label_unit: Literal["word", "text"] | None = None
    """What each label is for; None where the output is text."""
    exported: bool = False
    """Whether `seq2seq export` writes its models as ONNX networks."""

    def model_nodes(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The nodes of a configuration that make the model."""
        return {name: config[name] for name in (*self.nodes, *(each for each in self.optional if config.get(each)))}

    def build(self, config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str]) -> Any:
        """Make the model; see `factory.model`."""
        return resolve_name(self.builder)(config, sizes, trusted)


TEXT = ("embedding", "encoder", "bridge", "context", "decoder", "head")
BYTES_OF_WORDS = 300
"""A source vocabulary with room for the bytes that words are spelled with."""

TASKS = {
    each.name: each
    for each in (
        TaskDescriptor(
            name="translation",
            nodes=TEXT,
            builder="seq2seq.models.factory:encoder_decoder",
            training="seq2seq.training.tasks.translation:Translation",
            command="translate-file",
            source="text",
            trial_sizes={"source": 8, "target": 8},
            val_metric="val_bleu",
            test_metric="BLEU",
            output="translations",
            embeddings={"source": "source_embedding", "target": "target_embedding"},
            optional=("extra_encoders",),
            groups=("tokenizer", "search"),
            exported=True,
        ),
        TaskDescriptor(
            name="tagging",
            nodes=("embedding", "encoder", "head", "labels"),
            builder="seq2seq.models.factory:tagger",
            training="seq2seq.training.tasks.tagging:Tagging",
            command="predict-file",
            source="text",
            trial_sizes={"source": BYTES_OF_WORDS, "target": 8},
            val_metric="val_f1",
            test_metric="F1",
            output="labels",
            embeddings={"source": "embedding.table"},
            label_unit="word",
        ),
        TaskDescriptor(
            name="classification",
            nodes=("embedding", "encoder", "context", "head", "labels"),
            builder="seq2seq.models.factory:classifier",
            training="seq2seq.training.tasks.classification:Classification",
            command="predict-file",
            source="text",
            trial_sizes={"source": BYTES_OF_WORDS, "target": 8},
            val_metric="val_accuracy",
            test_metric="F1",
            output="labels",
            embeddings={"source": "embedding.table"},
            label_unit="text",
        ),
        TaskDescriptor(
            name="regression",
            nodes=("encoder", "context", "head"),
            builder="seq2seq.models.factory:regressor",
            training="seq2seq.training.tasks.regression:Regression",
            command="predict-file",
            source="features",
            trial_sizes={"features": 8, "outputs": 1},
            val_metric="val_loss",
            test_metric="MSE",
            output="numbers",
            embeddings={},
        ),
        TaskDescriptor(
            name="captioning",
            nodes=TEXT,
            builder="seq2seq.models.factory:encoder_decoder",
            training="seq2seq.training.tasks.captioning:Captioning",
            command="predict-file",
            source="features",
            trial_sizes={"features": 8, "target": 8},
            val_metric="val_bleu",
            test_metric="BLEU",
            output="captions",
            embeddings={"target": "target_embedding"},
            groups=("tokenizer", "search"),
        ),
        TaskDescriptor(
            name="language_modeling",
            nodes=("embedding", "encoder", "head"),
            builder="seq2seq.models.factory:language_model",
            training="seq2seq.training.tasks.language_modeling:LanguageModeling",
            command="sample",
            source=None,
            trial_sizes={"source": 8, "target": 8},
            val_metric="val_loss",
            test_metric="bits per character",
            output="lines",
            embeddings={"target": "embedding"},
        ),
    )
}
LABELLING = tuple(name for name, each in TASKS.items() if each.label_unit)
"""The tasks whose output is labels."""


def find_descriptor(name: object) -> TaskDescriptor:
    """The descriptor of `task.name`. Raises `UserError` for an unknown name."""
    if not isinstance(name, str) or name not in TASKS:
        raise UserError(f"task.name={name!r}: there is no such task; use one of {', '.join(TASKS)}")
    return TASKS[name]
