"""Passes over a `DataLoader` that a loop leaves before their end."""

from __future__ import annotations

import contextlib
from typing import Any

from torch.utils.data import IterableDataset

from trainability.doctor.readings import ShortPass

_FEWEST_PASSES = 3
_FEWEST_BATCHES = 8  # fewer may be parts of one step, as support and query


class PassLengths:
    """Counts the batches of each pass over the loader that is trained on."""

    def __init__(self) -> None:
        self._key: int | None = None
        self._declared = self._last = 0
        self._passes: list[int] = []

    def given(self, loader: Any, number: int) -> None:
        """The loader has yielded the batch of this number, from 1, of a pass."""
        if id(loader) != self._key:
            self._key, self._passes = id(loader), []
            self._declared = _length(loader)
        elif number == 1:
            self._passes.append(self._last)
        self._last = number

    def left_early(self) -> ShortPass | None:
        """A pass, where each of three and more was left at the same batch, before half of the loader's."""
        if len(self._passes) < _FEWEST_PASSES or len(set(self._passes)) > 1 or self._passes[0] < _FEWEST_BATCHES:
            return None
        read = self._passes[0]
        return ShortPass(read=read, declared=self._declared, is_left=True) if 2 * read < self._declared else None


def _length(loader: Any) -> int:
    """The batches of a pass; 0 of a stream, whose length PyTorch would compare with what it yields once it was asked."""
    if loader is None or isinstance(loader.dataset, IterableDataset):
        return 0
    with contextlib.suppress(Exception):  # a sampler without a length
        return len(loader)
    return 0
