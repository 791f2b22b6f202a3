"""Pictures of shapes: which one of four, all that are in a crowd, and a rare spot on cloth."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import UNREACHABLE
from programs.held_out.causes import CUT, QUIET
from programs.program import Data, Program, accuracy, but, class_score, fault
from programs.unseen.causes import MODES, SAME, TWICE, UNSCALED

SIDE = 16


def _outlines(place: Tensor) -> list[Tensor]:
    """Masks (n, 16, 16) of a disc, a square, a cross and a ring at places (n, 2)."""
    at = torch.arange(SIDE) + 0.5
    down, across = (at[None, :, None] - place[:, :1, None]).abs(), (at[None, None] - place[:, 1:, None]).abs()
    far = (down**2 + across**2).sqrt()
    square, cross = (down < 2.7) & (across < 2.7), ((down < 1) & (across < 4)) | ((across < 1) & (down < 4))
    return [far < 3, square, cross, (far < 4.2) & (far > 2.6)]


@functools.cache
def shapes(train: bool) -> Data:
    """Pictures (n, 3, 16, 16) of one of four shapes in any colour on noise, which, its mask, its place."""
    rng = torch.Generator().manual_seed(7301 if train else 7302)
    n = 2000 if train else 300
    kind, place = torch.randint(4, (n,), generator=rng), 4 + 8 * torch.rand(n, 2, generator=rng)
    mask = torch.stack(_outlines(place), dim=1)[torch.arange(n), kind].float()
    colour = torch.rand(n, 3, generator=rng) + 0.5
    x = 1.4 * colour[:, :, None, None] * mask[:, None] + 0.5 * torch.randn(n, 3, SIDE, SIDE, generator=rng)
    return x - 0.2, kind, mask, place


@functools.cache
def crowds(train: bool) -> Data:
    """Pictures (n, 1, 16, 16) with any of four shapes, and which, (n, 4)."""
    rng = torch.Generator().manual_seed(7303 if train else 7304)
    n = 1000 if train else 300
    present = (torch.rand(n, 4, generator=rng) < 0.4).float()
    x = 0.3 * torch.randn(n, SIDE, SIDE, generator=rng)
    for i in range(4):
        x = x + present[:, i, None, None] * _outlines(3 + 10 * torch.rand(n, 2, generator=rng))[i].float()
    return x[:, None] - 0.2, present


@functools.cache
def cloth(train: bool) -> Data:
    """Stripes (n, 1, 16, 16), a tenth of them with a spot, and whether, (n, 1)."""
    rng = torch.Generator().manual_seed(7305 if train else 7306)
    n = 1000 if train else 500
    phase, bad = 6.3 * torch.rand(n, 1, 1, generator=rng), (torch.rand(n, generator=rng) < 0.1).float()
    spot = _outlines(3 + 10 * torch.rand(n, 2, generator=rng))[0].float()
    x = torch.sin(torch.arange(SIDE)[None, None] + phase) + 0.35 * bad[:, None, None] * spot
    return (x + 0.3 * torch.randn(n, SIDE, SIDE, generator=rng))[:, None], bad[:, None]


def kinds(train: bool) -> Data:
    """The shapes and which they are."""
    return shapes(train)[:2]


def photographs(train: bool) -> Data:
    """The shapes as bytes."""
    x, kind = kinds(train)
    return (255 * ((x + 1.5) / 4.5).clamp(0, 1)).to(torch.uint8), kind


def conv(a: int, b: int, *, stride: int = 1, norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d) -> nn.Sequential:
    """A convolution of 3 x 3, a norm and ReLU."""
    norms = [norm(b)] if norm is not None else []
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=norm is None), *norms, nn.ReLU())


def head(width: int, out: int) -> list[nn.Module]:
    """The mean over a picture and a linear layer."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, out)]


def plain(colours: int = 3, out: int = 4, norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d) -> nn.Sequential:
    """Four convolutions."""
    return nn.Sequential(
        conv(colours, 16, norm=norm),
        conv(16, 24, stride=2, norm=norm),
        conv(24, 32, norm=norm),
        conv(32, 32, stride=2, norm=norm),
        *head(32, out),
    )


def tower(*, std: float | None = None) -> nn.Sequential:
    """Eleven convolutions without a norm, drawn after He, or with one deviation."""
    model = nn.Sequential(
        conv(3, 16, norm=None), conv(16, 16, stride=2, norm=None), *(conv(16, 16, norm=None) for _ in range(9)), *head(16, 4)
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight) if std is None else nn.init.normal_(module.weight, 0.0, std)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


class Step(nn.Module):
    """A residual block with group norm first, and a gate of channels."""

    def __init__(self, width: int, gate: Callable[[Tensor], Tensor] | None = None, skip: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.GroupNorm(4, width), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1)),
            *(nn.GroupNorm(4, width), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1)),
        )
        self.squeeze, self.gate, self.skip = nn.Linear(width, width), gate, skip

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, h, w) to the same."""
        made = self.body(x)
        if self.gate is not None:
            made = made * self.gate(self.squeeze(made.mean(dim=(2, 3))))[:, :, None, None]
        return x + made if self.skip else made


def residual(gate: Callable[[Tensor], Tensor] | None = None) -> nn.Sequential:
    """Four residual blocks."""
    return nn.Sequential(
        conv(3, 16, stride=2, norm=None), *(Step(16, gate) for _ in range(4)), nn.GroupNorm(4, 16), *head(16, 4)
    )


class Gated(nn.Module):
    """Plain convolutions, each scaled by a gate of its channels."""

    def __init__(self, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        sizes = [3, 24, 24, 24, 24, 24]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2 if i == 0 else 1, 1) for i, (a, b) in enumerate(itertools.pairwise(sizes))
        )
        self.gates = nn.ModuleList(nn.Linear(24, 24) for _ in sizes[1:])
        self.last, self.gate = nn.Linear(24, 4), gate

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to logits."""
        for one, gate in zip(self.convs, self.gates, strict=True):
            x = F.relu(one(x))
            x = x * self.gate(gate(x.mean(dim=(2, 3))))[:, :, None, None]
        return self.last(x.mean(dim=(2, 3)))


def separable() -> nn.Sequential:
    """Depthwise and pointwise convolutions."""
    parts: list[nn.Module] = [nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.Hardswish()]
    for _ in range(3):
        parts += [nn.Conv2d(24, 24, 3, 1, 1, groups=24, bias=False), nn.BatchNorm2d(24), nn.Hardswish()]
        parts += [nn.Conv2d(24, 24, 1, bias=False), nn.BatchNorm2d(24), nn.Hardswish()]
    return nn.Sequential(*parts, *head(24, 4))


class Bytes(nn.Module):
    """A net that divides bytes by 255 itself."""

    def __init__(self, divisor: float = 255.0) -> None:
        super().__init__()
        self.net, self.divisor = tower(), divisor

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 16, 16) of bytes to logits."""
        return self.net((x.float() / self.divisor - 0.35 * 255 / self.divisor) * 4)


class Patches(nn.Module):
    """Patches, mixed over places and over channels; only the mixer is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 64, 4, 2).requires_grad_(False)
        self.places, self.channels = nn.Linear(49, 49), nn.Linear(64, 64)
        self.norms = nn.ModuleList([nn.LayerNorm(64), nn.LayerNorm(64)])
        self.last = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 49, 4))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 16, 16) to logits."""
        x = self.cut(x).flatten(2).transpose(1, 2)
        x = x + F.gelu(self.places(self.norms[0](x).transpose(1, 2))).transpose(1, 2)
        x = x + F.gelu(self.channels(self.norms[1](x)))
        return self.last(x)


def labels_told(model: Any, data: Data) -> float:
    """Mean over the labels of how much better than chance presence and absence are told."""
    made, true = (model(data[0]) > 0).float(), data[1]
    there = (made * true).sum(dim=0) / true.sum(dim=0)
    away = ((1 - made) * (1 - true)).sum(dim=0) / (1 - true).sum(dim=0)
    return float((there + away - 1).mean())


def _weighted(weight: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda o, y: F.binary_cross_entropy_with_logits(o, y, pos_weight=torch.tensor(weight))


def _slow_norm(width: int) -> nn.Module:
    return nn.BatchNorm2d(width, momentum=0.001)


def _renamed(train: bool) -> Data:
    x, y = kinds(train)
    rng = torch.Generator().manual_seed(7307)
    return x, torch.where(torch.rand(len(y), generator=rng) < 0.25, torch.randint(4, y.shape, generator=rng), y)


def _generalized(logits: Tensor, y: Tensor) -> Tensor:
    """A loss between cross-entropy and error, which noisy labels hurt less."""
    return ((1 - logits.softmax(dim=1).gather(1, y[:, None]) ** 0.5) / 0.5).mean()


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _dropped() -> nn.Sequential:
    return nn.Sequential(*(part for layer in list(plain())[:4] for part in (layer, nn.Dropout(0.9))), *head(32, 4))


SHAPES = Program(
    model=plain,
    train=lambda: kinds(True),
    held_out=lambda: kinds(False),
    score=class_score,
    loss=nn.CrossEntropyLoss(),
    metric=accuracy,
    steps=150,
)
TOWER = but(SHAPES, model=tower, optimizer=torch.optim.SGD, options={"lr": 0.03, "momentum": 0.9}, clip=1.0, steps=300)
RESIDUAL = but(SHAPES, model=residual, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9}, batch=8, steps=400)
GATED = but(SHAPES, model=lambda: Gated(torch.sigmoid), options={"lr": 4e-3}, steps=300)
BYTES = but(
    SHAPES,
    model=Bytes,
    train=lambda: photographs(True),
    held_out=lambda: photographs(False),
    optimizer=torch.optim.SGD,
    options={"lr": 0.03, "momentum": 0.9},
    clip=1.0,
    steps=300,
)
CROWDS = but(
    SHAPES,
    model=lambda: plain(1),
    train=lambda: crowds(True),
    held_out=lambda: crowds(False),
    loss=F.binary_cross_entropy_with_logits,
    metric=None,
    score=labels_told,
    options={"lr": 5e-3},
    steps=300,
)
CLOTH = but(
    CROWDS, model=lambda: plain(1, 1), train=lambda: cloth(True), held_out=lambda: cloth(False), loss=_weighted(9.0), steps=200
)

SOUND = {
    "shapes by four convolutions": SHAPES,
    "shapes by a tower without a norm": TOWER,
    "shapes by group norm in batches of 8": RESIDUAL,
    "shapes under gates of channels": GATED,
    "shapes by separable convolutions, smoothed": but(
        SHAPES,
        model=separable,
        loss=nn.CrossEntropyLoss(label_smoothing=0.15),
        optimizer=torch.optim.AdamW,
        options={"lr": 5e-3, "weight_decay": 0.05},
        steps=300,
    ),
    "shapes from bytes": BYTES,
    "shapes of which a quarter has another name": but(
        SHAPES, train=lambda: _renamed(True), loss=_generalized, optimizer=torch.optim.NAdam, steps=250
    ),
    "shapes by mixed patches that stay": but(SHAPES, model=Patches, trained=_trainable, options={"lr": 3e-3}, steps=300),
    "all shapes of a crowd": CROWDS,
    "rare spot on cloth": CLOTH,
}

FAULTS = {
    "running statistics that hardly move": fault(
        SHAPES,
        "momentum=0.001 of batch norm, where 0.999 is kept elsewhere",
        f"{MODES} evaluation_path",
        model=lambda: plain(norm=_slow_norm),
    ),
    "dropout of what should be kept": fault(
        SHAPES, "Dropout(0.9) after each layer, meant to keep 0.9", "heavy_dropout", model=_dropped
    ),
    "tower drawn from N(0, 0.01)": fault(
        TOWER, "a deviation of 0.01 for eleven layers", f"vanishing_gradient {QUIET}", model=lambda: tower(std=0.01)
    ),
    "gates by softmax": fault(
        GATED,
        "softmax over 24 channels for a sigmoid, so that each layer is 24 times smaller",
        f"vanishing_gradient activation_scale {QUIET}",
        model=lambda: Gated(lambda x: x.softmax(dim=1)),
    ),
    "photographs divided twice by 255": fault(
        BYTES, "divided by 255 in the data and in the model", f"{UNSCALED} {QUIET}", model=lambda: Bytes(255.0 * 255.0)
    ),
    "softmax of labels that go together": fault(
        CROWDS,
        "softmax before BCELoss where several labels are true",
        TWICE,
        loss=lambda o, y: F.binary_cross_entropy(o.softmax(dim=1), y),
    ),
    "softmax of one logit": fault(
        CLOTH,
        "cross_entropy of one logit: always zero",
        f"softmax_twice capped_loss misread_logits label_range {SAME} {CUT}",
        loss=F.cross_entropy,
    ),
    "weight of the rare class the wrong way round": fault(
        CLOTH, "pos_weight is positives over negatives", f"class_imbalance {SAME}", loss=_weighted(1 / 9)
    ),
    "relu before the logits of a crowd": fault(
        CROWDS,
        "ReLU behind the last layer: no label can be called absent",
        f"{UNREACHABLE} confirmed_change.last_activation_off",
        model=lambda: nn.Sequential(*plain(1), nn.ReLU()),
    ),
}
