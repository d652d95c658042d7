"""The same texts as on the CPU: greedy search, a beam, and samples, whatever the batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import COPIED, SMALL, TRANSLATION, build, composed, exact, tokens
from seq2seq.inference.graphed_step import GraphedStep
from seq2seq.inference.stepper import Stepper, translate_ids
from seq2seq.nn.types import Tokens, map_tensors
from seq2seq.search import SearchOptions, Sentences
from seq2seq.text.vocabulary import BOS, EOS, PAD


def texts(setting: Setting, cases: Cases) -> None:
    """Greedy search, a beam of 5, and samples by seed: the same tokens as on the CPU, whatever the batch."""
    presets = ("default",) if setting.quick else ("bahdanau2015", "default", "luong2015", "sutskever2014", "cho2014")
    for preset in presets:
        overrides = [f"model={preset}", *SMALL, *TRANSLATION, *COPIED.get(preset, ())]
        cases.run(f"{preset} float32", _searched, setting, overrides, torch.float32)
        if preset in ("default", "bahdanau2015"):
            cases.run(f"{preset} float64", _searched, setting, overrides, torch.float64)


SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"beam_size": 1},
    "beam 5": {"beam_size": 5},
    "samples": {"sample": True, "seed": 7},
}


def _searched(setting: Setting, overrides: Sequence[str], dtype: torch.dtype) -> dict[str, Any]:
    """How many of the sentences differ, by search and batch size; 256 sentences, one by one only some of them."""
    torch.manual_seed(0)
    model = build("translation", composed(*overrides)).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that it has opinions, as a trained one
    count = 8 if setting.quick else 256
    generator = torch.Generator().manual_seed(3)
    source = Tokens(*tokens(count, generator))
    on_device = copy.deepcopy(model).to(setting.device)
    found: dict[str, Any] = {"ok": True}
    plain = Stepper(on_device)
    graphed = GraphedStep(plain)
    for name, options in SEARCHES.items():
        chosen = SearchOptions(BOS, EOS, PAD, max_length_ratio=1.0, max_length_extra=3, **options)
        wanted = _outputs(model, source, chosen, count, "cpu", Stepper(model))
        different = {}
        for size, step in ((1, plain), (7, plain), (64, plain), (256, plain), (1, graphed), (64, graphed)):
            some = min(count, {1: 24, 7: 140}.get(size, count))
            with exact():
                part = map_tensors(lambda x: x[:some], source)  # noqa: B023
                got = _outputs(on_device, part, chosen, size, setting.device, step)
            label = f"{size}{', graphs' * (step is graphed)}"
            different[label] = sum(one != other for one, other in zip(got, wanted, strict=False))
        found[name] = different
        found["ok"] = found["ok"] and not any(different.values())
    return found


def _outputs(model: Any, source: Tokens, options: Any, size: int, device: str, step: Any) -> list[list[int]]:
    found: list[list[int]] = []
    for start in range(0, len(source.ids), size):
        part = map_tensors(lambda x: x[start : start + size].to(device), source)  # noqa: B023
        numbers = range(start, start + len(part.ids))
        best = translate_ids(model, part, options, step, Sentences(numbers=numbers))
        found += [list(each[0].tokens) for each in best]
    return found
