"""Words that no vocabulary has, from a line of text to its translation, its score and its batches."""

import pytest
import torch

from seq2seq import Translator
from seq2seq.bundle.format import load_bundle
from seq2seq.corpora.unseen import check_one_vocabulary, unseen_tokens, with_unseen
from seq2seq.errors import UserError
from seq2seq.inference.forced_decoding import ForcedDecoder
from seq2seq.nn.types import Pairs, Tokens
from tests.bundles import save, tokenizers

LINES = ["zebra a lion man zebra", "a man sleeps", "", "lion"]
COPYING = {"context": "additive", "head": "pointer", "seed": 4}


@pytest.fixture
def folder(tmp_path):
    """A model that only copies."""
    save(tmp_path / "b", **COPYING)
    bundle = load_bundle(tmp_path / "b")
    with torch.no_grad():
        bundle.model.decoder.head.gate.weight.zero_()
        bundle.model.decoder.head.gate.bias.fill_(-20)
    translator = Translator(bundle)
    return translator, tmp_path / "b"


def test_outputs_have_words_that_no_vocabulary_has_and_no_foreign_ones(folder) -> None:
    translator, _ = folder
    options = translator.options(n_best=1, min_length=4, max_length=6)
    for batch_size in (1, 4):
        texts = [each[0].text for each in translator.translate_full(LINES, options, batch_size=batch_size)]
        assert [bool(text) for text in texts] == [True, True, False, True]
        assert all(set(text.split()) <= set(line.split()) for text, line in zip(texts, LINES, strict=True))
        assert set(texts[3].split()) == {"lion"}


def test_hypotheses_have_tokens_of_the_vocabulary_and_forced_decoding_agrees(folder) -> None:
    translator, _ = folder
    scorer = ForcedDecoder(translator.bundle)
    options = translator.options(n_best=2, max_length=5)
    for line, found in zip(LINES[:2], translator.translate_full(LINES[:2], options), strict=True):
        for each in found:
            assert max(each.hypothesis.tokens, default=0) < 18
            (forced,) = scorer.score([(line, each.text)])
            assert forced.tokens == each.hypothesis.tokens
            steps = len(each.hypothesis.token_log_probs)
            assert forced.token_log_probs[:steps] == pytest.approx(each.hypothesis.token_log_probs, abs=1e-4)


def test_batches_of_training_have_the_ids_of_both_sides() -> None:
    both = tokenizers()
    pairs = [("a man", "a man"), ("zebra a lion", "lion a bear zebra")]
    by_row = unseen_tokens(pairs, both, 4)
    assert by_row == {1: (("zebra", "lion"), [18, 4, 19], [19, 4, 1, 18])}
    source = Tokens(torch.tensor([[1, 4, 1, 3], [4, 5, 3, 0]]), torch.tensor([4, 3]))
    target = Tokens(torch.tensor([[1, 4, 1, 1, 3], [4, 5, 3, 0, 0]]), torch.tensor([5, 3]))
    batch = with_unseen(Pairs(source, target, torch.tensor([1, 0])), by_row)
    assert batch.source.ids.tolist() == [[18, 4, 19, 3], [4, 5, 3, 0]]
    assert batch.target.ids.tolist() == [[19, 4, 1, 18, 3], [4, 5, 3, 0, 0]]
    with pytest.raises(UserError, match=r"one vocabulary for both sides.* tokenizer.joint=true"):
        check_one_vocabulary(tokenizers(joint=False))


def test_an_ensemble_with_a_model_that_does_not_copy(folder, tmp_path) -> None:
    _, copying = folder
    save(tmp_path / "plain", seed=2)
    both = Translator.load([copying, tmp_path / "plain"])
    assert len(both.translate(LINES)) == 4
