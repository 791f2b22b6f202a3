"""A rate that dies in the first part of a run is said while the run goes on; a schedule that ends with its run is sound."""

import dataclasses
import math
import random
from collections.abc import Callable, Sequence

import pytest
import torch
from rule_examples import steps
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from trainability import Evidence, Monitor, check, diagnose
from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.facts import Facts
from trainability.doctor.measure.rate_ahead import rate_spent
from trainability.doctor.outlook_limits import HAS_LEARNED
from trainability.doctor.tense import IS_TRAINING, STILL_TRAINING

SUCCESS = (IS_TRAINING, HAS_LEARNED, STILL_TRAINING)


def watched(rate: Callable[[int], float], loss: Callable[[int], float], num: int) -> Evidence:
    """Steps 1 to `num` with these rates, and losses that vary from batch to batch."""
    noise = random.Random(0)
    rows = steps([loss(n) * (1 + 0.05 * noise.uniform(-1, 1)) for n in range(1, num + 1)])
    told = tuple(dataclasses.replace(row, lr=rate(row.step)) for row in rows)
    return Evidence(steps=told, num_classes=10)


def until(rate: Callable[[int], float], floor: float = 0.2, pace: float = 15.0) -> Callable[[int], float]:
    """Losses that come down from ln 10 as far as the rates add up."""
    return lambda n: floor + (math.log(10) - floor) * math.exp(-sum(map(rate, range(1, n))) / pace)


def settled(after: int, at: float = 0.6) -> Callable[[int], float]:
    """Losses that come down to where they stay, whatever the rate."""
    return lambda n: max(at, math.log(10) - (math.log(10) - at) * n / after)


PER_STEP: dict[str, Callable[[int], float]] = {
    "a tenth every 7 steps": lambda n: 0.1 ** ((n - 1) // 7),
    "a tenth after 3, 6, 9 and so on": lambda n: 0.1 ** ((n - 1) // 3),
    "by a tenth each step": lambda n: 0.9 ** (n - 1),
    "by a quarter each step": lambda n: 0.75 ** (n - 1),
    "to zero within 20 steps": lambda n: max(0.0, 1 - n / 20),
}


ARGUMENTS = {
    "StepLR": "step_size",
    "MultiStepLR": "milestones",
    "ExponentialLR": "gamma ** (1 / ",
    "ReduceLROnPlateau": "patience",
    "CosineAnnealingLR": "T_max",
    "OneCycleLR": "total_steps",
    "LinearLR": "total_iters",
    None: "number of steps to it",
}


@pytest.mark.parametrize("schedule", ARGUMENTS)
@pytest.mark.parametrize("last", [0.0, 1e-5])
def test_the_remedy_names_the_argument_of_the_scheduler(schedule: str | None, last: float) -> None:
    settings = OptimizerSettings(name="SGD", lr=1.0, base_lr=1.0, schedule=schedule)
    rate = PER_STEP["a tenth every 7 steps"]
    run = watched(lambda n: max(last, rate(n)) if n < 60 else last, until(rate), 200)
    (found,) = (f for f in diagnose(dataclasses.replace(run, optimizer=settings)).findings if f.rule == "rate_dies")
    assert [each for each in ARGUMENTS.values() if each in found.remedy] == [ARGUMENTS[schedule]]
    assert ("gamma=1" in found.remedy) == (last == 0.0 and (schedule is None or schedule in tuple(ARGUMENTS)[:3]))


@pytest.mark.parametrize("kind", [lr_scheduler.StepLR, lr_scheduler.ExponentialLR])
def test_a_check_knows_the_scheduler(kind: type[lr_scheduler.LRScheduler]) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = kind(optimizer, **({"step_size": 2} if kind is lr_scheduler.StepLR else {}), gamma=0.5)
    inputs = torch.randn(256, 4)
    batches = [(some, some[:, :3].argmax(1)) for some in inputs.split(8)]
    report = check(
        model, batches, F.cross_entropy, optimizer, scheduler=scheduler, scheduler_interval="step", planned_steps=200
    )
    (found,) = (f for f in report.findings if f.rule == "rate_dies")
    assert found.severity == "error"
    assert ARGUMENTS[kind.__name__] in found.remedy


@pytest.mark.parametrize("num", [100, 460])
@pytest.mark.parametrize("name", PER_STEP)
def test_a_rate_that_died_is_a_warning_and_no_success(name: str, num: int) -> None:
    found = diagnose(watched(PER_STEP[name], until(PER_STEP[name]), num))
    assert [f.severity for f in found.findings if f.rule == "rate_dies"] == ["warning"]
    assert found.verdict not in SUCCESS
    assert "the learning rate is at most a " in found.reason


def plan(num: int) -> dict[str, Callable[[int], float]]:
    """Schedules that end with a run of so many steps."""
    return {
        "constant": lambda n: 1.0,
        "cosine to zero": lambda n: 0.5 * (1 + math.cos(math.pi * (n - 1) / num)),
        "linear to zero": lambda n: 1 - n / num,
        "warm-up and cosine": lambda n: min(n / (num / 10), 0.5 * (1 + math.cos(math.pi * (n - 1) / num))),
        "one cycle": lambda n: n / (0.3 * num) if n < 0.3 * num else 0.5 * (1 + math.cos(math.pi * (n / num - 0.3) / 0.7)),
        "tenths at 50, 75 and 90 %": lambda n: 0.1 ** sum(n > share * num for share in (0.5, 0.75, 0.9)),
        "to 1e-4 along an exponential": lambda n: 1e-4 ** (n / num),
        "power of four": lambda n: (1 - n / num) ** 4,
        "restarts": lambda n: 0.5 * (1 + math.cos(math.pi * ((n - 1) % 25) / 25)),
    }


@pytest.mark.parametrize("num", [60, 100, 460])
@pytest.mark.parametrize("name", plan(1))
def test_a_schedule_that_ends_with_its_run_is_sound(name: str, num: int) -> None:
    rate = plan(num)[name]
    for done in (num // 2, num):
        found = diagnose(watched(rate, until(rate, pace=num / 6), done))
        assert not [f for f in found.findings if f.rule == "rate_dies" and f.severity != "hint"], found


SOUND: dict[str, tuple[Callable[[int], float], Callable[[int], float]]] = {
    # ReduceLROnPlateau, of what has come to rest before
    "lowered at a plateau": (lambda n: 0.1 ** max(0, (n - 30) // 10), settled(18)),
    "a head, and then all at a small rate": (lambda n: 1.0 if n <= 30 else 1e-4, until(lambda n: 1.0 if n <= 30 else 0.3)),
    "a head, and then a cosine of its own": (
        lambda n: 1.0 if n <= 30 else 1e-3 * 0.5 * (1 + math.cos(math.pi * (n - 31) / 90)),
        until(lambda n: 1.0 if n <= 30 else 0.3),
    ),
    "a floor of the schedule": (lambda n: max(1e-3, 0.85**n), until(lambda n: 1.0)),
    "solved": (lambda n: 0.5 ** max(0, n - 20), until(lambda n: 1.0, floor=0.0, pace=2.0)),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_rate_that_falls_for_a_reason_is_sound(name: str) -> None:
    found = diagnose(watched(*SOUND[name], 120))
    assert not [f for f in found.findings if f.rule == "rate_dies" and f.severity != "hint"], found


@pytest.mark.parametrize("schedule", ["StepLR", "ReduceLROnPlateau", None])
def test_a_scheduler_that_waits_for_nothing_keeps_the_rate_dead_for_half_of_a_run(schedule: str | None) -> None:
    seen = watched(*SOUND["lowered at a plateau"], 120)
    settings = OptimizerSettings(name="SGD", lr=1e-9, base_lr=1.0, schedule=schedule)
    found = diagnose(dataclasses.replace(seen, optimizer=settings))
    assert [f.severity for f in found.findings if f.rule == "rate_dies"] == (["warning"] if schedule == "StepLR" else [])


@pytest.mark.parametrize(
    ("rate", "dies"),
    [
        (lambda n: 0.1 ** ((n - 1) // 30), True),
        (lambda n: 0.9**n, True),
        (lambda n: 1 - (n - 1) / 100, False),
        (lambda n: 0.5 * (1 + math.cos(math.pi * (n - 1) / 100)), False),
        (lambda n: 1.0 if n < 90 else 1e-4, False),
        (lambda n: 0.5 ** (n // 30), False),
    ],
)
def test_a_run_that_is_stopped_before_its_end(rate: Callable[[int], float], dies: bool) -> None:
    seen = watched(rate, until(rate, floor=0.05, pace=8.0), 100)
    found = diagnose(dataclasses.replace(seen, facts=Facts(was_stopped=True)))
    assert [f.severity for f in found.findings if f.rule == "rate_dies"] == (["warning"] if dies else [])


def test_what_is_read_ahead_knows_the_largest_rate_of_the_steps_before() -> None:
    rates = [0.1 ** (n // 7) for n in range(100)]
    assert rate_spent(rates[20:], 100, rates[:20]) == (22, rates[-1], 1.0)


@pytest.mark.parametrize(("per_batch", "expected"), [(True, ["warning"]), (False, [])])
def test_a_loop_whose_scheduler_counts_batches(per_batch: bool, expected: Sequence[str]) -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 8)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, 7, gamma=0.1)
    said: list[tuple[int, str]] = []
    with Monitor(model, optimizer, every=10, on_finding=lambda step, found: said.append((step, found.code))) as monitor:
        for _ in range(10):
            for rows in torch.randperm(512).split(32):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[rows]), y[rows])
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                if per_batch:
                    scheduler.step()
            if not per_batch:
                scheduler.step()
    found = monitor.diagnose()
    assert [f.severity for f in found.findings if f.rule == "rate_dies"] == expected
    assert (found.verdict in SUCCESS) == (not per_batch)
