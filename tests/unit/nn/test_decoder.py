"""The decoder's wiring against equations written out, the whole target against one token at a time, in float64."""

import itertools

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.nn.types import Tokens, map_tensors
from seq2seq.search import SearchOptions, beam, greedy, search
from tests.conftest import model_config, node, options, wired
from tests.unit.models.test_models import SOURCE, TARGET, batch, refused, stepwise

WIRINGS = [
    {"context_to": where, "query": query, "recurrence": recurrence, "input_feeding": feeding, "num_layers": depth}
    for where, query, recurrence, feeding, depth in itertools.product(
        ("cell", "first", "readout", "both", "start"),
        ("previous", "current"),
        ("state", "output"),
        (False, True),
        (1, 3),
    )
]


def make(context="fixed", cell="gru", **decoder):
    config = model_config(cell, context, decoder={"residual": True, **decoder})
    return factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET}).double().eval()


def impossible(context, wiring):
    attends = context not in ("fixed", "aligned")
    crossing = wiring["input_feeding"] or (attends and wiring["query"] == "previous")
    return refused(context, wiring) or (wiring["recurrence"] == "output" and crossing)


@pytest.mark.numerical
@pytest.mark.parametrize("context", options("context"))
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_parallel_equals_stepping_in_every_wiring(context, cell):
    source, target = batch(((4, 3), (1, 5), (6, 1)))
    refusals = 0
    for wiring in WIRINGS:
        if impossible(context, wiring):
            refusals += 1
            with pytest.raises(UserError, match=r"^decoder: "):
                make(context, cell, **wiring)
            continue
        model = make(context, cell, **wiring)
        expected, _ = stepwise(model, source, target)
        found = model.log_probs(source, target)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert 0 < refusals < len(WIRINGS)


@pytest.mark.numerical
@pytest.mark.parametrize("context", options("context"))
@pytest.mark.parametrize("recurrence", ["state", "output"])
def test_a_sentence_does_not_depend_on_its_neighbours(context, recurrence):
    model = make(context, context_to="readout", query="current", recurrence=recurrence)
    source, target = batch(((4, 3), (1, 5), (6, 2)))
    rows = model(source, target).split(target.lengths.tolist())
    for i, (s, t) in enumerate(zip(source.lengths.tolist(), target.lengths.tolist())):
        alone = [Tokens(side.ids[i : i + 1, :n], side.lengths[i : i + 1]) for side, n in ((source, s), (target, t))]
        torch.testing.assert_close(model(*alone), rows[i], rtol=1e-10, atol=1e-12)


def test_the_aligned_context_is_the_memory_at_t_and_nothing_past_its_end():
    model = make("aligned")
    source, _ = batch()
    memory = model.encode(source)
    keys, context = model.decoder.context.prepare(memory), model.decoder.context
    steps = torch.tensor([[0, 3, 1], [0, 1, 9], [5, 6, 70]])
    c, weights = context(torch.zeros(3, 3, 8), keys, steps)
    zero = torch.zeros(memory.outputs.size(-1), dtype=torch.double)
    expected = [[memory.outputs[b, t] if t < n else zero for t in steps[b]] for b, n in enumerate((4, 1, 6))]
    assert torch.equal(c, torch.stack([torch.stack(row) for row in expected]))
    assert weights is None


def equations(model, source, target):
    """h_t of one sentence written out: c enters as `context_to` says, and the state comes from the step before or from
    s_0 as `recurrence` says."""
    decoder, memory = model.decoder, model.encode(source)
    cell, state = decoder.layers[0], model.bridge(memory)[0]
    start, tops = state, []
    for t, token in enumerate([model.bos, *target[:-1]]):
        c = memory.outputs[:, t] if decoder.context.constant is False else memory.summary
        if decoder.first_only and t:
            c = torch.zeros_like(c)
        x = torch.cat([model.target_embedding.weight[token][None], c], -1)
        state = cell.step(cell.project(x), state if decoder.recurrent else start)
        tops.append(state.h[0])
    return torch.stack(tops)


@pytest.mark.parametrize("cell", ["vanilla", "lstm"])
@pytest.mark.parametrize(
    ("context", "where"), [("fixed", "cell"), ("fixed", "first"), ("aligned", "cell")], ids=lambda value: value
)
@pytest.mark.parametrize("recurrence", ["state", "output"])
def test_the_state_follows_its_equation(cell, context, where, recurrence):
    model = make(context, cell, context_to=where, recurrence=recurrence)
    source = Tokens(torch.randint(4, SOURCE, (1, 6)), torch.tensor([6]))
    target = Tokens(torch.randint(4, TARGET, (1, 5)), torch.tensor([5]))
    expected = equations(model, source, target.ids[0].tolist())
    torch.testing.assert_close(model(source, target), expected, rtol=1e-10, atol=1e-12)  # a linear head's f = s_t


@pytest.mark.numerical
def test_only_the_last_token_recurs_through_the_output():
    """The state after a token is the same whatever came before it, and with recurrence=state it is not."""
    for recurrence, same in (("output", True), ("state", False)):
        model = make(recurrence=recurrence)
        source, _ = batch()
        tops = []
        for before in (5, 6):
            state, encoded = model.start(model.encode(source))
            _, state, _ = model.step(torch.full((3,), before), state, encoded)
            tops.append(model.step(torch.full((3,), 7), state, encoded)[0])
        assert torch.allclose(*tops) is same


@pytest.mark.parametrize("where", ["cell", "first"])
def test_c_at_the_first_step_only(where):
    """With zeroed recurrence and first state, c is seen in the first feature alone."""
    model = make(cell="vanilla", context_to=where, residual=False)
    with torch.no_grad():
        for weight in (model.decoder.layers[0].weight_hh, model.bridge.linear.weight):
            weight.zero_()
    target = batch(((4, 4),))[1]
    one, other = (model(batch(((4, 4),))[0], target) for _ in range(2))
    differs = (one != other).any(-1).tolist()
    assert differs == [True, where == "cell", where == "cell", where == "cell"]


@pytest.mark.parametrize("context", ["aligned", "fixed", "monotonic"])
@pytest.mark.parametrize("wiring", [{"context_to": "both"}, {"recurrence": "output"}], ids=["both", "output"])
def test_a_beam_keeps_count_of_its_steps(context, wiring):
    """Every hypothesis of a beam has the log-probability that its tokens have under teacher forcing."""
    model = make(context, **wired(context, wiring)).float()
    with torch.no_grad():
        model.decoder.head.weight.mul_(8)
    source, _ = batch(((5, 1), (2, 1), (7, 1)))
    chosen = SearchOptions(bos=2, eos=3, pad=0, beam_size=6, n_best=6, length_penalty=0.0)
    state, encoded = model.start(model.encode(source))
    for i, found in enumerate(beam(model.step, state, encoded, torch.tensor([7, 4, 9]), chosen)):
        alone = Tokens(source.ids[i : i + 1], source.lengths[i : i + 1])
        for hypothesis in found:
            ids = [*hypothesis.tokens, *([3] if hypothesis.finished else [])]
            target = Tokens(torch.tensor([ids]), torch.tensor([len(ids)]))
            log_probs = model.log_probs(alone, target)
            expected = log_probs.gather(1, target.ids[0][:, None]).sum().item()
            assert hypothesis.log_prob == pytest.approx(expected, abs=1e-3)


def test_aligned_positions_must_be_those_of_the_source():
    config = model_config(context="aligned")
    config["encoder"] = node("encoder", "pyramidal", hidden_size=4, cell=node("cell", "gru"))
    with pytest.raises(UserError, match=r"context=aligned: .*use encoder=recurrent"):
        factory.encoder_decoder(config, {"source": SOURCE, "target": TARGET})


@pytest.mark.parametrize("name", ["layers", "feed", "step"])
def test_every_state_tensor_leads_with_the_batch(name):
    model = make("aligned", "lstm", input_feeding=True)
    state, encoded = model.start(model.encode(batch()[0]))
    for _ in range(2):
        map_tensors(lambda tensor: pytest.fail(str(tensor.shape)) if len(tensor) != 3 else tensor, getattr(state, name))
        _, state, _ = model.step(torch.full((3,), 5), state, encoded)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recurrence": "none"}, "recurrence='none' is not known; use state or output"),
        ({"context_to": "end"}, "context_to='end' is not known; use cell, first, readout, both or start"),
        ({"recurrence": "output", "input_feeding": True}, "use input_feeding=false"),
        ({"recurrence": "output", "path": "fused"}, "path=fused; use path=auto"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(UserError, match=message):
        make(**changes)


@pytest.mark.parametrize("searcher", [greedy, beam, search])
@pytest.mark.parametrize("context", options("context"))
def test_equal_length_searches_find_as_many_tokens_as_the_source_has(searcher, context):
    model = make(context).float()
    with torch.no_grad():
        model.decoder.head.bias[3] = 9.0  # it wants to stop at once
    source, _ = batch(((4, 1), (2, 1), (8, 1)))  # eos counts in the source's lengths
    chosen = SearchOptions(bos=2, eos=3, pad=0, beam_size=3, n_best=3, equal_length=True)
    state, encoded = model.start(model.encode(source))
    found = searcher(model.step, state, encoded, chosen.limits(source.lengths), chosen)
    for hypotheses, size in zip(found, (3, 1, 7)):
        for hypothesis in hypotheses:
            assert len(hypothesis.tokens) == len(hypothesis.token_log_probs) == size
            assert not {0, 2, 3} & set(hypothesis.tokens)
