"""The NumPy language model learns: its loss falls, a tiny text is overfit and sampled; its command and its errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seq2seq.errors import UserError
from seq2seq.reference.language_model import Schedule, descend, main, read, sample, train
from seq2seq.reference.network import Gradients, Network, initialise

RHYME = "a b c d e, f g h i j. "


def losses(truncate: int | None, epochs: int = 120) -> tuple[list[float], Network]:
    text = read(RHYME)
    size = len(text.vocabulary)
    network = initialise(size, 24, size, np.random.default_rng(0))
    schedule = Schedule(epochs, rate=0.2, window=7, truncate=truncate)
    seen = []
    for loss, trained in train(network, text.ids, schedule):
        seen.append(loss)
        network = trained
    return seen, network


@pytest.mark.parametrize("truncate", [None, 1])
def test_a_tiny_text_is_overfit_and_recited(truncate: int | None) -> None:
    seen, network = losses(truncate)
    text = read(RHYME)
    assert seen[0] > 2
    assert all(later < earlier for earlier, later in zip(seen[::30], seen[30::30]))
    assert seen[-1] < 0.1
    drawn = sample(network, int(text.ids[0]), len(text.ids) - 1, 0.1, np.random.default_rng(0))
    assert "".join(text.vocabulary[i] for i in drawn) == RHYME[1:]


def test_truncation_changes_the_training() -> None:
    """k = 7 reaches every step of a window of 7."""
    assert np.allclose(losses(None, 5)[0], losses(7, 5)[0], rtol=1e-9)
    assert not np.allclose(losses(None, 5)[0], losses(0, 5)[0], rtol=1e-3)


def test_characters_and_words() -> None:
    characters, words = read("ab a"), read("the cat\nthe  dog", words=True)
    assert (characters.vocabulary, characters.ids.tolist(), characters.joint) == ([" ", "a", "b"], [1, 2, 0, 1], "")
    assert (words.vocabulary, words.ids.tolist()) == (["\n", "cat", "dog", "the"], [3, 1, 0, 3, 2])
    with pytest.raises(UserError, match="1 tokens"):
        read("word", words=True)


def test_a_step_is_no_longer_than_the_clip() -> None:
    network = initialise(2, 3, 2, np.random.default_rng(0))
    gradients = Gradients(*(np.full_like(weight, 10.0) for weight in network), np.full(3, 1e9), np.full((1, 2), 1e9))
    moved = descend(network, gradients, Schedule(rate=0.5, clip=2.0))
    length = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(network, moved)))
    assert length == pytest.approx(1.0)
    small = Gradients(*(weight * 1e-3 for weight in network), np.zeros(3), np.zeros((1, 2)))
    np.testing.assert_allclose(descend(network, small, Schedule(rate=0.5)).W, network.W * (1 - 0.5e-3))


def test_the_temperature_sharpens() -> None:
    """Near 0 always the most likely token; at 1 the distribution itself."""
    network = Network(np.zeros((1, 2)), np.zeros((1, 1)), np.zeros((2, 1)), np.zeros(1), np.log([0.8, 0.2]))
    rng = np.random.default_rng(0)
    assert set(sample(network, 0, 50, 0.01, rng)) == {0}
    assert np.mean(sample(network, 0, 500, 1.0, rng)) == pytest.approx(0.2, abs=0.06)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rhyme.txt"
    file.write_text(RHYME * 3, encoding="utf-8")
    arguments = ["--text", str(file), "--words", "--epochs", "2", "--hidden", "4", "--truncate", "2", "--length", "5"]
    assert main(arguments) == 0
    *epochs, drawn = capsys.readouterr().out.rstrip("\n").split("\n")
    assert [line.partition(":")[0] for line in epochs] == ["epoch 1", "epoch 2"]
    assert len(drawn.split(" ")) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--text", "nowhere.txt"], "--text nowhere.txt"),
        (["--rate", "0"], "--rate 0.0 must be above 0"),
        (["--window", "0"], "--window 0 must be at least 1"),
        (["--truncate", "-1"], "--truncate -1 must be at least 0"),
    ],
)
def test_a_users_mistake_is_one_line(
    changes: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rhyme.txt"
    file.write_text(RHYME, encoding="utf-8")
    assert main(["--text", str(file), *changes]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
