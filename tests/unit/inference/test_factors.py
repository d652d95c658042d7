"""Words, tags and unknown tokens of sources with factors are those of the text alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq.bundle.format import Bundle
from seq2seq.corpora.factored import with_values
from seq2seq.errors import UserError
from seq2seq.inference.alignment import Aligner
from seq2seq.inference.ensemble import check_members
from seq2seq.inference.protection import ProtectingTranslator
from seq2seq.inference.request import TaggedRequest, check_requests
from seq2seq.inference.translator import Translator
from seq2seq.models import factory
from seq2seq.models.source_factors import factor_sizes
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD, Tokenizers, WhitespaceTokenizer
from seq2seq.text.factors import train_factors
from tests.conftest import model_config

OPTIONS = SearchOptions(bos=BOS, eos=EOS, pad=PAD, beam_size=2)


def bundle_of(head: str = "linear", *, factors: bool = True, **options: Any) -> Bundle:
    """A random model of words and, with `factors`, their parts of speech; <x> is a tag."""
    torch.manual_seed(0)
    words = WhitespaceTokenizer(["the", "man", "sleeps"], symbols=["<x>"])
    read = train_factors(["pos"], ["the man\tDET NOUN"]) if factors else None
    tokenizers = Tokenizers(words, words, joint=True, factors=read)
    embedding = {"factors": {"pos": 3}} if factors else None
    config = model_config(context="additive", head=head, embedding=embedding, **options)
    sizes = {"source": len(words), "target": len(words)} | factor_sizes(tokenizers)
    model = factory.encoder_decoder(config, sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return Bundle("translation", model.eval(), tokenizers, config, {}, OPTIONS, {})


def test_attention_is_to_the_words_of_the_text() -> None:
    translator = Translator(bundle_of())
    aligner = translator.aligner()
    assert isinstance(aligner, Aligner)
    assert len(aligner.source_ids("the man\tDET NOUN")) == 2
    weights = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1]])
    for text in ("the man\tDET NOUN", "the man"):
        assert aligner.pharaoh(text, [6, 5], weights) == "0-0 1-1"
        assert aligner.matrix(text, [6, 5], weights).shape == (2, 3)
        assert aligner.copy_unknown(text, [1, 5], weights) == "the the"
    assert list(translator.show("the man\tDET NOUN").source) == ["the", "man", "</s>"]


def test_a_tag_has_no_factors_and_lines_do_not_depend_on_others() -> None:
    translator = Translator(bundle_of(), max_source=3)
    options = translator.options(n_best=1, return_attention=True)
    lines = ["the man\tDET NOUN", "the man sleeps the\tDET NOUN VERB DET", "sleeps\tXX"]
    for tag in (None, "<x>"):
        requests = [TaggedRequest(line, tag=tag) for line in lines]
        together = translator.translate_full(requests, options)
        for request, (best, *_) in zip(requests, together, strict=True):
            ((alone, *_),) = translator.translate_full([request], options)
            assert alone.text == best.text
            assert best.hypothesis.score == pytest.approx(alone.hypothesis.score, abs=1e-4)
            assert best.hypothesis.attention.size(1) >= 2
    other = translator.translate_full(["the man\tNOUN DET"], options)[0][0].hypothesis.score
    assert abs(other - translator.translate_full([lines[0]], options)[0][0].hypothesis.score) > 1e-4
    encoded = translator._encode([(0, TaggedRequest("the x\tDET Q", tag="<x>"))], options)[0]
    assert encoded.source == [(4, 0), (5, 4), (1, 1), (3, 0)]


def test_unknown_words_are_copied() -> None:
    translator = Translator(bundle_of("pointer"))
    (line,) = translator._encode([(0, "the zebra\tDET NOUN")], OPTIONS)
    assert line.unseen == ("zebra",)
    assert line.source == [(5, 4), (8, 5), (3, 0)]
    assert translator.translate(["the zebra"], factors={"pos": ["DET NOUN"]}) == [translator("the zebra\tDET NOUN")]


def test_what_knows_of_no_factors_is_refused() -> None:
    one, other = bundle_of(), bundle_of(factors=False)
    with pytest.raises(UserError, match="their factors differ"):
        check_members([one, other], ["a", "b"])
    with pytest.raises(UserError, match="spans have no factors"):
        ProtectingTranslator(one).protect("x")
    with pytest.raises(UserError, match=r"factors=\{'pos': …\}: this bundle reads no factors; leave pos out"):
        Translator(other).translate(["the"], factors={"pos": ["DET"]})
    with pytest.raises(UserError, match="line 2: the factor pos has 1 value for 2 words"):
        check_requests(["the\tDET", "the man\tDET"], one.tokenizers, OPTIONS)
    with pytest.raises(TypeError, match="one string"):
        Translator(one).translate("the", factors={"pos": ["DET"]})


def test_values_come_with_the_lines_that_have_arrived(tmp_path: Path) -> None:
    (tmp_path / "pos").write_text("A\nB C\n\n")

    def arriving() -> Iterator[str | None]:
        yield from ("a", None, "b c\tprefix", "")

    read = with_values(arriving(), "in", {"pos": tmp_path / "pos"})
    assert list(read) == ["a\tA", None, "b c\tB C\tprefix", "\t"]
