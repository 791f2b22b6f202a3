"""Schedules whose largest rate comes after the rehearsal: read ahead, tried with smaller peaks, and named by their argument."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from rule_examples import steps
from small_programs import batches, digits
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from trainability import Diagnosis, check
from trainability.doctor import Evidence, diagnose
from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.measure.rehearsal import rehearse


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def warmed_up(to: int, steps: int) -> Callable[[int], float]:
    """Up to 1, ever faster, and down again."""
    return lambda n: min(1e-4 ** (1 - (n + 1) / to), max(0.0, 1 - (n - to) / (steps - to)))


# What makes the scheduler of an Adam at a rate, and what its peak is beside that: the argument that sets it comes first.
SCHEDULES: dict[str, tuple[str, Callable[[Any, float], Any]]] = {
    "OneCycleLR": ("max_lr=", lambda o, peak: lr_scheduler.OneCycleLR(o, peak, total_steps=900, div_factor=1e3)),
    "LambdaLR": ("lr=", lambda o, peak: lr_scheduler.LambdaLR(o, warmed_up(270, 900))),
}


def checked(name: str, peak: float, *, steps_itself: bool = False) -> Diagnosis:
    model, (x, y) = net(), digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=peak)
    scheduler = SCHEDULES[name][1](optimizer, peak)
    words: dict[str, Any] = {"loss_fn": F.cross_entropy, "scheduler": scheduler}

    def body(model: Any, optimizer: Any, batch: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss

    words = {"step": body} if steps_itself else words
    return check(model, batches(x, y), optimizer=optimizer, rehearse_seconds=30.0, **words)


@pytest.mark.parametrize(
    ("name", "at", "steps_itself"), [("OneCycleLR", 1.0, False), ("OneCycleLR", 1.0, True), ("LambdaLR", 3.0, False)]
)
def test_a_peak_that_loses_the_net_is_named_before_the_first_step(name: str, at: float, steps_itself: bool) -> None:
    found = checked(name, at, steps_itself=steps_itself)
    (finding,) = [f for f in found.findings if f.code == "update_ratio.peak"]
    assert finding.severity == "warning"
    assert found.verdict == "cannot tell"
    assert SCHEDULES[name][0] in finding.remedy
    peak, lost, kept = finding.measurements
    assert peak.value == pytest.approx(at, rel=1e-3)
    assert lost.value >= 0.98 * math.log(10) > 2 * kept.value


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_usual_peak_is_none(name: str) -> None:
    assert "update_ratio.peak" not in [f.code for f in checked(name, 0.01).findings]


def later(schedule: Callable[[Any], Any], *, planned: int | None = None, count: int = 20) -> Any:
    model, (x, y) = net(), digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = schedule(optimizer)
    loop = {"loss_fn": F.cross_entropy, "scheduler": scheduler, "planned_steps": planned}
    return rehearse(model, optimizer, batches(x, y), max_steps=count, seconds=30.0, **loop).late_peak


def test_the_peak_is_read_off_the_schedule() -> None:
    found = later(lambda o: lr_scheduler.OneCycleLR(o, 0.8, total_steps=400))
    assert (found.step, found.rate, found.schedule) == (120, pytest.approx(0.8), "OneCycleLR")
    found = later(lambda o: lr_scheduler.LambdaLR(o, warmed_up(300, 600)), planned=600)
    assert (found.step, found.rate, found.length) == (300, pytest.approx(0.1), 600)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: lr_scheduler.ExponentialLR(o, 1.02),  # how far a rate can go
        lambda o: lr_scheduler.CosineAnnealingLR(o, 100),
        lambda o: lr_scheduler.LinearLR(o, 0.5, total_iters=200),
    ],
)
def test_no_peak_to_come(schedule: Callable[[Any], Any]) -> None:
    assert later(schedule) is None


def of_a_run(settings: dict[str, Any], *, last: float) -> str:
    """A run whose rate is raised from 0.001 to 0.2 in 200 steps, and whose loss falls for 100 of them."""
    losses = [2.3 - 0.02 * i for i in range(100)] + [last] * 100
    watched = tuple(replace(step, lr=1e-3 * step.step) for step in steps(losses))
    optimizer = OptimizerSettings(name="Adam", lr=0.2, **settings)
    found = diagnose(Evidence(optimizer=optimizer, steps=watched, num_classes=10))
    return next((f.remedy for f in found.findings if f.rule == "loss_cliff"), "")


def test_a_run_names_what_sets_the_rate() -> None:
    one_cycle = {"schedule": "OneCycleLR", "max_lr": 0.5, "base_lr": 1e-3}
    assert "OneCycleLR(..., max_lr=0.01) in place of 0.5" in of_a_run(one_cycle, last=9.0)
    assert "CyclicLR(..., max_lr=0.01) in place of 0.5" in of_a_run({**one_cycle, "schedule": "CyclicLR"}, last=9.0)
    by_factors = of_a_run({"schedule": "LambdaLR", "base_lr": 0.2}, last=9.0)
    assert "Adam(..., lr=0.01) in place of 0.2" in by_factors
    assert "lr_lambda" in by_factors
    assert "lr_lambda" not in of_a_run({}, last=9.0)
