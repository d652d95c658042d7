"""Products through oneDNN are torch's in any memory order, and a row depends on its neighbours by rounding only."""

import pytest
import torch
from torch.nn import functional as F

from seq2seq.nn import matmul, matmul_library

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.skipif(not matmul_library.works(), reason="no such operator of oneDNN on this machine"),
]
K, N = 160, 192


@pytest.fixture(params=[True, False], ids=["onednn", "torch"], autouse=True)
def library(request, monkeypatch):
    monkeypatch.setattr(matmul_library, "used", "onednn" if request.param else "torch")
    monkeypatch.setattr(matmul, "SMALLEST", 1 << 14)
    return request.param


def close(a, b):
    torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-4)


def orders(rows, columns):
    """The same matrix as it may stand in memory."""
    wide = torch.randn(rows, 2 * columns)
    dense = wide[:, 3 : columns + 3].contiguous()
    return [dense, dense.t().contiguous().t(), wide.clone()[:, 3 : columns + 3].copy_(dense)]


@pytest.mark.parametrize("rows", [1, 2, 7, 33])
def test_products_in_every_memory_order(rows):
    for a in orders(rows, K):
        for b in orders(K, N):
            expected = a.double() @ b.double()
            close(matmul.mm(a, b), expected)
            for plus in (torch.randn(N), torch.randn(rows, N), torch.randn(N, rows).t()):
                close(matmul.addmm(plus, a, b), expected + plus.double())
    for a in orders(K, rows):
        for b in orders(K, N):
            close(matmul.tmm(a, b), a.double().t() @ b.double())
            close(matmul.tmm(b, a), b.double().t() @ a.double())


@pytest.mark.parametrize("bias", [True, False])
def test_linear_and_its_gradients(bias):
    x, weight, b = torch.randn(3, 5, K), torch.randn(N, 2 * K)[:, :K], torch.randn(N) if bias else None
    leaves = [leaf.requires_grad_() for leaf in (x, weight, b) if leaf is not None]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    y, expected = matmul.linear(x, weight, b), F.linear(*exact)
    up = torch.randn_like(y)
    close(y, expected)
    for a, e in zip(torch.autograd.grad(y, leaves, up), torch.autograd.grad(expected, exact, up.double())):
        close(a, e)


def test_second_derivatives():
    x, weight = torch.randn(4, K, requires_grad=True), torch.randn(N, K, requires_grad=True)
    (first,) = torch.autograd.grad(matmul.linear(x, weight).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), weight)
    exact = weight.detach().double().requires_grad_()
    expected = torch.autograd.grad((2 * x.detach().double() @ exact.t() @ exact).sum(), exact)[0]
    torch.testing.assert_close(second.double(), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("kind", ["float64", "bfloat16", "small", "no rows"])
def test_what_onednn_is_not_asked(kind, monkeypatch):
    monkeypatch.setattr(matmul, "_product", None)
    dtype = getattr(torch, kind, torch.float32)
    size = 4 if kind == "small" else K
    a, b = torch.randn(0 if kind == "no rows" else 3, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    torch.testing.assert_close(matmul.mm(a, b), a @ b)
    torch.testing.assert_close(matmul.linear(a, b), F.linear(a, b))


def test_a_first_product_that_is_traced_measures_nothing(monkeypatch):
    """What is exported is for any machine: neither oneDNN's operators nor the choice between libraries are in it."""
    monkeypatch.setattr(matmul_library, "used", None)
    program = torch.export.export(matmul.Linear(64, matmul.SMALLEST // 64), (torch.randn(2, 64),), strict=False)
    assert not [str(node.target) for node in program.graph.nodes if "mkldnn" in str(node.target)]
    assert matmul_library.used is None


def test_a_row_depends_on_its_neighbours_by_rounding_only():
    """No library promises bits: not across numbers of rows, nor between the rows of one product."""
    a, weight, bias = torch.randn(300, K), torch.randn(N, K), torch.randn(N)
    whole = matmul.linear(a, weight, bias)
    for rows in (1, 2, 3, 5, 8, 64, 299):
        close(matmul.linear(a[-rows:], weight, bias), whole[-rows:].double())
        close(matmul.mm(a[:rows], weight.t()), matmul.mm(a, weight.t())[:rows].double())


def test_packed_weights_give_the_same_numbers(library):
    if not library:
        pytest.skip("packing is oneDNN's")
    weight, bias, packed = torch.randn(2 * N, 2 * K), torch.randn(N), matmul.Packed()
    for part in (weight[:N, :K], weight[N:, :K], weight[:N, K:].contiguous()):
        a = torch.randn(300, K)
        expected = matmul.linear(a, part, bias)
        with packed.active():
            for rows in (1, 2, 5, 64, 300, 1):
                close(matmul.linear(a[:rows], part, bias), expected[:rows].double())
    assert len(packed._kept) == 3
    leaf = torch.randn(3, K, requires_grad=True)
    with packed.active():
        assert matmul.linear(leaf, weight[:N, :K]).requires_grad
