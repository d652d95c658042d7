"""A run that starts from a bundle has its model, also where shapes do not tell; contradictions are refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from seq2seq.bundle.averaging import average, bundle_part
from seq2seq.errors import UserError
from seq2seq.models import equations
from seq2seq.text import (
    CharacterTokenizer,
    LetterTokenizer,
    SentencePieceTrainer,
    Tokenizers,
    WhitespaceTokenizer,
    WhitespaceTrainer,
    description,
)
from seq2seq.training.start import init_from
from seq2seq.training.start.resuming import differences
from tests import bundles
from tests.configurations import composed
from tests.conftest import model_config


def run(start: Path, **changes: Any) -> dict[str, Any]:
    """A run's configuration with a small model."""
    return {**copy.deepcopy(composed("translation")), **model_config(**changes), "init_from": str(start)}


SAME_SHAPES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("encoder.cell.reset", {}, {"reset": "before"}),
    ("encoder.cell.update", {}, {"update": "write"}),
    ("encoder.cell.activation", {"cell": "vanilla"}, {"activation": "relu"}),
    ("encoder.cell.activation", {"cell": "min_gru"}, {"activation": "linear"}),
    ("encoder.cell.update", {"cell": "layer_norm_gru"}, {"update": "write"}),
]


@pytest.mark.parametrize(("key", "base", "cell"), SAME_SHAPES)
def test_cells_of_the_same_shapes(tmp_path: Path, key: str, base: dict[str, Any], cell: dict[str, Any]) -> None:
    bundles.save(tmp_path / "a", **base)
    config = run(tmp_path / "a", **base)
    config["encoder"]["cell"] |= cell
    value = next(iter(cell.values()))
    with pytest.raises(UserError, match=f"{key}={value}"):
        init_from.adopted(config, [f"{key}={value}"])
    found = init_from.adopted(config, ["optimizer.lr=1"])
    assert found["encoder"]["cell"] == run(tmp_path / "a", **base)["encoder"]["cell"]
    init_from.check(found)
    with pytest.raises(UserError, match="init_from"):  # who comes by another way
        init_from.check(config)


@pytest.mark.parametrize(
    ("changes", "override", "remedy"),
    [
        ({"decoder": {"query": "current"}}, "decoder.query=current", "use decoder.query=previous"),
        ({"decoder": {"residual": True}}, "decoder.residual=true", "use decoder.residual=false"),
        ({"context": "additive"}, "context=additive", "use context=fixed"),
        ({"cell": "mgu"}, "cell=mgu", "cell@encoder.cell=gru"),
        ({"bridge": "zero"}, "bridge=zero", "use bridge=linear"),
        ({"encoder": {"hidden_size": 5}}, "encoder.hidden_size=5", "use encoder.hidden_size=4"),
        ({"encoder": {"direction": "backward"}}, "encoder.direction=backward", "use encoder.direction=both"),
        ({"embedding": {"share": True}}, "embedding.share=true", "use embedding.share=false"),
        ({"head": "tied"}, "model=bahdanau2015", "use head=linear"),
    ],
)
def test_overrides_that_contradict(tmp_path: Path, changes: dict[str, Any], override: str, remedy: str) -> None:
    bundles.save(tmp_path / "a")
    config = run(tmp_path / "a", **changes)
    with pytest.raises(UserError) as told:
        init_from.adopted(config, [override])
    assert remedy in str(told.value)
    assert f"init_from={tmp_path / 'a'}" in str(told.value)
    found = init_from.adopted(config, ["seed=3"])
    model, adopted = ({key: each[key] for key in model_config()} for each in (run(tmp_path / "a"), found))
    assert list(equations.differences(model, adopted)) == []


def test_what_is_of_training_only_is_the_runs_own(tmp_path: Path) -> None:
    bundles.save(tmp_path / "a")
    config = run(tmp_path / "a", encoder={"dropout": 0.7, "path": "step"}, embedding={"word_dropout": 0.1})
    config["decoder"]["feedback"] = {"_target_": "seq2seq.nn.scheduled_sampling.FreeRunning", "choice": "argmax"}
    config["encoder"]["cell"]["init"] = "orthogonal"
    found = init_from.adopted(config, ["encoder.dropout=0.7", "feedback@decoder.feedback=free"])
    for name in model_config():
        assert found[name] == config[name]


def test_a_bundle_of_before_an_option_has_its_default(tmp_path: Path) -> None:
    bundles.save(tmp_path / "a")
    now, before = model_config(), model_config()
    del before["encoder"]["cell"]["update"], before["decoder"]["recurrence"], before["embedding"]["share"]
    before["encoder"]["cell"]["_target_"] = "seq2seq.nn.cells.gru.GRU"
    assert list(equations.differences(now, before)) == []


def test_another_task_and_no_bundle(tmp_path: Path) -> None:
    bundles.save(tmp_path / "a")
    config = {**copy.deepcopy(composed("tagging")), "init_from": str(tmp_path / "a")}
    with pytest.raises(UserError, match="is a bundle of task=translation, and this run's is task=tagging"):
        init_from.adopted(config, [])
    with pytest.raises(UserError, match="no such folder"):
        init_from.adopted({**config, "init_from": str(tmp_path / "b")}, [])


def test_tokenizers_are_recorded_as_they_are(tmp_path: Path) -> None:
    bundles.save(tmp_path / "a", joint=False)
    config = run(tmp_path / "a")  # tokenizer=sentencepiece, which nobody typed
    true = {"_target_": "seq2seq.text.WhitespaceTrainer", "lowercase": False, "joint": False}
    assert init_from.adopted(config, ["seed=1"])["tokenizer"] == true
    with pytest.raises(UserError, match="tokenizer=whitespace, and this run asks for tokenizer=sentencepiece"):
        init_from.adopted(config, ["tokenizer=char"])
    config["tokenizer"] = {"_target_": "seq2seq.text.WhitespaceTrainer", "joint": True, "lowercase": True}
    assert init_from.adopted(config, ["tokenizer=whitespace"])["tokenizer"] == true
    with pytest.raises(UserError, match=r"tokenizer\.lowercase=false"):
        init_from.adopted(config, ["tokenizer=whitespace", "tokenizer.lowercase=true"])


def test_description_of_every_kind() -> None:
    char = SentencePieceTrainer(model_type="char", vocabulary_size=None, byte_fallback=False).train(["abc", "abd"])
    found = description(Tokenizers(char, char, joint=True))
    assert found["model_type"] == "char"
    assert (found["normalization"], found["byte_fallback"], found["joint"]) == ("identity", False, True)
    assert found["vocabulary_size"] == len(char)
    g2p = description(Tokenizers(LetterTokenizer("ab"), WhitespaceTokenizer(["a"]), joint=False))
    assert g2p["source"]["_target_"] == "seq2seq.text.LetterTrainer"
    letters = CharacterTokenizer("ab")
    assert description(Tokenizers(letters, letters, joint=True))["_target_"] == "seq2seq.text.CharacterTrainer"


def test_a_run_of_before_is_resumed_whatever_it_says_of_its_tokenizer() -> None:
    now = {"init_from": "a", "tokenizer": {"model_type": "char"}}
    assert list(differences(now, {"init_from": "a", "tokenizer": {"model_type": "bpe"}})) == []
    assert list(differences({**now, "init_from": None}, {"init_from": None, "tokenizer": {"model_type": "bpe"}}))


def test_no_mean_of_other_equations(tmp_path: Path) -> None:
    bundles.save(tmp_path / "a")
    changed = model_config()["encoder"]["cell"] | {"reset": "before"}
    bundles.save(tmp_path / "b", encoder={"cell": changed})
    with pytest.raises(UserError, match=r"encoder\.cell\.reset='after'.*'before'"):
        average([bundle_part(tmp_path / "a"), bundle_part(tmp_path / "b")], tmp_path / "c", command="")


def test_a_vocabulary_of_the_runs_own(tmp_path: Path) -> None:
    bundles.save(tmp_path / "a", joint=False)
    own = {"_target_": "seq2seq.text.WhitespaceTrainer", "joint": False, "vocabulary_size": 7}
    config = run(tmp_path / "a") | {"tokenizer": own, "init_vocabulary": "match"}
    assert init_from.adopted(config, ["tokenizer=whitespace"])["tokenizer"] == own
    init_from.check(init_from.adopted(config, []))
    config["init_vocabulary"] = "extend"
    found = init_from.adopted(config, ["tokenizer=whitespace", "tokenizer.vocabulary_size=7"])["tokenizer"]
    assert found == own | {"lowercase": False}
    config["tokenizer"] = {"_target_": "seq2seq.text.SentencePieceTrainer", "vocabulary_size": 300}
    assert init_from.adopted(config, [])["tokenizer"]["_target_"] == own["_target_"]
    with pytest.raises(UserError, match="tokenizer=whitespace, and this run asks for tokenizer=sentencepiece"):
        init_from.adopted(config, ["tokenizer=sentencepiece"])


def test_a_vocabulary_of_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set init_from=BUNDLE"):
        init_from.check({**composed("translation"), "init_vocabulary": "match"})


def test_who_trains_the_tokenizers(tmp_path: Path) -> None:
    bundles.save(tmp_path / "a", joint=False)
    trainer = WhitespaceTrainer()
    for how, trains, kept in ((None, False, True), ("match", False, False), ("extend", True, False)):
        config = run(tmp_path / "a") | {"init_vocabulary": how}
        made, tokenizers = init_from.starting_tokenizers(config, trainer)
        assert (made is not trainer, tokenizers is not None) == (trains, kept)
    assert init_from.starting_tokenizers(composed("translation"), trainer) == (trainer, None)
