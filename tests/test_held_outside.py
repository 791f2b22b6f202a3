"""Layers that a model holds in objects of the program's own, in dicts, or not at all, and that forward uses."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.facts import look

ELSEWHERE: list[nn.Module] = []


class Block:
    """A part of a model, which is no module."""

    def __init__(self) -> None:
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


@dataclasses.dataclass
class Box:
    layer: nn.Module

    def __call__(self, x: Tensor) -> Tensor:
        return self.layer(x)


class ModuleBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Block()
        self.registered = nn.ModuleList([self.inner.first, self.inner.second])

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Named(dict):
    def __call__(self, x: Tensor) -> Tensor:
        return self["main"](x)


class Net(nn.Module):
    def __init__(self, part: object) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(8, 16), nn.Linear(16, 3)
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        part = self.part if self.part is not None else ELSEWHERE[0]
        return self.out(part(self.into(x).relu()).relu())


CASES = {
    "a class that is no module": (Block, "unregistered_layers", 4, "class Block(torch.nn.Module)"),
    "a dataclass": (lambda: Box(nn.Linear(16, 16)), "unregistered_layers", 2, "class Box(torch.nn.Module)"),
    "a dict": (lambda: Named(main=nn.Linear(16, 16)), "unregistered_layers", 2, "torch.nn.ModuleDict"),
    "an object whose layers are registered as well": (ModuleBlock, None, 0, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_layers_in_objects_of_the_program(name: str) -> None:
    torch.manual_seed(0)
    make, code, count, remedy = CASES[name]
    model = Net(make())
    batch = torch.randn(16, 8), torch.randint(0, 3, (16,))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    facts = look(model, batch, lambda m, b: F.cross_entropy(m(b[0]), b[1]), optimizer=optimizer)
    found = [f for f in diagnose(Evidence(facts=facts)).findings if f.severity != "hint"]
    assert [f.code for f in found] == ([code] if code else [])
    assert all(len(f.layers) == count and remedy in f.remedy for f in found)


def test_a_layer_outside_of_the_model_is_no_part_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ELSEWHERE", [nn.Linear(16, 16)])  # what the file made is hidden: see conftest.py
    module = Net(None)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    batch = torch.randn(16, 8), torch.randint(0, 3, (16,))
    facts = look(module, batch, lambda m, b: F.cross_entropy(m(b[0]), b[1]), optimizer=optimizer)
    (found,) = [f for f in diagnose(Evidence(facts=facts)).findings if f.rule == "untrained_parameter"]
    assert found.code == "untrained_parameter.unmanaged"
    assert "criterion" not in found.remedy
