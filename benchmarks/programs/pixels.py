"""An answer for every pixel: masks of discs by a small U-Net."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, discs
from programs.program import LARGE_STEPS, Program, but, ending, explained, fault, keeps_gradients


class UNet(nn.Module):
    """One level down, one up, with the upper map carried over."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b) if norm else nn.Identity(), nn.ReLU())

        self.top, self.bottom, self.back = block(1, 8), block(8, 16), block(24, 8)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 1, 16, 16) to logits of the same shape."""
        top = self.top(x)
        low = F.interpolate(self.bottom(F.max_pool2d(top, 2)), scale_factor=2.0)
        return self.head(self.back(torch.cat([top, low], dim=1)))


def overlap(model: nn.Module, data: Data, threshold: float = 0.0) -> float:
    """Dice coefficient of the mask."""
    said, true = model(data[0]) > threshold, data[1] > 0.5
    return float(2 * (said & true).sum() / (said.sum() + true.sum()).clamp(min=1))


def dice_loss(output: Tensor, target: Tensor) -> Tensor:
    """1 minus the soft Dice coefficient, with cross-entropy."""
    p = torch.sigmoid(output)
    dice = (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return 1 - dice + F.binary_cross_entropy_with_logits(output, target)


def _dice_itself(output: Tensor, target: Tensor) -> Tensor:
    p = torch.sigmoid(output)
    return (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


def _of_255(train: bool) -> Data:
    x, y = discs(train)
    return x, 255 * y


def _out_of_step(train: bool) -> Data:
    x, y = discs(train)
    return x, y.roll(50, dims=0)


def _as_bytes(train: bool) -> Data:
    x, y = discs(train)
    return 60 * x + 128, y


def _clean(train: bool) -> Data:
    x, y = discs(train)
    return x, 2 * y - 0.2


MASKS = Program(
    model=UNet,
    train=lambda: discs(True),
    held_out=lambda: discs(False),
    score=overlap,
    loss=F.binary_cross_entropy_with_logits,
    options={"lr": 0.01},
    batch=16,
    steps=150,
)
SLOWER = but(MASKS, model=lambda: UNet(norm=True), optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9})

SOUND = {
    "u-net": MASKS,
    "u-net batch norm": SLOWER,
    "u-net dice": but(MASKS, loss=dice_loss),
    "denoiser": but(MASKS, loss=F.mse_loss, train=lambda: _clean(True), held_out=lambda: _clean(False), score=explained),
}

FAULTS = {
    "mask through sigmoid twice": fault(
        MASKS,
        "nn.Sigmoid under the loss with logits",
        "softmax_twice capped_loss",
        model=ending(UNet, nn.Sigmoid()),
        score=lambda m, d: overlap(m, d, 0.5),
        optimizer=torch.optim.SGD,
        options={"lr": 0.03},
    ),
    "masks of 0 and 255": fault(
        MASKS,
        "masks are not divided by 255",
        "target_scale label_range unreachable_target wrong_sign loss_below_floor",
        train=lambda: _of_255(True),
        steps=300,
    ),
    "masks out of step": fault(MASKS, "masks belong to other images", "shuffled_labels", train=lambda: _out_of_step(True)),
    "dice is minimised": fault(MASKS, "the loss is the coefficient, not 1 minus it", "wrong_sign", loss=_dice_itself),
    "u-net without zero_grad": fault(SLOWER, "zero_grad is missing", "stale_gradients missing_zero_grad", body=keeps_gradients),
    "u-net at rate 3": fault(
        MASKS,
        "lr=3 under Adam",
        LARGE_STEPS,
        options={"lr": 3.0},
    ),
    "u-net on bytes": fault(
        but(MASKS, optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9}, steps=250),
        "images of 0 to 255",
        "input_scale",
        train=lambda: _as_bytes(True),
        held_out=lambda: _as_bytes(False),
    ),
}
