"""The installation of this package, its dependencies and its extras."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from typing import Any, NamedTuple

from seq2seq.runtime.paths import PACKAGE

NAME = "seq2seq-recurrent"
EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")


class Requirement(NamedTuple):
    """A dependency: the needed version, the installed one (None: missing), whether it is right, and its extra ("" for
    none)."""

    name: str
    needed: str
    installed: str | None
    right: bool
    extra: str

    @property
    def description(self) -> str:
        """The installed version, and what is wrong with it."""
        if self.installed is None:
            return f"missing (needs {self.needed or 'any version'})"
        return self.installed if self.right else f"{self.installed}, needs {self.needed}"


def kind() -> str:
    """How the package was installed: editable, from a checkout or archive, or from a package index."""
    try:
        distribution = metadata.distribution(NAME)
        written = distribution.read_text("direct_url.json")  # always UTF-8
        origin: dict[str, Any] = json.loads(written or "{}")
    except metadata.PackageNotFoundError:
        return f"not installed; imported from {PACKAGE.parent}"
    except ValueError:
        return "installed"
    if origin.get("dir_info", {}).get("editable"):
        return f"editable, {PACKAGE.parent}"
    return f"installed from {'a checkout or archive' if origin else 'a package index'}"


def requirements() -> Iterator[Requirement]:
    """The dependencies of the package, extras included; empty if it is not installed."""
    with suppress(metadata.PackageNotFoundError):
        for line in metadata.requires(NAME) or ():
            yield _requirement(line)


def _requirement(line: str) -> Requirement:
    from packaging.requirements import Requirement as Parsed

    parsed = Parsed(line)
    extra = EXTRA.search(str(parsed.marker or ""))
    installed = None
    with suppress(metadata.PackageNotFoundError):
        installed = metadata.version(parsed.name)
    right = installed is not None and parsed.specifier.contains(installed, prereleases=True)
    return Requirement(parsed.name, str(parsed.specifier), installed, right, extra[1] if extra else "")
