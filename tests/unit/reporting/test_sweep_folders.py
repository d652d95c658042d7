"""Runs below a folder, at any depth."""

from pathlib import Path

import pytest

from seq2seq.errors import UserError
from seq2seq.reporting.leaderboard import collect
from seq2seq.reporting.runs import find_runs
from seq2seq.reporting.sweep_folders import jobs_of, place_in, runs_in
from tests import runs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Runs of two depths, one begun and one of which there is only the number; another sweep; what is no run."""
    for place in ("0", "gru/1", "gru/2", "inner/0", "0/nested"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "run.json").touch()
    (tmp_path / "inner" / "multirun.yaml").touch()
    for place in ("lstm/1/hydra", "7", "notes/deep", ".leaderboard/wandb"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "gru" / "back").symlink_to(tmp_path)
    return tmp_path


def places(sweep: Path, found: list[Path]) -> list[str]:
    return [place_in(sweep, folder) for folder in found]


def test_runs_at_any_depth(tree: Path) -> None:
    assert places(tree, runs_in(tree)) == ["0", "gru/1", "gru/2", "inner/0", "lstm/1"]
    assert places(tree, runs_in(tree, other_sweeps=False)) == ["0", "gru/1", "gru/2", "lstm/1"]
    assert places(tree, jobs_of(tree)) == ["0", "gru/1", "gru/2", "inner/0", "lstm/1", "7"]


def test_those_who_read_a_sweep(tmp_path: Path) -> None:
    for seed in (1, 2):
        runs.write(tmp_path / "sw" / "gru" / str(seed), seed=seed, overrides=["cell=gru", f"seed={seed}"])
    runs.write(tmp_path / "other" / "late" / "x", seed=3, overrides=["cell=lstm", "seed=3"])
    assert {row["run"] for row in collect(tmp_path / "sw")} == {"gru/1", "gru/2"}
    assert {row["run"] for row in collect(tmp_path)} == {"sw/gru/1", "sw/gru/2", "other/late/x"}
    assert {run.name for run in find_runs([tmp_path / "sw"])[0]} == {"seed=1", "seed=2"}
    assert {run.name for run in find_runs([tmp_path / "other"])[0]} == {"late/x"}


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "docs" / "more").mkdir(parents=True)
    with pytest.raises(UserError, match="there is no job in it"):
        collect(tmp_path)
    with pytest.raises(UserError, match="there is no run in it"):
        find_runs([tmp_path])
