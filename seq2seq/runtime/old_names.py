"""Old names of component classes whose modules moved, so that saved files still load.

One table of exact names, for bundles, checkpoints, recorded overrides and configurations, all of which may be hostile.
A name that is not in the table is not changed, and no part of a name is ever replaced. The current names are those in
conf/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLASSES = {
    "seq2seq.bridges.CopyBridge": "seq2seq.nn.bridges.CopyBridge",
    "seq2seq.bridges.LinearBridge": "seq2seq.nn.bridges.LinearBridge",
    "seq2seq.bridges.ZeroBridge": "seq2seq.nn.bridges.ZeroBridge",
    "seq2seq.cells.GRU": "seq2seq.nn.cells.GRU",
    "seq2seq.cells.LSTM": "seq2seq.nn.cells.LSTM",
    "seq2seq.cells.LayerNormGRU": "seq2seq.nn.cells.LayerNormGRU",
    "seq2seq.cells.LayerNormLSTM": "seq2seq.nn.cells.LayerNormLSTM",
    "seq2seq.cells.MGU": "seq2seq.nn.cells.MGU",
    "seq2seq.cells.MinGRU": "seq2seq.nn.cells.MinGRU",
    "seq2seq.cells.MinLSTM": "seq2seq.nn.cells.MinLSTM",
    "seq2seq.cells.Vanilla": "seq2seq.nn.cells.Vanilla",
    "seq2seq.cells.gru.GRU": "seq2seq.nn.cells.GRU",
    "seq2seq.cells.layer_norm_gru.LayerNormGRU": "seq2seq.nn.cells.LayerNormGRU",
    "seq2seq.cells.layer_norm_lstm.LayerNormLSTM": "seq2seq.nn.cells.LayerNormLSTM",
    "seq2seq.cells.lstm.LSTM": "seq2seq.nn.cells.LSTM",
    "seq2seq.cells.mgu.MGU": "seq2seq.nn.cells.MGU",
    "seq2seq.cells.min_gru.MinGRU": "seq2seq.nn.cells.MinGRU",
    "seq2seq.cells.min_lstm.MinLSTM": "seq2seq.nn.cells.MinLSTM",
    "seq2seq.cells.vanilla.Vanilla": "seq2seq.nn.cells.Vanilla",
    "seq2seq.contexts.AdditiveContext": "seq2seq.nn.contexts.AdditiveContext",
    "seq2seq.contexts.AlignedContext": "seq2seq.nn.contexts.AlignedContext",
    "seq2seq.contexts.FixedContext": "seq2seq.nn.contexts.FixedContext",
    "seq2seq.contexts.MultiplicativeContext": "seq2seq.nn.contexts.MultiplicativeContext",
    "seq2seq.contexts.additive.AdditiveContext": "seq2seq.nn.contexts.AdditiveContext",
    "seq2seq.contexts.aligned.AlignedContext": "seq2seq.nn.contexts.AlignedContext",
    "seq2seq.contexts.fixed.FixedContext": "seq2seq.nn.contexts.FixedContext",
    "seq2seq.contexts.multiplicative.MultiplicativeContext": "seq2seq.nn.contexts.MultiplicativeContext",
    "seq2seq.corpora.couplets.Couplets": "seq2seq.corpora.Couplets",
    "seq2seq.corpora.digits.Digits": "seq2seq.corpora.datasets.digits.Digits",
    "seq2seq.corpora.embedded.Embedded": "seq2seq.corpora.Embedded",
    "seq2seq.corpora.g2p.G2P": "seq2seq.corpora.G2P",
    "seq2seq.corpora.labels.Labelled": "seq2seq.corpora.Labelled",
    "seq2seq.corpora.labels.Tagged": "seq2seq.corpora.Tagged",
    "seq2seq.corpora.multi30k.Multi30k": "seq2seq.corpora.Multi30k",
    "seq2seq.corpora.snips.Snips": "seq2seq.corpora.Snips",
    "seq2seq.decoder.Decoder": "seq2seq.nn.decoder.Decoder",
    "seq2seq.encoders.GNMTEncoder": "seq2seq.nn.encoders.GNMTEncoder",
    "seq2seq.encoders.ImageEncoder": "seq2seq.nn.encoders.ImageEncoder",
    "seq2seq.encoders.PyramidalEncoder": "seq2seq.nn.encoders.PyramidalEncoder",
    "seq2seq.encoders.RecurrentEncoder": "seq2seq.nn.encoders.RecurrentEncoder",
    "seq2seq.encoders.RecurrentStack": "seq2seq.nn.encoders.RecurrentStack",
    "seq2seq.encoders.VectorEncoder": "seq2seq.nn.encoders.VectorEncoder",
    "seq2seq.encoders.gnmt.GNMTEncoder": "seq2seq.nn.encoders.GNMTEncoder",
    "seq2seq.encoders.image.ImageEncoder": "seq2seq.nn.encoders.ImageEncoder",
    "seq2seq.encoders.pyramidal.PyramidalEncoder": "seq2seq.nn.encoders.PyramidalEncoder",
    "seq2seq.encoders.recurrent.RecurrentEncoder": "seq2seq.nn.encoders.RecurrentEncoder",
    "seq2seq.encoders.stack.RecurrentStack": "seq2seq.nn.encoders.RecurrentStack",
    "seq2seq.encoders.vector.VectorEncoder": "seq2seq.nn.encoders.VectorEncoder",
    "seq2seq.feedback.FreeRunning": "seq2seq.nn.scheduled_sampling.FreeRunning",
    "seq2seq.feedback.ScheduledSampling": "seq2seq.nn.scheduled_sampling.ScheduledSampling",
    "seq2seq.feedback.TeacherForcing": "seq2seq.nn.scheduled_sampling.TeacherForcing",
    "seq2seq.heads.LinearHead": "seq2seq.nn.heads.LinearHead",
    "seq2seq.heads.MaxoutHead": "seq2seq.nn.heads.MaxoutHead",
    "seq2seq.heads.TiedHead": "seq2seq.nn.heads.TiedHead",
    "seq2seq.text.labels.LabelTrainer": "seq2seq.text.LabelTrainer",
}
"""Old names to current names; `factory.resolve` looks them up first."""


def current_name(name: Any) -> Any:
    """The current name of a class; other values are returned unchanged."""
    return CLASSES.get(name, name) if isinstance(name, str) else name


VALUES = {("path", "hand"): "manual"}
"""Pairs of an option's key and old value to the current value."""


def current_value(key: str, value: Any) -> Any:
    """The current value of an option; other values are returned unchanged."""
    return VALUES.get((key, value), value) if isinstance(value, str) else value


def current(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with current names under every `_target_`."""
    return {
        key: current(value) if isinstance(value, Mapping) else current_name(value) if key == "_target_" else value
        for key, value in config.items()
    }


def current_override(override: str) -> str:
    """A Hydra override, such as `decoder.cell._target_=…`, with the current name."""
    key, sign, value = override.partition("=")
    return f"{key}{sign}{current_name(value)}" if key.endswith("_target_") else override
