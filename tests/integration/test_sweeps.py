"""Sweeps that are run again, on every launcher that one machine has; what a job's folder says; the lock of a run."""

import json
import os
import stat
import time
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins

from seq2seq.cli.composing.job_status import (
    JobStatus,
    by_overrides,
    identity,
    job_status,
    mark_stale_as_failed,
    place,
    restart,
)
from seq2seq.cli.main import main
from seq2seq.training.records.run_record import LOCK, claim
from tests.fake_training import train
from tests.forks import Fork

ROOT = Path(__file__).parents[2]
HOLD = "import sys, time; from pathlib import Path; from seq2seq.training.records.run_record import claim\n"
HOLD += "with claim(Path(sys.argv[1])) as m: print(m, flush=True); time.sleep(3600)"


@pytest.fixture
def _fake(monkeypatch):
    monkeypatch.setattr("seq2seq.training.run.train", train)
    monkeypatch.setattr("seq2seq.reporting.style.save", lambda figure, path: path)  # pictures have tests of their own


def sweep(folder, *overrides):
    return main(["train", "-m", f"hydra.sweep.dir={folder}", *overrides])


def jobs(folder):
    """Of each job its number, from its overrides: what tells it from the others, its status, and how often it began."""
    found = {}
    for path in sorted(folder.glob("*/run.json")):
        run = json.loads(path.read_text())
        found[" ".join(run["overrides"])] = (path.parent.name, run["status"], len(run.get("began", [])))
    return found


def change(folder, **values):
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.usefixtures("_fake")
class TestAgain:
    def test_finished_jobs_are_skipped_and_know_their_folders(self, tmp_path, capsys):
        assert sweep(tmp_path, "cell=gru,lstm") == 0
        assert sweep(tmp_path, "cell=vanilla,lstm,gru") == 0
        assert jobs(tmp_path) == {
            "cell=gru": ("0", "finished", 1),
            "cell=lstm": ("1", "finished", 1),
            "cell=vanilla": ("2", "finished", 1),
        }
        assert f"{tmp_path}: 2 of 3 jobs are finished already" in capsys.readouterr().out

    def test_all_finished(self, tmp_path):
        assert [sweep(tmp_path, "seed=1,2") for _ in range(2)] == [0, 0]
        assert [row[2] for row in jobs(tmp_path).values()] == [1, 1]

    @pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
    def test_a_broken_job_is_resumed_in_its_folder(self, tmp_path, status):
        sweep(tmp_path, "seed=1,2")
        (tmp_path / "1" / "checkpoints").mkdir()
        change(tmp_path / "1", status=status)
        assert sweep(tmp_path, "seed=1,2") == 0
        assert jobs(tmp_path) == {"seed=1": ("0", "finished", 1), "seed=2": ("1", "finished", 2)}
        assert (tmp_path / "1" / "checkpoints").exists()
        assert (tmp_path / "1" / "hydra" / "config.yaml").exists()

    def test_a_failure_is_recorded_and_tried_again(self, tmp_path, capsys):
        assert [sweep(tmp_path, "seed=12,13") for _ in range(2)] == [1, 1]
        assert [row[1] for row in jobs(tmp_path).values()] == ["finished", "failed"]
        assert "RuntimeError: seed 13 brings no luck" in json.loads((tmp_path / "1/run.json").read_text())["error"]
        assert f"the same command with hydra.sweep.dir={tmp_path} runs those" in capsys.readouterr().out

    def test_a_job_that_was_killed_before_it_had_a_record(self, tmp_path):
        sweep(tmp_path, "seed=1,2")
        (tmp_path / "1" / "run.json").unlink()
        assert sweep(tmp_path, "seed=2,3") == 0
        assert {key: row[0] for key, row in jobs(tmp_path).items()} == {"seed=1": "0", "seed=2": "1", "seed=3": "2"}

    def test_a_job_that_runs_elsewhere_is_left_alone(self, tmp_path, capsys):
        sweep(tmp_path, "seed=1,2")
        change(tmp_path / "0", status="running")
        with Fork(["-c", HOLD, tmp_path / "0"]) as other:
            assert other.stdout.readline() == "True\n"
            assert sweep(tmp_path, "seed=1,2") == 1
            assert main(["train", f"hydra.run.dir={tmp_path / '0'}", "seed=1"]) == 2
            other.kill()
        assert jobs(tmp_path)["seed=1"] == ("0", "running", 1)
        assert capsys.readouterr().err.count("another process is training here") == 2
        assert sweep(tmp_path, "seed=1,2") == 0

    def test_another_sweep_is_not_touched(self, tmp_path, capsys):
        """Folders that the user names can collide: then the one that is there stays as it is."""
        same = "hydra.sweep.subdir=mine"
        assert sweep(tmp_path, "seed=1", same) == 0
        before = (tmp_path / "mine" / "run.json").read_text()
        assert sweep(tmp_path, "seed=2", same) == 1
        assert "holds a run with other overrides" in capsys.readouterr().err
        assert (tmp_path / "mine" / "run.json").read_text() == before

    def test_a_finished_run_is_not_called_failed_by_a_second_one(self, tmp_path):
        command = ["train", f"hydra.run.dir={tmp_path}", "seed=1"]
        assert [main(command), main(command)] == [0, 2]
        assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"

    @pytest.mark.parametrize(
        ("subdir", "places"),
        [
            ("${hydra:runtime.choices.cell}/${seed}", {"gru/1", "gru/2"}),
            ("a b/ü/${seed}/x", {"a b/ü/1/x", "a b/ü/2/x"}),
            ("${hydra:job.override_dirname}", {"cell=gru,seed=1", "cell=gru,seed=2"}),
        ],
    )
    def test_folders_within_folders(self, tmp_path, capsys, subdir, places):
        folder = tmp_path / "a sweep, of ours"
        command = [
            "train",
            "-m",
            "cell=gru",
            "seed=1,2",
            f"hydra.sweep.dir='{folder}'",
            f"hydra.sweep.subdir='{subdir}'",
        ]
        assert main(command) == 0
        found = {
            path.parent.relative_to(folder).as_posix(): json.loads(path.read_text())
            for path in folder.rglob("run.json")
        }
        assert set(found) == places
        assert {run["name"] for run in found.values()} == {
            f"default-embedded-{name.replace('/', '-')}" for name in places
        }
        lines = (folder / "leaderboard.csv").read_text().splitlines()
        assert sum(",finished," in line for line in lines) == 2
        assert "unreadable" not in capsys.readouterr().out
        assert main(command) == 0
        assert "2 of 2 jobs are finished already" in capsys.readouterr().out
        change(folder / min(places), status="failed")
        assert main(command) == 0
        assert json.loads((folder / min(places) / "run.json").read_text())["status"] == "finished"

    def test_a_sweep_inside_of_another(self, tmp_path, capsys):
        """It is no job of the outer one's, which ends well whatever became of it; a leaderboard of both has all."""
        assert sweep(tmp_path / "inner", "seed=1,13") == 1
        assert sweep(tmp_path, "seed=1,2") == 0
        assert len((tmp_path / "leaderboard.csv").read_text().splitlines()) == 3
        assert main(["leaderboard", str(tmp_path)]) == 0
        assert "inner/1: failed" in capsys.readouterr().out
        assert len((tmp_path / "leaderboard.csv").read_text().splitlines()) == 5

    def test_a_launcher_that_gives_up_is_no_traceback(self, tmp_path, monkeypatch, capsys):
        def launch(*_, **__):
            raise RuntimeError("a worker was killed\nand more")

        name = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
        monkeypatch.setattr(Plugins.instance().class_name_to_class[name], "launch", launch)
        (tmp_path / "0").mkdir()
        assert sweep(tmp_path, "seed=1") == 1
        error = capsys.readouterr().err
        assert "the launcher gave up: RuntimeError: a worker was killed\n" in error
        assert "Traceback" not in error


def test_a_run_that_can_be_resumed_is_not_cleaned(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "failed", "overrides": []}')
    config = {"resume": None}
    restart(config, tmp_path)
    assert config == {"resume": "auto"}
    assert (tmp_path / "run.json").exists()
    (tmp_path / "run.json").write_text("{")  # but nothing is known of this one
    restart(config, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_identity_ignores_order_and_how_a_run_is_run():
    assert identity(["a=1", "b=2"]) == identity(["b=2", "a=1", "resume=auto"]) != identity(["a=1", "b=3"])


def test_place(tmp_path):
    for name, status, overrides in (("0", "finished", ["a=1"]), ("x", "failed", ["a=2"]), ("7", "failed", ["a=4"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"status": status, "overrides": overrides}))
    (tmp_path / "9").mkdir()
    wanted = [["a=1"], ["a=2"], ["a=3"], ["a=4"], ["a=5"]]
    folders = [job[-1].partition("=")[2] for job in place(wanted, tmp_path, numbered=True)]
    assert folders == ["'x'", "'10'", "'7'", "'11'"]
    assert place([["a=3"]], tmp_path, numbered=False) == [["a=3"]]
    assert set(by_overrides(tmp_path)) == {frozenset({f"a={n}"}) for n in (1, 2, 4)}
    assert [job_status(tmp_path / name) for name in ("0", "x", "9")] == [
        JobStatus.FINISHED,
        JobStatus.BROKEN,
        JobStatus.MISSING,
    ]


def test_mark_stale_as_failed_tells_the_dead_from_the_living(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        run = {"status": "running", "name": "n", "seed": 3, "overrides": ["x=1"], "parameters": 5}
        (tmp_path / name / "run.json").write_text(json.dumps(run))
    with claim(tmp_path / "a") as claimed:
        assert claimed
        mark_stale_as_failed(tmp_path)
    a, b = (json.loads((tmp_path / name / "run.json").read_text()) for name in "ab")
    assert (a["status"], b["status"], b["parameters"]) == ("running", "failed", 5)


def test_the_lock_ends_with_its_process(tmp_path):
    with Fork(["-c", HOLD, tmp_path]) as other:
        assert other.stdout.readline() == "True\n"
        with claim(tmp_path) as claimed:
            assert not claimed
        other.kill()
        other.wait()
        with claim(tmp_path) as claimed:
            assert claimed
    assert (tmp_path / LOCK).exists()


SBATCH = """#!/bin/bash
# Runs the tasks of a job array in order, in the background, with the variables that SLURM sets.
script=${@: -1}
cp "$script" "$0.script"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
(for task in $(seq 0 "${last:-0}"); do
  SLURM_JOB_ID=$((100 + task)) SLURM_ARRAY_JOB_ID=99 SLURM_ARRAY_TASK_ID=$task SLURM_NTASKS=1 SLURM_PROCID=0 \\
  SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_JOB_NODELIST=here SLURM_LOCALID=0 SLURM_JOB_NAME=x bash "$script"
done) > "$0.log" 2>&1 &
echo "Submitted batch job 99"
"""
SRUN = '#!/bin/bash\nwhile [[ $1 == -* ]]; do [[ $1 == --unbuffered ]] || shift; shift; done\nexec "$@"\n'
SACCT = "#!/bin/bash\necho 'JobID|State|NodeList'\n"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The three programs of SLURM that submitit calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    for split in ("train", "val"):
        (tmp_path / f"{split}.tsv").write_text("ein\tone\nzwei drei\ttwo three\n" * 20)
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    data = ["data=tsv", "data.corpus.source_language=de", "data.corpus.target_language=en", "tokenizer=whitespace"]
    data += [f"data.corpus.{split}={tmp_path}/{split}.tsv" for split in ("train", "val")]
    small = ["embedding.size=4", "encoder.hidden_size=4", "decoder.hidden_size=8", "trainer.max_epochs=1"]
    return [*data, *small, "trainer.threads=1", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=processes"],
        ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.cpus_per_task=3"],
    ],
    ids=["joblib", "processes", "slurm"],
)
def test_launchers_train(launcher, corpus, slurm, tmp_path):
    """Real runs, each in a process of its own; for SLURM by the script that sbatch was given."""
    pytest.importorskip("submitit")
    folder = tmp_path / "sweep"
    command = [*corpus, "seed=1,2", *launcher]
    assert sweep(folder, *command) == 0
    assert [row[1] for row in jobs(folder).values()] == ["finished", "finished"]
    if "hydra/launcher=slurm" in launcher:
        script = (slurm / "sbatch.script").read_text()
        for line in ("--partition=gpu", "--cpus-per-task=3", "--time=1440", "--array=0-1%2"):
            assert f"#SBATCH {line}\n" in script
    began = time.time()
    assert sweep(folder, *command) == 0
    assert all(path.stat().st_mtime < began for path in folder.glob("*/run.json"))
