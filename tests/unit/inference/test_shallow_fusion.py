"""A language model in the search: the best of all outputs by enumeration; other tokens are refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq import Translator
from seq2seq.bundle.format import load_bundle, save_bundle
from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.models import LanguageModel, factory
from seq2seq.nn.types import Tokens
from seq2seq.text import BOS, EOS, PAD, BundleTokenizer, Tokenizers, WhitespaceTokenizer, train_tokenizers
from tests import bundles
from tests.conftest import node

WORDS = ["a", "b", "c"]
WEIGHT = 0.7


def save_language_model(folder: Path, tokenizer: Any, seed: int = 5) -> LanguageModel:
    torch.manual_seed(seed)
    stack = node("encoder", "stack", hidden_size=5, cell=node("cell", "lstm"))
    config = {"embedding": {"size": 4}, "encoder": stack, "head": node("head", "linear")}
    sizes = {"target": len(tokenizer)}
    model = factory.language_model(config, sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    save_bundle(
        folder,
        task="language_modeling",
        model=model,
        config=config,
        sizes=sizes,
        tokenizers=Tokenizers(tokenizer, tokenizer, joint=True),
        metrics={},
        search={},
        card="# A card\n",
        provenance={},
    )
    return model.eval()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    tokenizer = WhitespaceTokenizer(WORDS)
    bundles.save(tmp_path / "b", tokenizer=tokenizer, context="additive")
    save_language_model(tmp_path / "lm", tokenizer)
    return tmp_path / "b", tmp_path / "lm"


@torch.no_grad()
def by_enumeration(model: Any, language: LanguageModel, longest: int, weight: float) -> list[tuple[float, list[int]]]:
    """Every output of at most `longest` tokens, the end counted, by both models' teacher-forced probabilities."""
    source = Tokens(torch.tensor([[4, 6, EOS]]), torch.tensor([3]))
    ids = [i for i in range(len(WORDS) + 4) if i not in (PAD, BOS, EOS)]
    outputs = [[*tokens, EOS] for length in range(longest) for tokens in product(ids, repeat=length)]
    outputs += [list(tokens) for tokens in product(ids, repeat=longest)]  # that the limit cuts off
    found = []
    for output in outputs:
        target = torch.tensor([output])
        features = model(source, Tokens(target, torch.tensor([len(output)])))
        own = model.decoder.head.logits(features).log_softmax(-1)
        read = torch.tensor([[EOS, *output[:-1]]])
        features, _ = language(read, language.init_state(1))
        other = language.head.logits(features[0]).log_softmax(-1)
        score = (own + weight * other).gather(1, target.t()).sum()
        found.append((float(score), [i for i in output if i != EOS]))
    return found


def test_the_best_of_all_outputs(folders: tuple[Path, Path]) -> None:
    translator = Translator.load(folders[0])
    options = translator.options(beam_size=200, n_best=5, length_penalty=0.0, max_length=3)
    alone = translator.translate_full(["a c"], options)
    translator.add_language_model(folders[1], WEIGHT)
    (found,) = translator.translate_full(["a c"], options)
    language = load_bundle(folders[1]).model
    scored = by_enumeration(translator.bundle.model, language, 3, WEIGHT)
    ended = {tuple(best.hypothesis.tokens) for best in found if best.hypothesis.finished}
    assert len(ended) == 5
    expected = sorted((item for item in scored if len(item[1]) < 3), reverse=True)[:5]
    assert [best.hypothesis.tokens for best in found] == [tokens for _, tokens in expected]
    assert [best.hypothesis.score for best in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
    assert [best.hypothesis.tokens for best in alone[0]] != [best.hypothesis.tokens for best in found]


def test_the_same_whatever_the_batch_and_with_an_ensemble(folders: tuple[Path, Path]) -> None:
    lines = ["a c", "", "b", "c c c a b", "a"]
    for names in (folders[:1], [folders[0], folders[0]]):
        translator = Translator.load(list(names))
        translator.add_language_model(folders[1], WEIGHT)
        together = translator.translate_full(lines, batch_size=8)
        apart = translator.translate_full(lines, batch_size=1)
        assert [best[0].text for best in together] == [best[0].text for best in apart]
        scores = [[best[0].hypothesis.score for best in found] for found in (together, apart)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_the_command(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").write_text("a c\n\nb\n")
    arguments = ["translate-file", str(folders[0]), str(tmp_path / "in"), str(tmp_path / "out")]
    assert main([*arguments, "--lm", str(folders[1]), "--lm-weight", str(WEIGHT)]) == 0
    translator = Translator.load(folders[0])
    translator.add_language_model(folders[1], WEIGHT)
    assert (tmp_path / "out").read_text().splitlines() == translator.translate(["a c", "", "b"])
    for wrong, message in (
        (["--lm-weight", "0.3"], "is for --lm BUNDLE"),
        (["--lm", str(folders[1]), "--sample"], "leave one of them out"),
        (["--lm", str(folders[1]), "--lm-weight", "-1"], "--lm-weight -1: must be above 0"),
        (["--lm", str(folders[0])], "is a bundle of task=translation"),
    ):
        assert main([*arguments, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_other_tokens_are_refused_and_those_of_the_bundle_can_be_had(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    save_language_model(tmp_path / "other", WhitespaceTokenizer(["a", "c", "b"]))
    translator = Translator.load(folders[0])
    with pytest.raises(
        UserError, match="token 5 is 'b' in the one and 'c' in the other; train it with tokenizer=bundle"
    ):
        translator.add_language_model(tmp_path / "other")
    bundles.save(tmp_path / "two", joint=False)
    sides = load_bundle(tmp_path / "two").tokenizers
    for side, expected in (("target", (sides[1], sides[1])), ("source", sides[:1] * 2), ("both", sides[:2])):
        given = train_tokenizers(BundleTokenizer(str(tmp_path / "two"), side), lambda: [("x", "y")], 1)
        assert [each.fingerprint for each in given[:2]] == [each.fingerprint for each in expected]
    with pytest.raises(UserError, match="nowhere"):
        BundleTokenizer(str(tmp_path / "nowhere")).train([])
