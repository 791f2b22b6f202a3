"""An optimizer that steps without gradients: of the network before this one, or of a copy beside it."""

from __future__ import annotations

import copy

import pytest
import torch
from test_followed_scripts import codes, followed
from torch import Tensor, nn
from torch.nn import functional as F

X = torch.randn(320, 12, generator=torch.Generator().manual_seed(0))
Y = X[:, :4].argmax(dim=1)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 4))


def batch(step: int) -> tuple[Tensor, Tensor]:
    rows = torch.arange(32 * step, 32 * (step + 1)) % len(X)
    return X[rows], Y[rows]


def fit(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        x, y = batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("is_renewed", [False, True])
@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_a_loop_that_goes_on_with_a_copy(name: str, is_renewed: bool) -> None:
    def loop() -> None:
        model = net()
        optimizer = getattr(torch.optim, name)(model.parameters(), lr=1e-2)
        fit(model, optimizer, 60)
        model = copy.deepcopy(model)
        if is_renewed:
            optimizer = getattr(torch.optim, name)(model.parameters(), lr=1e-2)
        fit(model, optimizer, 60)

    found = {code: severity for each in followed(loop).values() for code, severity in codes(each).items()}
    assert found.get("foreign_optimizer.last") == (None if is_renewed else "error")
    assert "blind" not in found or is_renewed


def test_an_inner_loop_on_a_copy_that_no_optimizer_holds_is_none() -> None:
    def reptile() -> None:
        model = net()
        outer = torch.optim.SGD(model.parameters(), lr=0.5)
        fit(model, outer, 20)
        for step in range(100):
            inner = copy.deepcopy(model)
            for _ in range(2):
                x, y = batch(step)
                inner.zero_grad()
                F.cross_entropy(inner(x), y).backward()
                with torch.no_grad():
                    for p in inner.parameters():
                        p -= 0.1 * p.grad  # type: ignore[operator]
            for p, q in zip(model.parameters(), inner.parameters(), strict=True):
                p.grad = p.detach() - q.detach()
            outer.step()

    assert "foreign_optimizer.last" not in {code for each in followed(reptile).values() for code in codes(each)}


@pytest.mark.parametrize("stepped", ["copy", "own", "head"])
def test_a_script_that_steps_the_optimizer_of_a_copy(stepped: str) -> None:
    def loop() -> None:
        model, head = net(), nn.Linear(4, 4)
        average = copy.deepcopy(model)
        held = {"own": model, "copy": average, "head": head}
        optimizers = {name: torch.optim.Adam(each.parameters(), lr=1e-2) for name, each in held.items()}
        for step in range(130):
            x, y = batch(step)
            for each in optimizers.values():
                each.zero_grad()
            F.cross_entropy(head(model(x)), y).backward()
            optimizers[stepped].step()

    found = {code for each in followed(loop).values() for code in codes(each)}
    assert ("foreign_optimizer.in_vain" in found) == (stepped == "copy")
    assert ("never_steps.one" in found) == (stepped != "copy")
