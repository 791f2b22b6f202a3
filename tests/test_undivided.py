"""Gradients of micro-batches that are added, at a rate that their mean bears and their sum does not."""

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
