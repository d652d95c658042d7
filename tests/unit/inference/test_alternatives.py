"""Alternatives at each step: the probabilities of forced decoding, and prefixes that the search can continue."""

import math
from itertools import pairwise

import pytest

from seq2seq.inference.alternatives import AlternativesTranslator
from seq2seq.inference.forced_decoding import ForcedDecoder
from seq2seq.inference.request import Request
from seq2seq.text import EOS
from tests.bundles import WORDS, save

LINES = ["a man sleeps", "", "the small dog sees a red house in the old house", "woman"]


@pytest.fixture(scope="module", params=["fixed", "additive"])
def folder(tmp_path_factory, request):
    save(tmp_path_factory.mktemp(request.param) / "b", context=request.param)
    return tmp_path_factory.getbasetemp() / f"{request.param}0" / "b"


def test_probabilities_are_those_of_forced_decoding_whatever_the_batch(folder):
    translator, forced = AlternativesTranslator.load(folder), ForcedDecoder.load(folder)
    best = [lines[0] for lines in translator.translate_full(LINES, translator.options(n_best=1))]
    pairs = [(line, each.hypothesis.tokens) for line, each in zip(LINES, best)]
    steps = translator.alternatives(pairs, len(translator.bundle.tokenizers.target))
    alone = [translator.alternatives([pair], len(translator.bundle.tokenizers.target))[0] for pair in pairs]
    assert steps[1] == []
    for line, each, row, other in zip(LINES, best, steps, alone):
        values = [a.probability for step in row for a in step]
        assert values == pytest.approx([a.probability for step in other for a in step], abs=1e-5)
        assert [[a.token for a in step] for step in row] == [[a.token for a in step] for step in other]
        chosen = zip(translator.bundle.tokenizers.target.tokens([*each.hypothesis.tokens, EOS]), row)
        log_probs = [math.log(next(a.probability for a in step if a.token == token)) for token, step in chosen if row]
        (expected,) = forced.score([(line, each.text)])
        assert log_probs == pytest.approx(expected.token_log_probs, abs=1e-5)
        assert all(a.probability >= b.probability for step in row for a, b in pairwise(step))
        assert {a.token for step in row for a in step}.isdisjoint({"<s>", "<pad>"})


def test_a_prefix_is_continued(folder):
    translator = AlternativesTranslator.load(folder)
    ((best,),) = translator.translate_full(LINES[:1], translator.options(n_best=1))
    (steps,) = translator.alternatives([(LINES[0], best.hypothesis.tokens)], 4)
    assert all(len(step) == 4 for step in steps)
    for step in steps[:4]:
        for alternative in step:
            if alternative.token in WORDS:
                (text,) = translator.translate([Request(LINES[0], alternative.prefix)])
                assert text == alternative.prefix or text.startswith(alternative.prefix + " ")
