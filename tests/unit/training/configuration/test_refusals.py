"""conf/README's table of what is refused, held against the code: each example is refused, and what else is refused
when two parts meet is in an example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations, product
from typing import Any

import pytest

from seq2seq.cli.composing.configurations import composed as hydra_composed
from seq2seq.cli.composing.configurations import composing
from seq2seq.errors import UserError
from seq2seq.runtime.paths import packaged
from seq2seq.training import run
from seq2seq.training.configuration.option_catalogue import choices, read
from tests.configurations import TASKS, Config, composed, copied, get

UNSEEN = 5  # rows whose refusal needs the data, a batch, a bundle or several processes


@cache
def rows() -> list[list[str]]:
    text = (packaged("conf") / "README.md").read_text(encoding="utf-8").partition("## What is refused")[2]
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]


def expanded(example: str) -> Iterator[str]:
    """An example with each of the values that it has in braces."""
    parts = [
        part.split(",") if odd else [part]
        for odd, part in enumerate(re.split(r"\{(.*?)\}", example))
        for odd in [odd % 2]
    ]
    yield from ("".join(each) for each in product(*parts))


EXAMPLES = [each for row in rows() for example in re.findall(r"`(.*?)`", row[3]) for each in expanded(example)]


def test_each_row_has_an_example_or_says_why_not() -> None:
    assert all(len(row) == 4 for row in rows())
    assert sum(row[3] == "–" for row in rows()) == UNSEEN


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_refused(example: str) -> None:
    with pytest.raises(UserError) as found, composing():
        run.check(hydra_composed(example.split()))
    words = [word for word in re.split(r"[=.@+ ]", example) if len(word) > 2]
    assert any(word.lower() in str(found.value).lower() for word in words), found.value


PARTS = ("encoder", "bridge", "context", "head", "cell@encoder.cell", "cell@decoder.cell")


def changed(config: Config, part: str, option: str) -> Config | None:
    """A copy with one more choice; None where there is no place for it."""
    group, _, place = part.partition("@")
    place, node = place or group, read(packaged("conf") / group / f"{option}.yaml")
    above, key = get(config, place.partition(".")[0]), place.rpartition(".")[2]
    if above is None or (key == "cell" and key not in above):
        return None
    if group == "encoder" and option not in ("image", "projection", "vector", "unordered"):
        node["cell"] = above.get("cell") or read(packaged("conf") / "cell" / "gru.yaml")
    found, around = copied(config, place.rpartition(".")[0])
    around[key] = node
    return found


def refused(config: Config) -> bool:
    try:
        run.check(config)
    except UserError:
        return True
    return False


def told(task: str, parts: Any) -> bool:
    """Whether an example is about these choices, or some of them."""
    there = {f"task={task}", *(f"{part}={option}" for part, option in parts)}
    examples = ({word for word in each.split() if not word.startswith("data")} for each in EXAMPLES)
    return any(
        ({f"task={task}"} if task != "translation" else set()) <= each | {"task=translation"} and each <= there
        for each in examples
    )


@pytest.mark.slow
@pytest.mark.usefixtures("trainers_made_once")
@pytest.mark.parametrize("task", TASKS)
def test_what_is_refused_is_in_the_table(task: str) -> None:
    base = composed(task)
    single = [
        (part, option)
        for part in PARTS
        if base.get(part.partition("@")[2].partition(".")[0] or part)
        for option in choices(part.partition("@")[0])
    ]
    tried = {each: found for each in single if (found := changed(base, *each)) is not None}
    bad = {each for each, found in tried.items() if refused(found)}
    assert all(told(task, [each]) for each in bad), bad
    for one, other in combinations([each for each in tried if each not in bad], 2):
        both = changed(tried[one], *other) if one[0] != other[0] else None
        if both is not None and refused(both):
            assert told(task, [one, other]), (one, other)
