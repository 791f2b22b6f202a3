"""Loops whose steps are not one of an optimizer for each backward pass: several steps, or steps by hand; by `run`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor.diagnosis import Diagnosis
from trainability.loops.script_watch import ScriptWatch

TRIES = 12  # of a line search


def followed(loop: Callable[[], Any]) -> dict[str, Diagnosis]:
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        loop()
    finally:
        watch.end(None)
    return watch.diagnoses


def line_search(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    """A step that does not lower the loss enough is undone, and made again with half the rate."""
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    slope = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    before, group = [p.detach().clone() for p in model.parameters()], optimizer.param_groups[0]
    group["lr"] *= 1.5
    for _ in range(TRIES):
        optimizer.step()
        with torch.no_grad():
            if F.cross_entropy(model(x), y) <= loss - 0.1 * group["lr"] * slope:
                return
            for p, old in zip(model.parameters(), before, strict=True):
                p.copy_(old)
        group["lr"] /= 2


def five_steps(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    F.cross_entropy(model(x), y).backward()
    for _ in range(5):
        optimizer.step()


@pytest.mark.parametrize("body", [line_search, five_steps])
@pytest.mark.parametrize("other", [False, True])
def test_several_steps_on_one_gradient_leave_nothing_unseen(body: Any, other: bool) -> None:
    def loop() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0 if body is line_search else 0.01)
        for step in range(60):
            x = torch.randn(64, 20)
            if other and step:  # the watched module's own weights, by a function that calls none of its modules
                body(Bare(model), optimizer, x, x[:, :5].argmax(dim=1))
            else:
                body(model, optimizer, x, x[:, :5].argmax(dim=1))
            optimizer.zero_grad()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found,) = followed(loop).values()
    assert len(found.evidence.samples) > 1
    assert any(sample.blind for sample in found.evidence.samples) == other
    assert ("blind" in [finding.rule for finding in found.findings]) == other


class Bare:
    """The same function of the same weights, in which no module is called."""

    def __init__(self, model: nn.Sequential) -> None:
        self._model, self.parameters = model, model.parameters

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        first, _, last = self._model
        return F.linear(F.relu(F.linear(x, first.weight, first.bias)), last.weight, last.bias)  # type: ignore[arg-type]


@pytest.mark.parametrize("owner", ["model", "optimizer of another"])
def test_a_loop_without_an_optimizer_may_clear_gradients(owner: str) -> None:
    def loop() -> None:
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        for _ in range(5):
            model.zero_grad()
            x = torch.randn(32, 4)
            F.smooth_l1_loss(model(x), x.sum(dim=1, keepdim=True)).backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad  # type: ignore[operator]
            if owner != "model":
                torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1).zero_grad()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert followed(loop) == {}
