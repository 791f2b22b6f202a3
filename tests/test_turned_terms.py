"""Scores that are added to a loss as they are, and terms that only look so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

G = torch.Generator().manual_seed(0)
IMAGES = torch.randn(32, 1, 12, 12, generator=G)
MASKS = (F.avg_pool2d(IMAGES, 5, 1, 2) > 0.15).float()
MAPS = (F.avg_pool2d(IMAGES, 5, 1, 2)[:, 0] * 8).round().clamp(0, 2).long()
ROWS = torch.randn(64, 6, generator=G)
MARKS = (ROWS[:, :1] > 0.4).float()
CLASSES = ROWS[:, :3].argmax(dim=1)
POINTS = ROWS[:, :4] @ torch.randn(4, 5, generator=G)

Loss = Callable[[Tensor, Tensor], Tensor]
bce = F.binary_cross_entropy_with_logits


def dice(out: Tensor, y: Tensor, smooth: float = 1.0) -> Tensor:
    p = out.sigmoid()
    return (2 * (p * y).sum() + smooth) / (p.sum() + y.sum() + smooth)


def iou_of_each(out: Tensor, y: Tensor) -> Tensor:
    p = out.sigmoid()
    both = (p * y).sum(dim=(1, 2, 3))
    return ((both + 1e-6) / (p.sum(dim=(1, 2, 3)) + y.sum(dim=(1, 2, 3)) - both + 1e-6)).mean()


def dice_of_classes(out: Tensor, y: Tensor) -> Tensor:
    p, y = out.softmax(dim=1), F.one_hot(y, out.shape[1]).movedim(-1, 1).float()
    return ((2 * (p * y).sum(dim=(0, 2, 3)) + 1) / (p.sum(dim=(0, 2, 3)) + y.sum(dim=(0, 2, 3)) + 1)).mean()


def f1(out: Tensor, y: Tensor) -> Tensor:
    p = out.sigmoid()
    return 2 * (p * y).sum() / (p.sum() + y.sum() + 1e-7)


def entropy(out: Tensor) -> Tensor:
    return -(out.softmax(dim=1) * out.log_softmax(dim=1)).sum(dim=1).mean()


MISTAKES: dict[str, tuple[Tensor, Tensor, int, Loss]] = {
    "Dice": (IMAGES, MASKS, 1, lambda o, y: bce(o, y) + dice(o, y)),
    "Dice, half of each": (IMAGES, MASKS, 1, lambda o, y: 0.5 * bce(o, y) + 0.5 * dice(o, y)),
    "IoU of each image": (IMAGES, MASKS, 1, lambda o, y: iou_of_each(o, y) + bce(o, y)),
    "Dice of classes": (IMAGES, MAPS, 3, lambda o, y: F.cross_entropy(o, y) + dice_of_classes(o, y)),
    "F1": (ROWS, MARKS, 1, lambda o, y: bce(o, y) + f1(o, y)),
    "a third term": (IMAGES, MASKS, 1, lambda o, y: bce(o, y) + (o.sigmoid() - y).abs().mean() + dice(o, y)),
    "cosine": (ROWS, POINTS, 5, lambda o, y: F.mse_loss(o, y) + 0.5 * (1 + F.cosine_similarity(o, y, dim=1)).mean()),
}
SOUND: dict[str, tuple[Tensor, Tensor, int, Loss]] = {
    "one minus Dice": (IMAGES, MASKS, 1, lambda o, y: bce(o, y) + (1 - dice(o, y))),
    "Dice taken off": (IMAGES, MASKS, 1, lambda o, y: bce(o, y) - dice(o, y)),
    "minus the logarithm of Dice": (IMAGES, MASKS, 1, lambda o, y: bce(o, y) + -dice(o, y).log()),
    "one minus, behind": (IMAGES, MASKS, 1, lambda o, y: 1 + bce(o, y) - dice(o, y)),
    "Dice of what is not wanted": (IMAGES, MASKS, 1, lambda o, y: bce(o, y) + dice(o, 1 - y)),
    "Dice of classes": (IMAGES, MAPS, 3, lambda o, y: F.cross_entropy(o, y) + (1 - dice_of_classes(o, y))),
    "a penalty of large answers": (IMAGES, MASKS, 1, lambda o, y: bce(o, y) + 0.01 * o.square().mean()),
    "a penalty of yes": (IMAGES, MASKS, 1, lambda o, y: bce(o, y) + 0.1 * o.sigmoid().mean()),
    "by hand": (ROWS, MARKS, 1, lambda o, y: F.softplus(o).mean() + -(o * y).mean()),
    "yes and no by themselves": (
        ROWS,
        MARKS,
        1,
        lambda o, y: -(y * F.logsigmoid(o)).mean() + -((1 - y) * F.logsigmoid(-o)).mean(),
    ),
    "squared and what it takes off": (ROWS, POINTS, 5, lambda o, y: o.square().mean() + -2 * (o * y).mean()),
    "hinges": (ROWS, MARKS, 1, lambda o, y: (y * (1 - o).relu()).mean() + ((1 - y) * (1 + o).relu()).mean()),
    "confidence is penalised": (ROWS, CLASSES, 3, lambda o, y: F.cross_entropy(o, y) + -0.1 * entropy(o)),
    "confidence is wanted": (ROWS, CLASSES, 3, lambda o, y: F.cross_entropy(o, y) + 0.1 * entropy(o)),
    "shares of classes": (
        ROWS,
        CLASSES,
        3,
        lambda o, y: F.cross_entropy(o, y) + (o.softmax(1).mean(0) - F.one_hot(y, 3).float().mean(0)).square().sum(),
    ),
    "a class is forgotten": (
        ROWS,
        CLASSES,
        3,
        lambda o, y: F.cross_entropy(o[y != 2], y[y != 2]) + -0.1 * F.cross_entropy(o[y == 2], y[y == 2]),
    ),
    "two ends": (ROWS, POINTS, 5, lambda o, y: 0.3 * (y - o).relu().mean() + 0.7 * (o - y).relu().mean()),
    "cosine": (ROWS, POINTS, 5, lambda o, y: F.mse_loss(o, y) + (1 - F.cosine_similarity(o, y, dim=1)).mean()),
}


def found(inputs: Tensor, targets: Tensor, width: int, loss: Loss) -> list[tuple[str, str]]:
    torch.manual_seed(0)
    is_image = inputs.dim() == 4
    first = nn.Conv2d(1, 8, 3, padding=1) if is_image else nn.Linear(6, 16)
    last = nn.Conv2d(8, width, 3, padding=1) if is_image else nn.Linear(16, width)
    facts = facts_of(nn.Sequential(first, nn.ReLU(), last), (inputs, targets), loss_fn=loss)
    assert facts.notes == ()
    told = [(f.code, f.severity) for f in diagnose(Evidence(facts=facts)).findings]
    return [(code, severity) for code, severity in told if code.startswith("wrong_sign")]


@pytest.mark.parametrize("case", MISTAKES)
def test_a_score_that_is_added_is_named(case: str) -> None:
    assert found(*MISTAKES[case]) == [("wrong_sign.term", "warning")]


@pytest.mark.parametrize("case", SOUND)
def test_terms_of_sound_losses_are_silent(case: str) -> None:
    assert found(*SOUND[case]) == []
