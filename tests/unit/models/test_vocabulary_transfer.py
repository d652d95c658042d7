"""A model in another vocabulary: the same token has the same vector, output and bias; a new one begins at the mean."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from seq2seq.models import EncoderDecoder, factory
from seq2seq.models.vocabulary_transfer import TABLES, carried, transfer
from seq2seq.nn.types import Tokens
from seq2seq.text import SentencePieceTrainer, Tokenizer, Tokenizers, WhitespaceTokenizer
from seq2seq.text.correspondence import old_tokens
from seq2seq.text.extension import ExtendingTrainer, extended
from seq2seq.training.optimization.freezing import freeze
from tests.bundles import WORDS
from tests.conftest import model_config, node

LINES = ["the old man sees a small house", "a red dog runs and sleeps", "women see houses and dogs in red"] * 3
OTHERS = ["ein alter mann sieht das kleine haus", "the dogs sleep in old houses", "katzen und hunde"] * 3


def both(source: Tokenizer, target: Tokenizer | None = None) -> Tokenizers:
    return Tokenizers(source, target or source, joint=target is None)


def made(tokenizers: Tokenizers, seed: int, **changes: Any) -> EncoderDecoder:
    torch.manual_seed(seed)
    sizes = {"source": len(tokenizers.source), "target": len(tokenizers.target)}
    return factory.encoder_decoder(model_config(**changes), sizes).double().eval()


def loss(model: EncoderDecoder, tokenizers: Tokenizers) -> float:
    ids = [[*tokenizer.encode("the dog sees a man"), 3] for tokenizer in tokenizers[:2]]
    source, target = (Tokens(torch.tensor([row]), torch.tensor([len(row)])) for row in ids)
    return float(model.loss(source, target, None))


SHARED: list[dict[str, Any]] = [{}, {"head": "tied"}, {"embedding": {"share": True}}]


@pytest.mark.parametrize("changes", [*SHARED, {"head": "tied", "embedding": {"share": True}}], ids=str)
def test_a_permuted_vocabulary_has_the_same_loss(changes: dict[str, Any]) -> None:
    old = both(WhitespaceTokenizer(WORDS))
    new = both(WhitespaceTokenizer(random.Random(1).sample(WORDS, len(WORDS))))
    start, model = made(old, 0, **changes), made(new, 1, **changes)
    found = transfer(model, start, old, new, "match")
    assert found["target"] == (len(WORDS) + 4, 0, 0, 0)
    assert loss(model, new) == pytest.approx(loss(start, old), abs=1e-12)
    assert list(model.state_dict()) == list(start.state_dict())


@pytest.mark.parametrize("head", ["linear", "tied"])
def test_a_language_model_in_a_permuted_vocabulary(head: str) -> None:
    old = both(WhitespaceTokenizer(WORDS))
    new = both(WhitespaceTokenizer(random.Random(2).sample(WORDS, len(WORDS))))
    stack = node("encoder", "stack", hidden_size=5, cell=node("cell", "gru"))
    config = {"embedding": {"size": 4}, "encoder": stack, "head": node("head", head)}
    torch.manual_seed(3)
    start, model = (factory.language_model(config, {"target": len(old.target)}).double().eval() for _ in range(2))
    transfer(model, start, old, new, "match")
    values = []
    for each, tokenizers in ((start, old), (model, new)):
        ids = torch.tensor([[3, *tokenizers.target.encode("the old man sees a dog"), 3]])
        values.append(float(each.loss(ids[:, :-1], ids[:, 1:], each.init_state(1))[0]))
    assert values[1] == pytest.approx(values[0], abs=1e-12)


@pytest.mark.parametrize("how", ["match", "extend"])
def test_the_same_vocabulary_is_the_same_to_the_bit(how: Any) -> None:
    old = both(WhitespaceTokenizer(WORDS), WhitespaceTokenizer([*WORDS, "und"]))
    start, model = made(old, 0), made(old, 1)
    transfer(model, start, old, old, how)
    for name, weight in start.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name


def test_a_new_token_is_the_mean_of_its_old_ones() -> None:
    """Subwords of another text, by the formula; the means are of the tokens that the old model splits the text into."""
    trainer = SentencePieceTrainer(vocabulary_size=300)
    old, new = both(trainer.train(LINES)), both(trainer.train(OTHERS))
    start, model = made(old, 0), made(new, 1)
    found = transfer(model, start, old, new, "match")["target"]
    assert min(found.same, found.composed) > 10
    plan = old_tokens(old.target, new.target)
    known = {token: i for i, token in enumerate(old.target.tokens(range(len(old.target))))}
    for name in TABLES:
        if name not in start.state_dict():
            continue
        before, after = start.state_dict()[name], model.state_dict()[name]
        for i, token in enumerate(new.target.tokens(range(len(new.target)))):
            ids = [known[token]] if token in known else plan[i]
            torch.testing.assert_close(after[i], before[ids].mean(0))
    word = new.target.encode("katzen")[0]
    text = new.target.decode([word])
    assert plan[word] == old.target.encode(text)


def test_a_token_within_a_word_is_split_as_such() -> None:
    old = SentencePieceTrainer(vocabulary_size=270).train(["ab ba abba"] * 4)
    new = SentencePieceTrainer(vocabulary_size=270).train(["xabab yabab zabab"] * 9)
    tokens = new.tokens(range(len(new)))
    (inner,) = (i for i, token in enumerate(tokens) if token == "abab")
    assert "abab" not in old.tokens(range(len(old)))
    assert old.tokens(old_tokens(old, new)[inner]) == ["ab", "ab"]


def test_words_that_look_like_special_tokens_are_words() -> None:
    old, new = WhitespaceTokenizer(["<s>", "a"]), WhitespaceTokenizer(["a", "<s>", "<pad>"])
    assert old_tokens(old, new) == [[0], [1], [2], [3], [5], [4], []]


def test_what_nothing_old_makes_up_begins_at_the_mean_of_all() -> None:
    rows = torch.randn(7, 3)
    found = carried(rows, [[0], [5], [], [4, 6]])
    expected = torch.stack([rows[0], rows[5], rows[4:].mean(0), (rows[4] + rows[6]) / 2])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("changes", SHARED, ids=str)
def test_new_symbols_begin_apart(changes: dict[str, Any]) -> None:
    """They are no text, so nothing else distinguishes them; their vectors are as long as those of other tokens."""
    names = [f"<{i}>" for i in range(200)]
    trainer = SentencePieceTrainer(vocabulary_size=300)
    old, new = both(trainer.train(LINES)), both(SentencePieceTrainer(vocabulary_size=500, symbols=names).train(LINES))
    start, model = made(old, 0, **changes), made(new, 1, **changes)
    found = transfer(model, start, old, new, "match")["target"]
    assert (found.unknown, found.symbols) == (0, 200)
    before, after = (each.state_dict()["target_embedding.weight"] for each in (start, model))
    rows = after[list(new.target.symbols.values())]
    assert len(rows.unique(dim=0)) == 200
    torch.testing.assert_close(rows.mean(0), before[4:].mean(0), rtol=0, atol=0.4 * float(before.std()))
    torch.testing.assert_close(rows.std(0), before[4:].std(0), rtol=0.3, atol=0)


def test_replaced_tables_are_as_they_were_drawn() -> None:
    old, new = both(WhitespaceTokenizer(WORDS)), both(WhitespaceTokenizer(["x", *WORDS]))
    start, model = made(old, 0), made(new, 1)
    drawn = {name: weight.clone() for name, weight in model.state_dict().items()}
    transfer(model, start, old, new, "replace")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, drawn[name] if name in TABLES else start.state_dict()[name]), name


TRAINERS: dict[str, Callable[[], SentencePieceTrainer]] = {
    "bpe": lambda: SentencePieceTrainer(vocabulary_size=300),
    "unigram": lambda: SentencePieceTrainer(vocabulary_size=284, model_type="unigram"),
    "char": lambda: SentencePieceTrainer(vocabulary_size=None, model_type="char"),
}


@pytest.mark.parametrize("name", TRAINERS)
def test_an_extended_vocabulary_keeps_the_old_ids(name: str) -> None:
    old, new = TRAINERS[name]().train(LINES), TRAINERS[name]().train([*OTHERS, "Ωmega ▁ x"])
    found = extended(old, new)
    tokens = found.tokens(range(len(found)))
    assert tokens[: len(old)] == old.tokens(range(len(old)))
    assert set(tokens) == {*old.tokens(range(len(old))), *new.tokens(range(len(new)))}
    assert len(set(tokens)) == len(tokens)
    for line in [*LINES, *OTHERS, "Ωmega ▁ x", "日本 "]:
        assert found.decode(found.encode(line)) == line
    assert max(found.encode(OTHERS[0])) >= len(old)
    assert extended(old, old) is old
    if name != "unigram":  # whose tokens compete
        assert [found.encode(line) for line in LINES] == [old.encode(line) for line in LINES]


def test_the_trainer_extends_each_side_by_its_own_text() -> None:
    from seq2seq.text import WhitespaceTrainer, train_tokenizers

    old = both(WhitespaceTokenizer(["a", "b"]), WhitespaceTokenizer(["x"]))
    found = train_tokenizers(ExtendingTrainer(WhitespaceTrainer(), old), lambda: [("b c", "y x")], 1)
    assert found.source.tokens(range(4, len(found.source))) == ["a", "b", "c"]
    assert found.target.tokens(range(4, len(found.target))) == ["x", "y"]


@pytest.mark.parametrize("parts", [["encoder", "embedding"], ["decoder"], ["context", "bridge"], ["head"]], ids=str)
def test_frozen_weights_get_no_gradient_and_the_others_theirs(parts: list[str]) -> None:
    tokenizers = both(WhitespaceTokenizer(WORDS))
    ids = Tokens(torch.tensor([[4, 5, 6, 3]]), torch.tensor([4]))
    free, frozen = (made(tokenizers, 0, context="additive").train() for _ in range(2))
    freeze(frozen, parts)
    for model in (free, frozen):
        torch.manual_seed(2)  # of dropout
        model.loss(ids, ids, None).backward()
    gradients = {name: each.grad for name, each in free.named_parameters()}
    left = [name for name, each in frozen.named_parameters() if each.grad is None]
    prefixes = {"embedding": ("source_emb", "target_emb"), "context": ("decoder.context",), "head": ("decoder.head",)}
    named = tuple(prefix for part in parts for prefix in prefixes.get(part, (f"{part}.",)))
    assert left == [name for name in gradients if name.startswith(named)] != []
    for name, each in frozen.named_parameters():
        if each.grad is not None:
            torch.testing.assert_close(each.grad, gradients[name])
