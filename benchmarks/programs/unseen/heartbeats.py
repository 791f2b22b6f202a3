"""The kind of a heartbeat from one lead: strided one-dimensional convolutions, rare classes, and a one-cycle rate."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR, StepLR

from programs.held_out.causes import LARGE, OUTSIDE, QUIET
from programs.program import Data, Program, accuracy, but, class_score, fault, in_evaluation_mode
from programs.unseen.causes import DIES, MISALIGNED, MODES, SORTED, TWICE, UNSCALED

CLASSES, LENGTH = 4, 96


@functools.cache
def beats(train: bool) -> Data:
    """Beats (n, 1, 96), standardised, and their kinds: normal 70 %, early, wide, and without the last wave."""
    rng = torch.Generator().manual_seed(210 if train else 211)
    n = 1500 if train else 600
    kind = torch.multinomial(torch.tensor([0.70, 0.14, 0.10, 0.06]), n, replacement=True, generator=rng)
    at = torch.arange(LENGTH)[None]
    jitter = 3 * torch.randn(n, 1, generator=rng)
    early, wide, flat = ((kind == c).float()[:, None] for c in (1, 2, 3))

    def wave(center: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
        return height * torch.exp(-(((at - center) / width) ** 2))

    size = 0.8 + 0.4 * torch.rand(n, 1, generator=rng)
    signal = wave(22 + jitter + 8 * early, 5.0, 0.25)
    signal = signal + wave(42 + jitter, 2.5 + 3.5 * wide, size) - wave(48 + jitter, 2.5, 0.3)
    signal = signal + wave(70 + jitter, 8.0, 0.4 * (1 - 0.9 * flat))
    signal = (
        signal
        + 0.1 * torch.randn(n, LENGTH, generator=rng)
        + 0.2 * torch.sin(0.03 * at + 6.3 * torch.rand(n, 1, generator=rng))
    )
    return ((signal - 0.15) / 0.33)[:, None], kind


class Block(nn.Module):
    """Group norm, SiLU and a strided convolution, twice, beside a pooled skip."""

    def __init__(self, width: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(norm(width), nn.SiLU(), nn.Conv1d(width, width, 5, padding=2)),
            *(norm(width), nn.SiLU(), nn.Conv1d(width, width, 5, padding=2, stride=2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, t) to (n, width, t / 2)."""
        return F.avg_pool1d(x, 2) + self.body(x)


def _groups(width: int) -> nn.Module:
    return nn.GroupNorm(4, width)


def reader(
    *last: nn.Module, width: int = 16, blocks: int = 3, norm: Callable[[int], nn.Module] = _groups, drop: float = 0.0
) -> nn.Sequential:
    """A stem, three residual blocks and four logits."""
    return nn.Sequential(
        nn.Conv1d(1, width, 7, padding=3),
        *(Block(width, norm) for _ in range(blocks)),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(drop), nn.Linear(width, CLASSES), *last),
    )


def plain(std: float | None = None) -> nn.Sequential:
    """Six convolutions with ReLU and no norm, He's weights or N(0, std)."""
    layers: list[nn.Module] = []
    for i in range(6):
        layers += [nn.Conv1d(16 if i else 1, 16, 5, padding=2, stride=1 + i % 2), nn.ReLU()]
        weight = layers[-2].get_parameter("weight")
        nn.init.kaiming_normal_(weight) if std is None else nn.init.normal_(weight, 0.0, std)
        nn.init.zeros_(layers[-2].get_parameter("bias"))
    return nn.Sequential(*layers, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, CLASSES))


WEIGHTS = torch.tensor([0.35, 1.8, 2.5, 4.0])


def weighted(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with the inverse frequencies of the classes."""
    return F.cross_entropy(output, target, weight=WEIGHTS)


def _sorted(train: bool) -> Data:
    x, y = beats(train)
    order = y.argsort(stable=True)
    return x[order], y[order]


def _microvolts(train: bool) -> Data:
    x, y = beats(train)
    return x * 330 + 150, y


def _resampled(train: bool) -> Data:
    """Signals were sorted by time of day and the annotations were not."""
    x, y = beats(train)
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(5))], y


BEAT = Program(
    model=reader,
    train=lambda: beats(True),
    held_out=lambda: beats(False),
    score=class_score,
    loss=weighted,
    metric=accuracy,
    optimizer=torch.optim.AdamW,
    options={"lr": 1e-3, "weight_decay": 0.01},
    scheduler=lambda optimizer: OneCycleLR(optimizer, 0.01, total_steps=260),
    steps=250,
)
NORMED = but(
    BEAT,
    model=lambda: reader(norm=nn.BatchNorm1d, drop=0.2),
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9, "nesterov": True},
    scheduler=None,
)
PLAIN = but(BEAT, model=plain, optimizer=torch.optim.Adam, options={"lr": 2e-3}, scheduler=None, batch=64, steps=350)

SOUND = {
    "heartbeats": BEAT,
    "heartbeats with batch norm": NORMED,
    "heartbeats without a norm": PLAIN,
    "heartbeats unweighted": but(BEAT, loss=F.cross_entropy),
    "heartbeats in batches of four": but(BEAT, batch=4, steps=1000, scheduler=lambda o: OneCycleLR(o, 2e-3, total_steps=1000)),
}

FAULTS = {
    "heartbeats in microvolts": fault(
        PLAIN,
        "samples are not scaled: about 150 +- 330",
        UNSCALED,
        train=lambda: _microvolts(True),
        held_out=lambda: _microvolts(False),
    ),
    "heartbeats sorted by kind": fault(
        NORMED, "the file is sorted by kind and the loader does not shuffle", SORTED, train=lambda: _sorted(True), shuffle=False
    ),
    "annotations of other beats": fault(
        BEAT, "signals are sorted, their annotations are not", MISALIGNED, train=lambda: _resampled(True)
    ),
    "heartbeats through softmax": fault(
        NORMED,
        "softmax before cross-entropy",
        TWICE,
        model=lambda: reader(nn.Softmax(dim=1), norm=nn.BatchNorm1d, drop=0.2),
    ),
    "convolutions drawn from N(0, 0.01)": fault(PLAIN, "N(0, 0.01) in six layers", QUIET, model=lambda: plain(0.01)),
    "rate stepped down each step": fault(
        NORMED,
        "StepLR(10) is meant in epochs and steps after each batch",
        DIES,
        scheduler=lambda optimizer: StepLR(optimizer, 5, gamma=0.1),
    ),
    "one cycle up to 3": fault(
        BEAT,
        "the peak of the cycle is 3, not 0.01",
        LARGE,
        scheduler=lambda optimizer: OneCycleLR(optimizer, 3.0, total_steps=260),
    ),
    "only the head of the reader is trained": fault(
        PLAIN, "the optimizer is given the last layer's parameters", OUTSIDE, trained=lambda model: model[-1].parameters()
    ),
    "batch norm in eval mode from the start": fault(NORMED, "eval mode while it trains", MODES, body=in_evaluation_mode),
}
