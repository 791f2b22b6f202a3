"""Gradients that hold more than their own optimizer's loss: what a loss left there on which another optimizer has stepped."""

from __future__ import annotations

from collections import Counter

import torch


class MixedGradients:
    """Follows which optimizer's gradients are empty when more is added to them.

    One loss on which several optimizers step leaves nothing behind: nothing is added between their steps. Where tasks share a
    part, the losses of all of them are to add up there, and each of their optimizers steps on all of its gradients. A model
    that plays against another clears what the other's loss leaves at its own weights, and steps on its own loss alone.

    Args:
        optimizers: of the loop.
    """

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        groups = {id(each): [p for group in each.param_groups for p in group["params"]] for each in optimizers}
        self._owner = {id(p): key for key, held in groups.items() for p in held} if len(optimizers) > 1 else {}
        self._has_gradient: set[int] = set()  # optimizers, since they stepped
        self._left: set[int] = set()  # with the gradient of a loss on which another has stepped
        self._mixed: set[int] = set()  # to which more was added
        self._pending: set[int] = set()  # parameters with a gradient, since their optimizer stepped
        self._cleared: set[int] = set()  # optimizers that have cleared a gradient on which they had not stepped
        self.steps, self.mixed_steps, self.cleared_steps = Counter[int](), Counter[int](), Counter[int]()

    def added(self, parameter: int, *, was_empty: bool) -> None:
        """A gradient was added to a parameter's.

        Args:
            parameter: its id.
            was_empty: whether nothing, or zeros, were there.
        """
        key = self._owner.get(parameter)
        if key is None:
            return
        if was_empty:
            self._left.discard(key)
            self._mixed.discard(key)
            if parameter in self._pending:
                self._cleared.add(key)
        elif key in self._left:
            self._mixed.add(key)
        self._has_gradient.add(key)
        self._pending.add(parameter)

    def stepping(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer begins its step."""
        key = id(optimizer)
        if not self._owner:
            return
        self.steps[key] += 1
        self.mixed_steps[key] += key in self._mixed
        self.cleared_steps[key] += key in self._cleared
        for kept in (self._has_gradient, self._left, self._mixed, self._cleared):
            kept.discard(key)
        self._pending -= {parameter for parameter, owner in self._owner.items() if owner == key}
        self._left |= self._has_gradient

    def found(self) -> set[int]:
        """Optimizers that have stepped on such gradients at most of their steps, and twice or more.

        None where no other optimizer has cleared gradients as often as half of these.
        """
        mixed = {key: count for key, count in self.mixed_steps.items() if count >= 2 and count > self.steps[key] / 2}
        others = {key: sum(n for other, n in self.cleared_steps.items() if other != key) for key in mixed}
        return {key for key, count in mixed.items() if others[key] >= count / 2}
