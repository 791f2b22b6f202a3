"""Prepare real data sets before the runs of the book begin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from trainability.config import DataConfig
from trainability.data import cache


def pack_sets(sets: Iterable[DataConfig]) -> None:
    """Pack data sets, each once, on all cores: the processes that make the book's runs cannot start other processes.

    Args:
        sets: completed; a set that is already packed is only verified. Problems are reported by the runs that use the set.
    """
    for data in dict.fromkeys(sets):
        with contextlib.suppress(ValueError):
            cache.opened(data)
