"""Gradients of micro-batches that are added, at a rate that their mean bears and their sum does not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import rehearsed
from test_followed_scripts import codes, followed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence, OptimizerSettings
from trainability.doctor.measure.pass_scales import PassScales, divisors_of
from trainability.doctor.rehearsed import CriticalStep, Observation, Task
from trainability.doctor.rules.smaller_steps import was_unstable

PASSES = 16
X = torch.randn(1024, 12, generator=torch.Generator().manual_seed(0))
Y = X[:, :4].argmax(dim=1)


def of_sum(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y, reduction="sum") / (PASSES * len(y))


def clipped(model: nn.Module) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)


def averaged(model: nn.Module) -> None:
    for p in model.parameters():
        p.grad /= PASSES  # type: ignore[operator]


class Accumulating:
    """Steps once in 16 batches; counts them in an attribute, beside its loss."""

    def __init__(self, way: str) -> None:
        self.seen, self.criterion, self.way = 0, nn.CrossEntropyLoss(), way

    def __call__(self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        loss = WAYS[self.way][0](model(batch[0]), batch[1])
        loss.backward()
        self.seen += 1
        if self.seen % PASSES == 0:
            WAYS[self.way][1](model)
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()


# The loss of a micro-batch, what is done before the step, optimizer, rate; and whether the sum is the mistake.
WAYS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[nn.Module], None], str, float, bool]] = {
    "added": (F.cross_entropy, lambda model: None, "SGD", 0.5, True),
    "divided": (lambda out, y: F.cross_entropy(out, y) / PASSES, lambda model: None, "SGD", 0.5, False),
    "divided later": (F.cross_entropy, averaged, "SGD", 0.5, False),
    "a share of a sum": (of_sum, lambda model: None, "SGD", 0.5, False),
    "at a small rate": (F.cross_entropy, lambda model: None, "SGD", 0.01, False),
    "clipped": (F.cross_entropy, clipped, "SGD", 0.5, False),
    "Adam": (F.cross_entropy, lambda model: None, "Adam", 0.01, False),
    "divided, and far too large": (lambda out, y: F.cross_entropy(out, y) / PASSES, lambda model: None, "SGD", 80.0, False),
}


def parts(name: str, rate: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 4))
    momentum = {"momentum": 0.9} if name == "SGD" else {}
    return model, getattr(torch.optim, name)(model.parameters(), lr=rate, **momentum)


@pytest.mark.parametrize("way", WAYS)
def test_run_tells_a_sum_that_its_rate_does_not_bear(way: str) -> None:
    *_, name, rate, is_wrong = WAYS[way]

    def loop() -> None:
        model, optimizer = parts(name, rate)
        step = Accumulating(way)
        for number in range(60 * PASSES):
            rows = torch.arange(16 * number, 16 * (number + 1)) % len(X)
            step(model, optimizer, (X[rows], Y[rows]))

    found = {code: severity for each in followed(loop).values() for code, severity in codes(each).items()}
    assert found.get("accumulation.undivided") == ("warning" if is_wrong else None)


@pytest.mark.parametrize("way", WAYS)
def test_check_tells_it_too(way: str) -> None:
    *_, name, rate, is_wrong = WAYS[way]
    model, optimizer = parts(name, 2 * rate)
    loader = DataLoader(TensorDataset(X, Y), 16, shuffle=True)
    report = check(model, loader, step=Accumulating(way), optimizer=optimizer)
    told = {f.code: f.severity for f in report.findings}
    assert told.get("accumulation.undivided") == ("warning" if is_wrong else None)


def test_two_heads_of_one_pass_are_no_micro_batches() -> None:
    def loop() -> None:
        model, optimizer = parts("SGD", 4.0)
        for number in range(80):
            rows = torch.arange(16 * number, 16 * (number + 1)) % len(X)
            out = model(X[rows])
            optimizer.zero_grad()
            F.cross_entropy(out, Y[rows]).backward(retain_graph=True)
            F.cross_entropy(-out, Y[rows]).backward()
            optimizer.step()

    assert "accumulation.undivided" not in {code for each in followed(loop).values() for code in codes(each)}


def test_gradients_that_are_cleared_in_between_are_not_added() -> None:
    def loop() -> None:
        model, optimizer = parts("SGD", 8.0)
        for number in range(80):
            rows = torch.arange(16 * number, 16 * (number + 1)) % len(X)
            for _ in range(2):
                optimizer.zero_grad(set_to_none=number % 2 == 0)
                F.cross_entropy(model(X[rows]), Y[rows]).backward()
            optimizer.step()

    assert "accumulation.undivided" not in {code for each in followed(loop).values() for code in codes(each)}


def rehearsed_sum(multiples: tuple[float, ...], losses: tuple[float, ...], *, is_finite: bool) -> Evidence:
    """A rehearsal of sums of four passes, with a chance of 1.4 and a floor of -5, that ends unstable."""
    return dataclasses.replace(
        rehearsed(
            10,
            reference=tuple(Observation(step=5 * k, loss=loss) for k, loss in enumerate(losses)),
            critical=tuple((1 + 5 * k, at_multiple(multiple)) for k, multiple in enumerate(multiples)),
            task=Task(kind="classification", chance=1.4, floor=-5.0),
            ended_by="steps" if is_finite else "not finite",
            undivided=4,
        ),
        optimizer=OptimizerSettings(name="SGD", lr=0.5),
    )


def at_multiple(multiple: float) -> CriticalStep:
    return CriticalStep(
        multiple=multiple,
        loss_before=1.4,
        loss_after=1.3,
        lowest_loss=1.2,
        resolution=1e-6,
        update_norm=1.0,
        num_evaluations=8,
    )


# Critical multiples, losses of a fixed batch, whether all are finite, and what is said: of own programs that do not train, of
# one that trains with its batches in another order, and of one that comes back.
REHEARSED: dict[str, tuple[tuple[float, ...], tuple[float, ...], bool, str | None]] = {
    "far too long": ((1.8, 0.02), (1.4, 7779.0), False, "warning"),
    "too long for some batches": ((2.1, 1.1), (1.4, 0.8, 15.0), False, "hint"),
    "does not come back": ((2.1, 0.3), (1.4, -2.0, 1.35), True, "warning"),
    "comes back": ((2.1, 0.3), (1.4, -2.0, 1.0), True, None),
}


@pytest.mark.parametrize("name", REHEARSED)
def test_what_a_rehearsal_shows_of_a_sum(name: str) -> None:
    multiples, losses, is_finite, severity = REHEARSED[name]
    evidence = rehearsed_sum(multiples, losses, is_finite=is_finite)
    assert was_unstable(evidence)
    told = {f.code: f.severity for f in diagnose(evidence).findings}
    assert told.get("accumulation.undivided") == severity


@pytest.mark.parametrize("is_added", [True, False])
def test_steps_after_the_gradient_is_infinite_do_not_hide_a_sum(is_added: bool) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scales = PassScales([optimizer])
    for number in range(10):
        optimizer.zero_grad()
        for _ in range(4):
            loss = model(torch.full((8, 3), math.inf if number > 2 else 1.0)).square().mean()
            divisors = divisors_of(loss)
            loss.backward()
            scales.passed(divisors)
        if not is_added:
            for p in model.parameters():
                p.grad /= 4  # type: ignore[operator]
        scales.stepping(optimizer)
    assert scales.is_over
    assert scales.undivided() == (4 if is_added else None)
