"""Studies: how many trials there are, whatever the processes, and what becomes of those that do not end."""

import json
import os
import signal
import time

import pytest

optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState  # noqa: E402

from seq2seq.cli.main import main  # noqa: E402
from seq2seq.tuning.study import PUT_BACK, open_study  # noqa: E402
from tests.fake_training import VALIDATIONS, train  # noqa: E402
from tests.forks import Fork  # noqa: E402

SPACE = """
optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
context: [fixed, additive]
"""
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.setattr("seq2seq.training.run.train", train)
    monkeypatch.setattr("seq2seq.reporting.style.save", lambda figure, path: path)
    monkeypatch.setattr("seq2seq.tuning.plots.save_plots", lambda study, metric, path: None)


@pytest.fixture
def _quick(monkeypatch):
    """Configurations without Hydra, where it is trials that matter."""

    def composed(overrides):
        chosen = dict(override.split("=") for override in overrides)
        checkpoint = {"monitor": "val_bleu", "mode": "max"}
        return {
            "name": "quick",
            "seed": int(chosen.get("seed", 1)),
            "optimizer": {"lr": float(chosen.get("optimizer.lr", 1))},
            "context": {"_target_": chosen.get("context", "fixed").title()},
            "logger": {},
            "callbacks": {"checkpoint": checkpoint},
        }

    monkeypatch.setattr("seq2seq.cli.composing.configurations.composed", composed)
    monkeypatch.setattr("seq2seq.training.run.check", lambda config: None)


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def tune(space, *arguments, trials=3):
    return main(["tune", str(space), f"--trials={trials}", "--folder", str(space.parent / "study"), *arguments])


def study(folder, url=None):
    return open_study(folder, url, mode="max", sampler="tpe", pruner="median", seed=0, settings={})


def trials(space, url=None):
    """The trials that count, in their order."""
    found = study(space.parent / "study", url).trials
    return [trial for trial in found if PUT_BACK not in trial.user_attrs and trial.state != TrialState.WAITING]


def process(space, *arguments, sleep, number=6):
    command = ["-m", "tests.fake_training", "tune", space, f"--trials={number}"]
    return Fork([*command, "--folder", space.parent / "study", *arguments], env=os.environ | {"SLEEP": str(sleep)})


def test_the_best_trial_as_a_command_that_can_be_run(space, capsys):
    assert tune(space, "seed=3", trials=4) == 0
    shown = capsys.readouterr().out
    best = max(trials(space), key=lambda trial: trial.value)
    command = shown.rstrip().split("\n")[-1]
    assert command.startswith("seq2seq train seed=3 optimizer.lr=")
    assert command.endswith(f"context={best.params['context']}")
    assert float(command.split("lr=")[1].split()[0]) == pytest.approx(best.params["optimizer.lr"], rel=1e-4)
    assert f"best: trial {best.number}, val_bleu = {best.value:.4f}" in shown
    assert "trials: 4 complete" in shown
    folder = space.parent / "study"
    run = json.loads((folder / str(best.number) / "run.json").read_text())
    assert run["overrides"] == command.split()[2:]
    assert run["name"] == f"default-embedded-{best.number}"
    assert "status" in (folder / "leaderboard.csv").read_text()
    assert main(["leaderboard", str(folder)]) == 0


@pytest.mark.usefixtures("_quick")
def test_pruning_really_prunes(space):
    assert tune(space, trials=16) == 0
    found = trials(space)
    done = [trial for trial in found if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in found if trial.state == TrialState.PRUNED]
    assert len(done) + len(pruned) == 16
    assert len(pruned) >= 4
    assert all(len(trial.intermediate_values) == VALIDATIONS for trial in done)
    assert all(len(trial.intermediate_values) < VALIDATIONS for trial in pruned)
    assert all(trial.number >= 5 for trial in pruned)  # MedianPruner's n_startup_trials
    run = json.loads((space.parent / "study" / str(pruned[0].number) / "run.json").read_text())
    assert run["status"] == "pruned"
    better = [trial.value for trial in done]
    assert max(better) == max(trial.value for trial in found)


@pytest.mark.usefixtures("_quick")
def test_going_on_draws_what_would_have_been_drawn(space, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "space.yaml"
    other.write_text(SPACE)
    assert [tune(space, "--pruner=none", trials=n) for n in (2, 5, 12)] == [0, 0, 0]
    assert tune(other, "--pruner=none", trials=12) == 0
    assert [trial.params for trial in trials(space)] == [trial.params for trial in trials(other)]
    assert len(trials(space)) == 12
    assert len({trial.params["optimizer.lr"] for trial in trials(space)}) == 12
    assert tune(space, "--pruner=none", trials=12) == 0  # nothing is left to do
    assert len(study(space.parent / "study").trials) == 12


@pytest.mark.usefixtures("_quick")
def test_another_seed_draws_other_values(space):
    assert tune(space, "--seed=1", "--sampler=random", trials=2) == 0
    one = [trial.params["optimizer.lr"] for trial in trials(space)]
    (space.parent / "study" / "study.journal").unlink()
    assert tune(space, "--seed=2", "--sampler=random", trials=2) == 0
    assert set(one).isdisjoint(trial.params["optimizer.lr"] for trial in trials(space))


def test_direction_follows_the_metric(space, capsys):
    assert tune(space, "callbacks=loss", "--pruner=none", trials=3) == 0
    (found,) = optuna.get_all_study_summaries(study_storage(space))
    assert found.direction.name == "MINIMIZE"
    assert found.best_trial.value == min(trial.value for trial in trials(space))
    assert "val_loss (min)" in capsys.readouterr().out


def study_storage(space):
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    return JournalStorage(JournalFileBackend(str(space.parent / "study" / "study.journal")))


@pytest.mark.usefixtures("_quick")
def test_failed_trials_are_recorded_and_the_study_continues(space, capsys):
    space.write_text("seed: [13, 1]\n")
    assert tune(space, "--sampler=random", trials=6) == 0
    failed = [trial for trial in trials(space) if trial.state == TrialState.FAIL]
    assert failed
    assert {trial.user_attrs["error"] for trial in failed} == {"RuntimeError: seed 13 brings no luck"}
    run = json.loads((space.parent / "study" / str(failed[0].number) / "run.json").read_text())
    assert (run["status"], run["error"]) == ("failed", "RuntimeError: seed 13 brings no luck")
    assert f"{len(failed)} failed" in capsys.readouterr().out


@pytest.mark.usefixtures("_quick")
def test_nothing_but_failures_is_a_failure(space, capsys):
    space.write_text("seed: [13]\n")
    assert tune(space, trials=2) == 1
    assert "no trial is complete" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("database", [False, True])
def test_two_processes_run_exactly_as_many_trials_as_were_asked_for(space, database):
    url = f"sqlite:///{space.parent}/study.db" if database else None
    arguments = ["--pruner=none", *(["--storage", url] if database else [])]
    both = [process(space, *arguments, sleep=0.02, number=9) for _ in range(2)]
    printed = [each.communicate() for each in both]
    assert [each.returncode for each in both] == [0, 0], printed
    found = trials(space, url)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 9
    assert len({trial.params["optimizer.lr"] for trial in found}) == 9
    assert sum(out.count(": finished, val_bleu") for out, _ in printed) == 9


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_trial_that_was_stopped_is_repeated_with_its_values(space, end):
    with process(space, "--pruner=none", sleep=0.3, number=3) as first:
        running = []
        while not (len(trials(space)) == 2 and (running := trials(space)[1].intermediate_values)):
            assert first.poll() is None
            time.sleep(0.05)
        first.send_signal(end)
        _, errors = first.communicate()
    assert running
    assert first.returncode == (-9 if end == signal.SIGKILL else 130), errors
    assert "Traceback" not in errors
    assert tune(space, "--pruner=none", trials=3) == 0
    found = study(space.parent / "study").trials
    stopped = [trial for trial in found if PUT_BACK in trial.user_attrs]
    assert [trial.number for trial in stopped] == [1]
    assert [trial.state for trial in trials(space)] == [TrialState.COMPLETE] * 3
    (repeated,) = [trial for trial in trials(space) if trial.params == stopped[0].params]
    assert repeated.user_attrs["folder"] == "1"
    folders = sorted(path.parent.name for path in space.parent.glob("study/*/run.json"))
    assert len(folders) == 3
    assert (space.parent / "study" / "1" / "left.txt").read_text() == "xx"  # resumed, in its folder


@pytest.mark.usefixtures("_quick")
def test_a_run_that_ended_before_its_report_to_the_study_is_not_repeated(space):
    assert tune(space, trials=2) == 0
    journal = space.parent / "study" / "study.journal"
    lines = journal.read_text().split("\n")
    last = max(i for i, line in enumerate(lines) if '"values":[' in line)  # the end of trial 1
    journal.write_text("\n".join(lines[:last]) + "\n")
    assert tune(space, trials=2) == 0
    assert [trial.state for trial in trials(space)] == [TrialState.COMPLETE] * 2
    assert (space.parent / "study" / "1" / "left.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("optimizer.lrr: [1, 2]", [], "Could not override 'optimizer.lrr'"),
        ("+optimizer.lrr: [1, 2]", [], "did you mean optimizer.lr?"),
        ("cell: [gruu]", [], "cell=gruu: there"),
        ("encoder.hidden_size: [a]", [], "'a' is not of type int"),
        ("context.score: [dot]\ncontext: [fixed]", [], "needs `when`"),
        ("seed: [1", [], "space.yaml:"),
        ("seed: 3", [], "space.yaml: seed: 3 is neither"),
        ("seed: [1]", ["hydra.run.dir=x"], "choose them with --folder"),
        ("seed: [1]", ["encoder.hiden_size=3"], "seq2seq: error: Could not override 'encoder.hiden_size'"),
        ("seed: [1]", ["--trials=0"], "--trials 0 must be at least 1"),
        ("seed: [1]", ["--storage=nonsense"], "give a database's URL"),
        ("seed: [1]", ["--storage=mysql://me:secret@h/d"], "--storage mysql:…: "),
        ("callbacks: [default, loss]", [], "must be the same in every trial"),
    ],
)
def test_mistakes_are_refused_before_the_first_trial(space, text, arguments, message, capsys):
    space.write_text(text)
    assert tune(space, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "secret" not in error
    assert not list(space.parent.glob("study/*/"))


def test_a_study_cannot_be_resumed_as_another(space, capsys):
    assert tune(space, trials=1) == 0
    assert tune(space, "seed=2", trials=2) == 2
    space.write_text(SPACE.replace("1e-1", "1e-2"))
    assert tune(space, trials=2) == 2
    errors = capsys.readouterr().err
    assert "begun with another overrides (, not seed=2)" in errors
    assert "begun with another space" in errors
    assert len(trials(space)) == 1


def test_dry_run_shows_the_space_and_leaves_nothing(space, capsys):
    assert tune(space, "cell=lstm", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "float 0.0001 … 0.1, log" in shown
    assert "a trial: seq2seq train cell=lstm optimizer.lr=0.0001 context=fixed" in shown
    assert not (space.parent / "study").exists()
