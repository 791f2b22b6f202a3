"""A schedule, read to the end of the run without a step of the loop, against its own formula."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_programs import batches, digits
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from trainability import Setup, check, confirm
from trainability.doctor.measure.rate_ahead import rate_spent, rates_ahead

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
    found = rate_spent(rates_ahead([scheduler], [optimizer], done=0, until=101), 101)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert (found[0], found[2]) == (expected[0], 1.0)
        assert found[1] == pytest.approx(expected[1], rel=1e-6)


# Milestones of 2,000 planned steps, and from where on the rate is nearly nothing.
@pytest.mark.parametrize(
    ("milestones", "gamma", "expected"),
    [
        ([30, 60], 0.1, (61, 0.01)),  # those of epochs
        ([60], 0.01, (61, 0.01)),
        ([30, 60, 90], 0.1, (91, 0.001)),
        ([30, 60], 0.2, None),
        ([90, 180], 0.1, None),  # 6 % of the sum
        ([600, 1200], 0.1, None),
    ],
)
def test_a_rate_of_a_hundredth_of_its_largest_nearly_all_the_time(
    milestones: list[int], gamma: float, expected: tuple[int, float] | None
) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = lr_scheduler.MultiStepLR(optimizer, milestones, gamma=gamma)
    optimizer.step()
    found = rate_spent(rates_ahead([scheduler], [optimizer], done=0, until=2000), 2000)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found == (expected[0], pytest.approx(0.1 * expected[1]), 0.1)


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


# Of a loader of 240 batches, without a plan: what makes the scheduler, and whether its rate is spent in the first pass.
PER_BATCH: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "by 3 % each": (lambda o: lr_scheduler.ExponentialLR(o, 0.97), True),
    "by 10 % each": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), True),
    "a tenth after 30": (lambda o: lr_scheduler.StepLR(o, 30, gamma=0.1), True),
    "by 0.1 % each": (lambda o: lr_scheduler.ExponentialLR(o, 0.999), False),
    "a run over a part of the loader": (lambda o: lr_scheduler.LambdaLR(o, lambda step: max(0.0, 1 - step / 110)), False),
    "warm-up": (lambda o: lr_scheduler.LinearLR(o, 1e-3, total_iters=300), False),
    "one cycle of one pass": (lambda o: lr_scheduler.OneCycleLR(o, 0.05, total_steps=240), False),
    "a cosine of one pass": (lambda o: lr_scheduler.CosineAnnealingLR(o, 240), False),
    "down to nothing in one pass": (lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 - step / 240), False),
    "restarts": (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 24), False),
    "Noam": (lambda o: lr_scheduler.LambdaLR(o, lambda n: min((n + 1) ** -0.5, (n + 1) * 50**-1.5)), False),
}


@pytest.mark.parametrize("holds", ["itself", "a function of its own"])
@pytest.mark.parametrize("name", PER_BATCH)
def test_a_schedule_that_is_over_in_the_first_pass(name: str, holds: str) -> None:
    """The body steps it: the scheduler is one of the objects that it, or a function that it calls, reaches."""
    schedule, expected = PER_BATCH[name]
    x, y = digits()
    torch.manual_seed(0)
    head = nn.Linear(64, 10)
    model = nn.Sequential(nn.Flatten(), head)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scheduler = schedule(optimizer)

    def train_on(net: Any, steps: Any, batch: Any) -> Any:
        steps.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        steps.step()
        scheduler.step()
        return loss

    def outer(net: Any, steps: Any, batch: Any) -> Any:
        return train_on(net, steps, batch)

    before = scheduler.state_dict(), optimizer.param_groups[0]["lr"], head.weight.detach().clone()
    loader = [(x[k : k + 32], y[k : k + 32]) for k in range(0, 768, 32)] * 10
    found = check(model, loader, step=train_on if holds == "itself" else outer, optimizer=optimizer)
    assert ("rate_dies" in [f.code for f in found.findings if f.severity == "warning"]) == expected, found
    after = scheduler.state_dict(), optimizer.param_groups[0]["lr"], head.weight.detach()
    assert {k: v for k, v in after[0].items() if k != "lr_lambdas"} == {k: v for k, v in before[0].items() if k != "lr_lambdas"}
    assert after[1] == before[1]
    assert torch.equal(after[2], before[2])


@pytest.mark.parametrize(("gamma", "expected"), [(0.9, ["hint"]), (0.999, [])])
def test_a_schedule_of_epochs_that_is_given_beside_a_loss_does_not_end_the_rehearsal(gamma: float, expected: list[str]) -> None:
    """Nobody has said that the loop steps it after each batch."""
    x, y = digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma)
    before = scheduler.state_dict()
    found = check(model, batches(x, y), F.cross_entropy, optimizer=optimizer, scheduler=scheduler)
    assert [f.severity for f in found.findings if f.rule == "rate_dies"] == expected
    assert found.verdict == "will train", found
    assert scheduler.state_dict() == before
    assert optimizer.param_groups[0]["lr"] == 0.01


# Of a plan of 40 passes over 24 batches: what makes the scheduler, when it is stepped, and how severe a finding is.
PLANNED: dict[str, tuple[Callable[[Any], Any], str | None, list[str]]] = {
    "a tenth after 14, nobody said when": (lambda o: lr_scheduler.StepLR(o, 14, gamma=0.1), None, ["hint"]),
    "per step": (lambda o: lr_scheduler.StepLR(o, 14, gamma=0.1), "step", ["error"]),
    "per epoch": (lambda o: lr_scheduler.StepLR(o, 14, gamma=0.1), "epoch", []),
    "by half per epoch": (lambda o: lr_scheduler.ExponentialLR(o, 0.5), "epoch", ["error"]),
    "by half, nobody said when": (lambda o: lr_scheduler.ExponentialLR(o, 0.5), None, ["error"]),
    "of the plan": (lambda o: lr_scheduler.CosineAnnealingLR(o, 960), None, []),
    "a factor of zero, behind the last epoch": (lambda o: lr_scheduler.StepLR(o, 60, gamma=0.0), None, ["error"]),
}


@pytest.mark.parametrize("name", PLANNED)
def test_a_schedule_that_may_be_stepped_per_epoch_is_no_error(name: str) -> None:
    schedule, interval, expected = PLANNED[name]
    x, y = digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = schedule(optimizer)
    words: dict[str, Any] = {"scheduler": scheduler, "scheduler_interval": interval, "planned_steps": 960}
    loader = [(x[k : k + 32], y[k : k + 32]) for k in range(0, 768, 32)]
    found = check(model, loader, F.cross_entropy, optimizer=optimizer, **words)
    assert [f.severity for f in found.findings if f.rule == "rate_dies"] == expected
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_an_interval_is_step_or_epoch() -> None:
    with pytest.raises(ValueError, match="'batch'"):
        Setup(model=nn.Linear(2, 2), train_loader=[(torch.zeros(1, 2), torch.zeros(1))], scheduler_interval="batch")  # type: ignore[arg-type]


@pytest.mark.parametrize(("planned", "confirmed"), [(None, []), (1000, ["rate_dies"])])
def test_experiments_hold_the_schedule_that_the_rehearsal_held(planned: int | None, confirmed: list[str]) -> None:
    x, y = digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.3)
    setup = Setup(
        model=model,
        train_loader=batches(x, y),
        loss_fn=F.cross_entropy,
        optimizer=optimizer,
        scheduler=scheduler,
        planned_steps=planned,
        rehearse_seconds=20.0,
    )
    found = confirm(setup, seconds=60.0, max_steps=60)
    assert [f.code for f in found.findings if f.tested and f.tested.outcome == "confirmed"] == confirmed


@pytest.mark.parametrize(("total", "in_body", "expected"), [(300, True, 300), (1000, True, None), (30, False, None)])
def test_a_cycle_that_is_shorter_than_the_plan(total: int, in_body: bool, expected: int | None) -> None:
    x, y = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=total)

    def step(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss

    how: dict[str, Any] = {"step": step} if in_body else {"loss_fn": F.cross_entropy}
    found = check(model, batches(x, y), optimizer=optimizer, scheduler=scheduler, planned_steps=1000, **how)
    told = found.evidence.rehearsal.schedule_ends if found.evidence.rehearsal is not None else None
    assert told == expected
    assert ("rate_dies.ends" in [f.code for f in found.findings]) == (expected is not None)
