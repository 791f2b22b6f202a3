"""A `ReduceLROnPlateau` that cuts the rate while its metric improves, and others that cut it where they should."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from test_followed_scripts import codes, followed
from torch import nn
from torch.nn import functional as F

from trainability.doctor.evidence import Evidence, OptimizerSettings, StepRecord
from trainability.doctor.plateau_calls import PlateauCall, PlateauCalls
from trainability.doctor.rules.rehearsal import rate_dies
from trainability.doctor.rules.turned_plateau import turned_plateau

PER_EPOCH = 10


def run(mode: str, values: list[float], losses: list[float], *, patience: int = 1, factor: float = 0.1) -> Evidence:
    """What is seen of epochs with these losses, where a scheduler is given these values; PyTorch's own says when it cuts."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, factor=factor, patience=patience)  # type: ignore[arg-type]
    steps, calls = [], []
    for epoch, (value, loss) in enumerate(zip(values, losses, strict=True), start=1):
        before = optimizer.param_groups[0]["lr"]
        numbers = range((epoch - 1) * PER_EPOCH + 1, epoch * PER_EPOCH + 1)
        steps += [StepRecord(step=step, loss=loss, lr=before) for step in numbers]
        scheduler.step(value)
        calls.append(PlateauCall(step=len(steps), value=value, before=before, after=optimizer.param_groups[0]["lr"]))
    settings = OptimizerSettings(name="SGD", lr=0.1, plateau=PlateauCalls(mode=mode, calls=tuple(calls)))
    return Evidence(steps=tuple(steps), optimizer=settings)


FALLING = [1.8, 1.6, 1.3, 1.1, 1.05, 1.03, 1.02, 1.01, 1.01, 1.01]
RIGHT = [87, 173, 250, 226, 264, 264, 270, 270, 270, 270]  # of 500


def shares(numbers: list[int], of: int = 500) -> list[float]:
    return [n / of for n in numbers]


def near(losses: list[float]) -> list[float]:
    """As of validation."""
    return [1.05 * loss + 0.02 * math.sin(7 * k) for k, loss in enumerate(losses)]


FIRES: dict[str, tuple[str, list[float], str]] = {
    "accuracy": ("min", shares(RIGHT), "rate_dies.mode"),
    "percent": ("min", [100 * s for s in shares(RIGHT)], "rate_dies.mode"),
    "error rate": ("max", [1 - s for s in shares(RIGHT)], "rate_dies.mode"),
    "training loss": ("max", FALLING, "rate_dies.mode"),
    "sum of losses": ("max", [40 * loss for loss in FALLING], "rate_dies.mode"),
    "validation loss": ("max", near(FALLING), "rate_dies.mode"),
    "negative loss": ("min", [-loss for loss in near(FALLING)], "rate_dies.mode"),
    "epoch": ("min", [float(k) for k in range(10)], "rate_dies.metric"),
    "a loss that is never measured anew": ("min", [2.31] * 10, "rate_dies.metric"),
}


@pytest.mark.parametrize("name", FIRES)
def test_the_rate_is_cut_while_the_metric_improves(name: str) -> None:
    mode, values, code = FIRES[name]
    (finding,) = rate_dies.check(run(mode, values, FALLING))
    assert (finding.code, finding.severity) == (code, "warning")
    if code == "rate_dies.mode":
        assert f'mode="{"min" if mode == "max" else "max"}"' in finding.remedy


LONG = [1.8, 1.2, 0.8, 0.5, 0.35, 0.25, 0.2, 0.15, 0.12, 0.1]
SILENT: dict[str, tuple[str, list[float], list[float]]] = {
    "accuracy": ("max", shares(RIGHT), FALLING),
    "validation loss": ("min", near(FALLING), FALLING),
    "negative loss": ("max", [-loss for loss in near(FALLING)], FALLING),
    "validation loss that stalls": ("min", [1.9, 1.6, 1.5, 1.5, 1.51, 1.52, 1.5, 1.5, 1.51, 1.5], LONG),
    "validation loss that rises": ("min", [0.69 + 0.037 * k for k in range(10)], [0.68 * 0.7**k for k in range(10)]),
    "validation loss that rises, unrounded": (
        "min",
        [0.69 + 0.0371717 * k + 0.01 * math.sin(k) for k in range(10)],
        [0.68 * 0.7**k for k in range(10)],
    ),
    "error rate that rises a little": ("min", shares([100, 103, 109, 111, 114, 120, 121, 122, 124, 126]), LONG),
    "accuracy that falls": ("max", shares([450, 447, 441, 433, 430, 428, 427, 421, 420, 419]), LONG),
    "another score that falls": ("max", [0.8123 - 0.0131 * k for k in range(10)], [0.6 - 0.03 * k for k in range(10)]),
    "reward of a policy": ("max", [-21.3, -35.1, -12.2, -20.4, -22.2, -31.0, -25.5, -20.1, -22.7, -19.9], FALLING),
    "accuracy at a plateau": ("min", shares(RIGHT), [2.3] * 10),
}


@pytest.mark.parametrize("name", SILENT)
def test_cuts_that_are_meant(name: str) -> None:
    assert turned_plateau(run(*SILENT[name])) == []


def test_an_accuracy_that_stands_still_is_a_hint() -> None:
    (finding,) = turned_plateau(run("max", [0.9] * 10, FALLING))
    assert (finding.code, finding.severity) == ("rate_dies.metric", "hint")


def test_one_cut_says_nothing() -> None:
    assert turned_plateau(run("max", FALLING[:5], FALLING[:5], patience=2)) == []


@pytest.mark.parametrize(("mode", "fires"), [("max", True), ("min", False)])
def test_a_script_whose_scheduler_is_given_its_loss(mode: Any, fires: bool) -> None:
    def loop() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, patience=1, factor=0.5)
        inputs = torch.randn(200, 10)
        labels = inputs[:, :4].argmax(dim=1)
        for _ in range(10):
            total = 0.0
            for at in range(0, 200, 20):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(inputs[at : at + 20]), labels[at : at + 20])
                loss.backward()
                optimizer.step()
                total += loss.item()
            scheduler.step(total / 10)

    step = torch.optim.lr_scheduler.ReduceLROnPlateau.step
    (diagnosis,) = followed(loop).values()
    assert ("rate_dies.mode" in codes(diagnosis)) == fires
    assert torch.optim.lr_scheduler.ReduceLROnPlateau.step is step
    assert Evidence.from_dict(diagnosis.evidence.to_dict()).optimizer == diagnosis.evidence.optimizer
