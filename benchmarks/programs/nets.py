"""Small nets for images and rows, and how their weights are drawn."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def cnn() -> nn.Sequential:
    """Two convolutions and two linear layers."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(256, 48), nn.ReLU(), nn.Linear(48, 10)),
    )


def mlp(depth: int = 2, width: int = 48, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers on flat digits."""
    layers: list[nn.Module] = [nn.Linear(64, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def he(module: nn.Module) -> None:
    """He's weights and zero biases."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.get_parameter("bias"))


def xavier(module: nn.Module) -> None:
    """Glorot's weights and zero biases."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.get_parameter("bias"))


def all_constant(value: float):
    """Every weight and bias the same number."""

    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.constant_(module.weight, value)
            nn.init.constant_(module.get_parameter("bias"), value)

    return draw


def gaussian(std: float):
    """N(0, std) weights and zero biases."""

    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, std)
            nn.init.zeros_(module.get_parameter("bias"))

    return draw


def sunk_biases(module: nn.Module) -> None:
    """Biases of convolutions at -10."""
    if isinstance(module, nn.Conv2d):
        nn.init.constant_(module.get_parameter("bias"), -10.0)


class Residual(nn.Module):
    """Batch norm, three residual blocks, average."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1))
            for _ in range(3)
        )
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 1, 8, 8) to logits (n, 10)."""
        x = self.stem(x)
        for block in self.blocks:
            x = F.relu(x + block(x))
        return self.head(x.mean(dim=(2, 3)))


class Patches(nn.Module):
    """A small vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 2, stride=2)
        self.place = nn.Parameter(0.02 * torch.randn(1, 16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 1, 8, 8) to logits (n, 10)."""
        return self.head(self.blocks(self.patch(x).flatten(2).mT + self.place).mean(dim=1))


class Listed(nn.Module):
    """Its hidden layers stand in a plain list."""

    def __init__(self, holder: Any = list) -> None:
        super().__init__()
        self.first = nn.Linear(64, 24)
        self.hidden = holder([nn.Linear(24, 24) for _ in range(5)])
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 64) to logits (n, 10)."""
        x = torch.tanh(self.first(x))
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.head(x)


class Halves(nn.Module):
    """A body and a head; the features between are detached if asked."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU())
        self.head = nn.Linear(6, 10)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 64) to logits (n, 10)."""
        features = self.body(x)
        return self.head(features.detach() if self.cut else features)
