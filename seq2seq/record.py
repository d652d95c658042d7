"""run.json: what a run is and what became of it, always whole; leaderboards read nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Record:
    """The record of one run in `folder`, which is made if it does not exist. A record that is already there, of the
    same run, goes on."""

    def __init__(self, folder: Path, *, name: str, seed: int, overrides: list[str]) -> None:
        self.path = folder / "run.json"
        folder.mkdir(parents=True, exist_ok=True)
        known = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        self.values: dict[str, Any] = {"status": "running", "error": None, "test": {}, **known}
        self.values |= {"name": name, "seed": seed, "overrides": overrides}

    def update(self, **values: Any) -> None:
        """Set values and write the whole file anew, beside it first."""
        self.values |= values
        partial = self.path.with_name(".run.json.partial")
        partial.write_text(json.dumps(self.values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, self.path)
