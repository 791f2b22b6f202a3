"""Where things are in a small image: a grid of cells, each with how sure it is of a thing and the thing's box."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import OUTSIDE
from programs.program import Data, Program, but, fault
from programs.unseen.causes import FROZEN, MISALIGNED

SIDE, GRID, CELL = 24, 6, 4


@functools.cache
def scenes_with_boxes(train: bool) -> Data:
    """Images (n, 1, 24, 24) with one to three rectangles, and (n, 5, 6, 6): whether there is a thing, and its box."""
    rng = torch.Generator().manual_seed(300 if train else 301)
    n = 700 if train else 200
    x, y = 0.4 * torch.randn(n, 1, SIDE, SIDE, generator=rng), torch.zeros(n, 5, GRID, GRID)
    numbers = torch.rand(n, 3, 5, generator=rng)
    for i in range(n):
        for j in range(1 + int(3 * float(numbers[i, 0, 4]))):
            across, down, width, height, _ = numbers[i, j].tolist()
            width, height = 2.5 + 4 * width, 2.5 + 4 * height
            a, b = width / 2 + across * (SIDE - width - 1), height / 2 + down * (SIDE - height - 1)
            column, row = int(a / CELL), int(b / CELL)
            if y[i, 0, row, column] > 0:
                continue
            x[i, 0, round(b - height / 2) : round(b + height / 2), round(a - width / 2) : round(a + width / 2)] += 1.6
            box = (1.0, a / CELL - column - 0.5, b / CELL - row - 0.5, width / CELL - 1.1, height / CELL - 1.1)
            y[i, :, row, column] = torch.tensor(box)
    return x - 0.15, y


def _batch(width: int) -> nn.Module:
    return nn.BatchNorm2d(width)


def detector(
    *last: nn.Module, norm: Callable[[int], nn.Module] = _batch, width: int = 16, prior: float | None = None
) -> nn.Sequential:
    """Five convolutions, of which two have a stride, and five numbers per cell; `prior` is the first bias of being sure."""
    layers: list[nn.Module] = []
    for i, stride in enumerate((1, 2, 1, 2, 1)):
        layers += [nn.Conv2d(width if i else 1, width, 3, stride=stride, padding=1), norm(width), nn.Hardswish()]
    head = nn.Conv2d(width, 5, 1)
    if prior is not None:
        nn.init.constant_(head.get_parameter("bias"), 0.0)
        head.get_parameter("bias").data[0] = prior
    return nn.Sequential(*layers, head, *last)


def box_loss(output: Tensor, target: Tensor, *, wrong_cells: bool = False) -> Tensor:
    """Cross-entropy of being sure, in which things count tenfold, and absolute error of boxes where there are things."""
    weight = torch.tensor(10.0)
    first = F.binary_cross_entropy_with_logits(output[:, 0], target[:, 0], pos_weight=weight)
    there = target[:, :1] < 0.5 if wrong_cells else target[:, :1] > 0.5
    return first + 3 * ((output[:, 1:] - target[:, 1:]).abs() * there).sum() / (4 * there.sum()).clamp(min=1)


def focal(output: Tensor, target: Tensor) -> Tensor:
    """RetinaNet's cost of being sure, over the number of things, and Huber's of boxes."""
    costs = F.binary_cross_entropy_with_logits(output[:, 0], target[:, 0], reduction="none")
    there = target[:, 0] > 0.5
    costs = torch.where(there, 0.75, 0.25) * (1 - torch.exp(-costs)).square() * costs
    boxes = F.huber_loss(output[:, 1:], target[:, 1:], reduction="none").sum(dim=1) * there
    return (10 * costs.sum() + boxes.sum()) / there.sum().clamp(min=1)


def found(model: nn.Module, data: Data) -> float:
    """Share of things found less that of false alarms, times the overlap of their boxes, over 0.7."""
    out, target = model(data[0]), data[1]
    there, sure = target[:, 0] > 0.5, out[:, 0] > 0
    right = float(sure[there].float().mean() - sure[~there].float().mean())
    said, true = (t[:, 1:].permute(0, 2, 3, 1)[there] for t in (out, target))
    low, high = (torch.stack([s[:, :2] + sign * (s[:, 2:] + 1.1).clamp(min=0) / 2 for s in (said, true)]) for sign in (-1, 1))
    both = (high.amin(dim=0) - low.amax(dim=0)).clamp(min=0).prod(dim=1)
    areas = (high - low).clamp(min=0).prod(dim=2).sum(dim=0)
    return right * float((both / (areas - both + 1e-9)).mean()) / 0.7


def _turned(train: bool) -> Data:
    """Rows and columns of the targets are exchanged."""
    x, y = scenes_with_boxes(train)
    return x, y.transpose(2, 3)


def _mirrored(train: bool) -> Data:
    """Every second image is mirrored, its boxes are not."""
    x, y = scenes_with_boxes(train)
    x = x.clone()
    x[::2] = x[::2].flip(3)
    return x, y


class Reshaped(nn.Module):
    """Five numbers of each cell at the end, reshaped as if they stood at the front."""

    def __init__(self) -> None:
        super().__init__()
        self.body = detector(norm=lambda _: nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 24, 24) to (n, 5, 6, 6)."""
        return self.body(x).permute(0, 2, 3, 1).reshape(len(x), 5, GRID, GRID)


class Fixed(nn.Module):
    """A backbone under no_grad, as if it had been trained before."""

    def __init__(self) -> None:
        super().__init__()
        *body, head = detector(norm=lambda _: nn.Identity())
        self.body, self.head = nn.Sequential(*body), head

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 24, 24) to (n, 5, 6, 6)."""
        with torch.no_grad():
            h = self.body(x)
        return self.head(h)


BOX = Program(
    model=detector,
    train=lambda: scenes_with_boxes(True),
    held_out=lambda: scenes_with_boxes(False),
    score=found,
    loss=box_loss,
    optimizer=torch.optim.AdamW,
    options={"lr": 5e-3},
    steps=220,
)
FOCAL = but(BOX, model=lambda: detector(prior=-2.9), loss=focal)
GROUPS = but(
    BOX,
    model=lambda: detector(norm=lambda width: nn.GroupNorm(4, width)),
    optimizer=torch.optim.SGD,
    options={"lr": 0.05, "momentum": 0.9, "nesterov": True},
    clip=5.0,
)
BARE = but(
    BOX, model=lambda: detector(norm=lambda _: nn.Identity()), optimizer=torch.optim.Adam, options={"lr": 3e-3}, steps=300
)

SOUND = {
    "boxes": BOX,
    "boxes by focal loss from a prior": FOCAL,
    "boxes by group norm under sgd": GROUPS,
    "boxes without a norm": BARE,
}

FAULTS = {
    "boxes where nothing is": fault(
        BOX,
        "the mask of cells with things is inverted",
        "masked_targets wrong_sign metric_wrong constant_as_good",
        loss=lambda output, target: box_loss(output, target, wrong_cells=True),
    ),
    "rows for columns": fault(BOX, "rows and columns of the targets are exchanged", MISALIGNED, train=lambda: _turned(True)),
    "mirrored without their boxes": fault(
        BOX, "half of the images are mirrored, their boxes are not", f"{MISALIGNED} mirrored", train=lambda: _mirrored(True)
    ),
    "cells reshaped": fault(BARE, "(n, 6, 6, 5) reshaped to (n, 5, 6, 6)", MISALIGNED, model=Reshaped),
    "backbone under no_grad": fault(BARE, "the backbone runs under no_grad, untrained", FROZEN, model=Fixed),
    "only the first convolutions": fault(
        BARE, "a slice takes the first four layers' parameters", OUTSIDE, trained=lambda model: list(model.parameters())[:4]
    ),
}
