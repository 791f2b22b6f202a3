"""Scenes: a class for every pixel, key points by heat maps, boxes, and a finer image from a coarse one."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, OUT_OF_ORDER
from programs.program import Data, Loop, Program, but, ending, explained, fault

KINDS = 3


@functools.cache
def scenes(train: bool) -> Data:
    """Images (n, 3, 16, 16) with a wide bar and a blob on a ground, and the class of each pixel (n, 16, 16)."""
    rng = torch.Generator().manual_seed(110 if train else 111)
    n = 240 if train else 80
    ys, xs = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    at = torch.randint(2, 11, (n, 3, 1, 1), generator=rng)
    bar = (xs >= at[:, 0]) & (xs < at[:, 0] + 4)
    blob = (ys - at[:, 1] - 1.5) ** 2 + (xs - at[:, 2] - 1.5) ** 2 < 9
    mask = torch.where(blob, 2, torch.where(bar, 1, 0))
    colours = torch.tensor([[0.0, 0.0, 0.3], [1.2, -0.4, 0.0], [-0.6, 1.0, 0.8]])
    return colours[mask].movedim(3, 1) + 0.7 * torch.randn(n, 3, 16, 16, generator=rng), mask


@functools.cache
def spots(train: bool) -> Data:
    """Images (n, 1, 12, 12) of a bright spot, and its place (n, 2) as shares of the width."""
    rng = torch.Generator().manual_seed(112 if train else 113)
    n = 500 if train else 150
    place = 0.15 + 0.7 * torch.rand(n, 2, generator=rng)
    ys, xs = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    d = (ys - 12 * place[:, 0, None, None]) ** 2 + (xs - 12 * place[:, 1, None, None]) ** 2
    return 3 * torch.exp(-d / 4)[:, None] + 0.4 * torch.randn(n, 1, 12, 12, generator=rng) - 0.3, place


@functools.cache
def coarse(train: bool) -> Data:
    """Images (n, 1, 6, 6) that are means of 2x2 pixels, and the images (n, 1, 12, 12)."""
    rng = torch.Generator().manual_seed(114 if train else 115)
    n = 400 if train else 120
    phase, pitch = 6.3 * torch.rand(n, 2, 1, 1, generator=rng), 0.3 + 0.9 * torch.rand(n, 2, 1, 1, generator=rng)
    ys, xs = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    fine = torch.sign(torch.sin(ys * pitch[:, 0] + phase[:, 0]) + torch.sin(xs * pitch[:, 1] + phase[:, 1]))[:, None]
    return F.avg_pool2d(fine, 2), fine


class Painter(nn.Module):
    """Down by strided, up by transposed convolutions, with the upper map carried over."""

    def __init__(self, *, cut: bool = False) -> None:
        super().__init__()
        self.top = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.InstanceNorm2d(12, affine=True), nn.LeakyReLU(0.1))
        self.low = nn.Sequential(nn.Conv2d(12, 24, 4, 2, 1), nn.InstanceNorm2d(24, affine=True), nn.LeakyReLU(0.1))
        self.up = nn.ConvTranspose2d(24, 12, 2, stride=2)
        self.head = nn.Conv2d(24, KINDS, 1)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, 16, 16) to logits (n, 3, 16, 16)."""
        top = self.top(x)
        low = F.leaky_relu(self.up(self.low(top)), 0.1)
        h = torch.cat([top, low], dim=1)
        return self.head(h.detach() if self.cut else h)


class Narrow(nn.Module):
    """A body that leaves three channels and a head; what is between them is detached if asked."""

    def __init__(self, *, cut: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 2, 5, padding=2), nn.Tanh())
        self.head, self.cut = nn.Conv2d(2, KINDS, 1), cut

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, 16, 16) to logits (n, 3, 16, 16)."""
        h = self.body(x)
        return self.head(h.detach() if self.cut else h)


def pointer(last: nn.Module | None = None) -> nn.Sequential:
    """A strided convolutional net with two outputs."""
    layers = [nn.Conv2d(1, 8, 3, 2, 1), nn.Hardswish(), nn.Conv2d(8, 16, 3, 2, 1), nn.Hardswish(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(144, 32), nn.Hardswish(), nn.Linear(32, 2), *([last] if last else []))


def shuffler() -> nn.Sequential:
    """Four channels for one, laid out as pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.PReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.PReLU(), nn.Conv2d(24, 4, 3, padding=1),
        nn.PixelShuffle(2),
    )  # fmt: skip


def agreement(model: nn.Module, data: Data) -> float:
    """Mean over the classes of intersection over union."""
    said, true = model(data[0]).argmax(dim=1), data[1]
    shares = [((said == k) & (true == k)).sum() / ((said == k) | (true == k)).sum().clamp(min=1) for k in range(KINDS)]
    return float(sum(shares) / KINDS)


def focal(output: Tensor, target: Tensor) -> Tensor:
    """Focal loss with gamma 2 over all pixels."""
    costs = F.cross_entropy(output, target, reduction="none")
    return ((1 - torch.exp(-costs)) ** 2 * costs).mean()


def _rows_for_channels(output: Tensor, target: Tensor) -> Tensor:
    """view(-1, classes) of (n, classes, h, w), without the permute before it."""
    return F.cross_entropy(output.reshape(-1, KINDS), target.flatten())


def _dice(output: Tensor, target: Tensor) -> Tensor:
    p, truth = output.softmax(dim=1), F.one_hot(target, KINDS).movedim(3, 1).float()
    both, either = (p * truth).sum(dim=(0, 2, 3)), (p + truth).sum(dim=(0, 2, 3))
    return 1 - ((2 * both + 1) / (either + 1)).mean()


def _heat(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Squared error of heat maps drawn around the spot."""
    return F.mse_loss(model(batch[0]), heat_of(batch[1]))


def heat_of(place: Tensor) -> Tensor:
    """Heat maps (n, 1, 12, 12) that are 1 at the place."""
    ys, xs = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    d = (ys - 12 * place[:, 0, None, None]) ** 2 + (xs - 12 * place[:, 1, None, None]) ** 2
    return torch.exp(-d / 3)[:, None]


def _warmest(model: nn.Module, data: Data) -> float:
    return explained(model, (data[0], heat_of(data[1])))


def heater() -> nn.Sequential:
    """Three convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 5, padding=2)
    )


def _turned(train: bool) -> Data:
    """Masks of another scene: the two folders are listed in different orders."""
    x, mask = scenes(train)
    return x, mask.flip(0)


def _pixels(train: bool) -> Data:
    x, place = spots(train)
    return x, 640 * place


def _forgets_backward(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """zero_grad stands behind backward."""
    model.train()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    model.zero_grad()
    optimizer.step()
    return loss


SEGMENTS = Program(
    model=Painter,
    train=lambda: scenes(True),
    held_out=lambda: scenes(False),
    score=agreement,
    loss=F.cross_entropy,
    options={"lr": 5e-3},
    batch=16,
    steps=200,
)
NARROW = but(SEGMENTS, model=Narrow, options={"lr": 0.01}, steps=300)
POINTS = but(
    SEGMENTS,
    model=pointer,
    train=lambda: spots(True),
    held_out=lambda: spots(False),
    score=explained,
    loss=F.smooth_l1_loss,
    options={"lr": 3e-3},
    batch=32,
    steps=300,
)
SIGMOID = but(POINTS, model=lambda: pointer(nn.Sigmoid()))
HEAT = but(POINTS, model=heater, loss=None, training_step=_heat, score=_warmest, options={"lr": 4e-3})
FINER = but(POINTS, model=shuffler, train=lambda: coarse(True), held_out=lambda: coarse(False), loss=F.l1_loss)

SOUND = {
    "segments": SEGMENTS,
    "segments by dice": but(SEGMENTS, loss=_dice),
    "segments by focal loss": but(SEGMENTS, loss=focal, optimizer=torch.optim.NAdam),
    "key points": SIGMOID,
    "heat maps": HEAT,
    "finer by pixel shuffle": FINER,
}

FAULTS = {
    "pixels viewed as classes": fault(
        SEGMENTS,
        "output.view(-1, classes) without a permute",
        "misread_logits",
        loss=_rows_for_channels,
    ),
    "masks of other scenes": fault(
        SEGMENTS, "two folders listed in different orders", "shuffled_labels", train=lambda: _turned(True)
    ),
    "places in pixels through a sigmoid": fault(
        SIGMOID,
        "targets of 0 to 640 for outputs of 0 to 1",
        "target_scale unreachable_target capped_loss confirmed_change.targets_standard confirmed_change.last_activation_off",
        train=lambda: _pixels(True),
        held_out=lambda: _pixels(False),
    ),
    "body detached from a pixel head": fault(
        NARROW, "the features are detached before the head", "unreached_parameter.detached", model=lambda: Narrow(cut=True)
    ),
    "model.zero_grad before the step": fault(
        POINTS, "zero_grad between backward and step", OUT_OF_ORDER, body=_forgets_backward
    ),
    "finer through a relu": fault(
        FINER,
        "nn.ReLU ends a model of pixels from -1 to 1",
        "unreachable_target capped_loss clamped_logits confirmed_change.last_activation_off",
        model=ending(shuffler, nn.ReLU()),
    ),
    "class map rounded": fault(
        HEAT,
        "the heat map is rounded before the loss",
        CUT,
        training_step=lambda model, batch: F.mse_loss(model(batch[0]).round(), heat_of(batch[1])),
    ),
}
