"""Images whose channels were last in memory, and were read as if they were first."""

import torch
from torch import Tensor

_FEWEST, MOST = 64, 256  # images
_SMALLEST = 6  # height and width


def regrouped_over_own(images: Tensor) -> Tensor | None:
    """How rough each image is where the same numbers, in the same order, are read as (height, width, channels).

    Args:
        images: (batch, channels, height, width).

    Returns:
        (batch,) squared differences between neighbouring pixels of a channel, regrouped over as they are, without images of
        one value and those that are not finite. None of other shapes than images of 2 to 4 channels.
    """
    if images.dim() != 4 or not 2 <= images.shape[1] <= 4 or min(images.shape[2:]) < _SMALLEST:
        return None
    x = images.detach().float()
    regrouped = x.reshape(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
    own, other = _roughness(x), _roughness(regrouped)
    told = (own > 0) & own.isfinite() & other.isfinite()
    return other[told] / own[told]


def nine_in_ten(ratios: list[Tensor]) -> float | None:
    """What nine images in ten are below; None of fewer than 64."""
    joined = torch.cat(ratios) if ratios else torch.zeros(0)
    return float(torch.quantile(joined, 0.9)) if len(joined) >= _FEWEST else None


def _roughness(x: Tensor) -> Tensor:
    down, across = (x.diff(dim=dim).square().mean(dim=(1, 2, 3)) for dim in (2, 3))
    return down + across
