"""The names of courses and other projects are answered with overrides that exist."""

from __future__ import annotations

import pytest

from seq2seq.cli.composing.configurations import composed, composing
from seq2seq.cli.composing.other_names import OVERRIDES, overrides_of
from seq2seq.errors import UserError
from seq2seq.runtime.paths import packaged

ANSWERS = {part for names in OVERRIDES.values() for answer in names.values() for part in answer.split()}


def test_every_answer_composes() -> None:
    """A group's option has its file; all keys can be set."""
    keys = [part for part in sorted(ANSWERS) if "." in part.partition("=")[0] and "@" not in part]
    for part in ANSWERS - set(keys):
        group, _, option = part.partition("=")
        assert (packaged("conf") / group.partition("@")[0] / f"{option}.yaml").is_file(), part
    with composing():
        config = composed(["name=x", "context=multiplicative", *(key for key in keys if "corpus" not in key)])
    assert config["encoder"]["num_layers"] == 2


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("cell=RNN", "here it is cell=vanilla;"),
        ("encoder=bilstm", "here it is cell@encoder.cell=lstm encoder.direction=both;"),
        ("context=attention", "here it is context=additive decoder.context_to=both;"),
        ("cell=lstn", "did you mean cell=lstm?"),
    ],
)
def test_an_unknown_option_is_answered(override: str, answer: str) -> None:
    with composing(), pytest.raises(UserError, match="there is no such option") as raised:
        composed(["name=x", override])
    assert answer in str(raised.value)


def test_spelling_does_not_count() -> None:
    assert overrides_of("cell", "Simple_RNN") == overrides_of("cell", "rnn") == "cell=vanilla"
    assert overrides_of("encoder", "Bi-LSTM") == "cell@encoder.cell=lstm encoder.direction=both"
    assert overrides_of("cell", "transformer") is None
    assert overrides_of("nothing", "rnn") is None
