"""One step of each optimizer of a script, in which log-probabilities are followed to the rewards that they are weighted by."""

from __future__ import annotations

import contextlib

import torch

from trainability.doctor.facts import Facts
from trainability.doctor.measure import mode_stack, stance
from trainability.doctor.measure.chances import Chances


class OwnChances:
    """Follows what is computed from one step of an optimizer to its next; what that computes is the same."""

    def __init__(self) -> None:
        self._chances: Chances | None = None
        self._of: torch.optim.Optimizer | None = None
        self._found: dict[int, Facts] = {}  # by optimizer; kept alive by its monitor

    def stepped(self, optimizer: torch.optim.Optimizer, *, is_free: bool) -> None:
        """A step is over.

        Args:
            optimizer: that has stepped.
            is_free: nothing else records or samples the step that follows.
        """
        if self._chances is not None and self._of is optimizer:
            with contextlib.suppress(Exception):  # some facts less
                self._found[id(optimizer)] = Facts(**self._chances.facts())
            self.end()
        if self._chances is None and is_free and id(optimizer) not in self._found and not stance.has_compiled():
            self._chances, self._of = Chances(), optimizer
            if mode_stack.enter(self._chances):
                self._chances.patch()
            else:
                self._chances = None

    def end(self) -> None:
        """Follow nothing more."""
        if self._chances is not None:
            mode_stack.leave(self._chances)
            self._chances.put_back()
            self._chances = None

    def facts(self, optimizer: torch.optim.Optimizer | None) -> Facts | None:
        """What the step of an optimizer showed; None of one that was not followed."""
        return self._found.get(id(optimizer))
