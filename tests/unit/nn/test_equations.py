"""Contexts, heads and bridges against their papers' equations, in NumPy, one sentence and one query at a time."""

import numpy as np
import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.nn.bridges import LinearBridge
from seq2seq.nn.contexts import AdditiveContext, MultiplicativeContext
from seq2seq.nn.heads import LinearHead, MaxoutHead, TiedHead
from seq2seq.nn.types import HiddenState, LSTMState, Memory, StateShape, mask_from_lengths

B, S, Q, D, H, E, V = 3, 5, 2, 4, 6, 3, 7
LENGTHS = torch.tensor([S, 1, 3])


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def memory(size):
    final = (HiddenState(torch.randn(B, size)),)
    return Memory(torch.randn(B, S, size), mask_from_lengths(LENGTHS, S), torch.randn(B, size), final)


def arrays(module):
    return {name: weight.detach().numpy() for name, weight in module.named_parameters()}


def check_attention(context, memory, energy):
    """α over real positions only, and c_t = Σ_s α_s h_s, from the energy of one query and one h_s."""
    queries = torch.randn(B, Q, H)
    cs, alphas = context(queries, context.prepare(memory), torch.arange(Q).expand(B, -1))
    for b, length in enumerate(LENGTHS.tolist()):
        values = memory.outputs[b, :length].numpy()
        for q in range(Q):
            energies = np.array([energy(queries[b, q].numpy(), h) for h in values])
            expected = np.exp(energies) / np.exp(energies).sum()
            np.testing.assert_allclose(alphas[b, q, :length].detach().numpy(), expected, rtol=1e-10)
            np.testing.assert_allclose(cs[b, q].detach().numpy(), expected @ values, rtol=1e-10)
            assert not alphas[b, q, length:].any()


def test_additive_attention():
    """Bahdanau et al. 2015, eqs. 5–6: e = vᵀ tanh(W_q s_{t−1} + W_k h_s + b)."""
    context = AdditiveContext(D, H, attention_size=8)
    w = arrays(context)

    def energy(s, h):
        return w["energy"] @ np.tanh(w["query.weight"] @ s + w["key.weight"] @ h + w["key.bias"])

    check_attention(context, memory(D), energy)


def test_heads_of_additive_attention():
    """Head i: its part of v and of tanh(…), and that part of h_s; the weights are the mean of the heads'."""
    torch.manual_seed(1)
    context, given = AdditiveContext(D, H, attention_size=6, num_heads=2), memory(D)
    w, queries = arrays(context), torch.randn(B, Q, H)
    cs, alphas = context(queries, context.prepare(given), torch.arange(Q).expand(B, -1))
    for b, length in enumerate(LENGTHS.tolist()):
        values = given.outputs[b, :length].numpy()
        for q in range(Q):
            query = w["query.weight"] @ queries[b, q].numpy()
            hidden = np.tanh(query + values @ w["key.weight"].T + w["key.bias"])
            weights = []
            for head in (slice(0, 3), slice(3, 6)):
                energies = np.exp(hidden[:, head] @ w["energy"][head])
                weights.append(energies / energies.sum())
            expected = np.concatenate([weights[0] @ values[:, :2], weights[1] @ values[:, 2:]])
            np.testing.assert_allclose(cs[b, q].detach().numpy(), expected, rtol=1e-10)
            np.testing.assert_allclose(alphas[b, q, :length].detach().numpy(), sum(weights) / 2, rtol=1e-10)
            assert not alphas[b, q, length:].any()


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="num_heads=4 must divide attention_size=6 and the memory's size, 4"):
        AdditiveContext(D, H, num_heads=4)


@pytest.mark.parametrize("score", ["dot", "general", "scaled"])
def test_multiplicative_attention(score):
    """Luong et al. 2015, eq. 8: s·h and sᵀ W h; Vaswani et al. 2017, eq. 1: s·h / √H."""
    size = D if score == "general" else H
    context = MultiplicativeContext(size, H, score=score)
    w = arrays(context)

    def energy(s, h):
        return s @ (w["key.weight"] @ h) if score == "general" else s @ h / (H**0.5 if score == "scaled" else 1)

    check_attention(context, memory(size), energy)


def parts():
    """s_t, c_t and e_{t−1}, one row each."""
    return torch.randn(1, H), torch.randn(1, D), torch.randn(1, E)


def same(ours, theirs):
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-10)


def test_linear_head():
    """Luong et al. 2015, eqs. 5–6: tanh(W [s_t ; c_t] + b), then the logits; without a size [s_t ; c_t] itself."""
    s, c, e = parts()
    both, table = np.concatenate([s[0], c[0]]), torch.nn.Parameter(torch.randn(V, E))
    same(LinearHead(H, D, table).readout(s, c, e)[0], both)
    head = LinearHead(H, D, table, size=5)
    w = arrays(head)
    features = np.tanh(w["hidden.weight"] @ both + w["hidden.bias"])
    same(head.readout(s, c, e)[0], features)
    same(head.logits(head.readout(s, c, e))[0], w["weight"] @ features + w["bias"])
    tied = TiedHead(H, D, table)
    w = arrays(tied)
    features = np.tanh(w["hidden.weight"] @ both + w["hidden.bias"])
    same(tied.logits(tied.readout(s, c, e))[0], table.detach().numpy() @ features + w["bias"])


def test_maxout():
    """Cho et al. 2014, appendix A: t̃ = U s_t + V e_{t−1} + C c_t + b, features_i = max(t̃_{2i−1}, t̃_{2i})."""
    s, c, e = parts()
    head = MaxoutHead(H, D, torch.nn.Parameter(torch.randn(V, E)), size=5)
    w = arrays(head)
    U, C, VV = np.split(w["hidden.weight"], [H, H + D], axis=1)
    t = U @ s[0].numpy() + VV @ e[0].numpy() + C @ c[0].numpy() + w["hidden.bias"]
    same(head.readout(s, c, e)[0], [max(t[2 * i], t[2 * i + 1]) for i in range(5)])


def test_linear_bridge():
    """Cho et al. 2014, appendix A: h_0 = tanh(W c + b) of each layer; an LSTM's content without the tanh."""
    source = memory(D)
    bridge = LinearBridge(D, (), (StateShape(LSTMState, 2), StateShape(HiddenState, 3)))
    w = arrays(bridge)
    sums = source.summary.numpy() @ w["linear.weight"].T + w["linear.bias"]
    first, second = bridge(source)
    same(first.h, np.tanh(sums[:, :2]))
    same(first.c, sums[:, 2:4])
    same(second.h, np.tanh(sums[:, 4:]))
