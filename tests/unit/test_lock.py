"""requirements.lock has the versions of constraints.txt, a hash for every file, and no place that they come from."""

from __future__ import annotations

import re
import tomllib

from seq2seq.runtime.paths import PACKAGE

ROOT = PACKAGE.parent
LINE = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)( ;[^\\]*)?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> dict[str, str]:
    return {canonical(match[1]): match[2] for match in LINE.finditer(text)}


LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    common, cuda = CONSTRAINTS.split("# Only the CUDA build")
    locked, wanted = pinned(LOCK), pinned(common)
    assert set(wanted) - set(locked) == {"torch"}
    assert not set(locked) & set(pinned(cuda))
    assert {name: locked[name] for name in wanted if name in locked} == {
        n: v for n, v in wanted.items() if n != "torch"
    }
    systems = re.compile("os_name ==|sys_platform == '(darwin|win32)'")
    elsewhere = {canonical(match[1]) for match in LINE.finditer(LOCK) if match[3] and systems.search(match[3])}
    assert set(locked) - set(wanted) == elsewhere  # what only another system asks for


def test_every_file_has_a_hash_and_no_place() -> None:
    body = "\n".join(line for line in LOCK.split("\n") if not line.startswith("#"))
    assert LINE.sub("", body).strip() == ""
    assert all(match[4] for match in LINE.finditer(body))
    assert "://" not in LOCK


def test_what_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *(
            name
            for extra in ("dev", "sweep", "tune", "export", "serve", "lessons", "zh", "huggingface")
            for name in extras[extra]
        ),
    ]
    names = {canonical(match[0]) for line in asked if (match := re.match(r"[\w.-]+", line))}
    assert names <= set(pinned(LOCK)) | {"torch"}
