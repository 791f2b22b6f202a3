"""Real data sets made ready before the runs of the book begin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from trainability.config import DataConfig
from trainability.data import cache


def pack_sets(sets: Iterable[DataConfig]) -> None:
    """Pack data sets, each once, by all cores: the processes that make the book's runs can start none of their own.

    Args:
        sets: completed; a set that is packed already is only verified, and what is wrong with one its run says.
    """
    for data in dict.fromkeys(sets):
        with contextlib.suppress(ValueError):
            cache.opened(data)
