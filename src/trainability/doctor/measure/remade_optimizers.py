"""Optimizers that a loop's body makes anew at every call for the same parameters."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from trainability.doctor.measure.graph import managed_parameters
from trainability.doctor.measure.statistics import local


class RemadeOptimizers:
    """Counts optimizers by the parameters on which they step, where each of them steps once and begins with nothing kept.

    Steps of an inner loop, of which one optimizer makes several, and steps by a closure, which begins anew on purpose at each
    batch (L-BFGS), are none of these; nor is a step that is taken back, as one that is tried.
    """

    def __init__(
        self, parameters: Iterable[Tensor], known: Iterable[torch.optim.Optimizer], is_watching: Callable[[], bool]
    ) -> None:
        self._parameters = {id(p) for p in parameters}
        self._known = {id(each) for each in known}  # that were there before the body ran
        self._is_watching = is_watching
        self._made: dict[int, weakref.ref[Any]] = {}  # a dead one's id may be another's
        self._count: Counter[frozenset[int]] = Counter()
        self._keeps_state: dict[frozenset[int], bool] = {}
        self._left: dict[frozenset[int], Tensor] = {}  # a weight, as the last step has left it
        self._others: set[int] = set()  # parameters on which others step, too
        self._undo: list[tuple[Tensor, Tensor]] = []  # weights, and what they were before steps that are not watched

    def hooks(self) -> list[Any]:
        """Hooks on every optimizer's step."""
        return [register_optimizer_step_pre_hook(self._on_step), register_optimizer_step_post_hook(self._on_stepped)]

    def undo(self) -> None:
        """Take back the steps, of optimizers made meanwhile, that were made while nothing was watched."""
        with torch.no_grad():
            for p, before in reversed(self._undo):
                p.copy_(before)
        self._undo.clear()

    def found(self) -> tuple[int, bool] | None:
        """How many were made for the same parameters, and whether they keep numbers from step to step; None without any."""
        counts = {own: count for own, count in self._count.items() if not own & self._others}
        own = max(counts, key=counts.__getitem__, default=None)
        return None if own is None else (counts[own], self._keeps_state.get(own, False))

    def _on_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        own = frozenset(managed_parameters(optimizer)) & self._parameters
        if not own or (not self._is_watching() and id(optimizer) in self._known):
            return
        if not self._is_watching():
            self._undo += [(p, p.detach().clone()) for group in optimizer.param_groups for p in group["params"]]
            return
        made = self._made.get(id(optimizer))
        is_first = made is None or made() is not optimizer
        takes_closure = any(each is not None for each in (*args[1:], *kwargs.values()))
        weight = _a_weight(optimizer)
        is_put_back = own in self._left and not torch.equal(self._left[own], weight)
        if id(optimizer) in self._known or not is_first or takes_closure or is_put_back or _remembers(optimizer):
            self._others |= own
            return
        self._made[id(optimizer)] = weakref.ref(optimizer)
        self._count[own] += 1

    def _on_stepped(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        own = frozenset(managed_parameters(optimizer)) & self._parameters
        if self._is_watching() and own in self._count and not own & self._others:
            self._keeps_state[own] = keeps_state(optimizer)
            self._left[own] = _a_weight(optimizer).clone()


def keeps_state(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it keeps as many numbers from step to step as it trains, as momentum does, and Adam."""
    return any(t.numel() > 1 for t in _kept(optimizer))


def _remembers(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it has kept, or was given, what another step has left: not one number throughout, with which Adagrad begins."""
    return any(t.numel() > 1 and bool((t != t.flatten()[0]).any()) for t in map(local, _kept(optimizer)))


def _kept(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]


def _a_weight(optimizer: torch.optim.Optimizer) -> Tensor:
    return local(optimizer.param_groups[0]["params"][0]).detach()
