"""Couplets and phonemes: corpora, a tokenizer a side, and outputs as long as their sources by construction."""

import hashlib
import json
import os
import unicodedata
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from seq2seq.bundle.format import Bundle
from seq2seq.cli.main import main
from seq2seq.corpora import G2P, Couplets
from seq2seq.corpora.datasets import g2p
from seq2seq.errors import UserError
from seq2seq.inference.stepper import translate_ids
from seq2seq.inference.translator import Translator
from seq2seq.models import factory
from seq2seq.nn.types import Tokens
from seq2seq.runtime.paths import packaged
from seq2seq.scoring import Scorer
from seq2seq.search import SearchOptions
from seq2seq.text import (
    BOS,
    EOS,
    PAD,
    UNK,
    LetterTrainer,
    Tokenizers,
    TokenizerTrainer,
    load_tokenizers,
    train_tokenizers,
)
from tests.conftest import model_config

DATA = Path(os.environ.get("SEQ2SEQ_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
COUPLETS = [("春風吹", "秋月照"), ("山中有古木", "海上無名花"), ("一", "二")]


def trainer(name: str, **changes):
    config = yaml.safe_load((packaged("conf") / "tokenizer" / f"{name}.yaml").read_text(encoding="utf-8"))
    return factory.component(config | changes, "tokenizer", (), (), TokenizerTrainer)()


@pytest.mark.parametrize("context", ["aligned", "fixed", "additive"])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_answers_are_as_long_as_their_lines(context, beam_size):
    """In characters, eos left out, whatever is in the batch; a line without text stays one."""
    tokenizers = train_tokenizers(trainer("characters"), lambda: COUPLETS, len(COUPLETS))
    config, size = model_config(context=context), len(tokenizers.source)
    model = factory.encoder_decoder(config, {"source": size, "target": size}).eval()
    with torch.no_grad():
        model.decoder.head.bias[UNK] = -1e9
    search = SearchOptions(bos=BOS, eos=EOS, pad=PAD, beam_size=beam_size, equal_length=True)
    translator = Translator(Bundle("translation", model, tokenizers, config, {}, search, {}))
    lines = ["春風吹", "", "海上無名花山", "一", "never seen", "木"]
    answers = translator.translate(lines)
    assert [len(answer) for answer in answers] == [len(line) for line in lines]
    assert answers == [translator.translate([line])[0] for line in lines]
    assert not any(hypotheses[0].hypothesis.finished for hypotheses in translator.translate_full(["春風吹"]))


def test_equal_length_decides_alone():
    options = SearchOptions(bos=1, eos=2, pad=0, equal_length=True, max_length_ratio=0, max_length_extra=1)
    assert options.limits(torch.tensor([6, 2, 1])).tolist() == [5, 1, 1]
    assert set(options.banned(0)) == set(options.banned(99)) == {0, 1, 2}
    with pytest.raises(UserError, match=r"min_length=3: search.equal_length=true"):
        SearchOptions(bos=1, eos=2, pad=0, equal_length=True, min_length=3)


def test_a_trained_aligned_model_feeds_back_what_it_wrote():
    """y_t = x_t, but 9 after an output of 4: it takes position t of the source, and the output before it."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 9, (64, 8), generator=generator)
    target = ids.clone()
    for t in range(1, 8):
        target[:, t] = torch.where(target[:, t - 1] == 4, 9, ids[:, t])
    lengths = torch.full((64,), 9)
    source, wanted = (Tokens(torch.cat([x, torch.full((64, 1), EOS)], 1), lengths) for x in (ids, target))
    wiring = {"encoder": {"hidden_size": 12, "direction": "forward"}, "decoder": {"hidden_size": 24}}
    model = factory.encoder_decoder(
        model_config(context="aligned", bridge="zero", **wiring), {"source": 10, "target": 10}
    )
    optimizer = torch.optim.Adam(model.eval().parameters(), lr=0.02)
    for _ in range(120):
        logits = model.decoder.head.logits(model(source, wanted))
        loss = torch.nn.functional.cross_entropy(logits, wanted.ids[wanted.mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = translate_ids(model, source, SearchOptions(bos=BOS, eos=EOS, pad=PAD, beam_size=1, equal_length=True))
    assert [hypotheses[0].tokens for hypotheses in found] == target.tolist()


def test_couplets_must_be_equally_long(tmp_path):
    corpus = Couplets(root=str(tmp_path))
    with pytest.raises(UserError, match=r"couplets/val.tsv: no such file .*set data.root"):
        corpus.files("val")
    (tmp_path / "val.tsv").write_text("春風\t秋月\n春風\t秋月照\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"val.tsv:2: '春風' has 2 characters, but '秋月照' has 3"):
        list(corpus.pairs("val"))


@pytest.mark.skipif(not (DATA / "couplets").exists(), reason="needs the data")
def test_the_real_couplets():
    corpus = Couplets(root=str(DATA))
    assert [sum(1 for _ in corpus.pairs(split)) for split in ("val", "test")] == [1000, 1000]
    assert {len(line) for line, _ in corpus.pairs("val")} == {5, 7}


def test_letters_are_decomposed_and_composed_again():
    words = ["가곡", "aboutissement", "déjà", "ᆯ지"]
    tokenizer = LetterTrainer().train(words)
    assert tokenizer.decode_batch(tokenizer.encode_batch(words)) == words
    assert tokenizer.tokens(tokenizer.encode("곡")) == list(unicodedata.normalize("NFD", "곡"))
    assert len(tokenizer.encode("곡")) == 3
    assert UNK not in tokenizer.encode("각")  # a syllable never seen, of letters that were
    assert UNK in tokenizer.encode("z")


def test_a_tokenizer_a_side_is_saved_and_read_again(tmp_path):
    pairs = [("éa", "e aː"), ("ab", "aː b")]
    found = train_tokenizers(trainer("g2p"), lambda: pairs, 2)
    assert not found.joint
    assert [found.source.kind, found.target.kind] == ["letters", "whitespace"]
    found.save(tmp_path)
    again = load_tokenizers(tmp_path)
    for side, text in zip(Tokenizers._fields[:2], pairs[0]):
        one, other = getattr(found, side), getattr(again, side)
        assert one.fingerprint == other.fingerprint
        assert one.encode(text) == other.encode(text)
        assert one.decode(one.encode(text)) == text
    assert trainer("g2p").settings() != trainer("g2p", target=trainer_node("characters")).settings()


def trainer_node(name):
    return yaml.safe_load((packaged("conf") / "tokenizer" / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"source": {"_target_": "seq2seq.text.LetterTrainer", "minimum": 2}},
            r"tokenizer.source.minimum: LetterTrainer",
        ),
        ({"source": {"_target_": "seq2seq.nn.heads.LinearHead"}}, "tokenizer.source.*is not a TokenizerTrainer"),
        (
            {
                "target": {
                    "_target_": "seq2seq.text.SentencePieceTrainer",
                    "sampling_alpha": 0.1,
                    "sampling_sides": "both",
                }
            },
            "tokenizer.target.sampling_alpha: only the source's",
        ),
    ],
)
def test_refused_tokenizers(changes, message):
    with pytest.raises(UserError, match=message):
        trainer("g2p", **changes)


@pytest.mark.skipif(not (DATA / "g2p").exists(), reason="needs the data")
@pytest.mark.parametrize("language", sorted({name.partition("_")[0] for name in g2p.CHECKSUMS}))
def test_real_phonemes_come_back_exactly(language):
    corpus = G2P(language, root=str(DATA))
    corpus.prepare()
    assert [sum(1 for _ in corpus.pairs(split)) for split in corpus.splits] == [8000, 1000, 1000]
    found = train_tokenizers(trainer("g2p"), lambda: corpus.pairs("train"), 8000)
    words, phonemes = map(list, zip(*corpus.pairs("train")))
    assert found.target.decode_batch(found.target.encode_batch(phonemes)) == phonemes
    assert found.source.decode_batch(found.source.encode_batch(words)) == words


def test_files_of_phonemes_are_checked(tmp_path, monkeypatch):
    folder = tmp_path / "g2p"
    folder.mkdir()
    text = "aad\taː t\n".encode()
    monkeypatch.setattr(g2p, "CHECKSUMS", dict.fromkeys(g2p.CHECKSUMS, hashlib.sha256(text).hexdigest()))
    for name in ("train", "dev", "test"):
        (folder / f"dut_{name}.tsv").write_bytes(text)
    corpus = G2P(root=str(tmp_path))
    corpus.prepare()
    assert list(corpus.pairs("val")) == [("aad", "aː t")]
    (folder / "dut_dev.tsv").write_bytes(text + b"x\ty\n")
    with pytest.raises(UserError, match=r"dut_dev.tsv: is damaged .*delete it"):
        corpus.prepare()
    (folder / "dut_dev.tsv").unlink()
    with pytest.raises(UserError, match=r"cannot be downloaded .ConnectionError.; put dut_dev.tsv into .*g2p"):
        G2P(root=str(tmp_path), url="http://127.0.0.1:1/").prepare()
    with pytest.raises(UserError, match="language=nld: there are dut, fre, kor"):
        G2P("nld")


TINY = [
    *("data=tsv", "data.corpus.source_language=a", "data.corpus.target_language=b", "data.batch_tokens=60"),
    *("embedding.size=8", "encoder.hidden_size=8", "decoder.hidden_size=12", "search.beam_size=2"),
    *("trainer.max_epochs=2", "trainer.enable_progress_bar=false", "trainer.threads=1", "trainer.accelerator=cpu"),
]


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Run `seq2seq train` on three words (or couplets) again and again; returns the run's folder, or its exit code."""
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))

    def run(name, pairs, *overrides):
        path = tmp_path / f"{name}.tsv"
        path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs * 20), encoding="utf-8")
        files = [f"data.corpus.train={path}", f"data.corpus.val={path}", f"data.corpus.tests={{test: {path}}}"]
        code = main(["train", *TINY, *files, f"hydra.run.dir={tmp_path / name}", *overrides])
        return code or tmp_path / name

    return run


WORDS = [("aad", "aː t"), ("aan", "aː n"), ("dag", "d ɑ x")]
PHONEMES = ["tokenizer=g2p", "task.metrics=[wer,per]", "callbacks=wer"]


def test_a_run_on_phonemes_logs_its_error_rates(train):
    folder = train("words", WORDS, *PHONEMES)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert set(record["test"]) == {"WER", "PER"}
    assert {"val_loss", "val_wer", "val_per"} <= set(record)
    assert "val_bleu" not in record
    assert {"val_wer", "val_per"} <= set((folder / "metrics.csv").read_text().split("\n")[0].split(","))
    hypotheses = (folder / "test.translations.txt").read_text(encoding="utf-8").split("\n")[:-1]
    references = [target for _, target in WORDS * 20]
    assert record["test"]["PER"]["value"] == Scorer(["per"])(hypotheses, references)["PER"].value
    assert Translator.load(folder / "bundle").translate([source for source, _ in WORDS]) == hypotheses[:3]


def test_only_what_is_logged_can_be_monitored(train, capsys):
    assert train("words", WORDS, *PHONEMES, "callbacks.checkpoint.monitor=val_bleu") == 2
    assert "monitor='val_bleu': use one of val_loss, val_perplexity, val_wer, val_per" in capsys.readouterr().err
    assert train("other", WORDS, *PHONEMES, "task.metrics=[wer,bleurt]") == 2
    assert "task.metrics=['wer', 'bleurt']: must be a list, each one of bleu, chrf" in capsys.readouterr().err


@pytest.mark.parametrize("feedback", ["free", "scheduled"])
def test_a_run_with_feedback_is_a_function_of_its_command(train, feedback):
    """The same weights twice, and not those of teacher forcing."""
    chosen = [*PHONEMES, f"feedback@decoder.feedback={feedback}"]
    chosen += ["decoder.feedback.halfway=2"] if feedback == "scheduled" else []
    weights = [
        load_file(train(name, WORDS, *overrides) / "bundle" / "model.safetensors")
        for name, overrides in (("one", chosen), ("two", chosen), ("teacher", PHONEMES))
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not all(torch.equal(weights[0][key], weights[2][key]) for key in weights[0])


def test_a_run_on_couplets_answers_in_equal_length(train):
    pairs = [("春風吹", "秋月照"), ("山中有古木", "海上無名花")]
    options = ["tokenizer=characters", "context=aligned", "search.equal_length=true", "task.metrics=[bleu-char,chrf]"]
    folder = train("couplets", pairs, *options, "callbacks=loss", "trainer.max_epochs=1")
    answers = (folder / "test.translations.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert [len(answer) for answer in answers] == [3, 5] * 20
    translator = Translator.load(folder / "bundle")
    assert len(translator("木花吹月")) == 4
