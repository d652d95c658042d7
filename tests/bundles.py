"""A bundle of a small random model, for the tests that need one on disk."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from seq2seq.bundle.format import save_bundle
from seq2seq.models import EncoderDecoder, factory
from seq2seq.text import Tokenizer, Tokenizers, WhitespaceTokenizer
from tests.conftest import model_config

WORDS = ["a", "man", "woman", "dog", "sleeps", "runs", "sees", "the", "red", "old", "small", "house", "in", "and"]
SEARCH = {"beam_size": 3, "length_penalty": 0.6}


def tokenizers(*, joint: bool = True) -> Tokenizers:
    source = WhitespaceTokenizer(WORDS)
    return Tokenizers(source, source if joint else WhitespaceTokenizer([*WORDS, "und"]), joint)


def save(
    folder: Path,
    *,
    joint: bool = True,
    seed: int = 0,
    spread: float = 4,
    provenance: dict[str, Any] | None = None,
    tokenizer: Tokenizer | None = None,
    search: dict[str, Any] | None = None,
    **changes: Any,
) -> EncoderDecoder:
    """Write a bundle; `spread` scales the weights, so that the model has opinions. `changes` are model_config's."""
    torch.manual_seed(seed)
    config = model_config(**changes)
    both = Tokenizers(tokenizer, tokenizer, joint=True) if tokenizer else tokenizers(joint=joint)
    sizes = {"source": len(both.source), "target": len(both.target)}
    model = factory.encoder_decoder(config, sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(spread)
    metrics = {"test": {"BLEU": {"value": 12.5, "signature": "nrefs:1"}}, "loss": float("nan")}
    save_bundle(
        folder,
        task="translation",
        model=model,
        config=config,
        sizes=sizes,
        tokenizers=both,
        metrics=metrics,
        search=SEARCH | (search or {}),
        card="# A card\n",
        provenance={"seed": seed} | (provenance or {}),
    )
    return model.eval()


def edit(folder: Path, name: str, content: bytes) -> None:
    """Change a file, and its checksum with it, as one would who wants the change to pass."""
    (folder / name).write_bytes(content)
    checksums = json.loads((folder / "checksums.json").read_text())
    checksums[name] = hashlib.sha256(content).hexdigest()
    (folder / "checksums.json").write_text(json.dumps(checksums))
