"""Images as forum threads have them: residual nets, and the small classifier with one line wrong."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import UNPAIRED, UNREACHABLE
from programs.held_out.causes import CUT, OUTSIDE, QUIET
from programs.program import Data, Program, accuracy, but, class_score, fault, in_bf16, in_evaluation_mode
from programs.unseen.causes import CLAMPED, DETACHED, MODES, SAME, SORTED, TWICE, UNSCALED


@functools.cache
def shapes(train: bool) -> Data:
    """Colour images (n, 16, 16, 3) of 0 to 255, and what is on them: a disc, a square, a cross or stripes."""
    rng = torch.Generator().manual_seed(360 if train else 361)
    n = 800 if train else 300
    label = torch.randint(4, (n,), generator=rng)
    ys, xs = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    at = 5 + 6 * torch.rand(n, 2, 1, 1, generator=rng)
    dy, dx = (ys - at[:, 0]).abs(), (xs - at[:, 1]).abs()
    kinds = torch.stack(
        [
            dy**2 + dx**2 < 14,
            (dy < 3.2) & (dx < 3.2),
            ((dy < 1) | (dx < 1)) & (dy + dx < 5),
            (dy < 4) & (dx < 4) & (ys % 2 == 0),
        ]
    )
    mask = kinds[label, torch.arange(n)].float()[..., None]
    tints = torch.rand(n, 2, 1, 1, 3, generator=rng)
    image = 255 * (0.35 * tints[:, 0] + 0.6 * mask * (0.4 + 0.6 * tints[:, 1])) + 8 * torch.randn(n, 16, 16, 3, generator=rng)
    return image.clamp(0, 255).round(), label


def channels(train: bool) -> Data:
    """The same as (n, 3, 16, 16) with mean 0 and variance 1."""
    x, y = shapes(train)
    return (x.permute(0, 3, 1, 2).contiguous() - 75) / 60, y


class Basic(nn.Module):
    """A residual block with batch norm."""

    def __init__(self, a: int, b: int, stride: int, momentum: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b, momentum=momentum), nn.ReLU()),
            *(nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b, momentum=momentum)),
        )
        self.short = nn.Conv2d(a, b, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(n, a, h, w) to (n, b, h / stride, w / stride)."""
        return F.relu(self.body(x) + self.short(x))


def resnet(*last: nn.Module, momentum: float = 0.1) -> nn.Sequential:
    """Two residual blocks for the shapes."""
    return nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), Basic(12, 12, 1, momentum), Basic(12, 24, 2, momentum)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4), *last),
    )


def plain(*last: nn.Module, drop: float = 0.0, classes: int = 4) -> nn.Sequential:
    """Three convolutions and two linear layers without a norm."""
    return nn.Sequential(
        *(
            nn.Conv2d(3, 12, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Dropout2d(drop), nn.Flatten(), nn.Linear(256, 32), nn.ReLU()),
        *(nn.Dropout(drop), nn.Linear(32, classes), *last),
    )


class InDict(nn.Module):
    """Convolutions kept in a dict, of Python or of torch."""

    def __init__(self, *, registered: bool) -> None:
        super().__init__()
        convs = {f"conv{i}": nn.Conv2d(12 if i else 3, 12, 3, padding=1) for i in range(5)}
        self.convs: Any = nn.ModuleDict(convs) if registered else convs
        self.fc = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 4)."""
        for name in self.convs:
            x = F.relu(self.convs[name](x))
        return self.fc(x.amax(dim=(2, 3)))


class LazyHead(nn.Module):
    """A classifier whose linear layer is made in forward, as its width is not known before."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*list(plain())[:10])

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 16, 16) to (n, 4)."""
        h = self.features(x)
        return nn.Linear(h.shape[1], 4)(h)


class Straight(torch.autograd.Function):
    """The sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Signs of x."""
        return x.sign()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient as it comes."""
        return slope


class Binary(nn.Module):
    """A hidden layer of signs; without `straight` their gradient is zero."""

    def __init__(self, *, straight: bool = True) -> None:
        super().__init__()
        self.straight = straight
        self.features = nn.Sequential(*list(plain())[:10], nn.LayerNorm(256))
        self.hidden, self.out = nn.Linear(256, 48), nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 16, 16) to (n, 4)."""
        h = self.hidden(self.features(x))
        return self.out(Straight.apply(h) if self.straight else torch.sign(h))


def _bytes(train: bool) -> Data:
    x, y = shapes(train)
    return x.permute(0, 3, 1, 2).contiguous(), y


def _imagenet(train: bool) -> Data:
    x, y = _bytes(train)
    return (x - 0.45) / 0.225, y


def _divided_twice(train: bool) -> Data:
    x, y = _bytes(train)
    return x / 255 / 255, y


def _one_image(train: bool) -> Data:
    x, y = channels(train)
    return x[:1].expand_as(x).contiguous(), y


def _frozen() -> nn.Sequential:
    model = resnet()
    model.requires_grad_(False)
    model[-1].requires_grad_(True)
    return model


def _sorted(train: bool) -> Data:
    x, y = channels(train)
    order = y.argsort(stable=True)
    return x[order], y[order]


def _listed_apart(train: bool) -> Data:
    """Images and labels come from two listings of a folder, in unlike orders."""
    x, y = channels(train)
    return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(9))]


def _noisy(train: bool) -> Data:
    x, y = channels(train)
    rng = torch.Generator().manual_seed(364)
    return x, torch.where(torch.rand(len(y), generator=rng) < 0.2, torch.randint(4, (len(y),), generator=rng), y)


def _one_hot(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, F.one_hot(target, 4).float())


SHAPES = Program(
    model=resnet,
    train=lambda: channels(True),
    held_out=lambda: channels(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    steps=200,
)
PLAIN = but(SHAPES, model=plain, options={"lr": 3e-3}, steps=250)
MOMENTUM = but(SHAPES, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9})
FAST = but(MOMENTUM, options={"lr": 0.2, "momentum": 0.9})
SLOW = but(PLAIN, optimizer=torch.optim.SGD, options={"lr": 0.01, "momentum": 0.9}, steps=500)
NAMED = but(SHAPES, model=lambda: InDict(registered=True), options={"lr": 5e-3}, steps=250)
SIGNS = but(PLAIN, model=Binary)

SOUND = {
    "shapes by resnet": SHAPES,
    "shapes by plain cnn": PLAIN,
    "shapes by convolutions in a dict": NAMED,
    "shapes in bf16": but(SHAPES, body=in_bf16),
    "shapes with noisy labels": but(SHAPES, train=lambda: _noisy(True)),
    "shapes by log_softmax under cross-entropy": but(SHAPES, model=lambda: resnet(nn.LogSoftmax(dim=1))),
    "shapes by one-hot targets": but(PLAIN, loss=_one_hot),
    "shapes smoothed": but(MOMENTUM, loss=nn.CrossEntropyLoss(label_smoothing=0.2)),
    "shapes with a spare class": but(PLAIN, model=lambda: plain(classes=5)),
    "shapes through signs": SIGNS,
}

FAULTS = {
    "shapes of raw bytes": fault(
        SLOW,
        "pixels of 0 to 255 under SGD",
        UNSCALED,
        train=lambda: _bytes(True),
        held_out=lambda: _bytes(False),
    ),
    "imagenet's statistics on bytes": fault(
        SLOW,
        "bytes are normalised with the mean and standard deviation of 0 to 1",
        UNSCALED,
        train=lambda: _imagenet(True),
        held_out=lambda: _imagenet(False),
    ),
    "bytes divided twice": fault(
        SLOW,
        "pixels are divided by 255 twice",
        f"input_scale confirmed_change.inputs_standard blank_images constant_input {QUIET} {SAME}",
        train=lambda: _divided_twice(True),
        held_out=lambda: _divided_twice(False),
    ),
    "folders in turn": fault(
        MOMENTUM,
        "images come folder by folder, the loader does not shuffle",
        SORTED,
        train=lambda: _sorted(True),
        shuffle=False,
    ),
    "labels of another listing": fault(
        PLAIN,
        "images and labels are listed in unlike orders",
        UNPAIRED,
        train=lambda: _listed_apart(True),
    ),
    "validation images in bytes": fault(
        PLAIN,
        "images are normalised for training, and not for validation",
        "split_shift input_scale evaluation_path",
        held_out=lambda: _bytes(False),
    ),
    "one image over and over": fault(
        PLAIN,
        "__getitem__ ignores its index for the image, not for the label",
        f"constant_input {UNPAIRED} repeated_draws repeated_batch blank_images",
        train=lambda: _one_image(True),
    ),
    "backbone frozen at random": fault(
        SHAPES, "all but the head is frozen, as if the weights were trained", OUTSIDE, model=_frozen
    ),
    "relu behind the logits": fault(PLAIN, "ReLU behind the last layer", CLAMPED, model=lambda: plain(nn.ReLU())),
    "sigmoid behind four logits": fault(
        PLAIN, "sigmoid ends the net under cross-entropy", f"{TWICE} {UNREACHABLE}", model=lambda: plain(nn.Sigmoid())
    ),
    "batch norm with a momentum of 1e-4": fault(
        SHAPES,
        "momentum is taken for what is left after an epoch: running statistics stay at their start",
        "evaluation_path evaluation_mode wrong_mode evaluation_told",
        model=lambda: resnet(momentum=1e-4),
    ),
    "resnet never back in train mode": fault(
        FAST,
        "model.eval() of the first validation stays on",
        MODES,
        body=in_evaluation_mode,
    ),
    "dropout of 0.9 everywhere": fault(
        PLAIN, "dropout of 0.9 twice", "heavy_dropout confirmed_change.dropout_off", model=lambda: plain(drop=0.9)
    ),
    "convolutions in a plain dict": fault(
        NAMED, "layers are kept in a dict of Python", f"unregistered_layers {OUTSIDE}", model=lambda: InDict(registered=False)
    ),
    "linear layer made in forward": fault(
        PLAIN,
        "the last layer is made anew in each forward pass",
        "weights_redrawn unregistered_layers random_evaluation",
        model=LazyHead,
    ),
    "signs without a straight gradient": fault(
        SIGNS, "torch.sign has no gradient", f"{CUT} {DETACHED} flat_derivative {OUTSIDE}", model=lambda: Binary(straight=False)
    ),
}
