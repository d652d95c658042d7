"""The space of a study: what its YAML means, what is drawn from it, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from seq2seq.errors import UserError
from seq2seq.tuning.space import Parameter, read_space, spell

SPACE = """
optimizer.lr: {low: 1e-4, high: 1e-2, log: true}
encoder.hidden_size: {low: 64, high: 512, step: 64}
embedding.dropout: {low: 0, high: 0.5}
context: [fixed, multiplicative]
context.score: {choices: [dot, general], when: {context: multiplicative}}
x: [true, null, [64, 64], 0.001, {size: 25}]
y: {choices: [a], when: {context: [fixed, multiplicative], context.score: dot}}
"""


def parse(text):
    return read_space(OmegaConf.to_container(OmegaConf.create(text), resolve=False))


def test_what_yaml_means():
    lr, size, dropout, context, score, x, y = parse(SPACE).parameters
    assert (lr.low, lr.high, lr.log, lr.is_integer) == (1e-4, 1e-2, True, False)
    assert (size.low, size.high, size.step, size.is_integer) == (64, 512, 64, True)
    assert (dropout.low, type(dropout.low), dropout.is_integer) == (0.0, float, False)
    assert (context.choices, context.when) == (("fixed", "multiplicative"), {})
    assert score.when == {"context": ("multiplicative",)}
    assert x.choices == ("true", "null", "[64,64]", "0.001", "{size:25}")
    assert y.when == {"context": ("fixed", "multiplicative"), "context.score": ("dot",)}
    assert [str(p) for p in (lr, size, context)] == [
        "float 0.0001 … 0.01, log",
        "int 64 … 512, step 64",
        "fixed | multiplicative",
    ]


def test_draws_in_order_and_under_conditions():
    first = parse(SPACE).draw(lambda p: p.choices[0] if p.choices else p.low)
    assert list(first) == ["optimizer.lr", "encoder.hidden_size", "embedding.dropout", "context", "x"]
    last = parse(SPACE).draw(lambda p: p.choices[-1] if p.choices else p.high)
    assert (last["context.score"], last["encoder.hidden_size"], last["embedding.dropout"]) == ("general", "512", "0.5")
    assert "y" not in last


def test_probes_take_every_value_in_turn():
    probes = list(parse(SPACE).probes())
    assert len(probes) == 5
    assert {probe["x"] for probe in probes} == {"true", "null", "[64,64]", "0.001", "{size:25}"}
    assert {probe["optimizer.lr"] for probe in probes} == {"0.0001", "0.01"}


def test_equal_spaces_are_the_same_text():
    assert parse(SPACE).plain() == parse(SPACE.replace("low: 0,", "low: 0.0,")).plain()
    assert parse(SPACE).plain() != parse(SPACE.replace("512", "256")).plain()


@given(st.floats(1e-30, 1e30), st.floats(1e-30, 1e30), st.floats(0, 1))
def test_rounding_stays_within_the_ends(one, other, share):
    low, high = sorted((one, other))
    value = min(max(low + share * (high - low), low), high)
    rounded = Parameter("x", low, high).rounded(value)
    assert low <= rounded <= high
    assert math.isclose(rounded, value, rel_tol=1e-4)


@pytest.mark.parametrize("value", [True, None, 3, -0.5, 1e-05, "text", [1, [2, "a"]], {"size": 25, "many": [True]}])
def test_spelling_is_read_back_by_hydra(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"key={spell(value)}"])
    assert override.value() == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "must map keys"),
        ("[a]", "must map keys"),
        ("x: 3", "x: 3 is neither a list of choices nor {low"),
        ("x: []", "different ones, at least one"),
        ("x: [1, 1]", "different ones, at least one"),
        ("x: {low: 1}", "x.high=None must be a number"),
        ("x: {low: a, high: 2}", "x.low='a' must be a number"),
        ("x: {low: true, high: 2}", "x.low=True must be a number"),
        ("x: {low: .nan, high: 2}", "x.low=nan must be a number"),
        ("x: {low: 3, high: 2}", "low=3 is above high=2"),
        ("x: {low: 0, high: 2, log: true}", "x.low=0 must be above 0"),
        ("x: {low: 1, high: 2, log: yes please}", "must be true or false"),
        ("x: {low: 1, high: 8, step: 2, log: true}", "needs log: false"),
        ("x: {low: 1, high: 8, step: -2}", "x.step=-2 must be above 0"),
        ("x: {low: 1, high: 8, step: 0.5}", "must be a whole number"),
        ("x: {low: 1, hihg: 8}", "did you mean x.high?"),
        ("x: {choices: [1, 2], low: 3}", "has no option 'low'"),
        ("x: {choices: [1], when: {y: 1}}\ny: [1]", "'y' is no parameter above it"),
        ("x: {choices: [1], when: y}", "x.when: 'y' must map"),
    ],
)
def test_what_makes_no_sense(text, message):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert message in str(caught.value)
