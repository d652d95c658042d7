"""Guided alignment and coverage: against sums by hand, single steps against the fast forward, and links of tokens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq.corpora.alignments import Link, links_of
from seq2seq.corpora.data_module import TranslationData
from seq2seq.corpora.entries import Part
from seq2seq.corpora.files import Parallel
from seq2seq.corpora.store import EncodedPairs, pack
from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.nn.embedding import Dropout
from seq2seq.nn.types import Pairs, Tokens, twice
from seq2seq.text import EOS, SentencePieceTrainer, Tokenizers, WhitespaceTokenizer, WhitespaceTrainer
from seq2seq.training.losses import attention_losses
from seq2seq.training.losses.attention_losses import (
    AttentionLosses,
    TokenLinks,
    check,
    check_options,
    coverage_loss,
    guided_loss,
    stepwise,
    token_links,
)
from tests.bundles import WORDS
from tests.conftest import model_config, node

ATTENTION: list[dict[str, Any]] = [
    {"context": "additive", "decoder": {"context_to": "both"}},
    {"context": "multiplicative", "decoder": {"query": "current", "context_to": "readout"}},
    {"context": "additive", "decoder": {"input_feeding": True, "num_layers": 2}, "cell": "lstm"},
]


def made(**changes: Any) -> Any:
    torch.manual_seed(1)
    return factory.encoder_decoder(model_config(**changes), {"source": 18, "target": 18}).double()


def batch() -> Pairs:
    source = Tokens(torch.tensor([[4, 5, 6, EOS], [7, 8, EOS, 0]]), torch.tensor([4, 3]))
    target = Tokens(torch.tensor([[9, 10, EOS], [11, EOS, 0]]), torch.tensor([3, 2]))
    return Pairs(source, target, torch.tensor([1, 0]))


@pytest.mark.numerical
@pytest.mark.parametrize("changes", ATTENTION, ids=["previous", "current", "feeding"])
def test_single_steps_are_the_forward_with_its_gradients(changes: dict[str, Any]) -> None:
    model, given = made(**changes).eval(), batch()
    features, weights = stepwise(model, given.source, given.target)
    expected = model(given.source, given.target)
    torch.testing.assert_close(features[given.target.mask], expected)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    losses = AttentionLosses(0.0, 0.0, None, np.array([3, 4]))
    found = losses(model, given, label_smoothing=0.1)
    one = torch.autograd.grad(found, list(model.parameters()), allow_unused=True)
    other = torch.autograd.grad(
        model.loss(given.source, given.target, label_smoothing=0.1), list(model.parameters()), allow_unused=True
    )
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


def test_the_terms_by_hand() -> None:
    weights = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]]])
    # min of each place with what was there before: step 2 with step 1, step 3 with both
    expected = (0.1 + 0.3 + 0.1) + (0.6 + 0.2 + 0.2)
    assert float(coverage_loss(weights)) == pytest.approx(expected)
    shares = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 0.5, 0.5]]])
    assert float(guided_loss(weights, shares)) == pytest.approx(-(math.log(0.5) + math.log(0.2)))
    assert torch.isfinite(guided_loss(torch.zeros(1, 1, 2), torch.ones(1, 1, 2)))


def test_the_losses_of_a_batch_find_the_links_of_its_pairs() -> None:
    """Pair 0 is the second of the batch, and has a tag before its source."""
    model, given = made(**ATTENTION[0]).eval(), batch()
    links = TokenLinks(np.array([[0, 0], [0, 1], [2, 1]], dtype=np.int32), np.array([0, 1, 3]))
    lengths = np.array([2, 4])  # of pair 0, without its tag, and of pair 1
    _, weights = stepwise(model, given.source, given.target)
    plain = AttentionLosses(0.0, 0.0, None, lengths)(model, given, label_smoothing=0.0)
    guided = AttentionLosses(0.5, 0.0, links, lengths)(model, given, label_smoothing=0.0)
    by_hand = -0.5 * (weights[0, 1, 0].log() + weights[0, 1, 2].log()) - weights[1, 0, 0 + 1].log()
    assert float(guided - plain) == pytest.approx(0.5 * float(by_hand))
    covered = AttentionLosses(0.0, 2.0, None, lengths)(model, given, label_smoothing=0.0)
    terms = torch.minimum(weights[0, 1], weights[0, 0]).sum() + torch.minimum(weights[1, 1], weights[1, 0]).sum()
    terms = terms + torch.minimum(weights[0, 2], weights[0, 0] + weights[0, 1]).sum()
    assert float(covered - plain) == pytest.approx(2 * float(terms))


@pytest.mark.numerical
def test_with_r_drop_the_terms_are_the_mean_over_both_copies() -> None:
    model, given = made(**ATTENTION[0], embedding={"dropout": 0.4}), batch()
    links = TokenLinks(np.array([[0, 0], [0, 1], [2, 1]], dtype=np.int32), np.array([0, 1, 3]))
    none, both = (AttentionLosses(*weights, links, np.array([2, 4])) for weights in ((0.0, 0.0), (0.5, 2.0)))
    found = []
    for losses in (none, both):
        torch.manual_seed(5)
        found.append(losses(model, given, label_smoothing=0.1, r_drop=0.7))
    torch.manual_seed(5)
    _, weights = stepwise(model, twice(given.source), twice(given.target))
    assert not torch.allclose(*weights.chunk(2))
    terms = []
    for w in weights.chunk(2):
        guided = -0.5 * (w[0, 1, 0].log() + w[0, 1, 2].log()) - w[1, 0, 0 + 1].log()
        terms.append(0.5 * guided + 2 * coverage_loss(w * given.target.mask[..., None]))
    assert float(found[1] - found[0]) == pytest.approx(float(sum(terms)) / 2)
    model.eval()
    for losses in (none, both):
        plain = losses(model, given, label_smoothing=0.1)
        torch.testing.assert_close(losses(model, given, label_smoothing=0.1, r_drop=0.7), plain)


@pytest.mark.numerical
def test_single_steps_drop_recurrent_weights_as_the_forward_does() -> None:
    decoder = {"context_to": "both", "cell": node("cell", "gru", weight_drop=0.5)}
    model, given = made(context="additive", decoder=decoder, embedding={"dropout": 0.0}), batch()
    for module in model.modules():
        if isinstance(module, Dropout):
            module.eval()
    torch.manual_seed(5)
    expected = model(given.source, given.target)
    torch.manual_seed(5)
    features, _ = stepwise(model, given.source, given.target)
    torch.testing.assert_close(features[given.target.mask], expected)
    assert not torch.allclose(model.eval()(given.source, given.target), expected)


def test_guided_training_moves_attention_to_the_links() -> None:
    model, given = made(**ATTENTION[0]), batch()
    links = TokenLinks(np.array([[1, 0], [0, 0], [1, 1]], dtype=np.int32), np.array([0, 1, 3]))
    losses = AttentionLosses(1.0, 0.0, links, np.array([3, 4]))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        losses(model, given, label_smoothing=0.0).backward()
        optimizer.step()
    _, weights = stepwise(model.eval(), given.source, given.target)
    assert weights[0, 0].argmax() == 0
    assert weights[0, 1].argmax() == 1
    assert weights[1, 0].argmax() == 1


def test_links_of_words_are_links_of_all_their_tokens() -> None:
    texts = [("ababa ba", "xyxy"), ("ba", "xy xyxy")]
    source = SentencePieceTrainer(model_type="char", vocabulary_size=None, byte_fallback=False).train(["ababa ba"])
    target = WhitespaceTokenizer(["xy", "xyxy"])
    data = EncodedPairs(
        *(
            pack(side.encode_batch(lines))
            for side, lines in zip((source, target), zip(*texts, strict=True), strict=True)
        )
    )
    given = [("x:1", [Link(1, 0)]), ("x:2", [Link(0, 1), Link(0, 0)])]
    found = token_links(data, Tokenizers(source, target, joint=False), iter(given))
    tokens = source.tokens(source.encode("ababa ba"))
    second = tokens.index("▁", 1)  # where the second word begins
    assert {tuple(row) for row in found.of(0)} == {(s, 0) for s in range(second, len(tokens))}
    assert {tuple(row) for row in found.of(1)} == {(s, t) for s in range(3) for t in range(2)}


def test_links_that_do_not_fit() -> None:
    tokenizer = WhitespaceTokenizer(WORDS)
    data = EncodedPairs(*(pack(tokenizer.encode_batch(["a dog", "a"])) for _ in range(2)))
    both = Tokenizers(tokenizer, tokenizer, joint=True)
    for given, message in (
        ([("f:1", [Link(2, 0)])], "f:1: links word 2 of the source, which has 2, counted from 0"),
        ([("f:1", []), ("f:2", [Link(0, 1)])], "f:2: links word 1 of the target"),
    ):
        with pytest.raises(UserError) as told:
            token_links(data, both, iter(given))
        assert message in str(told.value)


@pytest.mark.parametrize(
    ("changes", "guided", "coverage", "aligned", "message"),
    [
        ({}, 0.1, 0.0, True, "task.guided_alignment=0.1: the model has no attention"),
        ({}, 0.0, 1.0, False, "task.coverage_loss=1.0: the model has no attention"),
        (ATTENTION[0], 0.1, 0.0, False, "there are no links"),
        (ATTENTION[0], 0.0, 0.0, True, "nothing is done with them"),
        (ATTENTION[0] | {"encoder_name": "pyramidal"}, 0.1, 0.0, True, "joins positions"),
        (
            {"context": "additive", "decoder": {"feedback": node("feedback", "free")}},
            *(0.0, 1.0, False),
            "feedback@decoder.feedback=teacher",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], guided: float, coverage: float, aligned: bool, message: str) -> None:
    with pytest.raises(UserError) as told:
        check(made(**changes), guided, coverage, aligned)
    assert message in str(told.value)


def test_what_is_not(tmp_path: Any) -> None:
    check(made(**ATTENTION[0]), 0.1, 1.0, True)
    check(made(), 0.0, 0.0, False)


def test_lines_stay_with_the_pairs_of_their_entry(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("0-0\n\n1-2 2?1\n")
    parts = [Part("x"), Part("y", alignments=str(tmp_path / "a"))]
    found = list(links_of(parts, [0, 2, 5]))
    assert [links for _, links in found] == [[], [], [Link(0, 0)], [], [Link(1, 2), Link(2, 1, False)]]
    assert found[2][0] == f"{tmp_path / 'a'}:1"
    for pairs, message in ((2, "has more lines, and y 2 pairs"), (4, "has 3 lines, and y 4 pairs")):
        with pytest.raises(UserError) as told:
            list(links_of(parts[1:], [0, pairs]))
        assert message in str(told.value)


def test_a_run_has_the_losses_that_it_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for side in ("x", "y"):
        Path(f"c.{side}").write_text("a dog\nthe old man\n" * 4)
    Path("c.align").write_text("0-1 1-0\n2-0\n" * 4)
    corpus = Parallel("x", "y", "c", "c", alignments="c.align")
    data = TranslationData(corpus, WhitespaceTrainer(), seed=1)
    plain = TranslationData(Parallel("x", "y", "c", "c"), WhitespaceTrainer(), seed=1)
    assert data.fingerprint != plain.fingerprint
    config: dict[str, Any] = {"task": {"guided_alignment": 0.1, "coverage_loss": 0.0}, "tokenizer": {}}
    losses = attention_losses.made(config, data)
    assert losses is not None
    assert losses.links is not None
    assert losses.links.of(2).tolist() == [[0, 1], [1, 0]]
    assert losses.links.of(7).tolist() == [[2, 0]]
    assert attention_losses.made({"task": {}}, plain) is None
    model = made(**ATTENTION[0])
    check_options(config, model, corpus)
    with pytest.raises(UserError, match="sampling_alpha=0"):
        check_options(config | {"tokenizer": {"sampling_alpha": 0.1}}, model, corpus)
    with pytest.raises(UserError, match=r"task.loss=risk: .* task.guided_alignment=0.1 .* set it to 0"):
        check_options(config | {"task": config["task"] | {"loss": "risk"}}, model, corpus)
    with pytest.raises(UserError, match="is of one entry"):
        Parallel("x", "y", ["c", "c"], "c", alignments="c.align")
