"""Masks and pairs of images as forum threads have them: U-Nets under Dice's loss, classes of pixels, siamese nets."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, LARGE
from programs.material import discs, raw_digits
from programs.program import Data, Program, but, fault
from programs.unseen.causes import DETACHED, SATURATED


@functools.cache
def pairs(train: bool) -> Data:
    """Two digits each, (n, 2, 1, 8, 8), of 0 to 1, and 1.0 where they are of one class, (n,); some are a digit and itself."""
    images, labels = raw_digits(train)
    rng = torch.Generator().manual_seed(362 if train else 363)
    n = 1600 if train else 400
    a, b = torch.randint(len(images), (2, n), generator=rng)
    order = labels.argsort(stable=True)
    mates = order[(torch.searchsorted(labels[order], labels[a]) + torch.randint(12, (n,), generator=rng))]
    b = torch.where(torch.rand(n, generator=rng) < 0.5, mates, b)
    return torch.stack([images[a], images[b]], dim=1) / 16, (labels[a] == labels[b]).float()


@functools.cache
def regions(train: bool) -> Data:
    """The noisy discs, and for each pixel 0 outside, 1 at the rim and 2 inside, (n, 16, 16)."""
    x, mask = discs(train)
    inside = -F.max_pool2d(-mask, 3, stride=1, padding=1)
    return x, (mask + inside)[:, 0].long()


class UNet(nn.Module):
    """One level of a U-Net."""

    def __init__(self, *last: nn.Module, out: int = 1, width: int = 8) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())

        self.down, self.deep = block(1, width), block(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.out = nn.Sequential(block(2 * width, width), nn.Conv2d(width, out, 1), *last)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 16, 16) to (n, out, 16, 16)."""
        a = self.down(x)
        return self.out(torch.cat([a, self.up(self.deep(F.max_pool2d(a, 2)))], dim=1))


class Siamese(nn.Module):
    """The distance of two embeddings; `eps` is added under the root."""

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.body = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 16))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, 1, 8, 8) to distances (n,)."""
        a, b = self.body(x[:, 0]), self.body(x[:, 1])
        return ((a - b) ** 2).sum(dim=1).add(self.eps).sqrt()


def contrastive(output: Tensor, target: Tensor) -> Tensor:
    """Squared distance of what belongs together, and what others lack to a margin of 2."""
    return (target * output**2 + (1 - target) * F.relu(2 - output) ** 2).mean()


def tells_pairs(model: Any, data: Data) -> float:
    """Accuracy at a distance of 1, mean over both classes, from a half."""
    same = model(data[0]) < 1.0
    true = data[1] > 0.5
    return float(same[true].float().mean() + (~same[~true]).float().mean()) - 1


def dice(output: Tensor, target: Tensor, *, act: Callable[[Tensor], Tensor] = torch.sigmoid) -> Tensor:
    """One minus Dice's coefficient."""
    p = act(output)
    return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


def overlap(model: Any, data: Data) -> float:
    """Intersection over union of the masks."""
    said, true = model(data[0]) > 0, data[1] > 0.5
    return float((said & true).sum() / (said | true).sum().clamp(min=1))


def pixel_score(model: Any, data: Data) -> float:
    """Accuracy of pixels, mean over the three classes, from a third."""
    said = model(data[0]).argmax(dim=1)
    return (sum(float((said[data[1] == c] == c).float().mean()) for c in range(3)) / 3 - 1 / 3) / (2 / 3)


def _through_to_tensor(train: bool) -> Data:
    """ToTensor divides the classes of the mask by 255."""
    x, y = regions(train)
    return x, (y / 255).long()


def _as_rows(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.reshape(-1, 3), target.reshape(-1))


DISCS = Program(
    model=UNet,
    train=lambda: discs(True),
    held_out=lambda: discs(False),
    score=overlap,
    loss=dice,
    options={"lr": 5e-3},
    batch=16,
    steps=120,
)
REGIONS = but(
    DISCS,
    model=lambda: UNet(out=3),
    train=lambda: regions(True),
    held_out=lambda: regions(False),
    score=pixel_score,
    loss=F.cross_entropy,
)
PAIRS = Program(
    model=Siamese,
    train=lambda: pairs(True),
    held_out=lambda: pairs(False),
    score=tells_pairs,
    loss=contrastive,
    batch=64,
    steps=250,
)


SOUND = {
    "discs by dice": DISCS,
    "regions of discs": REGIONS,
    "pairs of digits by contrast": PAIRS,
}

FAULTS = {
    "dice of thresholded masks": fault(
        DISCS,
        "the masks are thresholded before the loss, and requires_grad is set",
        f"{CUT} {DETACHED} flat_derivative",
        loss=lambda o, y: dice(o, y, act=lambda a: (torch.sigmoid(a) > 0.5).float().requires_grad_()),
    ),
    "dice of logits": fault(
        DISCS,
        "the loss is of logits, which may be negative and have no bound",
        "loss_below_floor misread_logits",
        loss=lambda o, y: dice(o, y, act=lambda a: a),
    ),
    "masks through ToTensor": fault(
        REGIONS,
        "classes of the mask are divided by 255, and all become 0",
        "class_imbalance label_range head_width constant_as_good",
        train=lambda: _through_to_tensor(True),
        validation=lambda: _through_to_tensor(False),
    ),
    "regions reshaped to rows": fault(
        REGIONS, "(n, 3, h, w) is reshaped to (-1, 3) without a permute", "misread_logits channels_last", loss=_as_rows
    ),
    "distance with a root of zero": fault(
        PAIRS,
        "the root of a squared distance, where some pairs are equal",
        "not_finite",
        model=lambda: Siamese(0.0),
    ),
    "siamese at a rate of 3": fault(PAIRS, "Adadelta's rate for Adam", f"{LARGE} {SATURATED}", options={"lr": 3.0}),
}
