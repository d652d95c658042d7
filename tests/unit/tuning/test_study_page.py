"""The page of a study's pictures: all of them, in one file that needs no network."""

import pytest

optuna = pytest.importorskip("optuna")

from seq2seq.tuning.plots import save_plots  # noqa: E402

PICTURES = ["Optimization History", "at each validation", "Slice Plot", "Parallel Coordinate", "Importances"]


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(study_name="a < b", sampler=optuna.samplers.RandomSampler(seed=1))


def objective(trial):
    value = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
    if trial.suggest_categorical("context", ["fixed", "additive"]) == "fixed":
        trial.suggest_int("depth", 1, 3)
    trial.report(2 * value, 0)
    if trial.number == 3:
        raise optuna.TrialPruned
    return value


@pytest.mark.parametrize(("trials", "pictures"), [(8, PICTURES), (1, PICTURES[:4])])
def test_all_pictures_in_one_file(study, tmp_path, trials, pictures):
    study.optimize(objective, n_trials=trials)
    save_plots(study, "val_bleu", tmp_path / "study.html")
    page = (tmp_path / "study.html").read_text(encoding="utf-8")
    assert [name for name in PICTURES if name in page] == pictures
    assert "<h1>a &lt; b</h1>" in page
    assert "<script src=" not in page
    assert page.count("Plotly.newPlot(") >= len(pictures)


def test_nothing_is_drawn_of_nothing(study, tmp_path):
    save_plots(study, "val_bleu", tmp_path / "study.html")
    assert list(tmp_path.iterdir()) == []
