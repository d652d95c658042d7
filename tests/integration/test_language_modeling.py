"""Language modelling from the command line: training with a carried state, exact bits per character, sampling."""

import json
import math

import pytest
import torch

from seq2seq.bundle.format import load_bundle
from seq2seq.cli.main import main
from seq2seq.corpora import StreamData, Text
from seq2seq.inference.text_sampler import Sampler, SamplingOptions
from seq2seq.models import LanguageModel
from seq2seq.nn.cells import GRU
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.encoders import RecurrentStack
from seq2seq.nn.heads import LinearHead
from seq2seq.nn.types import Window, map_tensors
from seq2seq.text import EOS, CharacterTrainer
from seq2seq.training.tasks.language_modeling import LanguageModelingModule, surprise
from tests import bundles

RHYME = ["one, two,", "buckle my shoe;", "three, four,", "knock at the door;", "", "五, six, pick up sticks"]
TINY = [
    "task=language_modeling",
    "task.window=16",
    "data.batch_size=4",
    "embedding.size=8",
    "embedding.dropout=0",
    "encoder.hidden_size=24",
    "encoder.dropout=0",
    "optimizer.lr=0.02",
    "trainer.max_epochs=4",
    "trainer.enable_progress_bar=false",
    "trainer.threads=1",
    "trainer.log_every_n_steps=2",
    "trainer.accelerator=cpu",
]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "rhyme.txt"
    path.write_text("".join(f"{line}\n" for line in RHYME * 20), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def bundle(text, tmp_path_factory):
    """The bundle of a tiny run."""
    folder = tmp_path_factory.mktemp("run") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        assert train(text, folder) == 0
    return folder / "bundle"


def train(text, folder, *overrides):
    return main(["train", *TINY, f"data.corpus.train={text}", f"hydra.run.dir={folder}", *overrides])


def sample(capfdbinary, bundle, *arguments):
    capfdbinary.readouterr()
    code = main(["sample", str(bundle), "--length", "40", *arguments])
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


def task(hidden_size=48, **changes):
    embedding = Embedding(20, 8)
    model = LanguageModel(embedding, RecurrentStack(8, hidden_size, GRU), LinearHead(hidden_size, 0, embedding.weight))
    options = {"truncate": None, "reset": 0.0, "characters_per_token": 1.0, **changes}
    return LanguageModelingModule(model, optimizer={"name": "adam"}, scheduler={"name": "constant"}, **options)


def test_a_run_leaves_everything_and_its_bits_are_exact(text, bundle):
    """Bits per character, again: the test's text through `step`, a token at a time, from a line's end on."""
    folder = bundle.parent
    names = {path.name for path in folder.iterdir()}
    assert {"run.json", "metrics.csv", "curves.png", "bundle", "checkpoints", "test.lines.txt"} <= names
    record = json.loads((folder / "run.json").read_text())
    lines = [line for _, line in Text(text).pairs("test")]
    model, tokenizer = (loaded := load_bundle(bundle)).model, loaded.tokenizers.target
    state, nats, before = model.init_state(1), 0.0, EOS
    with torch.no_grad():
        for token in [i for line in lines for i in (*tokenizer.encode(line), EOS)]:
            log_probs, state = model.step(torch.tensor([before]), state)
            nats, before = nats - float(log_probs[0, token]), token
    characters = sum(len(line) + 1 for line in lines)
    found = record["test"]["bits per character"]
    assert found["value"] == pytest.approx(nats / math.log(2) / characters, rel=1e-5)
    assert found["signature"].startswith(f"characters:{characters}|tokens:{characters}|unk:0|tokenizer:characters|")
    assert record["val_bpc"] == pytest.approx(record["val_loss"] / math.log(2))
    assert record["val_bpc"] < 2.5  # four epochs over a rhyme; log2(28) = 4.8 at the start
    told = [line.split("\t") for line in (folder / "test.lines.txt").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [line for _, line in told] == lines
    by_line = sum(float(bits) * (len(line) + 1) for bits, line in told)
    assert by_line / characters == pytest.approx(found["value"], abs=1e-3)
    assert "seq2seq sample BUNDLE --prompt" in (bundle / "README.md").read_text(encoding="utf-8")


def test_no_number_depends_on_how_the_held_out_text_is_cut(text, bundle, monkeypatch):
    data = StreamData(Text(text), CharacterTrainer(), seed=1, window=16)
    data.prepare_data()
    model, found = load_bundle(bundle).model, []
    for size in (1, 7, 512):
        monkeypatch.setattr("seq2seq.corpora.stream.WINDOW", size)
        found.append(torch.from_numpy(surprise(model, data, "test")))
        assert len(found[-1]) == len(data.stream("test"))
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1], found[2], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        ["task.truncate=3", "task.window=null", "cell=lstm", "encoder.num_layers=2"],
        ["tokenizer=sentencepiece", "tokenizer.vocabulary_size=300", "head=tied"],
        ["tokenizer=whitespace", "tokenizer.joint=true", "data.corpus.test_share=0"],
    ],
)
def test_other_truncations_tokens_and_heads(text, tmp_path, capfdbinary, overrides):
    assert train(text, tmp_path / "a", *overrides, "trainer.max_epochs=2") == 0
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["status"] == "finished"
    if "tokenizer=sentencepiece" in overrides:
        assert record["val_bpc"] < record["val_loss"] / math.log(2)  # fewer tokens than characters
    code, out, err = sample(capfdbinary, tmp_path / "a" / "bundle", "--prompt", "one, ")
    assert (code, err) == (0, "")
    assert out.startswith("one, ")
    assert len(out) > 40


def test_sampling_is_reproducible_and_follows_its_seed(bundle, capfdbinary):
    _, both, _ = sample(capfdbinary, bundle, "--prompt", "one, ", "--seed", "3", "-n", "2")
    _, first, _ = sample(capfdbinary, bundle, "--prompt", "one, ", "--seed", "3")
    code, second, _ = sample(capfdbinary, bundle, "--prompt", "one, ", "--seed", "4")
    assert code == 0
    assert both == f"--- sample 1 of 2 ---\n{first}--- sample 2 of 2 ---\n{second}"
    assert first != second
    assert len(first) == len("one, ") + 40 + 1
    cold = [sample(capfdbinary, bundle, "--top-k", "1", "--seed", str(seed))[1] for seed in (1, 2)]
    assert cold[0] == cold[1]
    sampler = Sampler.load(bundle)
    assert "one, " + sampler("one, ", SamplingOptions(length=40), seed=3) + "\n" == first


def test_draws_follow_the_models_probabilities(bundle):
    """Many first characters after a prompt, against the model's own distribution, cut at the mass 0.9."""
    sampler, options = Sampler.load(bundle), SamplingOptions(length=1, top_p=0.9)
    model, tokenizer = sampler.model, sampler.tokenizer
    read = torch.tensor([[EOS, *tokenizer.encode("one")]])
    with torch.no_grad():
        features, _ = model(read, model.init_state(1))
        p = model.head.logits(features[0, -1]).softmax(-1)
    drawn = [sampler("one", options, seed=seed) for seed in range(400)]
    ids = [EOS if character == "\n" else tokenizer.encode(character)[0] for character in drawn]
    likely = p.argsort(descending=True)
    kept = set(likely[: int((p[likely].cumsum(0) < 0.9).sum()) + 1].tolist())
    assert set(ids) <= kept
    share = float(p[likely[0]] / p[list(kept)].sum())
    assert ids.count(int(likely[0])) / 400 == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 400) + 1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "buckle ϟ"], "prompt: 'ϟ' was never in the model's training text"),
        (["--temperature", "0"], "temperature=0.0 must be above 0"),
        (["--top-p", "1.5"], "top_p=1.5"),
        (["--top-k", "0"], "top_k=0"),
        (["--length", "0"], "length=0"),
        (["-n", "0"], "--number 0"),
        (["--seed", "-1"], "--seed -1"),
        (["--prompt", "\udcff"], "not UTF-8"),
    ],
)
def test_a_users_mistakes_in_sampling(bundle, capfdbinary, arguments, message):
    code, out, err = sample(capfdbinary, bundle, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_another_tasks_bundle_writes_no_text(tmp_path, capfdbinary):
    bundles.save(tmp_path / "bundle")
    code, _, err = sample(capfdbinary, tmp_path / "bundle")
    assert code == 2
    assert "task=translation" in err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.truncate=-1", "task.truncate=-1"),
        ("task.reset=1", "task.reset=1"),
        ("task.window=0", "task.window=0"),
        ("tokenizer.joint=false", "set tokenizer.joint=true"),
        ("encoder=recurrent", "use encoder=stack"),
        ("data.batch_size=100000", "use fewer rows"),
        ("+data.batch_tokens=100", "data.batch_tokens"),
        ("callbacks.checkpoint.monitor=val_bleu", "use one of val_loss, val_bpc"),
        ("decoder=recurrent", "decoder"),
    ],
)
def test_a_users_mistakes_in_training(text, tmp_path, capsys, override, message):
    assert train(text, tmp_path / "a", override) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("truncate", [None, 2])
def test_one_batch_is_overfit(truncate):
    subject = task(truncate=truncate)
    ids = torch.randint(4, 20, (3, 13))
    batch = Window(ids[:, :-1], ids[:, 1:], begin=True)
    optimizer = torch.optim.Adam(subject.parameters(), lr=0.02)
    for _ in range(150):
        total, count = subject.loss(batch, training=True)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    assert int(count) == 36
    assert float(total / count) < 0.05


def test_the_state_is_carried_detached_reset_and_apart_from_validations():
    subject = task()
    ids = torch.randint(4, 20, (5, 9))
    first, second = (Window(ids[:, i : i + 4], ids[:, i + 1 : i + 5], begin=i == 0) for i in (0, 4))
    whole = Window(ids[:, :-1], ids[:, 1:], begin=True)
    expected = subject.loss(whole, training=True)[0]
    parts = [subject.loss(window, training=True)[0] for window in (first, second)]
    torch.testing.assert_close(sum(parts), expected)
    after = subject.state
    assert not after[0].h.requires_grad
    subject.loss(first, training=False)
    assert subject.state is after
    again = subject.loss(first, training=True)[0]
    torch.testing.assert_close(again, parts[0])  # a window that begins, begins at 0
    torch.testing.assert_close(subject.loss(second, training=True)[0], parts[1])


def test_rows_begin_anew_as_often_as_reset_says():
    subject = task(hidden_size=4, reset=0.3)
    subject.state = map_tensors(lambda x: x + 1, subject.model.init_state(4000))
    ids = torch.zeros(4000, 1, dtype=torch.long)
    before = subject._before(Window(ids, ids, begin=False), training=True)[0].h
    assert set(before.unique().tolist()) == {0.0, 1.0}
    assert float((before.sum(1) == 0).double().mean()) == pytest.approx(0.3, abs=0.03)
    assert ((before == 0).all(1) | (before == 1).all(1)).all()


def test_validation_on_part_of_the_text_and_subwords_counts_by_characters():
    subject = task(characters_per_token=2.5)
    subject._validation = torch.tensor([10 * math.log(2), 4], dtype=torch.double)
    assert subject.validated() == {"val_bpc": pytest.approx(1.0)}


def test_windows_resume_where_they_stopped_in_float64_with_either_truncation():
    """The sum of window losses is the loss of one long unroll, whatever is truncated."""
    subject = task(truncate=1).double()
    ids = torch.randint(4, 20, (2, 31))
    losses = []
    for size in (30, 7, 1):
        total = 0.0
        for i in range(0, 30, size):
            stop = min(i + size, 30)
            total += float(
                subject.loss(Window(ids[:, i:stop], ids[:, i + 1 : stop + 1], i == 0), training=True)[0].detach()
            )
        losses.append(total)
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)
    assert losses[2] == pytest.approx(losses[0], rel=1e-12)
