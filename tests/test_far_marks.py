"""Masks of 0 and 255 under losses of overlap, beside masks of 0 and 1 and losses that bring either to their scale."""

from collections.abc import Callable

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check


def dice(p: Tensor, target: Tensor) -> Tensor:
    return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


def tversky(p: Tensor, target: Tensor) -> Tensor:
    hit, left, extra = (p * target).sum(), ((1 - p) * target).sum(), (p * (1 - target)).sum()
    return 1 - (hit + 1) / (hit + 0.3 * left + 0.7 * extra + 1)


LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float, bool]] = {
    "overlap of probabilities": (lambda z, t: dice(z.sigmoid(), t), 255.0, True),
    "weighted overlap": (lambda z, t: tversky(z.sigmoid(), t), 255.0, True),
    "overlap and entropy": (
        lambda z, t: dice(z.sigmoid(), t) + F.binary_cross_entropy_with_logits(z, (t > 0).float()),
        255.0,
        True,
    ),
    "marks of 0 and 1": (lambda z, t: dice(z.sigmoid(), t), 1.0, False),
    "where there is any": (lambda z, t: dice(z.sigmoid(), (t > 0).float()), 255.0, False),
    "brought to 0 and 1": (lambda z, t: dice(z.sigmoid(), t / 255), 255.0, False),
    "outputs up to 255": (lambda z, t: (255 * z.sigmoid() - t).square().mean(), 255.0, False),
    "scores": (lambda z, t: -(z.tanh() * t).mean(), 255.0, False),
}


@pytest.mark.parametrize("name", LOSSES)
def test_masks(name: str) -> None:
    loss_fn, mark, found = LOSSES[name]
    x = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    said = check(model, batches(x, mark * (x > 0.5).float()), loss_fn, optimizer, rehearse_seconds=0.0)
    assert ("unreachable_target.marks" in [f.code for f in said.findings]) == found
