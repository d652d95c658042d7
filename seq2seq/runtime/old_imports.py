"""Old names of moved modules, so that users' files that import them still work.

A user's cell may begin with `from seq2seq.cells import Cell`, and bundles may need it. Importing an old name gives the
current module, with a DeprecationWarning. Modules of the command line and of training were never an interface and have
no old names. Class names in configurations are looked up in seq2seq/runtime/old_names.py instead.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULES = {
    "seq2seq.alignment": "seq2seq.inference.alignment",
    "seq2seq.allocation": "seq2seq.runtime.malloc",
    "seq2seq.attention_loop": "seq2seq.nn.contexts.attention_through_time",
    "seq2seq.averaging": "seq2seq.bundle.averaging",
    "seq2seq.bridges": "seq2seq.nn.bridges",
    "seq2seq.build": "seq2seq.models.factory",
    "seq2seq.captioner": "seq2seq.inference.captioner",
    "seq2seq.card": "seq2seq.bundle.model_card",
    "seq2seq.cells": "seq2seq.nn.cells",
    "seq2seq.cells.base": "seq2seq.nn.cells.base",
    "seq2seq.cells.gru": "seq2seq.nn.cells.gru",
    "seq2seq.cells.initialization": "seq2seq.nn.cells.initialization",
    "seq2seq.cells.kernels": "seq2seq.nn.recurrence",
    "seq2seq.cells.layer_norm_gru": "seq2seq.nn.cells.layer_norm_gru",
    "seq2seq.cells.layer_norm_lstm": "seq2seq.nn.cells.layer_norm_lstm",
    "seq2seq.cells.lstm": "seq2seq.nn.cells.lstm",
    "seq2seq.cells.mgu": "seq2seq.nn.cells.mgu",
    "seq2seq.cells.min_gru": "seq2seq.nn.cells.min_gru",
    "seq2seq.cells.min_lstm": "seq2seq.nn.cells.min_lstm",
    "seq2seq.cells.once": "seq2seq.nn.matmul",
    "seq2seq.cells.steps": "seq2seq.nn.cells.cell_gradients",
    "seq2seq.cells.vanilla": "seq2seq.nn.cells.vanilla",
    "seq2seq.contexts": "seq2seq.nn.contexts",
    "seq2seq.contexts.additive": "seq2seq.nn.contexts.additive_attention",
    "seq2seq.contexts.aligned": "seq2seq.nn.contexts.aligned",
    "seq2seq.contexts.base": "seq2seq.nn.contexts.base",
    "seq2seq.contexts.fixed": "seq2seq.nn.contexts.fixed",
    "seq2seq.contexts.multiplicative": "seq2seq.nn.contexts.multiplicative_attention",
    "seq2seq.contexts.steps": "seq2seq.nn.contexts.attention_gradients",
    "seq2seq.decoder": "seq2seq.nn.decoder",
    "seq2seq.decoding": "seq2seq.inference.stepper",
    "seq2seq.embedding": "seq2seq.nn.embedding",
    "seq2seq.encoders": "seq2seq.nn.encoders",
    "seq2seq.encoders.base": "seq2seq.nn.encoders.base",
    "seq2seq.encoders.gnmt": "seq2seq.nn.encoders.gnmt",
    "seq2seq.encoders.image": "seq2seq.nn.encoders.image",
    "seq2seq.encoders.layer": "seq2seq.nn.encoders.layer",
    "seq2seq.encoders.pyramidal": "seq2seq.nn.encoders.pyramidal",
    "seq2seq.encoders.recurrent": "seq2seq.nn.encoders.recurrent",
    "seq2seq.encoders.stack": "seq2seq.nn.encoders.stack",
    "seq2seq.encoders.vector": "seq2seq.nn.encoders.vector",
    "seq2seq.ensemble": "seq2seq.inference.ensemble",
    "seq2seq.equations": "seq2seq.models.equations",
    "seq2seq.exporting": "seq2seq.bundle.onnx",
    "seq2seq.exporting.comparison": "seq2seq.bundle.onnx.comparison",
    "seq2seq.exporting.export": "seq2seq.bundle.onnx.export",
    "seq2seq.exporting.networks": "seq2seq.bundle.onnx.networks",
    "seq2seq.exporting.operators": "seq2seq.bundle.onnx.operators",
    "seq2seq.exporting.scanning": "seq2seq.bundle.onnx.scanning",
    "seq2seq.exporting.translate_onnx": "seq2seq.bundle.onnx.translate_onnx",
    "seq2seq.feedback": "seq2seq.nn.scheduled_sampling",
    "seq2seq.forced": "seq2seq.inference.forced_decoding",
    "seq2seq.heads": "seq2seq.nn.heads",
    "seq2seq.home": "seq2seq.runtime.home",
    "seq2seq.int8": "seq2seq.nn.int8",
    "seq2seq.label_scores": "seq2seq.scoring.label_metrics",
    "seq2seq.locks": "seq2seq.runtime.locks",
    "seq2seq.losses": "seq2seq.nn.losses",
    "seq2seq.minimum_risk": "seq2seq.inference.minimum_risk",
    "seq2seq.notebook": "seq2seq.inference.notebook",
    "seq2seq.paths": "seq2seq.runtime.paths",
    "seq2seq.plain_json": "seq2seq.runtime.strict_json",
    "seq2seq.predictor": "seq2seq.inference.predictor",
    "seq2seq.processes": "seq2seq.runtime.worker_pool",
    "seq2seq.products": "seq2seq.nn.matmul",
    "seq2seq.recurrence": "seq2seq.nn.recurrence",
    "seq2seq.requests": "seq2seq.inference.request",
    "seq2seq.sampler": "seq2seq.inference.text_sampler",
    "seq2seq.secrets": "seq2seq.runtime.redaction",
    "seq2seq.structures": "seq2seq.nn.types",
    "seq2seq.sweep_folders": "seq2seq.reporting.sweep_folders",
    "seq2seq.threads": "seq2seq.runtime.threads",
    "seq2seq.translator": "seq2seq.inference.translator",
    "seq2seq.weights": "seq2seq.bundle.weights",
    "seq2seq.whole": "seq2seq.runtime.atomic_files",
    "seq2seq.words": "seq2seq.nn.character_embedding",
    "seq2seq.world": "seq2seq.runtime.distributed",
}
"""Old names to current names."""


class OldModules(MetaPathFinder, Loader):
    """A finder that imports current modules under their old names."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Iterable[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for a name in MODULES, None for others. Raises `ModuleNotFoundError` for other names below an old
        package, for which Python would load a current file a second time."""
        package = fullname.rpartition(".")[0]
        if fullname not in MODULES and package in MODULES:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}; {package} is {MODULES[package]} now", name=fullname
            )
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the current module."""
        name = MODULES[spec.name]
        warnings.warn(f"{spec.name} is {name} now; the old name will be gone in 1.0", DeprecationWarning, stacklevel=2)
        module = import_module(name)
        self._specs[spec.name] = module.__spec__  # the import system overwrites it
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the module's spec; its code was executed already."""
        assert module.__spec__ is not None
        module.__spec__ = self._specs.pop(module.__spec__.name)


def install() -> None:
    """Install the finder, once, before Python's finders, which would load files of an old package a second time."""
    if not any(isinstance(finder, OldModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, OldModules())
