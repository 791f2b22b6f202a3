"""Whether examples behind those that the audit reads may be of classes that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler

FEWEST_LACKING = 20  # validation examples of classes that training lacks: of fewer `split_shift` says nothing
_MOST_SECONDS, _MOST_BATCHES = 3.0, 10_000


def come_later(loader: Any, rest: Iterator[Any] | None, known: Tensor | None, asked: Tensor | None) -> bool:
    """Read a training loader on to its end, until a class comes that was missing or the time is up.

    Args:
        loader: of training.
        rest: its batches behind those that were read; None where these were all.
        known: classes of the examples that were read; None where labels are of another kind.
        asked: likewise of validation.

    Returns:
        Whether other classes of validation may come later. Of a loader with a sampler that draws from the whole data set at
        random, what was read tells of the rest.
    """
    if known is None or asked is None or rest is None or _draws_at_random(loader):
        return False
    is_lacking = ~torch.isin(asked, known)
    if int(is_lacking.sum()) < FEWEST_LACKING:
        return False
    lacking = set(asked[is_lacking].tolist())
    until = time.monotonic() + _MOST_SECONDS
    for _, batch in zip(range(_MOST_BATCHES), rest, strict=False):
        labels = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
        if not isinstance(labels, Tensor) or lacking & set(labels.detach().flatten().tolist()) or time.monotonic() > until:
            return True
    return next(rest, None) is not None


def _draws_at_random(loader: Any) -> bool:
    if not isinstance(loader, DataLoader):
        return False
    sampler = getattr(loader.batch_sampler, "sampler", None)
    return isinstance(sampler, RandomSampler) or (isinstance(sampler, DistributedSampler) and sampler.shuffle)
