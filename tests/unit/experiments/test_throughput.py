"""The benchmark: its baseline computes what the project computes, its arithmetic is counted right, and it runs."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from experiments.throughput import checkouts, data, memory, report
from experiments.throughput.learners import Ours, Tutorial, project_model
from experiments.throughput.measure import Done, Spread, alternate
from experiments.throughput.pairs import amounts, bucketed_batches, pad_share, random_batches, synthetic
from experiments.throughput.run import HERE, run
from experiments.throughput.sizes import MULTI30K, PLANS, Amounts, Sizes, training_flops

MICRO = PLANS["micro"]


@pytest.mark.parametrize("model", ["c", "a"])
def test_naive_loop_is_the_same_model(model: str) -> None:
    """The same parameters, and the same losses after each of three updates, on padded batches."""
    ours = project_model(model, MICRO.sizes).double()
    tutorial = Tutorial(model, MICRO.sizes, ours)
    tutorial.model.double()
    learners = Ours(ours), tutorial
    counts = [sum(p.numel() for p in learner.parameters) for learner in learners]
    assert counts[0] == counts[1]
    for batch in random_batches(synthetic(60, 100).train, 8, 3):
        assert pad_share([batch]) > 0.05
        losses = [learner.step(batch) for learner in learners]
        assert losses[0] == pytest.approx(losses[1], rel=1e-7)


def test_arithmetic() -> None:
    """The design's numbers: 36.7 MFLOP a target token for C, two thirds of them softmax, and 48.4 for A. Its readout is
    not described; if it also reads the previous token's vector (0.8 MFLOP, not so here), the counts agree."""
    c, a = (training_flops(model, Sizes(), MULTI30K) / 1e6 for model in ("c", "a"))
    assert c == pytest.approx(36.7, rel=0.005)
    assert a + 6 * 256 * 512 / 1e6 == pytest.approx(48.4, rel=0.01)
    assert 6 * 512 * 8000 / 1e6 / c == pytest.approx(0.67, abs=0.005)
    counted = (
        6 * sum(p.numel() for n, p in project_model("a", Sizes()).named_parameters() if "embedding" not in n)
    ) / 1e6
    everything = training_flops("a", Sizes(), Amounts(1, 1, 1, 0)) / 1e6
    assert everything == pytest.approx(counted, rel=0.01)  # every weight once; biases and the energy's vector are not


def test_batches() -> None:
    train = synthetic(100, 2000).train
    means = [float(side.lengths.float().mean()) for side in random_batches(train, 2000, 1)[0][:2]]
    assert means == pytest.approx([15.3, 15.8], rel=0.02)
    assert pad_share(bucketed_batches(train, 500, 5)) < 0.05 < 0.3 < pad_share(random_batches(train, 128, 3))
    one = random_batches(train, 3, 1)
    assert amounts(one).pairs == sum(s * t for s, t in zip(*(side.lengths.tolist() for side in one[0][:2])))


def test_alternation() -> None:
    """Each run once a round, every other round backwards, after one that does not count."""
    order: list[str] = []

    def make(name: str, units: int):
        return lambda: order.append(name) or Done(units)

    rounds = alternate({"a": make("a", 2), "b": make("b", 1)}, 3, peak_size=8)
    assert order == [*"ab", *"ab", *"ba", *"ab"]
    assert rounds.ratios("a", "b")[0] == rounds["a"][0].rate / rounds["b"][0].rate
    assert Spread.of([3, 1, 2]) == (2, 1, 3)


def test_processes(tmp_path: Path) -> None:
    """What the child processes do."""
    for seed, side in enumerate(("source", "target")):
        data.write_side(tmp_path, side, 200, seed)
    assert data.measure(tmp_path, 0.0)["batches_per_cpu_second"] > 0
    before = torch.get_num_threads()
    assert memory.measure(MICRO, "c", "naive_random", before)["tokens_per_second"] > 0


@pytest.mark.slow
def test_everything_runs(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text((HERE / "README.md").read_text())
    rows = ["train_c", "train_a", "gru_layer", "search_greedy", "search_beam", "lightning_step", "growth"]
    run(MICRO, tmp_path, torch.get_num_threads(), rows)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {*rows, "setting"} == set(results)
    for target in report.TARGETS:
        if target.row in rows and not target.figure.endswith(("joeynmt", "opennmt")):
            figure = results[target.row][target.figure]
            assert figure["min"] <= figure["median"] <= figure["max"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "growth.png",
        "layers.png",
        "search.png",
        "training.png",
    ]
    assert "naive bucketed" in (tmp_path / "README.md").read_text()


def test_two_checkouts_are_compared_in_each_round_and_change_cores() -> None:
    cores: dict[str, list[int]] = {"old": [], "new": []}
    seconds = {"old": iter([1.0, 4.0, 2.0]), "new": iter([2.0, 2.0, 3.0])}

    def speed(who: str, core: int) -> float:
        cores[who].append(core)
        return next(seconds[who])

    row = checkouts.compare("x", 3, {who: partial(speed, who) for who in cores})
    assert row == "| x | 2 | 2 | 1.500 | 0.500 to 2.000 |"
    assert cores == {"old": [0, 1, 0], "new": [1, 0, 1]}
