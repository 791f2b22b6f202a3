"""Layers in the closures of functions that a model holds: not registered they are named, and registered no copy is taken."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, Setup, check
from trainability.doctor.measure.copies import copied

X = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, :1] * X[:, 1:2]).sign().add(1).div(2)


def branch(way: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    layers = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 6))

    def closed(x: Tensor) -> Tensor:
        return x + layers(x)

    def given(inner: nn.Module, x: Tensor) -> Tensor:
        return x + inner(x)

    return layers, functools.partial(given, layers) if way == "partial" else closed


class Branches(nn.Module):
    """Two branches in a list, or one that is an attribute itself, before a head."""

    def __init__(self, way: str, registers: bool) -> None:
        super().__init__()
        pairs = [branch(way) for _ in range(2)]
        self.functions = [function for _, function in pairs]
        self.last = self.functions.pop() if way == "attribute" else nn.Identity()
        if registers:
            self.layers = nn.ModuleList([layers for layers, _ in pairs])
        self.head = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        for function in (*self.functions, self.last):
            x = function(x)
        return self.head(x)


WAYS = ["list", "attribute", "partial"]


@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_check_and_monitor_name_layers_that_are_not_registered(way: str, registers: bool) -> None:
    torch.manual_seed(0)
    model = Branches(way, registers)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loader = DataLoader(TensorDataset(X, Y), 50, shuffle=True)
    loss_fn = F.binary_cross_entropy_with_logits
    found = check(Setup(model=model, train_loader=loader, loss_fn=loss_fn, optimizer=optimizer, rehearse_seconds=1))
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))
    with Monitor(model, optimizer, every=4) as monitor:
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    for diagnosis in (found, monitor.diagnose()):
        said = {f.code: f for f in diagnosis.findings if f.severity != "hint"}
        assert ("unregistered_layers" in said) is not registers
        assert not {
            code for code in said if code.startswith(("unmoved_parameter", "unreached_parameter", "untrained_parameter"))
        }
        if not registers:
            assert "closures" in (said["unregistered_layers"].cause or "") or way == "partial"


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_that_would_use_the_original_is_refused(way: str) -> None:
    if way == "partial":  # what it holds is copied with it
        twin = copied(Branches(way, registers=True))[0]
        assert twin.functions[0].args[0] is twin.layers[0]
        return
    with pytest.raises(ValueError, match="closure"):
        copied(Branches(way, registers=True))
    copied(Branches(way, registers=False))
