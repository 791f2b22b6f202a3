"""Pennants: patterns in two colours, by nets with and without a norm."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LOUD, QUIET
from programs.program import Data, Program, accuracy, but, class_score, drawn, fault
from programs.unseen.causes import TWICE


@functools.cache
def pennants(train: bool) -> Data:
    """Colour images (n, 3, 16, 16) of six patterns in two random colours, and the pattern."""
    rng = torch.Generator().manual_seed(8101 if train else 8102)
    n = 900 if train else 300
    label = torch.randint(6, (n,), generator=rng)
    ys, xs = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    at = 6 + 4 * torch.rand(n, 2, 1, 1, generator=rng)
    dy, dx = ys - at[:, 0], xs - at[:, 1]
    chequer = ((ys // 4 + xs // 4) % 2 == 0).expand(n, 16, 16)
    cross = (dy.abs() < 2) | (dx.abs() < 2)
    patterns = torch.stack([dy < 0, dx < 0, cross, dy < dx, dy**2 + dx**2 < 20, chequer])
    mask = patterns[label, torch.arange(n)].float()[:, None]
    one, other = torch.randn(2, n, 3, 1, 1, generator=rng)
    return one * mask + other * (1 - mask) + 0.3 * torch.randn(n, 3, 16, 16, generator=rng), label


def vgg(*last: nn.Module) -> nn.Sequential:
    """Thirteen convolutions in four stages and no norm."""
    layers: list[nn.Module] = []
    a = 3
    for width, count in ((16, 3), (24, 3), (32, 4), (32, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(a, width, 3, padding=1), nn.ReLU()]
            a = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 6), *last)


def he(module: nn.Module) -> None:
    """Kaiming's normal weights for ReLU, biases of zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def lecun(module: nn.Module) -> None:
    """Weights whose variance is one over the number of inputs, as SELU wants them."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")


def positive(module: nn.Module) -> None:
    """Weights between 0 and 1, as of `torch.rand`."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.uniform_(module.weight)


class Branch(nn.Module):
    """A residual block: with batch norm, whose last scale may start at zero, or with a learned factor that does."""

    def __init__(self, width: int, *, normed: bool) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1, bias=not normed) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2 if normed else 0))
        self.much = nn.Parameter(torch.zeros(())) if not normed else None
        if normed:
            nn.init.zeros_(self.norms[1].weight)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to the same."""
        if self.much is not None:
            return x + self.much * self.two(F.relu(self.one(F.relu(x))))
        return F.relu(x + self.norms[1](self.two(F.relu(self.norms[0](self.one(x))))))


def silent(*, normed: bool) -> nn.Sequential:
    """Six residual blocks that pass on their input at first."""
    stem = [nn.Conv2d(3, 20, 3, padding=1), nn.ReLU()]
    first, rest = ([Branch(20, normed=normed) for _ in range(3)] for _ in range(2))
    return nn.Sequential(*stem, *first, nn.MaxPool2d(2), *rest, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(80, 6))


class Normed(nn.Module):
    """Five convolutions, each with a batch norm of its own or all with the same one."""

    def __init__(self, *, shared: bool = False) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(24 if i else 3, 24, 3, padding=1) for i in range(5))
        one = nn.BatchNorm2d(24)
        self.norms = nn.ModuleList([one if shared or not i else nn.BatchNorm2d(24) for i in range(5)])
        self.fc = nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 16, 16) to (n, 6)."""
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            if i in (1, 3):
                x = F.max_pool2d(x, 2)
        return self.fc(x.mean(dim=(2, 3)))


class Dropped(nn.Module):
    """Convolutions and two linear layers with functional dropout, which is or is not told the mode."""

    def __init__(self, *, told: bool = True) -> None:
        super().__init__()
        self.told = told
        self.one, self.two = nn.Conv2d(3, 20, 3, padding=1), nn.Conv2d(20, 24, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(384, 64), nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 16, 16) to (n, 6)."""
        on: dict[str, Any] = {"training": self.training} if self.told else {}
        h = F.max_pool2d(F.relu(self.one(x)), 2)
        h = F.dropout(F.max_pool2d(F.relu(self.two(h)), 2), 0.6, **on)
        h = F.dropout(F.relu(self.fc1(h.flatten(1))), 0.6, **on)
        return self.fc2(h)


def selu() -> nn.Sequential:
    """Convolutions with SELU and alpha dropout, which need no norm."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.SELU(), nn.Conv2d(16, 24, 3, 2, 1), nn.SELU(), nn.AlphaDropout(0.1)),
        *(nn.Conv2d(24, 24, 3, 2, 1), nn.SELU(), nn.Flatten(), nn.AlphaDropout(0.1), nn.Linear(384, 6)),
    )


VGG = Program(
    model=drawn(vgg, he),
    train=lambda: pennants(True),
    held_out=lambda: pennants(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    optimizer=torch.optim.Adam,
    options={"lr": 1e-3},
    steps=300,
)
NORMED = but(VGG, model=Normed, options={"lr": 3e-3}, steps=200)
DROPPED = but(VGG, model=Dropped, options={"lr": 2e-3}, steps=350)
SILENT = but(
    VGG, model=lambda: silent(normed=True), optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9}, steps=200
)

SOUND = {
    "pennants by vgg from he weights": VGG,
    "pennants by five normed layers": NORMED,
    "pennants under functional dropout": DROPPED,
    "pennants by a resnet with silent branches": SILENT,
    "pennants by branches times zero": but(
        SILENT, model=lambda: silent(normed=False), optimizer=torch.optim.Adam, options={"lr": 2e-3}, steps=250
    ),
    "pennants by selu and alpha dropout": but(
        VGG,
        model=drawn(selu, lecun),
        optimizer=torch.optim.SGD,
        options={"lr": 0.01, "momentum": 0.9, "nesterov": True},
        batch=64,
    ),
}

FAULTS = {
    "vgg of pennants from default weights": fault(
        VGG,
        "thirteen layers of ReLU with PyTorch's default weights and no norm",
        f"{QUIET} vanishing_gradient activation_scale confirmed_change.norm_usual",
        model=vgg,
    ),
    "vgg of pennants from weights of 0 to 1": fault(
        VGG,
        "init.uniform_ without bounds: all weights are positive",
        f"{LOUD} exploding_gradient confirmed_change.norm_usual",
        model=drawn(vgg, positive),
    ),
    "softmax behind the head of vgg": fault(
        VGG, "softmax ends the net under cross-entropy", TWICE, model=drawn(lambda: vgg(nn.Softmax(dim=1)), he)
    ),
    "one batch norm for every layer": fault(
        NORMED,
        "five layers share one batch norm, so its running statistics fit none",
        "evaluation_path evaluation_told evaluation_mode",
        model=lambda: Normed(shared=True),
    ),
    "dropout that never sleeps": fault(
        DROPPED,
        "F.dropout without training=self.training",
        "random_evaluation evaluation_path",
        model=lambda: Dropped(told=False),
    ),
}
