"""trainer.cuda_graphs: what it makes of a configuration, and where it is refused before anything is read."""

from copy import deepcopy
from typing import Any

import pytest
import torch

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.training.configuration import schema
from seq2seq.training.losses import cuda_graphs
from tests.configurations import composed, put

FREE = {"_target_": "seq2seq.nn.scheduled_sampling.FreeRunning"}


def config(**changes: object) -> dict[str, Any]:
    found = deepcopy(composed("translation"))
    for place, value in {"trainer.cuda_graphs": True, **changes}.items():
        put(found, place, value)
    return found


def trial(found: dict[str, Any]) -> Any:
    with torch.device("meta"):
        return factory.trial_model("translation", found)


def test_off_unless_asked_for_and_with_the_options_of_the_task() -> None:
    model = trial(composed("translation"))
    assert cuda_graphs.made(composed("translation"), model) is None
    made = cuda_graphs.made(config(**{"task.label_smoothing": 0.2, "task.r_drop": 0.5}), model)
    assert made is not None
    assert made.options == {"label_smoothing": 0.2, "r_drop": 0.5}
    cuda_graphs.check(config(), model)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("task.loss", "risk", "draws translations"),
        ("task.coverage_loss", 0.5, "links"),
        ("trainer.split_out_of_memory", True, "splits batches"),
        ("decoder.feedback", FREE, "feedback depends on the step"),
    ],
)
def test_what_a_graph_cannot_repeat_is_refused(place: str, value: object, reason: str) -> None:
    found = config(**{place: value})
    with pytest.raises(UserError, match=rf"trainer\.cuda_graphs=true: .*{reason}.*; set it to false"):
        cuda_graphs.check(found, trial(found))


@pytest.mark.parametrize("task", ["tagging", "classification", "language_modeling"])
def test_other_tasks_have_no_such_step(task: str) -> None:
    found = deepcopy(composed(task))
    put(found, "trainer.cuda_graphs", True)
    with pytest.raises(UserError, match=rf"trainer\.cuda_graphs=true: task={task} has no such training step"):
        schema.check(found)
