"""Small taggers, classifiers and language models, built from the YAML files, batches and bundles of them."""

from pathlib import Path
from typing import Any

import torch

from seq2seq.bundle.format import save_bundle
from seq2seq.models import factory
from seq2seq.nn.types import Tokens
from seq2seq.text import LabelTokenizer, SpellingTokenizer, Tokenizer, Tokenizers, WhitespaceTokenizer
from tests.conftest import node

SIZE = 9  # labels
SENTENCES = ["the Cat sees a dog", "dog", "a zebra ÄTE the-Cat 中文 x", "a dog a dog"]
WORDS = WhitespaceTokenizer(["the", "a", "cat", "dog", "sees"], lowercase=True)
SPELT = SpellingTokenizer(WORDS)


def config(
    cell: str = "gru", head: str = "linear", context: str = "fixed", *, many: bool = False, **changes: Any
) -> dict[str, Any]:
    """The nodes of both tasks; `changes` are made to one of them each, e.g. `encoder={"num_layers": 2}`."""
    size = {"maxout": {"size": 6}}.get(head, {})
    found: dict[str, Any] = {
        "embedding": {"size": 6, "dropout": 0.1, "share": False, "characters": None},
        "encoder": node("encoder", "recurrent", hidden_size=5, cell=node("cell", cell)),
        "context": node("context", context),
        "head": node("head", head, **size),
        "labels": {"many": many},
    }
    for name, change in changes.items():
        found[name] = found[name] | change
    return found


def make(task: str, *arguments: Any, **changes: Any) -> Any:
    """A model in eval mode, for SIZE labels and the vocabulary of SPELT, or of WORDS without characters."""
    nodes = config(*arguments, **changes)
    source = len(SPELT) if nodes["embedding"]["characters"] else len(WORDS)
    return factory.model(task, nodes, {"source": source, "target": SIZE + 4}).eval()


def tokens(texts: list[str], *, spelt: bool, end: tuple[int, ...] = ()) -> Tokens:
    """A padded batch, whose padding is noise: nothing may depend on it."""
    rows = [[*(SPELT if spelt else WORDS).encode(text), *end] for text in texts]
    ids = torch.randint(0, 9, (len(rows), max(map(len, rows)) + 2))
    for row, found in zip(ids, rows):
        row[: len(found)] = torch.tensor(found, dtype=torch.long)
    return Tokens(ids, torch.tensor([len(row) for row in rows]))


CHARACTERS = {"size": 4, "hidden_size": 3}


def save_labelling(folder: Path, task: str) -> None:
    """A bundle of a small random tagger or classifier."""
    names = LabelTokenizer([f"l{i}" for i in range(SIZE)], "one")
    _save(folder, task, make(task), config(), Tokenizers(WORDS, names, joint=False))


def save_language_model(folder: Path, tokenizer: Tokenizer) -> None:
    """A bundle of a small random language model."""
    stack = node("encoder", "stack", hidden_size=5, cell=node("cell", "gru"))
    nodes = {"embedding": {"size": 6, "dropout": 0.0}, "encoder": stack, "head": node("head", "linear")}
    model = factory.language_model(nodes, {"target": len(tokenizer)})
    _save(folder, "language_modeling", model, nodes, Tokenizers(tokenizer, tokenizer, joint=True))


def _save(folder: Path, task: str, model: torch.nn.Module, nodes: dict[str, Any], tokenizers: Tokenizers) -> None:
    sides = ("target",) if task == "language_modeling" else ("source", "target")
    sizes = {side: len(getattr(tokenizers, side)) for side in sides}
    texts: dict[str, Any] = {"metrics": {}, "search": {}, "card": "", "provenance": {}}
    save_bundle(folder, task=task, model=model, config=nodes, sizes=sizes, tokenizers=tokenizers, **texts)
