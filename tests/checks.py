"""How annotations are checked under pytest: by beartype, where an int passes for a float as PEP 484 has it.

Checking a call costs about as much as a small layer, and a loop over time makes the same call thousands of times. So of
each function the first calls in each test are checked, and of the later ones one in so many.
"""

import functools
from collections.abc import Callable
from types import CodeType
from typing import Any

import jaxtyping
import torch
from beartype import BeartypeConf, beartype

FIRST, THEN = 5, 20
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
_checked = jaxtyping.jaxtyped
_calls: dict[CodeType, list[int]] = {}
"""How often each function was called: looked up when it is decorated, for the hash of code takes as long as a call."""


def check_anew() -> None:
    """Begin to count again: called before every test."""
    for count in _calls.values():
        count[0] = 0


def _sparing(function: Any, typechecker: Any) -> Any:
    """`function`, checked now and then; what is no plain function is left to jaxtyping.

    Its checks are made when they are first needed: those of a function within a function would be made with each of its
    calls.
    """
    if not isinstance(getattr(function, "__code__", None), CodeType):
        return _checked(function, typechecker=typechecker)
    count: list[int] = _calls.setdefault(function.__code__, [0])
    made: list[Any] = []
    is_compiling = torch.compiler.is_compiling

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if is_compiling():  # counting would be a side effect of what is traced
            return function(*args, **kwargs)
        count[0] = number = count[0] + 1
        if number > FIRST and number % THEN:
            return function(*args, **kwargs)
        if not made:
            made.append(_checked(function, typechecker=typechecker))
        return made[0](*args, **kwargs)

    return call


def _jaxtyped(function: Any = None, *, typechecker: Any) -> Callable[..., Any]:
    """Instead of `jaxtyping.jaxtyped`, which its import hook puts before every function and class of seq2seq."""
    decorate = functools.partial(_sparing, typechecker=typechecker)
    return decorate if function is None else decorate(function)


jaxtyping.jaxtyped = _jaxtyped
