"""Custom autograd functions, right and wrong, and those whose gradient is another one on purpose."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.custom_functions import wrong_backward

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Act(torch.autograd.Function):
    """As many functions as `kind` names."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: str) -> Tensor:
        ctx.save_for_backward(x)
        ctx.kind = kind
        if kind in ("reversed", "scaled"):
            return x.view_as(x)
        if kind == "masked":
            return x.softmax(dim=1)
        if kind == "drawn":
            return x * torch.rand(1).item()
        if kind == "sign":
            return x.sign()
        if kind == "round":
            return (x * 4).round() / 4
        return torch.tanh(x) if "tanh" in kind else x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if ctx.kind == "masked":
            y = x.softmax(dim=1)
            return y * (gradient - (gradient * y).sum(dim=1, keepdim=True)), None
        slope = {
            "relu": (x > 0).float(),
            "dead side": (x < 0).float(),
            "tanh": 1 - x.tanh().square(),
            "tanh without square": 1 - x.tanh(),
            "tanh twice": 2 - 2 * x.tanh().square(),
            "reversed": -torch.ones_like(x),
            "scaled": torch.full_like(x, 0.1),
        }.get(ctx.kind, torch.ones_like(x))
        return gradient * slope, None


class WithSetup(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x * x


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.one, self.two = kind, nn.Linear(6, 32), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        if self.kind == "masked":
            x = x.masked_fill(torch.arange(32) > 20, -torch.inf)
        return self.two(WithSetup.apply(x) if self.kind == "cube" else Act.apply(x, self.kind))


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("relu", None),
        ("tanh", None),
        ("dead side", "Act"),
        ("tanh without square", "Act"),
        ("tanh twice", "Act"),
        ("cube", "WithSetup"),
        ("reversed", None),
        ("scaled", None),
        ("sign", None),
        ("round", None),
        ("passed on", None),
        ("drawn", None),
        ("masked", None),
    ],
)
def test_a_backward_that_is_not_the_slope(kind: str, found: str | None) -> None:
    torch.manual_seed(0)
    net = Net(kind)

    def step(model: Any, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    told = wrong_backward(net, (X, Y), step, step(net, (X, Y)))
    assert (told[0] if told is not None else None) == found
    if kind == "tanh twice":
        assert told is not None
        assert told[1] == pytest.approx(2.0, rel=0.05)
    assert "forward" in Act.__dict__
    assert isinstance(Act.__dict__["forward"], staticmethod)


class Inherited(Act):
    pass


def test_a_function_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    before = Act.__dict__["forward"]

    class Heir(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 32), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(Inherited.apply(self.one(x), "tanh twice"))

    def step(model: Any, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    told = wrong_backward(net := Heir(), (X, Y), step, step(net, (X, Y)))
    assert told is not None
    assert told[0] == "Inherited"
    assert "forward" not in Inherited.__dict__
    assert Act.__dict__["forward"] is before
