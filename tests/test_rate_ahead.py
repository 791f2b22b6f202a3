"""A schedule, read to the end of the run without a step of the loop, against its own formula."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_programs import batches, digits
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from trainability import check
from trainability.doctor.measure.rate_ahead import rate_spent

SCHEDULES: dict[str, tuple[Callable[[Any], Any], tuple[int, float] | None]] = {
    "a factor of zero": (lambda o: lr_scheduler.StepLR(o, 20, gamma=0.0), (21, 0.0)),
    "a tenth each step": (lambda o: lr_scheduler.ExponentialLR(o, 0.1), (4, 0.1**100)),
    "constant": (lambda o: lr_scheduler.ConstantLR(o, factor=1.0), None),
    "a cosine, up again": (lambda o: lr_scheduler.CosineAnnealingLR(o, 50), None),
    "by the loss": (lambda o: lr_scheduler.ReduceLROnPlateau(o), None),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_step_from_which_the_rate_is_spent(name: str) -> None:
    schedule, expected = SCHEDULES[name]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule(optimizer)
    optimizer.step()
    found = rate_spent(scheduler, [optimizer], done=0, planned=101)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert (found[0], found[2]) == (expected[0], 1.0)
        assert found[1] == pytest.approx(expected[1], rel=1e-6)


def test_a_schedule_that_ends_behind_the_rehearsal_is_told_and_left_as_it_was() -> None:
    x, y = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = lr_scheduler.StepLR(optimizer, 120, gamma=0.0)
    before = scheduler.state_dict()
    found = check(model, batches(x, y), F.cross_entropy, optimizer=optimizer, scheduler=scheduler, planned_steps=1000)
    assert "rate_dies" in [f.code for f in found.findings if f.severity == "error"]
    assert scheduler.state_dict() == before
    assert optimizer.param_groups[0]["lr"] == 0.05
