"""Targets that a step keeps by the number of its batch, and ones that it keeps as it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from healthy_parts import digits as standardised
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability import Setup
from trainability.loops.script_watch import ScriptWatch


def digits() -> tuple[Tensor, Tensor]:
    images, labels = standardised()
    return images.flatten(1), labels


def scores(images: Tensor) -> Tensor:
    """A teacher: distances to the mean image of each class."""
    x, y = digits()
    means = torch.stack([x[y == k].mean(dim=0) for k in range(10)])
    return -torch.cdist(images, means).square()


class Step:
    """Distillation; where its scores come from is `kind`."""

    def __init__(self, loader: DataLoader[Any], kind: str) -> None:
        self.kind, self.number = kind, 0
        self.kept = [scores(x) for x, _ in loader]
        self.noise = [0.1 * torch.randn(len(x), 10) for x, _ in loader]

    def __call__(self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        x, y = batch
        kept = self.kept[self.number % len(self.kept)]
        noise = self.noise[self.number % len(self.noise)]
        self.number += 1
        output = model(x)
        if self.kind == "noise":
            loss = F.cross_entropy(output + noise, y)
        else:
            teacher = scores(x) if self.kind == "asked" else kept
            loss = F.kl_div(F.log_softmax(output, 1), F.softmax(teacher, 1), reduction="batchmean")
            loss = loss + 0.1 * F.cross_entropy(output, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss


CASES = [("kept", True, True), ("kept", False, False), ("asked", True, False), ("noise", True, False)]


@pytest.mark.parametrize(("kind", "shuffles", "is_told"), CASES)
def test_targets_of_another_pass_are_told(kind: str, shuffles: bool, is_told: bool) -> None:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(*digits()), 32, shuffle=shuffles, drop_last=True)
    model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    step = Step(loader, kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    diagnosis = trainability.check(Setup(model=model, train_loader=loader, optimizer=optimizer, step=step, rehearse_seconds=0))
    assert ("shuffled_labels.kept" in {f.code for f in diagnosis.findings}) == is_told


@pytest.mark.parametrize("kind", ["kept", "asked"])
def test_a_loop_is_followed_to_the_same_end(kind: str) -> None:
    def loop() -> None:
        torch.manual_seed(0)
        loader = DataLoader(TensorDataset(*digits()), 32, shuffle=True, drop_last=True)
        model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        step = Step(loader, kind)
        for batch in loader:
            step(model, optimizer, batch)

    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        loop()
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    assert ("shuffled_labels.kept" in {f.code for f in diagnosis.findings}) == (kind == "kept")
