"""The page of the service: one HTML document made of the files next to this one, which loads nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
SCRIPTS = ("service.js", "translation.js", "tree.js", "labels.js", "drawing.js", "page.js")
"""The scripts, in their order; all are one <script>."""


@cache
def page() -> tuple[str, str]:
    """The document, and its Content-Security-Policy, which allows its style, its script and this service only."""
    style = _read("page.css")
    script = "".join(map(_read, SCRIPTS))
    content = _read("page.html").replace("/* style */", style).replace("/* script */", script)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return content, policy


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
