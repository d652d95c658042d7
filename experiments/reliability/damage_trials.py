"""Trials of damage: bundles, and folders of runs, that are not as they were saved."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
from pathlib import Path

from experiments.reliability.trials import QUICK, Trial, call, damaged
from seq2seq.bundle.format import load_bundle
from seq2seq.errors import UserError
from tests import runs
from tests.bundles import edit
from tests.canary import watched

USES = {"characters": ["sample", "--length", "5"], "tagging": ["predict-file"]}
"""How a bundle is used; all others translate."""


class DamageTrials:
    """The bundles of `DirtyTrials` stand in `folder`; each trial has its own files in `folder`/work."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "work"
        runs.write(folder / "run", bundle={})
        self.bundles_of = ["words", "bytes", "attention", *USES]
        for name in self.bundles_of:
            load_bundle(folder / name)  # what is imported late is imported before the watch begins
        self.kinds: dict[str, Trial] = {"bundles": self.bundles, "runs": self.runs}

    def bundles(self, draw: random.Random) -> str:
        """All checksums right: loaded and used, or one error; nothing executed, written, unpickled; memory bounded."""
        name, broken = draw.choice(self.bundles_of), self.work / "broken"
        whole = self.folder / name
        shutil.copytree(whole, broken)
        files = [path.name for path in sorted(whole.iterdir()) if path.name not in ("README.md", "checksums.json")]
        for _ in range(draw.randint(1, 3)):
            changed = draw.choice(files)
            edit(broken, changed, damaged(draw, (broken / changed).read_bytes()))
        _sign(broken)
        if draw.random() < 0.1:
            (broken / "checksums.json").write_bytes(damaged(draw, (broken / "checksums.json").read_bytes()))
        try:
            with watched():
                load_bundle(broken)
        except UserError:
            assert call("translate-file", broken, "-", "-").code == 2
            return "refused"
        (self.work / "in").write_text("a man sees\n\nthe dog\n")
        files_given = [] if name == "characters" else [self.work / "in", "-"]
        ended = call(*USES.get(name, ["translate-file", *QUICK]), broken, *files_given)
        assert ended.code or name == "characters" or ended.output.count(b"\n") == 3, ended
        return "loaded, refused when used" if ended.code else "loaded and used"

    def runs(self, draw: random.Random) -> str:
        """A run whose files are damaged, in a report and a leaderboard: shown, with what is wrong; or one error."""
        folder = self.work / "runs"
        for name in ("whole", "broken"):
            shutil.copytree(self.folder / "run", folder / name)
        files = [path for path in sorted((folder / "broken").iterdir()) if path.is_file()]
        for path in draw.sample(files, draw.randint(1, 3)):
            path.write_bytes(damaged(draw, path.read_bytes()))
        if draw.random() < 0.5:
            ended = call("report", folder, "--no-model", "-o", self.work / "report.html")
            assert (self.work / "report.html").exists() == (ended.code == 0)
        else:
            ended = call("leaderboard", folder)
        return "refused" if ended.code else "shown"


def _sign(folder: Path) -> None:
    """Let the description of a tokenizer have the right checksum of its model, where it can still be read."""
    if (folder / "joint.model").exists():
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            described = json.loads((folder / "joint.json").read_text())
            digest = hashlib.sha256((folder / "joint.model").read_bytes()).hexdigest()
            edit(folder, "joint.json", json.dumps(described | {"model_sha256": digest}).encode())
