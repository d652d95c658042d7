"""A bundle of a small random captioner, for the tests that need one on disk."""

from pathlib import Path

import torch

from seq2seq.bundle.format import save_bundle
from seq2seq.models import factory
from tests.bundles import SEARCH, tokenizers
from tests.conftest import model_config

WIDTH = 4  # numbers of a row


def save(folder: Path) -> None:
    """Write the bundle; its weights are scaled, so that captions differ."""
    torch.manual_seed(0)
    both = tokenizers()
    config, sizes = model_config(), {"features": WIDTH, "target": len(both.target)}
    model = factory.encoder_decoder(config, sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    texts = {"metrics": {}, "card": "", "provenance": {}, "search": SEARCH}
    save_bundle(folder, task="captioning", model=model, config=config, sizes=sizes, tokenizers=both, **texts)
