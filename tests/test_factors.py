"""A function of `LambdaLR` that returns the rate itself, beside ones that return factors."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_programs import batches, digits
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from trainability import Monitor, Setup, check
from trainability.doctor.measure.factors import largest_factor


def warmed_cosine(step: int) -> float:
    return min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / 400)))


def noam(step: int) -> float:
    step = max(step, 1)
    return 96**-0.5 * min(step**-0.5, step * 200**-1.5)


def up_to_its_end(step: int) -> float:
    if step > 400:
        raise ValueError("the schedule is over")
    return 1e-3 * warmed_cosine(step)


class Counted:
    """Counts its own calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, step: int) -> float:
        self.calls += 1
        return 1e-3 * warmed_cosine(step)


# Base rate, what makes the scheduler, and the largest factor that is read.
SCHEDULES: dict[str, tuple[float, Callable[[Any], Any], float | None]] = {
    "the rate itself": (1e-3, lambda o: lr_scheduler.LambdaLR(o, lambda s: 1e-3 * warmed_cosine(s)), 9.9e-4),
    "the rate itself, to its end": (1e-3, lambda o: lr_scheduler.LambdaLR(o, up_to_its_end), 9.9e-4),
    "an object that counts": (1e-3, lambda o: lr_scheduler.LambdaLR(o, Counted()), 9.9e-4),
    "Noam on a rate": (1e-3, lambda o: lr_scheduler.LambdaLR(o, noam), 7.15e-3),
    "Noam on 1": (1.0, lambda o: lr_scheduler.LambdaLR(o, noam), 7.15e-3),
    "a factor": (1e-3, lambda o: lr_scheduler.LambdaLR(o, warmed_cosine), 0.99),
    "a small one on purpose": (1e-3, lambda o: lr_scheduler.LambdaLR(o, lambda s: 1e-3), None),
    "a warm-up without end": (1e-3, lambda o: lr_scheduler.LambdaLR(o, lambda s: s / 1e7), None),
    "a product": (1e-3, lambda o: lr_scheduler.MultiplicativeLR(o, lambda s: 0.01), None),
    "one cycle": (1e-3, lambda o: lr_scheduler.OneCycleLR(o, 1e-3, total_steps=400), None),
    "one after another": (
        1e-3,
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LambdaLR(o, lambda s: 1e-3 / (s + 1)), lr_scheduler.ConstantLR(o, 1.0)], milestones=[5]
        ),
        None,
    ),
}
BAD = {"the rate itself", "the rate itself, to its end", "an object that counts", "Noam on a rate"}


def program(name: str) -> tuple[nn.Module, torch.optim.Optimizer, Any, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    rate, make, _ = SCHEDULES[name]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    return model, optimizer, make(optimizer), batches(*digits())


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_largest_factor_is_read_without_a_step(name: str) -> None:
    _, optimizer, scheduler, _ = program(name)
    before, expected = scheduler.state_dict(), SCHEDULES[name][2]
    found = largest_factor(optimizer)
    assert found == (None if expected is None else pytest.approx(expected, rel=0.01))
    assert scheduler.state_dict() == before


def test_one_group_at_its_own_rate_is_enough() -> None:
    parts = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.Adam([{"params": [part]} for part in parts], lr=1e-3)
    scheduler = lr_scheduler.LambdaLR(optimizer, [lambda s: 0.01 * warmed_cosine(s), warmed_cosine])
    assert largest_factor(optimizer) == pytest.approx(0.99, rel=0.01)
    del scheduler


@pytest.mark.parametrize("name", SCHEDULES)
def test_check_tells_a_rate_from_a_factor(name: str) -> None:
    model, optimizer, scheduler, loader = program(name)
    found = check(Setup(model=model, train_loader=loader, loss_fn=F.cross_entropy, optimizer=optimizer, scheduler=scheduler))
    told = [f.severity for f in found.findings if f.code == "rate_dies.factor"]
    assert told == (["warning"] if name in BAD else [])


@pytest.mark.parametrize("name", SCHEDULES)
def test_monitor_tells_a_rate_from_a_factor(name: str) -> None:
    model, optimizer, scheduler, loader = program(name)
    with Monitor(model, optimizer) as monitor:
        for images, labels in [batch for _ in range(2) for batch in loader]:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            scheduler.step()
    told = [f.severity for f in monitor.diagnose().findings if f.code == "rate_dies.factor"]
    assert told == (["warning"] if name in BAD else [])
