"""Intervals in a sweep's leaderboard, and its configurations over seeds: tables, picture, notes and refusals."""

import csv
import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.reporting.bars import leaderboard_figure, over_figure
from seq2seq.reporting.configurations import compare, markdown, repeated, terminal
from seq2seq.reporting.leaderboard import collect
from seq2seq.reporting.tables import terminal as table

BLEUS = {"gru": [30.0, 32.0, 34.0], "lstm": [35.0, 36.0, 40.0], "vanilla": [20.0]}
SIGNATURE = "nrefs:1|bs:1000|seed:12345|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"


def run(cell: str, seed: int, bleu: float | None, **changes: object) -> dict[str, object]:
    score = {"value": bleu, "signature": SIGNATURE, "low": (bleu or 0) - 1, "high": (bleu or 0) + 2}
    test = {} if bleu is None else {"BLEU": score, "TER": {"value": 100 - bleu, "signature": "nrefs:1|t"}}
    found: dict[str, object] = {"status": "finished", "error": None, "test": test, "seed": seed, "val_loss": 1.0}
    return found | {"overrides": ["data=toy", f"cell={cell}", f"seed={seed}"]} | changes


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Seven finished jobs; one that runs, one interrupted with a score, and one half-written."""
    jobs: list[object] = [
        run(cell, seed, bleu) for cell, values in BLEUS.items() for seed, bleu in enumerate(values, 1)
    ]
    jobs += [run("vanilla", 2, None, status="running"), run("vanilla", 3, 99.0, status="interrupted"), '{"status": "fi']
    for number, job in enumerate(jobs):
        (tmp_path / str(number)).mkdir()
        text = job if isinstance(job, str) else json.dumps(job)
        (tmp_path / str(number) / "run.json").write_text(text, encoding="utf-8")
    return tmp_path


def test_numbers_are_scipys(sweep):
    found = compare(collect(sweep), ["seed"])
    assert [each.name for each in found.configurations] == ["cell=lstm", "cell=gru", "cell=vanilla"]
    lstm, gru, vanilla = found.configurations
    summary = gru.summaries["BLEU"]
    assert summary[:3] == (3, 32.0, 2.0)
    expected = scipy.stats.t.interval(0.95, 2, 32.0, scipy.stats.sem(BLEUS["gru"]))
    assert summary.interval == pytest.approx(expected)
    p_value = scipy.stats.ttest_ind(BLEUS["gru"], BLEUS["lstm"], equal_var=False).pvalue
    assert gru.p_values == pytest.approx({"BLEU": p_value, "TER": p_value})
    assert lstm.p_values == {}  # the baseline
    assert vanilla.p_values == {"BLEU": None, "TER": None}
    assert vanilla.summaries["BLEU"] == (1, 20.0, None, None)
    assert gru.runs == ["2", "1", "0"]
    assert any("not counted: 8 (interrupted), 7 (running), 9 (unreadable)" in note for note in found.notes)


def test_permutation_against_a_named_baseline(sweep):
    found = compare(collect(sweep), ["seed"], "cell=gru", "permutation")
    together, real = BLEUS["gru"] + BLEUS["lstm"], 5.0
    sums = [sum(together[i] for i in chosen) for chosen in itertools.combinations(range(6), 3)]
    expected = 2 * np.mean([(2 * each - sum(together)) / 3 >= real - 1e-9 for each in sums])
    assert found.configurations[0].p_values["BLEU"] == pytest.approx(expected)
    assert "permutation test against cell=gru" in " ".join(found.notes)


def test_a_lower_metric_ranks_upwards_and_a_single_best_run_is_no_baseline(tmp_path):
    for number, (lr, seed, value) in enumerate(
        [("a", 1, 3.0), ("a", 2, 4.0), ("b", 1, 9.0), ("b", 2, 8.0), ("c", 1, 1.0)]
    ):
        (tmp_path / str(number)).mkdir()
        test = {"WER": {"value": value, "signature": "s"}}
        job = {"status": "finished", "test": test, "overrides": [f"optimizer.lr={lr}", f"seed={seed}"]}
        (tmp_path / str(number) / "run.json").write_text(json.dumps(job), encoding="utf-8")
    found = compare(collect(tmp_path), ["seed"])
    assert [each.name for each in found.configurations] == [f"optimizer.lr={lr}" for lr in "cab"]
    assert found.configurations[2].p_values["WER"] is not None
    assert "lower is better" in over_figure(found).axes[0].get_title(loc="left")


def test_scores_computed_in_other_ways_are_noted_and_other_seeds_of_intervals_are_not(sweep):
    for number, (old, new) in enumerate([("bs:1000|seed:12345|", ""), ("seed:12345", "seed:7"), ("13a", "zh")]):
        path = sweep / str(number) / "run.json"
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    notes = " ".join(compare(collect(sweep), ["seed"]).notes)
    assert "BLEU was computed in 2 ways (nrefs:1|case:mixed|eff:no|tok:13a" in notes
    assert "TER was" not in notes


def test_command_takes_seeds_together_by_itself(sweep, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["leaderboard", str(sweep)]) == 0
    out = capsys.readouterr().out
    runs, over = out.split("over seed")
    assert max(map(len, runs.split("\n"))) <= 80
    assert runs.split("\n")[3].split()[:6] == ["5", "lstm", "3", "finished", "40.00", "1.50"]
    assert "±95%: half the interval" in runs
    rows = [line.split() for line in over.split("\n")[1:6]]
    assert rows[0] == ["cell", "n", "BLEU", "sd", "95%", "p"]
    assert rows[3][:4] == ["gru", "3", "32.00", "2.00"]
    assert max(map(len, over.split("written")[0].split("\n"))) <= 80
    with (sweep / "leaderboard.over.csv").open(newline="", encoding="utf-8") as file:
        table = {row["cell"]: row for row in csv.DictReader(file)}
    assert (table["gru"]["BLEU mean"], table["gru"]["TER sd"], table["gru"]["runs"]) == ("32.0", "2.0", "2 1 0")
    assert (table["vanilla"]["BLEU sd"], table["vanilla"]["BLEU p"]) == ("", "")
    with (sweep / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        best = next(csv.DictReader(file))
    assert (best["BLEU"], best["BLEU low"], best["BLEU high"]) == ("99.0", "98.0", "101.0")
    assert "TER low" not in best
    text = (sweep / "leaderboard.md").read_text(encoding="utf-8")
    assert " 40.00 [39.00, 42.00] |" in text
    assert "## Over seed" in text
    assert " 32.00 ± 2.00 |" in text
    assert (sweep / "leaderboard.over.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_have_intervals(sweep):
    rows = collect(sweep)
    (axes,) = leaderboard_figure(rows).axes
    ends = [line.get_segments()[0][:, 0] for line in axes.collections]
    assert len(ends) == 8
    assert ends[1] == pytest.approx([39.0, 42.0])
    (axes,) = over_figure(compare(rows, ["seed"])).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([37.0, 32.0, 20.0])
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert [sorted(each) for each in dots] == [BLEUS["lstm"], BLEUS["gru"], BLEUS["vanilla"]]
    assert len(axes.collections) == 2  # one run has no interval


def test_without_intervals_or_repetitions_nothing_is_added(sweep, capsys):
    for number in (1, 2, 4, 5):
        shutil.rmtree(sweep / str(number))
    for path in sweep.glob("*/run.json"):
        path.write_text(path.read_text(encoding="utf-8").replace('"low"', '"l"'), encoding="utf-8")
    rows = collect(sweep)
    assert not repeated(rows)
    assert "±" not in table(rows, 200)
    assert main(["leaderboard", str(sweep)]) == 0
    assert "over seed" not in capsys.readouterr().out
    assert not (sweep / "leaderboard.over.csv").exists()


@pytest.mark.parametrize("end", ["high", math.nan, None])
def test_an_interval_that_is_none(sweep, end):
    """Text makes a job unreadable, as it does for every number; what is no number is no interval."""
    (sweep / "0" / "run.json").write_text(json.dumps(run("gru", 1, 30.0)).replace("32.0", json.dumps(end)))
    (row,) = (row for row in collect(sweep) if row["run"] == "0")
    if end == "high":
        assert (row["status"], row["error"]) == ("unreadable", "run.json: BLEU high is 'high', not a number")
    else:
        assert (row["BLEU"], row["intervals"]) == (30.0, {})


def test_several_keys_and_narrow_terminals(sweep):
    found = compare(collect(sweep), ["seed", "cell"])
    assert [(each.name, len(each.runs)) for each in found.configurations] == [("(all)", 7)]
    assert "|   7 | " in markdown(found)
    assert not any(note.startswith("p:") for note in found.notes)
    text = terminal(compare(collect(sweep), ["seed"]), 24)
    assert text.split("\n")[4].split() == ["gru", "3", "32.00", "0.0638"]
    assert "95%" not in text.split("\n")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--over", "lr"], "--over lr: the jobs do not differ in it; they differ in cell, seed"),
        (["--baseline", "cell=rnn"], "no such configuration; choose from cell=lstm; cell=gru; cell=vanilla"),
    ],
)
def test_refused(sweep, capsys, arguments, message):
    assert main(["leaderboard", str(sweep), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (sweep / "leaderboard.csv").exists()


def test_nothing_to_compare(tmp_path):
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "run.json").write_text(json.dumps(run("gru", seed, None, status="failed")))
    with pytest.raises(UserError, match="no finished run has a score"):
        compare(collect(tmp_path), ["seed"])
