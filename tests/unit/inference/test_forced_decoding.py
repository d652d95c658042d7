"""Given translations get the log-probabilities that the search gives to its own, whatever the batch."""

import math
import random

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.inference.forced_decoding import ForcedDecoder
from seq2seq.nn.types import Tokens
from seq2seq.text import EOS
from tests.bundles import WORDS, save

DRAW = random.Random(5)
SOURCES = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 12))) for _ in range(20)]
PAIRS = [(source, " ".join(DRAW.choices([*WORDS, "zebra"], k=DRAW.randint(0, 9)))) for source in SOURCES]
ATTENTION = {"context": "additive", "decoder": {"context_to": "both"}}
LSTM = {"cell": "lstm", "decoder": {"num_layers": 2}}
MODELS = {"fixed": {}, "additive": ATTENTION, "monotonic": {"context": "monotonic"}, "lstm": LSTM}


@pytest.fixture(params=[*MODELS, "ensemble"])
def decoder(request, tmp_path):
    chosen = ["additive", "lstm"] if request.param == "ensemble" else [request.param]
    for name in chosen:
        save(tmp_path / name, **MODELS[name])
    return ForcedDecoder.load([tmp_path / name for name in chosen])


@pytest.mark.numerical
def test_the_search_agrees_about_its_own_output(decoder):
    options = decoder.options(n_best=3, return_attention=True)
    found = [(s, t) for s, line in zip(SOURCES, decoder.translate_full(SOURCES, options), strict=True) for t in line]
    found = [(source, best) for source, best in found if "⁇" not in best.text]
    assert len(found) > 20
    forced = decoder.score([(source, best.text) for source, best in found], attention=True, batch_size=4)
    for (_, best), one in zip(found, forced, strict=True):
        assert one.tokens == best.hypothesis.tokens
        steps = len(best.hypothesis.token_log_probs)  # without an end where the limit came first
        assert one.token_log_probs[:steps] == pytest.approx(best.hypothesis.token_log_probs, abs=1e-4)
        if best.hypothesis.finished:
            assert one.log_prob == pytest.approx(best.hypothesis.log_prob, abs=1e-4)
        if one.attention is None:
            assert best.hypothesis.attention is None
            continue
        if decoder.models[0].decoder.marginal and not best.hypothesis.finished:
            continue  # with an end, which the given text has, the posterior is another
        size = min(one.attention.size(1), best.hypothesis.attention.size(1))
        torch.testing.assert_close(one.attention[:steps, :size], best.hypothesis.attention[:, :size], atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_pair_against_teacher_forcing(tmp_path):
    """Against the teacher-forced forward of training, which knows no steps."""
    model = save(tmp_path / "b", spread=1, **ATTENTION)
    (found,) = ForcedDecoder.load(tmp_path / "b").score([("a man sleeps", "dog zebra")])
    target = Tokens(torch.tensor([[7, 1, EOS]]), torch.tensor([3]))
    features = model(Tokens(torch.tensor([[4, 5, 8, EOS]]), torch.tensor([4])), target)
    expected = model.decoder.head.logits(features).log_softmax(-1).gather(1, target.ids.t())[:, 0]
    assert found.token_log_probs == pytest.approx(expected.tolist(), abs=1e-5)
    assert found.log_prob == pytest.approx(float(expected.sum()), abs=1e-5)
    assert found.mean_log_prob == pytest.approx(float(expected.mean()), abs=1e-5)


@pytest.mark.numerical
def test_the_same_whatever_the_batch_and_in_order(decoder):
    expected = [next(decoder.score([pair])).token_log_probs for pair in PAIRS]
    for batch_size, chunk in ((1, 4), (3, 4096), (64, 7)):
        found = [one.token_log_probs for one in decoder.score(PAIRS, batch_size=batch_size, chunk=chunk)]
        assert [pytest.approx(row, rel=1e-5, abs=1e-5) for row in expected] == found


def test_a_source_without_text_has_the_empty_translation_only(decoder):
    found = list(decoder.score([("", ""), (" ", "a dog"), ("a dog", "")]))
    assert [one.log_prob for one in found[:2]] == [0.0, -math.inf]
    assert (found[0].token_log_probs, len(found[2].token_log_probs)) == ([], 1)
    assert found[2].log_prob < 0


def test_equal_length_has_no_end(tmp_path):
    save(tmp_path / "b")
    decoder = ForcedDecoder.load(tmp_path / "b")
    options = decoder.options()
    decoder.bundle = decoder.bundle._replace(search=type(options)(2, 3, 0, beam_size=2, equal_length=True))
    ((best,),) = decoder.translate_full(["a man sleeps"])
    (found,) = decoder.score([("a man sleeps", best.text)])
    assert len(found.token_log_probs) == 3
    assert found.log_prob == pytest.approx(best.hypothesis.log_prob, abs=1e-4)


def test_streams_and_counts(decoder):
    read, counts = [], []
    stream = decoder.score((read.append(1) or pair for pair in PAIRS), chunk=4, batch_size=3, progress=counts.append)
    next(stream)
    assert len(read) == 4
    list(stream)
    assert sum(counts) == len(PAIRS)
    with pytest.raises(UserError, match="batch_size=0"):
        decoder.score(PAIRS, batch_size=0)
