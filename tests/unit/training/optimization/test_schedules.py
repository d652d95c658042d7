"""`scheduler=step` against torch's own schedule, and the return to the best checkpoint where a plateau ends."""

import pytest
import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import MultiStepLR

from seq2seq.errors import UserError
from seq2seq.training.callbacks.restarts import Restart
from seq2seq.training.optimization import optimizers
from tests.unit.training.configuration.test_validation_interval import ADAM, PLATEAU, Scripted, best, fit, step_of

STEP = {"name": "step", "warmup_steps": 0, "start": 5, "every": 3, "factor": 0.4}


def rates(scheduler, optimizer, count):
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def made():
    return torch.optim.SGD([Parameter(torch.zeros(1))], lr=0.3)


def test_steps_are_those_of_torch():
    optimizer, oracle = made(), made()
    found = rates(optimizers.make_scheduler(optimizer, STEP, 1.0)["scheduler"], optimizer, 20)
    assert found == pytest.approx(rates(MultiStepLR(oracle, list(range(5, 40, 3)), 0.4), oracle, 20))


def test_steps_after_a_warm_up():
    optimizer = made()
    found = rates(optimizers.make_scheduler(optimizer, {**STEP, "warmup_steps": 3}, 1.0)["scheduler"], optimizer, 9)
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3, 0.12, 0.12, 0.12, 0.048])


def test_a_start_within_the_warm_up_is_refused():
    with pytest.raises(UserError, match=r"scheduler\.start=5: the warm-up has 6 steps"):
        optimizers.check(ADAM, {**STEP, "warmup_steps": 6})


class Traced(Scripted):
    """Keeps the weights at the beginning of each training batch, and how many parameters have moments."""

    def on_train_start(self):
        self.weights, self.moments = [], []

    def training_step(self, batch, index):
        self.weights.append({name: value.detach().clone() for name, value in self.state_dict().items()})
        self.moments.append(len(self.trainer.optimizers[0].state))
        return super().training_step(batch, index)


@pytest.mark.parametrize("restart", [False, True])
def test_a_reduction_returns_to_the_best_checkpoint(tmp_path, restart, capsys):
    """Of five validations with a patience of one, the fourth reduces the rate: by score, the second was the best."""
    plateau = PLATEAU | {"restart": restart}
    task = Traced([4.0, 3.0, 5.0, 5.0, 1.0], [1.0, 2.0, 1.0, 1.0, 1.0], plateau)
    keeper = best(tmp_path)
    fit(task, tmp_path, keeper, *([Restart()] if restart else []), batches=5, val_check_interval=1)
    assert task.rates == [1.0, 1.0, 1.0, 0.5, 0.5]
    assert step_of(keeper.best_model_path) == 2
    kept = torch.load(keeper.best_model_path, weights_only=True)["state_dict"]
    returned = [all(torch.equal(kept[name], value) for name, value in each.items()) for each in task.weights]
    assert returned == [False, False, True, False, restart]
    assert task.moments == [0, 2, 2, 2, 0 if restart else 2]
    assert capsys.readouterr().out.count("restarts from") == restart


def test_the_best_checkpoint_may_be_of_the_validation_that_reduces_the_rate(tmp_path):
    task = Traced([3.0, 4.0, 4.0, 4.0], [1.0, 1.0, 9.0, 1.0], PLATEAU)
    keeper = best(tmp_path)
    fit(task, tmp_path, keeper, Restart(), batches=4, val_check_interval=1)
    assert task.rates == [1.0, 1.0, 0.5, 0.5]
    state = torch.load(keeper.best_model_path, weights_only=True)
    assert step_of(keeper.best_model_path) == 3
    assert all(torch.equal(state["state_dict"][name], value) for name, value in task.weights[3].items())
    assert task.moments == [0, 2, 2, 0]
    assert state["callbacks"]["Restart"] == {"due": True}  # a run that is resumed from it returns, too
