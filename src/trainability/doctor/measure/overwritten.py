"""What else writes to the weights than their optimizer: between its steps, at some steps of a rehearsal."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.loop import Loop
from trainability.doctor.rehearsed import Rewritten

FIRST, LAST = 2, 6
"""Steps in a row, so that an average that is taken every few steps is not taken for it; the first has business of its own."""
FEWEST = 3
UNDONE = 0.01  # share of the update that is left
_STRAIGHT, _EVEN = 0.05, 0.1  # of what was written, beside the way back; of the usual share of that way, between steps


class Writes:
    """Weights before an optimizer's step, behind it, and before the next one."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.names = {id(p): name for name, p in loop.parameters.items() if not hasattr(p, "to_local")}
        self.before: dict[int, Tensor] = {}
        self.stepped: dict[int, Tensor] = {}
        self.kept: dict[str, list[float]] = {}
        self.pulls: dict[str, list[float | None]] = {}  # shares of the way back to the start; None of another way
        own = [p for p in loop.parameters.values() if id(p) in self.names] if loop.step is not None else []
        self.start = {id(p): p.detach().clone() for p in own if bool(p.detach().any())}
        self.handles: list[Any] = []

    def turn(self, number: int) -> None:
        """Call it before the body of each step. A loop whose body is not the caller's own writes nothing else."""
        if number == FIRST and self.loop.step is not None:
            for optimizer in self.loop.optimizers:
                self.handles.append(optimizer.register_step_pre_hook(self._before))
                self.handles.append(optimizer.register_step_post_hook(self._behind))
        elif number > LAST:
            self.close()

    def close(self) -> None:
        """Takes the hooks away; safe to call again."""
        for handle in self.handles:
            handle.remove()
        self.handles, self.before, self.stepped, self.start = [], {}, {}, {}

    def _watched(self, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        return [p for group in optimizer.param_groups for p in group["params"] if id(p) in self.names]

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not self.loop.watching:
            return
        for p in self._watched(optimizer):
            if id(p) in self.stepped and p.shape == self.stepped[id(p)].shape:
                self._compare(p)
            self.before[id(p)] = p.detach().clone()

    def _behind(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self.loop.watching:
            self.stepped |= {id(p): p.detach().clone() for p in self._watched(optimizer)}

    def _compare(self, p: Tensor) -> None:
        before, after = self.before[id(p)], self.stepped[id(p)]
        update, left = (after - before).flatten().double(), (p.detach() - before).flatten().double()
        if (moved := float(update @ update)) > 0:
            self.kept.setdefault(self.names[id(p)], []).append(float(update @ left) / moved)
        if id(p) in self.start:
            back, written = self.start[id(p)] - after, p.detach() - after
            self.pulls.setdefault(self.names[id(p)], []).append(_share(back.flatten().double(), written.flatten().double()))

    def found(self) -> Rewritten | None:
        """What was seen; None where too few steps moved anything."""
        kept = {name: shares for name, shares in self.kept.items() if len(shares) >= FEWEST}
        undone = tuple(name for name, shares in kept.items() if all(abs(share) < UNDONE for share in shares))
        pulled = tuple(name for name, shares in self.pulls.items() if _are_even(shares))
        shares = [share for name in pulled for share in self.pulls[name] if share is not None]
        pull = statistics.median(shares) if 2 * len(pulled) > len(self.pulls) else 0.0
        return Rewritten(num_watched=len(kept), undone=undone, pulled=pulled, pull=pull) if kept else None


def _share(back: Tensor, written: Tensor) -> float | None:
    """The share of a way back that something wrote; None where it wrote anything else, or nothing."""
    way, size = float(back @ back), float(written.norm())
    if not way or not size:
        return None
    share = float(written @ back) / way
    return share if share > 0 and float((written - share * back).norm()) <= _STRAIGHT * size else None


def _are_even(shares: list[float | None]) -> bool:
    """Whether the same share was written at three comparisons or more; others may span bodies that were not watched."""
    found = [share for share in shares if share is not None]
    usual = statistics.median(found) if len(found) == len(shares) else 0.0
    return sum(abs(share - usual) <= _EVEN * usual for share in found) >= FEWEST
