"""The names that courses and other projects have for an option of a group, and the overrides that set it here."""

from __future__ import annotations

CELLS = {"rnn": "vanilla", "simplernn": "vanilla", "elman": "vanilla", "lstm": "lstm", "gru": "gru"}
BOTH = {"birnn": "vanilla", "bilstm": "lstm", "blstm": "lstm", "bigru": "gru"}

OVERRIDES: dict[str, dict[str, str]] = {
    "cell": {
        **{name: f"cell={cell}" for name, cell in CELLS.items()},
        **{name: f"cell={cell} encoder.direction=both" for name, cell in BOTH.items()},
    },
    "encoder": {
        **{name: f"cell@encoder.cell={cell}" for name, cell in CELLS.items()},
        **{name: f"cell@encoder.cell={cell} encoder.direction=both" for name, cell in BOTH.items()},
        "bidirectional": "encoder.direction=both",
        "unidirectional": "encoder.direction=forward",
        "deep": "encoder.num_layers=2",
        "stacked": "encoder.num_layers=2",
        "pyramid": "encoder=pyramidal",
        "pblstm": "encoder=pyramidal cell@encoder.cell=lstm",
        "cnn": "encoder=image",
    },
    "decoder": {name: f"cell@decoder.cell={cell}" for name, cell in CELLS.items()},
    "context": {
        "attention": "context=additive decoder.context_to=both",
        "bahdanau": "context=additive decoder.context_to=both",
        "luong": "model=luong2015",
        "dot": "context=multiplicative context.score=dot",
        "general": "context=multiplicative context.score=general",
        "none": "context=fixed",
    },
    "model": {
        "seq2seq": "model=default",
        "encoderdecoder": "model=default",
        "attention": "model=bahdanau2015",
        "bahdanau": "model=bahdanau2015",
        "luong": "model=luong2015",
    },
    "task": {
        "lm": "task=language_modeling data=shakespeare",
        "ner": "task=tagging data=snips",
        "sentiment": "task=classification data=snips data.corpus.labels=intents",
        "mt": "task=translation",
        "nmt": "task=translation",
    },
    "tokenizer": {"bpe": "tokenizer=sentencepiece", "subword": "tokenizer=sentencepiece"},
    "search": {"sample": "search=sampling"},
}
"""By group and name, which is written in small letters without - and _."""


def overrides_of(group: str, name: str) -> str | None:
    """The overrides that set what another project calls GROUP=NAME, or None for a name that is not known."""
    group = group.partition("@")[0].rpartition("/")[2]
    return OVERRIDES.get(group, {}).get(name.lower().replace("-", "").replace("_", ""))
