"""Networks whose losses work against each other, as in a GAN: told by whose parameters a loss goes through, and who steps."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from trainability.doctor.batches import tensors
from trainability.doctor.measure.graph import managed_parameters, optimizers_of_process, parameters_behind
from trainability.doctor.measure.statistics import local

_SAME = 0.9999  # cosine of two gradients of which one is the other, clipped or not scaled any more
_MOST_NUMBERS = 1 << 16  # of the parameter whose gradients are compared

# Optimizers whose losses were seen to work against another's, by any Monitor of this process: each is told by the other's, too.
_PLAYERS: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()


@dataclass
class _Call:
    """A forward pass of the model: the optimizers of what it was given, and how many calls there were when backward came."""

    givers: list[torch.optim.Optimizer]
    num_before_backward: int | None = None


class Rivals:
    """Finds the optimizers that step on losses of their own, where a loss goes through what two of them train.

    A loss that goes through parameters of another optimizer is a loss of both where that optimizer steps with the gradient that
    it left (two optimizers of one loss), and else works on its own. Where the other network's parameters are frozen meanwhile,
    the calls tell: it is given what another optimizer's network made, with its graph, and steps on other calls. Not from names.

    Args:
        optimizer: whose loss Monitor is given; with `None` nothing is looked at.
        guard: runs what happens in other optimizers' steps.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None, guard: Callable[[Callable[[], None]], None]) -> None:
        self._optimizer, self._guard = optimizer, guard
        self._strangers: list[Tensor] = []  # parameters of others that the first loss goes through
        self._left: dict[int, tuple[Tensor, Tensor | None]] = {}  # by optimizer: a parameter, and the gradient on it then
        self._holders: dict[int, torch.optim.Optimizer | None] = {}  # by parameter, as far as asked
        self._calls: list[_Call] = []
        self._orphans: list[Tensor] = []  # of these, what no optimizer holds, and the loss left a gradient on
        self._shared = 0  # parameters that another optimizer steps, too
        self._handle: Any = None
        self._has_begun = False

    @property
    def opposed(self) -> bool:
        """Whether the optimizer's loss and another's were seen to work against each other."""
        return self._optimizer is not None and self._optimizer in _PLAYERS

    @property
    def shared(self) -> tuple[int, int] | None:
        """Parameters that another optimizer steps, too, and others that get a gradient and that no optimizer holds."""
        if not self._shared or not self._orphans:
            return None
        held = {key for other in optimizers_of_process() for key in managed_parameters(other)}
        orphans = [p for p in self._orphans if id(p) not in held]
        return (self._shared, len(orphans)) if orphans else None

    def take(self, loss: Tensor | float, *, is_last: bool) -> None:
        """Takes a loss after `backward`; the first one's graph is read.

        Args:
            loss: of the optimizer's own step.
            is_last: whether the gradients of the step are complete now.
        """
        if self._optimizer is not None and not self._has_begun and isinstance(loss, Tensor):
            own = managed_parameters(self._optimizer)
            self._strangers = [p for p in parameters_behind(loss) if p.requires_grad and id(p) not in own]
        self._has_begun = True
        if is_last and self._calls:
            self._judge_calls()
            self._calls.clear()
        if is_last and self._strangers:
            self._keep_gradients()

    def _keep_gradients(self) -> None:
        """Keep what the first step's losses left on parameters of other optimizers, one for each of these."""
        # The last of each optimizer counts: the largest that is small enough, or else the smallest.
        for parameter in sorted(self._strangers, key=lambda p: p.numel() if p.numel() <= _MOST_NUMBERS else -p.numel()):
            if (holder := self._holder(parameter)) is not None:
                gradient = None if parameter.grad is None else local(parameter.grad).clone()
                self._left[id(holder)] = parameter, gradient
            elif parameter.grad is not None and bool(parameter.grad.any()):
                self._orphans.append(parameter)
        self._strangers = []

    def begin(self) -> None:
        """Follow who steps, from here on: a hook may not be added or removed inside of another."""
        if self._optimizer is not None:
            self._handle = register_optimizer_step_pre_hook(self._on_step)

    def end(self) -> None:
        """Stop looking."""
        self._calls.clear()
        self._left.clear()
        self._holders.clear()
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def on_call(self, inputs: Any, output: Any) -> None:
        """Takes a forward pass of the model with gradients, at a sampled step.

        Args:
            inputs: what it was given.
            output: what it returned.
        """
        if self._optimizer is None:
            return
        own = managed_parameters(self._optimizer)
        behind = [p for _, given in tensors(inputs) if given.grad_fn is not None for p in parameters_behind(given)]
        holders = [self._holder(p) for p in behind if p.requires_grad and id(p) not in own]
        call = _Call(list({id(holder): holder for holder in holders if holder is not None}.values()))
        self._calls.append(call)

        def came_back(_: Tensor) -> None:
            if call.num_before_backward is None:
                call.num_before_backward = len(self._calls)

        for _, made in tensors(output):
            if made.requires_grad:
                made.register_hook(came_back)
                return

    def _judge_calls(self) -> None:
        """Whether backward came through what another network made, and only later calls, of other things, are this step's."""
        last = max((k for k, call in enumerate(self._calls) if call.givers), default=None)
        if last is None:
            return
        ended = self._calls[last].num_before_backward
        later = [call for call in self._calls[last + 1 :] if call.num_before_backward is not None]
        if later and ended is not None and ended <= last + 1:
            self._found(*self._calls[last].givers)

    def _on_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self._orphans and not self._shared and optimizer is not self._optimizer:
            self._guard(lambda: self._count_shared(optimizer))
        if id(optimizer) in self._left and self._left[id(optimizer)][0].grad is not None:
            self._guard(lambda: self._compare(optimizer, *self._left.pop(id(optimizer))))

    def _compare(self, optimizer: torch.optim.Optimizer, parameter: Tensor, before: Tensor | None) -> None:
        """Whether another optimizer steps with the gradient that this one's loss has left, or one in its direction."""
        assert parameter.grad is not None
        now = local(parameter.grad).double().flatten()
        was = None if before is None else before.double().flatten()
        if was is None or not bool(now.any()) or not bool(was.any()):
            is_same = was is not None and not bool(now.any() or was.any())
        else:
            is_same = float(torch.nn.functional.cosine_similarity(now, was, dim=0)) > _SAME
        if not is_same:
            self._found(optimizer)

    def _count_shared(self, other: torch.optim.Optimizer) -> None:
        """What another optimizer steps of this one's; not of one that wraps it, or is wrapped by it."""
        assert self._optimizer is not None
        groups = {id(group) for group in self._optimizer.param_groups}
        parts = (*vars(self._optimizer).values(), *vars(other).values())
        is_wrapper = any(part is self._optimizer or part is other for part in parts)
        if not is_wrapper and not any(id(group) in groups for group in other.param_groups):
            self._shared = len(managed_parameters(self._optimizer) & managed_parameters(other))

    def _found(self, *others: torch.optim.Optimizer) -> None:
        assert self._optimizer is not None
        _PLAYERS.update((self._optimizer, *others))

    def _holder(self, parameter: Tensor) -> torch.optim.Optimizer | None:
        if id(parameter) not in self._holders:
            held = {key: other for other in optimizers_of_process() for key in managed_parameters(other)}
            self._holders |= held
            self._holders.setdefault(id(parameter), None)
        return self._holders[id(parameter)]
