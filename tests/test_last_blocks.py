"""What blocks hand on to the next: the last of them makes it for nobody, as WaveNets, N-BEATS and mesh nets are built."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check


class Skips(nn.Module):
    """Lists of gates, of residual layers and of layers for the sum of all."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.res, self.skip = (nn.ModuleList(nn.Linear(6, 6) for _ in range(3)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        total: Any = 0
        for gate, res, skip in zip(self.gates, self.res, self.skip, strict=True):
            h = gate(x).tanh()
            x, total = x + res(h), total + skip(h)
        return total


class Block(nn.Module):
    """Two answers: one for the next block, one for the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.back, self.fore = (nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.fc(x)
        return x - self.back(h), self.fore(h)


class Residuals(nn.Module):
    """Such blocks, one after the other."""

    def __init__(self, stacks: int = 1) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(nn.ModuleList(Block() for _ in range(3)) for _ in range(stacks))

    def forward(self, x: Tensor) -> Tensor:
        total: Any = 0
        for stack in self.stacks:
            for block in stack:  # pyright: ignore[reportGeneralTypeIssues]
                x, answer = block(x)
                total = total + answer
        return total


class OneShort(nn.Module):
    """The answer is what the last layer was given."""

    def __init__(self, normed: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(6) if normed else nn.Identity() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        given = x
        for layer, norm in zip(self.layers, self.norms, strict=True):
            given, x = x, norm(layer(x)).tanh()
        return given


class WithoutDeepest(nn.Module):
    """Down and up again, from what the deepest layer was given."""

    def __init__(self) -> None:
        super().__init__()
        self.downs, self.ups = (nn.ModuleList(nn.Linear(6, 6) for _ in range(3)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        given = x
        for down in self.downs:
            given, x = x, down(x).tanh()
        for up in self.ups:
            given = up(given).tanh()
        return given


def said(model: nn.Module) -> dict[str, str]:
    torch.manual_seed(0)
    x = torch.randn(128, 6)
    loader = DataLoader(TensorDataset(x, x.flip(1)), 16)
    found = check(model, loader, F.mse_loss, torch.optim.Adam(model.parameters(), 1e-2), rehearse_seconds=1.0)
    return {f.code: f.severity for f in found.findings if f.rule == "unreached_parameter"}


@pytest.mark.parametrize("made", [Skips, Residuals, lambda: Residuals(2)], ids=["lists", "blocks", "stacks"])
def test_what_the_last_block_hands_on_is_a_hint(made: Any) -> None:
    torch.manual_seed(0)
    assert said(made()) == {"unreached_parameter.last_block": "hint"}


@pytest.mark.parametrize(
    "made", [lambda: OneShort(True), lambda: OneShort(False), WithoutDeepest], ids=["normed", "plain", "down and up"]
)
def test_a_last_layer_that_nothing_uses_is_dropped(made: Any) -> None:
    torch.manual_seed(0)
    assert said(made()) == {"unreached_parameter.dropped": "warning"}
