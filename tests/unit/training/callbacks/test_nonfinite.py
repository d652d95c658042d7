"""A step that is not finite changes nothing; a batch that memory does not hold is named, or computed in parts."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import Linear, Parameter

from seq2seq.errors import UserError
from seq2seq.nn.types import Captions, Features, Pairs, Tokens, Window
from seq2seq.training.optimization import out_of_memory
from seq2seq.training.optimization.optimizers import make_optimizer
from seq2seq.training.task_module import Skipping, TaskModule, clip, spreading

OPTIMIZERS = [
    {"name": "adam", "lr": 0.1},
    {"name": "adamw", "lr": 0.1, "weight_decay": 0.1},
    {"name": "adam", "lr": 0.1, "fused": False},
    {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    {"name": "adadelta", "lr": 0.1},
]
BAD = [float("nan"), float("inf"), -float("inf")]


def trained(config, gradients):
    """Weights, the optimizer's memory and the counts after these gradients."""
    weight = Parameter(torch.tensor([1.0, -2.0]))
    optimizer, skipping = make_optimizer([weight], config), Skipping()
    for gradient in gradients:
        weight.grad = torch.tensor([gradient, 0.5])
        skipping(optimizer, clip([weight], 1.0, None))
        optimizer.step()
    return weight.detach(), optimizer.state[weight], int(skipping.total), int(skipping.in_a_row)


@pytest.mark.parametrize("config", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("bad", BAD)
def test_a_skipped_step_changes_nothing(config, bad):
    one, two = trained(config, [1.0, 0.3]), trained(config, [bad, 1.0, bad, bad, 0.3, bad])
    assert torch.equal(one[0], two[0])
    assert one[1].keys() == two[1].keys()
    assert all(torch.equal(torch.as_tensor(one[1][key]), torch.as_tensor(two[1][key])) for key in one[1])
    assert one[2:] == (0, 0)
    assert two[2:] == (4, 1)


@pytest.mark.parametrize("most", [None, 0.5, 100.0])
@pytest.mark.parametrize("algorithm", [None, "norm", "value"])
def test_clipping_is_torchs(most, algorithm):
    one, two = (torch.nn.Linear(3, 2) for _ in range(2))
    for parameter, other in zip(one.parameters(), two.parameters(), strict=True):
        parameter.grad = torch.randn_like(parameter)
        other.grad = parameter.grad.clone()
    norm = clip(one.parameters(), most, algorithm)
    torch.testing.assert_close(norm, torch.nn.utils.get_total_norm([p.grad for p in two.parameters()]), rtol=0, atol=0)
    if most and algorithm == "value":
        torch.nn.utils.clip_grad_value_(two.parameters(), most)
    elif most:
        torch.nn.utils.clip_grad_norm_(two.parameters(), most)
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_loss_has_a_bad_gradient_and_a_good_one_its_own(bad):
    weight = Parameter(torch.tensor([0.1, 0.7]))
    (expected,) = torch.autograd.grad(weight.square().sum(), weight)
    assert torch.equal(torch.autograd.grad(spreading(weight.square().sum()), weight)[0], expected)
    worse = spreading(weight.square().sum() + bad)  # its own gradient would be finite
    assert torch.autograd.grad(worse, weight)[0].isnan().all()


def pairs(*lengths):
    ids = torch.arange(len(lengths) * max(lengths)).reshape(len(lengths), -1)
    return Pairs(Tokens(ids, torch.tensor(lengths)), Tokens(ids, torch.tensor(lengths)), torch.arange(len(lengths)))


def test_halves_hold_every_row_once_without_needless_pads():
    one, two = out_of_memory.halves(pairs(2, 3, 7))
    assert one.rows.tolist() == [0]
    assert two.rows.tolist() == [1, 2]
    assert one.source.ids.tolist() == [[0, 1]]
    assert two.target.ids.shape == (2, 7)
    features = Captions(Features(torch.zeros(2, 5, 3), torch.tensor([2, 5])), *pairs(1, 2)[1:])
    assert [half.source.values.shape for half in out_of_memory.halves(features)] == [(1, 2, 3), (1, 5, 3)]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_gradients_of_parts_are_those_of_the_whole(most):
    layer, batch = Linear(1, 1).double(), pairs(4, 1, 7, 3, 5)
    parameters = [*layer.parameters(), Parameter(torch.zeros(2))]  # one that is not used

    def loss(part):
        if len(part.rows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        mask, values = part.source.mask, part.source.ids.double()[..., None]
        return (layer(values)[..., 0].sin() * mask).sum(), mask.sum()

    total, count, gradients = out_of_memory.in_parts(loss, batch, parameters)
    most = 5
    expected = whole(loss, batch, parameters)
    torch.testing.assert_close((total, count), expected[:2])
    assert gradients[2] is None
    torch.testing.assert_close(gradients[:2], expected[2][:2], rtol=1e-12, atol=1e-12)


def whole(loss, batch, parameters):
    total, count = loss(batch)
    return total.detach(), count, list(torch.autograd.grad(total, parameters, allow_unused=True))


def test_one_sentence_that_does_not_fit_is_named():
    def loss(part):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(UserError, match=r"1 pairs, 7 source positions, 7 target positions; lower data\.max_length"):
        out_of_memory.in_parts(loss, pairs(7, 1), [])


def test_what_is_no_lack_of_memory_is_let_through():
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory.named(training_on(pairs(1))):
        raise RuntimeError("shapes do not fit")
    window = Window(torch.zeros(2, 3).long(), torch.zeros(2, 3).long(), True)
    with pytest.raises(UserError, match="2 rows of 3 tokens; lower it"), out_of_memory.named(training_on(window)):
        raise MemoryError
    with pytest.raises(MemoryError), out_of_memory.named(training_on(None)):  # before a batch, or in a validation
        raise MemoryError


def training_on(batch):
    return SimpleNamespace(batch=batch, remedy="lower it", splitter=None)


def test_added_gradients_have_the_layout_of_their_parameters():
    parameter = Parameter(torch.zeros(2, 3))
    gradient = torch.arange(6.0).reshape(3, 2).t()
    out_of_memory.add([parameter], [gradient], 2.0)
    out_of_memory.add([parameter], [gradient], 1.0)
    assert parameter.grad.stride() == parameter.stride()
    assert torch.equal(parameter.grad, 3 * gradient)


@pytest.mark.parametrize("gradient", [3.0, float("inf")])
def test_sixteen_bits_clip_what_a_fused_optimizer_is_given(gradient):
    """Lightning leaves unscaling to fused optimizers, and clips nothing then: the module unscales, clips, and the
    scaler skips what is not finite."""
    weight, scaler = Parameter(torch.tensor([1.0, -2.0])), torch.amp.GradScaler("cpu", init_scale=64.0)
    optimizer = make_optimizer([weight], {"name": "adam", "lr": 0.1})
    module = SimpleNamespace(
        trainer=SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler)), parameters=lambda: [weight]
    )
    scaler.scale((weight * torch.tensor([gradient, 4.0])).sum()).backward()
    TaskModule.configure_gradient_clipping(module, optimizer, 1.0, None)
    finite = gradient < float("inf")
    if finite:
        torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]))
    before = weight.detach().clone()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(weight.detach(), before) is not finite
