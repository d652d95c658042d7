"""Fix Hydra's parser of overrides under `python -O`: it needs its assert statements, which -O removes.

Hydra 1.3 reads the tokens `(` and `:` of an override within an assert (`assert self.is_matching_terminal(next(…), …)`),
so under -O or PYTHONOPTIMIZE every override with `{…}` or `f(…)` would fail.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType, ModuleType


def keep_asserts() -> None:
    """Recompile Hydra's visitor of overrides with asserts, if Python runs with -O."""
    if sys.flags.optimize:
        from hydra.core.override_parser import overrides_visitor

        recompile(overrides_visitor)


def recompile(module: ModuleType) -> None:
    """Compile a module's source with asserts, and replace the code of its functions and methods in place, so that it
    applies to functions that were imported before."""
    from inspect import getsource

    compiled = compile(getsource(module), str(module.__file__), "exec", dont_inherit=True, optimize=0)
    codes = dict(_functions(compiled, ""))
    for owner in (module, *(each for each in vars(module).values() if isinstance(each, type))):
        for each in vars(owner).values():
            function = each.__func__ if isinstance(each, (staticmethod, classmethod)) else each
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                function.__code__ = codes[function.__qualname__]


def _functions(code: CodeType, place: str) -> list[tuple[str, CodeType]]:
    """The code objects of a module's functions and methods, by qualified name."""
    functions = []
    for each in code.co_consts:
        if isinstance(each, CodeType):
            functions += [(f"{place}{each.co_name}", each), *_functions(each, f"{place}{each.co_name}.")]
    return functions
