"""Monitor alone: layers that a forward pass makes and drops, beside sound models that make or borrow layers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor

CODE = "unregistered_layers.made_in_forward"


class Net(nn.Module):
    """Two layers; what else it does with layers in its forward pass, by name."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.first, self.head = way, nn.Linear(6, 8), nn.Linear(8, 3)
        self.kept: list[nn.Module] = [nn.Linear(8, 8)]
        self.later: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "noise in front":  # as random convolutions that augment images
            x = nn.Linear(6, 6)(x)
        x = self.first(x).relu()
        if self.way == "head":
            return nn.Linear(8, 3)(x)
        if self.way == "block":
            x = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU())(x)
        elif self.way == "in a list":
            x = self.kept[0](x)
        elif self.way == "made at the first pass":
            self.later = nn.Linear(8, 8) if self.later is None else self.later
            x = self.later(x)
        elif self.way == "around own weights":
            layer = nn.Linear(8, 3)
            layer.weight, layer.bias = self.head.weight, self.head.bias
            return layer(x)
        elif self.way == "without weights":
            x = nn.Dropout(0.1)(nn.LayerNorm(8, elementwise_affine=False)(nn.GELU()(x)))
        elif self.way == "fixed":
            layer = nn.Linear(8, 8).requires_grad_(False)
            x = x + layer(x)
        return self.head(x)


def codes(way: str, loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> list[str]:
    torch.manual_seed(0)
    model = Net(way)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            loss = loss_of(model, torch.randn(16, 6), torch.randint(3, (16,)))
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert not any("stopped" in line for line in monitor.evidence().problems)
    return [f.code for f in monitor.diagnose().findings]


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def teacher_behind(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """A layer that the loop makes around the model is no part of its forward pass."""
    return F.cross_entropy(model(x), y) + nn.Linear(3, 3)(model(x)).square().mean()


@pytest.mark.parametrize("way", ["head", "block"])
def test_a_layer_that_the_forward_pass_makes_is_told(way: str) -> None:
    assert CODE in codes(way, plain)


SOUND = ["usual", "noise in front", "in a list", "made at the first pass", "around own weights", "without weights", "fixed"]


@pytest.mark.parametrize("way", SOUND)
def test_of_other_layers_that_are_no_part_of_the_model_it_is_not(way: str) -> None:
    assert CODE not in codes(way, plain)
    assert CODE not in codes(way, teacher_behind)
