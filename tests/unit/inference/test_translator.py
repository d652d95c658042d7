"""Text in, text out: the same whatever the batch, in order, a line for a line, with bounded memory."""

import itertools
import random

import pytest
import torch

from seq2seq import Translator
from seq2seq.errors import UserError
from seq2seq.inference.batching import LONG, batches
from seq2seq.inference.forced_decoding import ForcedDecoder
from seq2seq.inference.request import TaggedRequest
from seq2seq.inference.stepper import translate_ids
from seq2seq.nn.types import Tokens
from seq2seq.text import BOS, EOS, PAD, WhitespaceTokenizer
from tests.bundles import WORDS, save

DRAW = random.Random(5)
LINES = ["", *(" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 12))) for _ in range(25)), "   ", "a man sleeps", "", "x"]


@pytest.fixture
def translator(tmp_path):
    save(tmp_path / "b")
    return Translator.load(tmp_path / "b")


@pytest.mark.numerical
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell": "lstm", "context": "additive", "decoder": {"context_to": "both"}},
        {"context": "multiplicative", "decoder": {"input_feeding": True, "query": "current", "context_to": "readout"}},
        {"encoder": {"direction": "backward", "num_layers": 2}, "decoder": {"num_layers": 2}},
    ],
    ids=["fixed", "additive", "feeding", "deep"],
)
def test_the_same_whatever_the_batch(tmp_path, changes):
    save(tmp_path / "b", **changes)
    translator = Translator.load(tmp_path / "b")
    options = translator.options(n_best=3, max_length=9)
    expected = translator.translate_full(LINES, options, batch_size=1)
    assert len({tuple(t.text for t in found) for found in expected}) > 10  # the model distinguishes the lines
    for batch_size, chunk in ((3, 4096), (64, 4096), (3, 7)):
        found = list(translator.translate_stream(LINES, options, batch_size=batch_size, chunk=chunk))
        assert [[t.text for t in line] for line in found] == [[t.text for t in line] for line in expected]
        scores, others = ([t.hypothesis.score for line in lines for t in line] for lines in (found, expected))
        assert scores == pytest.approx(others, rel=1e-5, abs=1e-5)
    assert translator.translate(LINES, max_length=9) == [line[0].text for line in expected]
    assert translator(LINES[1]) == translator.translate(LINES[:2])[1]


@torch.no_grad()
def by_hand(model, ids, steps):
    """Greedy search without the search."""
    state, encoded = model.start(model.encode(Tokens(torch.tensor([ids]), torch.tensor([len(ids)]))))
    found = [BOS]
    for _ in range(steps):
        log_probs, state, _ = model.step(torch.tensor(found[-1:]), state, encoded)
        log_probs[:, [BOS, PAD]] = -torch.inf
        found.append(int(log_probs.argmax()))
        if found[-1] == EOS:
            return found[1:-1]
    return found[1:]


@pytest.mark.numerical
def test_greedy_is_the_best_token_at_every_step(translator):
    bundle = translator.bundle
    for line in LINES[1:20]:
        ids = [*bundle.tokenizers.source.encode(line), EOS]
        expected = by_hand(bundle.model, ids, 8)
        assert translator.translate([line], beam_size=1, max_length=8) == [bundle.tokenizers.target.decode(expected)]


def test_ids_have_limits_from_their_lengths(translator):
    sources = Tokens(torch.tensor([[4, 5, 6, 7, 8, EOS], [4, EOS, 0, 0, 0, 0]]), torch.tensor([6, 2]))
    options = translator.options(beam_size=1)
    with torch.no_grad():
        translator.bundle.model.decoder.head.bias[EOS] = -1e9  # it never ends by itself
    found = translate_ids(translator.bundle.model, sources, options)
    assert [len(hypotheses[0].tokens) for hypotheses in found] == [19, 13]  # 1.5 · length + 10
    assert [len(line[0].hypothesis.tokens) for line in translator.translate_full(["a a", "a"], options)] == [15, 13]


def test_lines_without_text_stay_empty(translator):
    lines = ["", "a dog", " ", "\u00a0\t", "a dog", "\r"]
    found = translator.translate_full(lines, translator.options(n_best=2))
    assert [len(line) for line in found] == [1, 2, 1, 1, 2, 1]
    assert [found[i][0].text for i in (0, 2, 3, 5)] == [""] * 4
    assert found[1][0].text == found[4][0].text != ""
    assert translator.translate([]) == []


def test_a_source_that_is_too_long_is_cut_and_named(tmp_path, caplog):
    save(tmp_path / "b")
    translator = Translator.load(tmp_path / "b", max_source=3)
    found = list(translator.translate_stream(["a", "dog", "the red dog sleeps", "the red dog"], chunk=2))
    assert found[2][0].text == found[3][0].text
    assert caplog.messages == ["line 3: its 4 tokens are cut to the first 3"]


def test_a_stream_reads_only_what_it_needs(translator):
    read = []
    endless = (read.append(n) or WORDS[n % len(WORDS)] for n in itertools.count())
    stream = translator.translate_stream(endless, chunk=4)
    assert read == []
    for _ in range(5):
        next(stream)
    assert len(read) == 8


def test_progress_counts_every_line(translator):
    counts = []
    list(translator.translate_stream(LINES, batch_size=3, chunk=20, progress=counts.append))
    assert sum(counts) == len(LINES)
    assert max(counts) <= 3


def test_options_change_what_the_bundle_says(translator):
    assert translator.options() == translator.bundle.search
    options = translator.options(beam_size=4, length_penalty=0.0, n_best=4, max_length=7, return_attention=True)
    assert (options.beam_size, options.length_penalty, options.n_best) == (4, 0.0, 4)
    assert options.return_attention
    assert options.limits(torch.tensor([1, 50])).tolist() == [7, 7]
    assert all(len(line[0].hypothesis.tokens) <= 7 for line in translator.translate_full(LINES, options))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda t, f: t.options(beam_size=0), "beam_size=0"),
        (lambda t, f: t.options(n_best=9), "n_best=9"),
        (lambda t, f: t.translate(["a"], batch_size=0), "batch_size=0"),
        (lambda t, f: t.translate(["a", "der \ud83d Hund", "\udc15"]), r"^line 2 holds U\+D83D, half of a character"),
        (lambda t, f: Translator.load(f, threads=0), "threads=0"),
        (lambda t, f: Translator.load(f, max_source=0), "max_source=0"),
    ],
)
def test_mistakes(translator, tmp_path, mistake, message):
    with pytest.raises(UserError, match=message):
        mistake(translator, tmp_path / "b")


def test_one_string_is_not_many_lines(translator):
    with pytest.raises(TypeError, match="one string"):
        translator.translate("a man sleeps")


def test_threads_are_set_only_when_told(tmp_path):
    save(tmp_path / "b")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        Translator.load(tmp_path / "b")
        assert torch.get_num_threads() == 2
        Translator.load(tmp_path / "b", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_batches_hold_each_line_once_and_stay_small(batch_size):
    lengths = [DRAW.choice((0, 1, 5, 30, 64, 65, 200, 1024)) for _ in range(300)]
    found = list(batches(lengths, batch_size))
    assert sorted(i for batch in found for i in batch) == [i for i, length in enumerate(lengths) if length]
    for batch in found:
        assert len(batch) <= batch_size
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= batch_size * LONG
    assert batch_size in {len(batch) for batch in found}


def test_a_tag_is_read_before_the_text(tmp_path):
    """Against the model by hand; and the attention is to the text alone."""
    symbols = ["<de>", "<fr>"]
    save(tmp_path / "b", tokenizer=WhitespaceTokenizer(WORDS, symbols=symbols), context="additive")
    translator = Translator.load(tmp_path / "b")
    options = translator.options(beam_size=1, n_best=1, max_length=7, return_attention=True)
    ids = [6 + WORDS.index(word) for word in ("a", "man", "sleeps")]
    texts = set()
    for tag, before in ((None, []), ("<de>", [4]), ("<fr>", [5])):
        ((best,),) = translator.translate_full([TaggedRequest("a man sleeps", tag=tag)], options)
        source = Tokens(torch.tensor([[*before, *ids, EOS]]), torch.tensor([len(before) + 4]))
        expected = translate_ids(translator.model, source, options)[0][0]
        assert best.hypothesis.tokens == expected.tokens
        torch.testing.assert_close(best.hypothesis.attention, expected.attention[:, len(before) :], atol=1e-5, rtol=0)
        (forced,) = ForcedDecoder.load(tmp_path / "b").score([("a man sleeps", best.text)], attention=True, tag=tag)
        assert forced.tokens == best.hypothesis.tokens
        steps = len(best.hypothesis.token_log_probs)
        assert forced.token_log_probs[:steps] == pytest.approx(best.hypothesis.token_log_probs, abs=1e-4)
        torch.testing.assert_close(forced.attention[:steps], best.hypothesis.attention, atol=1e-4, rtol=0)
        texts.add(best.hypothesis.log_prob)
    assert len(texts) == 3  # the model tells tags apart
    assert translator.translate([TaggedRequest("", tag="<de>")]) == [""]
    with pytest.raises(UserError, match="--tag <xx>: '<xx>' is no symbol of the tokenizer; it has <de>, <fr>"):
        translator.translate([TaggedRequest("a man", tag="<xx>")])
