"""Ends a check of a script before the first step of an optimizer with which no step can be made."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from trainability.doctor.measure.unusable import check_numbers_of
from trainability.loops.enough import Enough


class Refusing:
    """Looks at each optimizer's numbers before its first step.

    Attributes:
        why: the script was ended, in one line; `None` while it goes on.
    """

    def __init__(self) -> None:
        self.why: str | None = None
        self._seen: set[int] = set()
        self._handle = register_optimizer_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if id(optimizer) in self._seen:
            return
        self._seen.add(id(optimizer))
        try:
            check_numbers_of(optimizer)
        except ValueError as error:
            self.why = str(error)
            raise Enough from None

    def end(self) -> None:
        """Remove the hook."""
        self._handle.remove()
