"""What is asked of single translations, and minimum Bayes risk: text in, text out, whatever the batch."""

import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from seq2seq import Translator
from seq2seq.errors import UserError
from seq2seq.inference.minimum_risk import ExpectedUtility
from seq2seq.inference.request import UNCONSTRAINED, Request, check_requests, token_constraints
from seq2seq.search import SearchOptions
from seq2seq.text import SentencePieceTrainer
from tests.bundles import WORDS, save, tokenizers

TOKENIZER = tokenizers().target
OPTIONS = SearchOptions(bos=2, eos=3, pad=0, beam_size=6, max_length_ratio=0, max_length_extra=8)
REQUESTS = [
    Request("a man sleeps", "the old"),
    "the dog runs",
    Request("a man sees a dog", "", ("red house", "dog")),
    Request(""),
    Request("a woman", "a", ("dog dog", "dog", "in and")),
    "",
    *(Request(" ".join(WORDS[i : i + 4]), constraints=(WORDS[-1 - i],)) for i in range(9)),
]


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "b"
    save(folder, context="additive", decoder={"context_to": "both"})
    return Translator.load(folder)


@pytest.mark.numerical
@pytest.mark.parametrize(
    "changes", [{}, {"diversity_groups": 3}, {"no_repeat_ngram": 2, "coverage_penalty": 0.3}], ids=str
)
def test_a_translation_is_what_was_asked_for_whatever_the_batch(translator, changes):
    options = translator.options(beam_size=6, n_best=3, max_length=8, **changes)
    expected = translator.translate_full(REQUESTS, options, batch_size=64)
    for request, found in zip(REQUESTS, expected, strict=True):
        _, prefix, constraints = request if isinstance(request, Request) else (request, "", ())
        for text, _ in found:
            assert text.startswith(prefix)
            for phrase in constraints:
                padded = f" {text} ".replace(" ", "  ")
                assert padded.count(f" {phrase} ".replace(" ", "  ")) >= constraints.count(phrase)
    for batch_size, chunk in ((1, 4096), (7, 4)):
        found = list(translator.translate_stream(REQUESTS, options, batch_size=batch_size, chunk=chunk))
        assert [[t.text for t in line] for line in found] == [[t.text for t in line] for line in expected]


@pytest.mark.parametrize("prefix", ["", "the"])
def test_draws_depend_on_seed_and_line_alone(translator, prefix):
    lines = [Request(" ".join(WORDS[i % 9 : i % 9 + 3]), prefix) for i in range(20)]
    options = translator.options(sample=True, n_best=4, max_length=8, seed=3)
    expected = [[t.text for t in found] for found in translator.translate_full(lines, options)]
    assert len({tuple(texts) for texts in expected}) == 20  # the same line at two places is drawn anew
    for batch_size, chunk in ((1, 4096), (7, 11)):
        found = translator.translate_stream(lines, options, batch_size=batch_size, chunk=chunk)
        assert [[t.text for t in line] for line in found] == expected


@pytest.mark.parametrize(
    ("request_", "changes", "message"),
    [
        (Request("a dog", "a  dog"), {}, "line 7: the prefix 'a  dog' would come out as 'a dog'"),
        (Request("a dog", "a unicorn"), {}, "line 7: the prefix 'a unicorn' would come out as 'a ⁇'"),
        (Request("a dog", "", ("man", "Dog")), {}, "line 7: the constraint 'Dog' would come out as '⁇'"),
        (Request("a dog", "", ("",)), {}, "line 7: the constraint is empty"),
        (Request(" ", "a"), {}, "line 7: has constraints but no text to translate"),
        (Request("a dog", "a " * 7 + "a"), {}, r"line 7: the prefix 'a a .* may need 9 tokens, .* at most 8;"),
        (
            Request("a dog", "the dog", ("a man", "in the house", "dog and")),
            {},
            r"line 7: the prefix 'the dog' with the constraints 'a man', .* 9 tokens, .* \(--max-length 9\)",
        ),
        (Request("a dog", "", ("man",)), {"sample": True, "n_best": 2}, "line 7: constraints belong to beam search"),
    ],
)
def test_what_cannot_be_had_is_one_line(translator, request_, changes, message):
    options = translator.options(max_length=8, **changes)
    lines = [*["a dog"] * 6, request_]
    with pytest.raises(UserError, match=message):
        check_requests(lines, translator.bundle.tokenizers, options)
    with pytest.raises(UserError, match=message):
        list(translator.translate_stream(lines, options))
    possible = ["a dog", Request("a dog", "a man", ("man sleeps",))]
    check_requests(possible, translator.bundle.tokenizers, translator.options() if changes else options)


def test_constraints_as_tokens_and_the_tightest_limit_that_fits():
    assert token_constraints(Request("a dog"), TOKENIZER, 3, OPTIONS, "line 1") == UNCONSTRAINED
    found = token_constraints(Request("a dog", "the dog", ("dog and",)), TOKENIZER, 3, OPTIONS, "line 1")
    assert found == (tuple(TOKENIZER.encode("the dog")), (tuple(TOKENIZER.encode("dog and")),))
    tight = SearchOptions(bos=2, eos=3, pad=0, max_length_ratio=0, max_length_extra=4)
    assert token_constraints(Request("a dog", "the dog", ("dog and",)), TOKENIZER, 3, tight, "line 1") == found


def test_a_prefix_of_subwords_is_decoded_letter_for_letter():
    lines = ["the old man sees a small house", "a red dog, and 北京", "dogs and houses"] * 30
    tokenizer = SentencePieceTrainer(vocabulary_size=320).train(lines)
    for prefix in ("the o", "a red dog, ", "  two", "ħ 北", "a\u00a0b", "\u2581"):
        prefix_ids = token_constraints(Request("x", prefix), tokenizer, 50, OPTIONS.__class__(2, 3, 0), "line 1").prefix
        for more in range(4, len(tokenizer)):
            assert tokenizer.decode([*prefix_ids, more]).startswith(prefix) or tokenizer.tokens([more])[0].startswith(
                "<0x"
            )


@pytest.mark.parametrize(("metric", "theirs"), [("chrf", CHRF()), ("bleu", BLEU(effective_order=True))])
def test_the_expected_utility_is_the_mean_sentence_score(metric, theirs):
    texts = ["a man sleeps", "a man runs", "a man sleeps", "", "the old man sees a dog"]
    expected = [sum(theirs.sentence_score(h, [y]).score for y in texts) / len(texts) for h in texts]
    assert ExpectedUtility(metric)(texts) == pytest.approx(expected)


def test_an_unknown_metric():
    with pytest.raises(UserError, match="there is no metric 'ter'; choose from chrf, bleu"):
        ExpectedUtility("ter")


def test_minimum_risk_ranks_the_different_draws_by_their_utility(translator):
    options = translator.options(sample=True, n_best=12, max_length=4, temperature=0.5)
    lines, utility = ["a man sleeps", "", "the dog"], ExpectedUtility()
    drawn = translator.translate_full(lines, options)
    ranked = translator.translate_full(lines, options, utility=utility)
    assert ranked[1] == drawn[1]
    for before, after in ((drawn[0], ranked[0]), (drawn[2], ranked[2])):
        texts = [text for text, _ in before]
        expected = dict(zip(texts, utility(texts), strict=True))
        assert {text: hypothesis.score for text, hypothesis in after} == expected
        assert [h.score for _, h in after] == sorted(expected.values(), reverse=True)
        assert len(texts) > len(after)


def test_a_coverage_penalty_needs_attention(tmp_path):
    save(tmp_path / "b")
    translator = Translator.load(tmp_path / "b")
    with pytest.raises(UserError, match=r"search\.coverage_penalty=0\.2: the model has no attention"):
        translator.translate_stream(["a dog"], translator.options(coverage_penalty=0.2))


def test_the_padding_of_a_source_is_not_asked_to_be_covered(translator):
    options = translator.options(coverage_penalty=1.0, n_best=3, max_length=6, return_attention=True)
    line = "a man"
    (alone,) = translator.translate_full([line], options)
    together = translator.translate_full([line, " ".join(WORDS)], options)[0]
    for (_, one), (_, other) in zip(alone, together, strict=True):
        covered = one.attention.sum(0).clamp(max=1).log().sum()
        plain = one.log_prob / options.normaliser(len(one.token_log_probs))
        assert one.score == pytest.approx(plain + float(covered), abs=1e-4)
        assert other.score == pytest.approx(one.score, abs=1e-4)
        assert torch.allclose(other.attention[:, 3:], torch.zeros(()))
