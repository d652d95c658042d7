"""The search space of a study: a YAML file that maps override keys to ranges and choices.

    optimizer.lr: {low: 1e-4, high: 1e-2, log: true}      # a float: one of low and high has a point or an exponent
    encoder.hidden_size: {low: 64, high: 512, step: 64}   # an int
    context: [fixed, additive]                            # choices: also of a group
    context.score: {choices: [dot, general], when: {context: multiplicative}}

Parameters are suggested in the file's order, so `when` may only name parameters above it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from seq2seq.errors import UserError
from seq2seq.models.factory import check_key

Value = float | int | str
Suggest = Callable[["Parameter"], Value]


class Parameter(NamedTuple):
    """A key that is varied: between `low` and `high`, both included, or over `choices`, in Hydra's syntax.

    `when`: values of earlier parameters, in the same syntax, on which it depends: with others it is not varied.
    """

    key: str
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()
    when: Mapping[str, tuple[str, ...]] = {}

    @property
    def is_integer(self) -> bool:
        """Whether its values are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __str__(self) -> str:
        """The parameter's range or choices, for a table."""
        if self.choices:
            return " | ".join(self.choices)
        kind = "int" if self.is_integer else "float"
        step = f", step {self.step}" if self.step is not None else ""
        return f"{kind} {self.low} … {self.high}{step}{', log' if self.log else ''}"

    def rounded(self, value: Value) -> Value:
        """A float rounded to five digits, within the range; other values unchanged."""
        return min(max(float(f"{value:.5g}"), self.low), self.high) if isinstance(value, float) else value

    def probes(self) -> tuple[str, ...]:
        """Values with which configurations are checked before the study: every choice, or both ends of the range."""
        return self.choices or (spell(self.low), spell(self.high))


class Space(NamedTuple):
    """The parameters of a study, in the order in which they are suggested."""

    parameters: tuple[Parameter, ...]

    def draw(self, suggest: Suggest) -> dict[str, str]:
        """A value for each parameter whose conditions hold, in Hydra's syntax, from the function `suggest`."""
        drawn: dict[str, str] = {}
        for parameter in self.parameters:
            if all(drawn.get(key) in allowed for key, allowed in parameter.when.items()):
                drawn[parameter.key] = spell(parameter.rounded(suggest(parameter)))
        return drawn

    def probes(self) -> Iterator[dict[str, str]]:
        """A few settings in which each of the `probes` of each parameter occurs."""
        for number in range(max(len(parameter.probes()) for parameter in self.parameters)):
            yield self.draw(lambda parameter, n=number: parameter.probes()[n % len(parameter.probes())])  # type: ignore[misc]

    def plain(self) -> str:
        """The space as one line of text, the same for equal spaces."""
        return json.dumps(self.parameters)


def read_space(content: Any) -> Space:
    """The space from the content of a YAML file. Raises `UserError`, naming the parameter, for an invalid one."""
    if not isinstance(content, dict) or not content:
        raise UserError("must map keys to ranges or choices, like optimizer.lr: {low: 1e-4, high: 1e-2}")
    parameters: dict[str, Parameter] = {}
    for key, node in content.items():
        parameters[str(key)] = _parameter(str(key), node, parameters)
    return Space(tuple(parameters.values()))


def spell(value: object) -> str:
    """A value in the syntax of Hydra's overrides: true, null, 0.001, [64,64], {size: 25}; text is unchanged."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(spell, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{spell(item)}' for key, item in value.items())}}}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _parameter(key: str, node: Any, known: Mapping[str, Parameter]) -> Parameter:
    node = {"choices": node} if isinstance(node, list) else node
    if not isinstance(node, dict):
        raise UserError(f"{key}: {node!r} is neither a list of choices nor {{low: …, high: …}}")
    known_options = ("choices", "when") if "choices" in node else ("low", "high", "step", "log", "when")
    for option in node:
        check_key(str(option), known_options, key, "it")
    when = _conditions(key, node.get("when") or {}, known)
    if "choices" in node:
        choices = _choices(node["choices"])
        if not choices or len(set(choices)) < len(choices):
            raise UserError(f"{key}: its choices must be different ones, at least one, not {node['choices']!r}")
        return Parameter(key, choices=choices, when=when)
    low, high, step, log = node.get("low"), node.get("high"), node.get("step"), node.get("log", False)
    return _range(Parameter(key, low, high, step, log, when=when))  # type: ignore[arg-type]


def _conditions(key: str, when: Any, known: Mapping[str, Parameter]) -> dict[str, tuple[str, ...]]:
    if not isinstance(when, dict):
        raise UserError(f"{key}.when: {when!r} must map a parameter above it to values, like {{context: additive}}")
    for other in when:
        if other not in known:
            raise UserError(
                f"{key}.when: {other!r} is no parameter above it; only those drawn before can be a condition"
            )
    return {str(other): _choices(value) for other, value in when.items()}


def _range(parameter: Parameter) -> Parameter:
    """Check a range; if one end is a float, the other is converted to a float."""
    key, low, high, step, log = parameter[:5]
    for name, value in (("low", low), ("high", high), ("step", step)):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number and not (name == "step" and value is None):
            raise UserError(f"{key}.{name}={value!r} must be a number")
    if not isinstance(log, bool):
        raise UserError(f"{key}.log={log!r} must be true or false")
    if low > high:
        raise UserError(f"{key}: low={low} is above high={high}")
    if step is not None and (step <= 0 or log):
        raise UserError(f"{key}.step={step} must be above 0, and needs log: false")
    if log and low <= 0:
        raise UserError(f"{key}.low={low} must be above 0 where log is true")
    if parameter.is_integer and isinstance(step, float):
        raise UserError(f"{key}.step={step} must be a whole number, as low and high are (or write low={float(low)})")
    return parameter if parameter.is_integer else parameter._replace(low=float(low), high=float(high))


def _choices(value: Any) -> tuple[str, ...]:
    return tuple(spell(item) for item in (value if isinstance(value, list) else [value]))
