"""Intervals and p-values against sacreBLEU, its command line, brute force and scipy."""

import itertools
import json
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sacrebleu.metrics import BLEU, CHRF, TER

from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.scoring import Resampling, Scorer
from seq2seq.scoring.measurement import Measurement, share
from seq2seq.scoring.seeds import Summary, permutation, summarize, welch


def corpus(lines: int, errors: float, seed: int) -> list[str]:
    """Sentences of which every word is wrong with a probability; the references are those without errors."""
    words, wrong = random.Random(0), random.Random(seed)
    sentences = [[words.choice("abcdefgh") for _ in range(words.randint(3, 12))] for _ in range(lines)]
    return [" ".join(word if wrong.random() > errors else "x" for word in sentence) for sentence in sentences]


REFERENCES, OTHERS = corpus(60, 0, 0), corpus(60, 0.1, 9)
SYSTEM, BASELINE = corpus(60, 0.2, 1), corpus(60, 0.3, 2)


@pytest.mark.parametrize(("metric", "oracle"), [("bleu", BLEU()), ("chrf", CHRF()), ("ter", TER())])
def test_interval_and_signature_are_sacrebleus(metric, oracle):
    (score,) = Scorer([metric])(SYSTEM, [REFERENCES, OTHERS], Resampling(200)).values()
    expected = oracle.corpus_score(SYSTEM, [REFERENCES, OTHERS], n_bootstrap=200)
    low, high = score.interval
    assert low < score.value < high
    assert ((high - low) / 2, score.value) == pytest.approx((expected._ci, expected.score), rel=1e-6)
    assert score.signature == str(oracle.get_signature())


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for name, lines in {"reference": REFERENCES, "baseline": BASELINE, "system": SYSTEM}.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        paths.append(str(tmp_path / name))
    return paths


@pytest.mark.parametrize(
    ("test", "samples", "metrics"),
    [("bs", 300, {"BLEU": "BLEU"}), ("ar", 500, {"BLEU": "BLEU", "chrF": "chrF2", "TER": "TER"})],
)
def test_command_equals_sacrebleus_command(files, capsys, test, samples, metrics):
    """Of the bootstrap BLEU only: sacreBLEU 2.6.0 cannot write the others' 32-bit numbers as JSON."""
    reference, *systems = files
    common = [reference, "-i", *systems, "-m", *map(str.lower, metrics), "-f", "json", f"--paired-{test}"]
    command = [sys.executable, "-m", "sacrebleu", *common, f"--paired-{test}-n", str(samples)]
    oracle = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert main(["score", *common, "--samples", str(samples)]) == 0
    found = json.loads(capsys.readouterr().out)
    for system, expected in zip(systems, oracle, strict=True):
        for name, theirs in metrics.items():
            ours = found[system][name]
            assert ours["value"] == pytest.approx(expected[theirs]["score"])
            assert ours.get("p_value") == pytest.approx(expected[theirs]["p_value"])
            assert ours["signature"].startswith(f"nrefs:1|{test}:{samples}|seed:12345|")


def test_randomisation_converges_to_all_exchanges_of_lines():
    """Nine lines, so 512 ways to exchange them between the two systems: what the random ones sample."""
    one, other = np.array([1, 1, 0, 1, 1, 0, 1, 1, 1.0]), np.array([0, 1, 0, 0, 0, 1, 1, 0, 0.0])
    system, baseline = (
        Measurement("m", "nrefs:1|x:y", np.stack([each, np.ones(9)], 1), share) for each in (one, other)
    )
    differences = [abs(np.where(mask, one - other, other - one).sum()) for mask in itertools.product([0, 1], repeat=9)]
    expected = np.mean(np.array(differences) > abs((one - other).sum()))
    assert system.p_value(baseline, "ar", 20_000) == pytest.approx(expected, abs=0.01)
    assert system.p_value(baseline, "bs", 1000) > 0
    assert system.interval(1000) == pytest.approx((100 * 3 / 9, 100.0), abs=12)


def test_any_lines_are_scored_by_their_own_statistics():
    lines = [3, 5, 8, 13]
    for measured in Scorer(["bleu", "chrf++", "ter", "exact", "wer-words"]).measure(SYSTEM, REFERENCES):
        alone = Scorer([measured.name.lower()])([SYSTEM[i] for i in lines], [REFERENCES[i] for i in lines])
        assert measured.of(lines).value() == pytest.approx(alone[measured.name].value)


def test_seed_is_sacrebleus_and_is_in_the_signature(monkeypatch):
    def score() -> object:
        return Scorer(["bleu"])(SYSTEM, REFERENCES, Resampling(200))["BLEU"]

    first = score()
    assert score() == first
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    assert score().interval != first.interval
    assert "|seed:7|" in score().signature
    monkeypatch.setenv("SACREBLEU_SEED", "soon")
    with pytest.raises(UserError, match="SACREBLEU_SEED=soon"):
        score()


RUNS = [31.0, 33.0, 35.0], [36.5, 35.5, 39.0, 37.0]


def test_summary_by_its_definition():
    """t of two degrees of freedom is 4.302653 at 97.5%."""
    assert summarize([5.0]) == Summary(1, 5.0)
    found = summarize(RUNS[0])
    assert found[:3] == (3, 33.0, 2.0)
    assert found.interval == pytest.approx((33 - 4.302653 * 2 / math.sqrt(3), 33 + 4.302653 * 2 / math.sqrt(3)))


def test_permutation_goes_through_all_partitions():
    together = [*RUNS[0], *RUNS[1]]
    real = np.mean(RUNS[0]) - np.mean(RUNS[1])
    differences = []
    for chosen in itertools.combinations(range(7), 3):
        one = [together[i] for i in chosen]
        other = [together[i] for i in range(7) if i not in chosen]
        differences.append(np.mean(one) - np.mean(other))
    expected = 2 * min(np.mean(np.array(differences) <= real + 1e-9), np.mean(np.array(differences) >= real - 1e-9))
    assert permutation(*RUNS) == pytest.approx(expected)
    assert permutation(*RUNS) == permutation(*RUNS[::-1])


def test_welch_by_its_equations():
    one, other = map(np.array, RUNS)
    errors = one.var(ddof=1) / 3, other.var(ddof=1) / 4
    t = (one.mean() - other.mean()) / math.sqrt(sum(errors))
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / 2 + errors[1] ** 2 / 3)
    assert welch(*RUNS) == pytest.approx(2 * scipy.stats.t.sf(abs(t), freedom))


@pytest.mark.parametrize(("one", "other"), [([1.0], [2.0, 3.0]), ([1.0, 2.0], [3.0])])
def test_one_run_has_no_p_value(one, other):
    assert welch(one, other) is None
    assert permutation(one, other) is None


def test_runs_without_variance():
    assert welch([1.0, 1.0], [2.0, 2.0]) is None
    assert permutation([1.0, 1.0], [2.0, 2.0]) == pytest.approx(1 / 3)
