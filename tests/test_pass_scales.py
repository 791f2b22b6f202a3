"""Gradients of several backward passes that are divided by their number once, or twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_followed_scripts import codes, followed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check

X = torch.randn(640, 12, generator=torch.Generator().manual_seed(0))
Y = X[:, :4].argmax(dim=1)
PASSES = 4
# What is done to the loss, and to the gradients of all passes; and whether the mean is taken twice.
WAYS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], bool]] = {
    "once, the loss": (lambda loss: loss / PASSES, lambda gradient: gradient, False),
    "once, the gradients": (lambda loss: loss, lambda gradient: gradient / PASSES, False),
    "never": (lambda loss: loss, lambda gradient: gradient, False),
    "both": (lambda loss: loss / PASSES, lambda gradient: gradient / PASSES, True),
    "the loss twice": (lambda loss: loss / PASSES * (1 / PASSES), lambda gradient: gradient, True),
    "clipped": (lambda loss: loss / PASSES, lambda gradient: gradient.clamp(-1e-3, 1e-3), False),
}


def body(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, count: list[int], way: str) -> Tensor:
    of_loss, of_gradients, _ = WAYS[way]
    loss = F.cross_entropy(model(batch[0]), batch[1])
    of_loss(loss).backward()
    count[0] += 1
    if count[0] % PASSES == 0:
        for p in model.parameters():
            p.grad = of_gradients(p.grad)  # type: ignore[arg-type]
        optimizer.step()
        optimizer.zero_grad()
    return loss.detach()


def parts(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 4))
    return model, getattr(torch.optim, name)(model.parameters(), lr=0.05)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("way", WAYS)
def test_run_tells_a_mean_that_is_taken_twice(way: str, name: str) -> None:
    def loop() -> None:
        model, optimizer = parts(name)
        count = [0]
        for step in range(80):
            rows = torch.arange(16 * step, 16 * (step + 1)) % len(X)
            body(model, optimizer, (X[rows], Y[rows]), count, way)

    found = {code: severity for each in followed(loop).values() for code, severity in codes(each).items()}
    is_twice = WAYS[way][2]
    assert found.get("loss_divided.again") == (None if not is_twice else "warning" if name == "SGD" else "hint")


@pytest.mark.parametrize("way", WAYS)
def test_check_tells_it_too(way: str) -> None:
    model, optimizer = parts("SGD")
    count = [0]
    report = check(
        model,
        DataLoader(TensorDataset(X, Y), 16, shuffle=True),
        step=lambda model, optimizer, batch: body(model, optimizer, batch, count, way),
        optimizer=optimizer,
    )
    assert ("loss_divided.again" in {f.code for f in report.findings}) == WAYS[way][2]


def test_a_hand_written_mean_is_no_division_by_the_passes() -> None:
    def loop() -> None:
        model, optimizer = parts("SGD")
        for step in range(40):
            optimizer.zero_grad()
            for part in range(PASSES):  # as many examples as passes
                rows = torch.arange(PASSES * (step + part), PASSES * (step + part + 1)) % len(X)
                loss = F.cross_entropy(model(X[rows]), Y[rows], reduction="none").sum() / PASSES
                (loss / PASSES).backward()
            optimizer.step()

    assert "loss_divided.again" not in {code for each in followed(loop).values() for code in codes(each)}


MEANS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], bool]] = {
    "again": (lambda out, y: F.cross_entropy(out, y) / len(y), True),
    "by the targets in use": (lambda out, y: F.cross_entropy(out, y, ignore_index=0) / (y != 0).sum(), True),
    "by hand": (lambda out, y: F.cross_entropy(out, y, reduction="none").mean() / len(y), True),
    "once": (lambda out, y: F.cross_entropy(out, y, reduction="none").sum() / len(y), False),
    "by another number": (lambda out, y: F.cross_entropy(out, y) / 100, False),
}


@pytest.mark.parametrize("kind", MEANS)
def test_a_mean_that_is_divided_by_its_number_of_terms(kind: str) -> None:
    loss_of, is_again = MEANS[kind]

    def loop() -> None:
        model, optimizer = parts("SGD")
        for step in range(60):
            rows = torch.arange(16 * step, 16 * (step + 1)) % len(X)
            optimizer.zero_grad()
            loss_of(model(X[rows]), Y[rows]).backward()
            optimizer.step()

    found = {code: severity for each in followed(loop).values() for code, severity in codes(each).items()}
    assert found.get("loss_divided.mean") == ("warning" if is_again else None)
    model, optimizer = parts("SGD")
    report = check(model, DataLoader(TensorDataset(X, Y), 16, shuffle=True), loss_of, optimizer)
    assert ("loss_divided.mean" in {f.code for f in report.findings}) == is_again
