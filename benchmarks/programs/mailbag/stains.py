"""Stains, scratches and marks: small nets that answer for every pixel."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from programs.forum.causes import UNPAIRED
from programs.program import Data, Program, but, explained, fault
from programs.unseen.causes import CLAMPED, UPSIDE_DOWN

Loss = Callable[[Tensor, Tensor], Tensor]


@functools.cache
def stains(train: bool) -> Data:
    """Pictures (n, 1, 16, 16), each with an exposure of its own, and which pixels are of a bright or a dark stain: 1 or 2."""
    rng = torch.Generator().manual_seed(8121 if train else 8122)
    n = 320 if train else 120
    ys, xs = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    at, size = 3 + 10 * torch.rand(2, 2, n, 1, 1, generator=rng), 5 + 10 * torch.rand(2, n, 1, 1, generator=rng)
    bright, dark = ((ys - at[0]) ** 2 + (xs - at[1]) ** 2 < size).unbind()
    mask = torch.where(dark, 2, torch.where(bright, 1, 0))
    shade = torch.tensor([0.0, 1.0, -1.0])[mask] + 0.3 * torch.randn(n, 16, 16, generator=rng)
    contrast, exposure = 0.4 + 1.2 * torch.rand(n, 1, 1, generator=rng), 1.5 * torch.randn(n, 1, 1, generator=rng)
    return (contrast * shade + exposure)[:, None], mask


@functools.cache
def half_told(train: bool) -> Data:
    """The same, where a person told only two pixels of three; the others are -100."""
    x, mask = stains(train)
    rng = torch.Generator().manual_seed(8123)
    return x, torch.where(torch.rand(mask.shape, generator=rng) < 0.67, mask, -100)


@functools.cache
def scratches(train: bool) -> Data:
    """Plates (n, 1, 16, 16) with a thin scratch or none, and its mask."""
    rng = torch.Generator().manual_seed(8124 if train else 8125)
    n = 320 if train else 120
    ys, xs = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    angle = math.pi * torch.rand(n, 1, 1, generator=rng)
    off = (xs - 8) * torch.cos(angle) + (ys - 8) * torch.sin(angle) - 6 + 12 * torch.rand(n, 1, 1, generator=rng)
    along = (ys - 8) * torch.cos(angle) - (xs - 8) * torch.sin(angle)
    mask = ((off.abs() < 0.7) & (along.abs() < 5) & (torch.rand(n, 1, 1, generator=rng) < 0.8)).float()[:, None]
    return 1.6 * mask + 0.6 * torch.randn(n, 1, 16, 16, generator=rng), mask


@functools.cache
def marks(train: bool) -> Data:
    """Pictures (n, 1, 16, 16) with a cross and a ring, and two maps (n, 2, 16, 16) with a bump at either."""
    rng = torch.Generator().manual_seed(8126 if train else 8127)
    n = 400 if train else 150
    ys, xs = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    at = 3 + 10 * torch.rand(n, 2, 2, 1, 1, generator=rng)
    dy, dx = ys - at[:, :, 0], xs - at[:, :, 1]
    apart = dy**2 + dx**2
    cross = (torch.minimum(dy[:, 0].abs(), dx[:, 0].abs()) < 0.8) & (apart[:, 0] < 8)
    ring = (apart[:, 1] > 2) & (apart[:, 1] < 8)
    x = 1.2 * (cross | ring).float()[:, None] + 0.4 * torch.randn(n, 1, 16, 16, generator=rng)
    return x, torch.exp(-apart / 3)


def norm_of(kind: str, width: int) -> nn.Module:
    """A norm over the batch, over groups of channels, or none."""
    return {"batch": nn.BatchNorm2d(width), "group": nn.GroupNorm(4, width), "none": nn.Identity()}[kind]


class Unet(nn.Module):
    """Two levels down, two up, with a skip at each; `last` comes behind."""

    def __init__(self, out: int, *last: nn.Module, norm: str = "group", prior: float | None = None) -> None:
        super().__init__()

        def pair(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(
                *(nn.Conv2d(a, b, 3, padding=1), norm_of(norm, b), nn.ReLU()),
                *(nn.Conv2d(b, b, 3, padding=1), norm_of(norm, b), nn.ReLU()),
            )

        self.down1, self.down2, self.bottom = pair(1, 12), pair(12, 16), pair(16, 20)
        self.up2, self.up1 = pair(36, 16), pair(28, 12)
        self.out = nn.Conv2d(12, out, 1)
        self.last = nn.Sequential(*last)
        if prior is not None:
            nn.init.constant_(self.out.bias, -math.log((1 - prior) / prior))  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, h, w) to (n, out, h, w)."""
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        h = self.bottom(F.max_pool2d(two, 2))
        h = self.up2(torch.cat([F.interpolate(h, scale_factor=2.0), two], dim=1))
        h = self.up1(torch.cat([F.interpolate(h, scale_factor=2.0), one], dim=1))
        return self.last(self.out(h))


def overlap(output: Tensor, target: Tensor) -> Tensor:
    """Dice of the three classes, 0 to 1."""
    shares, right = output.softmax(dim=1), F.one_hot(target, 3).permute(0, 3, 1, 2)
    both, all_in = (shares * right).sum(dim=(0, 2, 3)), (shares + right).sum(dim=(0, 2, 3))
    return ((2 * both + 1) / (all_in + 1)).mean()


def focal(output: Tensor, target: Tensor, *, sure: bool = False) -> Tensor:
    """Cross-entropy that counts most where the answer is unsure; or, in error, where it is sure."""
    right = torch.where(target > 0.5, output.sigmoid(), (-output).sigmoid())
    weight = right**2 if sure else (1 - right) ** 2
    return 10 * (weight * F.binary_cross_entropy_with_logits(output, target, reduction="none")).mean()


def stain_score(model: Any, data: Data) -> float:
    """Intersection over union, mean over bright and dark stains."""
    answer, mask = model(data[0]).argmax(dim=1), data[1]
    told = [((answer == c) & (mask == c)).sum() / ((answer == c) | (mask == c)).sum() for c in (1, 2)]
    return float(sum(told)) / 2


def scratch_score(model: Any, data: Data) -> float:
    """Intersection over union of scratches."""
    answer, mask = model(data[0]) > 0, data[1] > 0.5
    return float((answer & mask).sum() / (answer | mask).sum())


def turned(examples: list[Data], *, together: bool = True) -> list[Tensor]:
    """A batch, each picture turned by quarters and mirrored at random; the masks with them, or by draws of their own."""
    made = []
    for x, mask in examples:
        pair = []
        quarters, flip = torch.randint(4, (2,)).tolist(), torch.rand(2) < 0.5
        for i, one in enumerate((x, mask)):
            k = 0 if together else i
            one = torch.rot90(one, quarters[k], dims=(-2, -1))
            pair.append(one.flip(-1) if flip[k] else one)
        made.append(tuple(pair))
    return default_collate(made)


def _whole(train: bool) -> Data:
    x, maps = marks(train)
    return x, maps.to(torch.uint8).float()


STAINS = Program(
    model=lambda: Unet(3),
    train=lambda: half_told(True),
    held_out=lambda: stains(False),
    score=stain_score,
    loss=F.cross_entropy,
    options={"lr": 4e-3},
    batch=16,
    steps=200,
)
TURNED = but(STAINS, train=lambda: stains(True), collate=turned, loss=lambda o, y: 1 - overlap(o, y), steps=240)
SINGLE = but(STAINS, train=lambda: stains(True), batch=1, options={"lr": 2e-3}, steps=400)
FOCAL = but(
    STAINS,
    model=lambda: Unet(1, prior=0.01),
    train=lambda: scratches(True),
    held_out=lambda: scratches(False),
    score=scratch_score,
    loss=focal,
    steps=250,
)
MARKS = but(
    STAINS,
    model=lambda: Unet(2, norm="batch"),
    train=lambda: marks(True),
    held_out=lambda: marks(False),
    score=explained,
    loss=lambda o, y: F.mse_loss(o, y, reduction="sum"),
    optimizer=torch.optim.NAdam,
    options={"lr": 3e-3},
    steps=250,
)

SOUND = {
    "stains of which a third is not told": STAINS,
    "stains by overlap, turned": TURNED,
    "stains one at a time under group norm": SINGLE,
    "scratches by focal loss from a low prior": FOCAL,
    "marks by sums of squares": MARKS,
}

FAULTS = {
    "background ignored": fault(
        STAINS,
        "ignore_index=0 leaves out the background, which is class 0",
        "masked_targets",
        train=lambda: stains(True),
        loss=nn.CrossEntropyLoss(ignore_index=0),
    ),
    "pictures turned apart from their masks": fault(
        TURNED,
        "picture and mask are turned by random draws of their own",
        f"{UNPAIRED} mirrored",
        collate=lambda examples: turned(examples, together=False),
    ),
    "overlap minimised": fault(TURNED, "the loss is the Dice coefficient in place of one minus it", UPSIDE_DOWN, loss=overlap),
    "stains one at a time under batch norm": fault(
        SINGLE,
        "batch norm with batches of one picture: its running statistics fit no picture",
        "evaluation_path evaluation_told evaluation_mode",
        model=lambda: Unet(3, norm="batch"),
    ),
    "relu behind the scratches": fault(
        FOCAL, "ReLU behind the logits: none can call a pixel sound", CLAMPED, model=lambda: Unet(1, nn.ReLU(), prior=0.01)
    ),
    "focal loss of the sure": fault(
        FOCAL,
        "the weight is the chance of the right answer squared, not of the wrong",
        UPSIDE_DOWN,
        loss=lambda o, y: focal(o, y, sure=True),
    ),
    "bumps in whole numbers": fault(
        MARKS,
        "maps of 0 to 1 are cast to uint8 and become zero",
        "class_imbalance constant_as_good target_scale",
        train=lambda: _whole(True),
    ),
}
