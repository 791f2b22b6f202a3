"""Directions in which the differences of two kinds of pairs differ in size: found on one half, held against the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_PAIRS_A_DIRECTION = 3.0  # of either kind, in each half
_RIDGE = 1e-2


def nearer_and_further(ones: Tensor, others: Tensor) -> tuple[float, float]:
    """Ask in which direction pairs are nearest to each other, and furthest apart, beside pairs of another kind.

    Examples of one class differ little in what tells the classes apart, and as much as any two in all the rest, which may be
    most of their distance. Such directions are eigenvectors of the one covariance beside the other.

    Args:
        ones: (pairs, features), differences.
        others: (pairs, features), of the other kind.

    Returns:
        Standard errors, on the half that the directions were not found on, by which the logarithm of the ratio of the squared
        differences is below 0 in the one direction, and above 0 in the other; 0 and 0 with too few pairs.
    """
    count = min(len(ones), len(others)) // 2
    width = min(ones.shape[1], int(count / _PAIRS_A_DIRECTION))
    if width < 1:
        return 0.0, 0.0
    both = torch.cat([ones, others]).double()
    axes = torch.linalg.svd(both, full_matrices=False)[2][:width].T
    a, b = ones.double() @ axes, others.double() @ axes
    scale = torch.cat([a, b]).square().mean(dim=0).sqrt().clamp(min=1e-12)
    a, b = a / scale, b / scale
    ridge = _RIDGE * torch.eye(width, dtype=torch.double, device=a.device)
    near, far = [], []
    for first in (0, 1):
        inner = [x[first::2].T @ x[first::2] / len(x[first::2]) + ridge for x in (a, b)]
        root = torch.linalg.inv(torch.linalg.cholesky(inner[1]))
        directions = root.T @ torch.linalg.eigh(root @ inner[0] @ root.T)[1]
        held = [(x[1 - first :: 2] @ directions[:, [0, -1]]).square() for x in (a, b)]
        ratios = [float((held[0][:, k].mean() / held[1][:, k].mean()).log()) for k in (0, 1)]
        errors = [math.sqrt(sum(float(x[:, k].var() / len(x) / x[:, k].mean().square()) for x in held)) for k in (0, 1)]
        near.append(-ratios[0] / max(errors[0], 1e-12))
        far.append(ratios[1] / max(errors[1], 1e-12))
    return sum(near) / math.sqrt(2), sum(far) / math.sqrt(2)
