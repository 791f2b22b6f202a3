"""Digits in tiles: small vision transformers, and a mixer."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, SequentialLR

from programs.forum.causes import LEAKS
from programs.held_out.causes import DECAYED
from programs.material import digits
from programs.program import Program, accuracy, but, class_score, fault
from programs.unseen.causes import DIES

WIDTH = 32


class Block(nn.Module):
    """A pre-norm transformer block; its branches may be scaled by small learned factors."""

    def __init__(self, scale: float | None, *, first: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=first)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.scales: Any = (1.0, 1.0)
        if scale is not None:
            self.scales = nn.ParameterList(nn.Parameter(torch.full((WIDTH,), scale)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(n, t, d) to the same."""
        h = self.norm1(x)
        x = x + self.scales[0] * self.attention(h, h, h, need_weights=False)[0]
        return x + self.scales[1] * self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Sixteen tiles of 2 x 2 pixels and a class token, learned positions, three blocks."""

    def __init__(self, *, scale: float | None = None, first: bool = True, depth: int = 3) -> None:
        super().__init__()
        self.tiles = nn.Conv2d(1, WIDTH, 2, 2)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.places = nn.Parameter(0.02 * torch.randn(1, 17, WIDTH))
        self.blocks = nn.Sequential(*(Block(scale, first=first) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 8, 8) to (n, 10)."""
        h = self.tiles(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.token.expand(len(x), -1, -1), h], dim=1) + self.places
        return self.head(self.norm(self.blocks(h))[:, 0])


class Mix(nn.Module):
    """Two small nets: over tiles, then over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.over_tiles = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.over_channels = nn.Sequential(nn.Linear(WIDTH, 48), nn.GELU(), nn.Linear(48, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 16, d) to the same."""
        x = x + self.over_tiles(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.over_channels(self.norm2(x))


class Mixer(nn.Module):
    """Tiles, four mixing blocks, and the mean over tiles."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles = nn.Conv2d(1, WIDTH, 2, 2)
        self.blocks = nn.Sequential(*(Mix() for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 8, 8) to (n, 10)."""
        h = self.blocks(self.tiles(x).flatten(2).transpose(1, 2))
        return self.head(self.norm(h).mean(dim=1))


def warm_then_cosine(optimizer: Any) -> SequentialLR:
    """Thirty steps of warmup, then half a cosine."""
    warm = LinearLR(optimizer, start_factor=0.03, total_iters=30)
    return SequentialLR(optimizer, [warm, CosineAnnealingLR(optimizer, 270, eta_min=1e-5)], milestones=[30])


def whole_warmup(optimizer: Any) -> LambdaLR:
    """Warmup by a division of whole numbers, which is zero until its end."""
    return LambdaLR(optimizer, lambda step: min(1, step // 400))


VIT = Program(
    model=Vit,
    train=lambda: digits(True),
    held_out=lambda: digits(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    optimizer=torch.optim.AdamW,
    options={"lr": 3e-3, "weight_decay": 0.3},
    scheduler=warm_then_cosine,
    steps=300,
)
MIXER = but(VIT, model=Mixer, optimizer=torch.optim.RAdam, options={"lr": 4e-3}, scheduler=None)

SOUND = {
    "digits in tiles by a vit": VIT,
    "digits in tiles by scaled branches": but(VIT, model=lambda: Vit(scale=1e-4, depth=4), clip=1.0),
    "digits in tiles by a mixer": MIXER,
}

FAULTS = {
    "class tokens that attend to each other": fault(
        VIT,
        "attention without batch_first, so that a class token sees those of other digits",
        f"{LEAKS} blind",
        model=lambda: Vit(first=False),
    ),
    "adamw's decay given to adam": fault(
        VIT, "AdamW's weight_decay=0.3 under Adam, where it enters the gradient", DECAYED, optimizer=torch.optim.Adam
    ),
    "warmup in whole numbers": fault(
        VIT,
        "the factor of warmup is step // 400",
        f"{DIES} unmoved_parameter untrained_parameter.lr_zero",
        scheduler=whole_warmup,
    ),
}
