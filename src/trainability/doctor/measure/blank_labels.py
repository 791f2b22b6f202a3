"""Labels of `ctc_loss` that are the blank: read off the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_FEWEST, _SHARE = 4, 0.1  # targets; a name that is not known may be the blank in a few


def holds_blank(args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether targets hold the blank between two other labels, where it stands for a symbol.

    At the ends of a target it changes little: a mark of the beginning, or padding that the lengths count. Nor is it a symbol
    where it is put between any two labels, as if the loss did not do so by itself.

    Args:
        args: that `ctc_loss` was called with: (log_probs, targets, input_lengths, target_lengths, blank, ...).
        kwargs: likewise.

    Returns:
        True where a tenth of the targets and more hold it there.
    """
    names = ("log_probs", "targets", "input_lengths", "target_lengths", "blank")
    given = dict(zip(names, args, strict=False)) | kwargs
    rows = _rows(given.get("targets"), given.get("target_lengths"))
    blank, found, has_neighbours = int(given.get("blank", 0)), 0, False
    for row in rows:
        others = (row != blank).nonzero().flatten()
        found += len(others) > 1 and int(others[-1] - others[0]) >= len(others)
        has_neighbours |= bool((others.diff() == 1).any())
    return has_neighbours and len(rows) >= _FEWEST and found >= max(2, _SHARE * len(rows))


def _rows(targets: Any, lengths: Any) -> list[Tensor]:
    """The labels of each target: of (targets, places), padded, or of all targets one after the other."""
    if not isinstance(targets, Tensor) or targets.is_floating_point() or not isinstance(lengths, Tensor | Sequence):
        return []
    labels, sizes = targets.detach().cpu(), torch.as_tensor(lengths).flatten().tolist()
    if labels.dim() == 2 and len(labels) == len(sizes):
        return [row[:size] for row, size in zip(labels, sizes, strict=True)]
    return list(labels.split(sizes)) if labels.dim() == 1 and len(labels) == sum(sizes) else []
