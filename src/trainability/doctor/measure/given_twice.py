"""A tensor of the batch that the step gives twice, in the place of another one that nothing reads."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.loss_number import seeded_loss
from trainability.doctor.readings import GivenTwice

_FEWEST_ROWS, _FEWEST_NUMBERS, _FEWEST_VALUES = 4, 4, 8  # examples; of each; different ones of all
_MOST_APART = 5.0  # times the standard deviation: what lies further apart is no second one of the same kind
_SHARED = 0.5  # of the words of one text, which the other has as well
_SEEDS = (0, 1, 2, 3)  # a step may choose by a draw which of two views it takes
_PART = 1e-4  # of what exchanging answers does to the loss

Forward = Callable[[Any, Any], Tensor]


@dataclass(kw_only=True)
class _Call:
    """What a module is given, without what parameters helped to compute, and what it returns."""

    name: str
    module: nn.Module
    is_outermost: bool
    given: list[Tensor]
    returned: Any = None


@dataclass(frozen=True, kw_only=True)
class _Pass:
    loss: float
    calls: list[_Call]


def given_twice(model: nn.Module, batch: Any, forward: Forward) -> GivenTwice | None:
    """Find a tensor of which a model gets two copies, while the loss goes by no bit of another of the same kind.

    The copies are halves of one input, two arguments, or the inputs of two calls whose answers the loss holds against each
    other. That the program makes them, and not the data, is asked by other values in the tensor's place. A step whose target is
    the tensor itself is left out; and so is one that draws units at random where it has no target or calls twice: its answers
    to two copies differ.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.

    Returns:
        None where there is none, and where the same step does not give the same loss again.
    """
    pairs = [(a, b) for a, b in itertools.permutations(list(tensors(batch)), 2) if _are_of_a_kind(a[1], b[1])]
    if not pairs or seeded_loss(model, batch, forward) != seeded_loss(model, batch, forward):
        return None
    for (given, a), (unread, b) in pairs:
        if not _is_unread(model, batch, forward, b):
            continue
        others = [exchanged(batch, a, _mixed(a, seed)) for seed in (1, 2)]
        passes = [_passed(model, each, forward) for each in (batch, *others)]
        found = _found(passes, a)
        if found is None:
            continue
        how, calls = found
        has_target = any(
            seeded_loss(model, exchanged(batch, t, _mixed(t)), forward) != passes[0].loss
            for _, t in tensors(batch)
            if t is not a and t is not b
        )
        if _drops(model) and (how == "calls" or not has_target):
            continue
        if how == "calls" and not _are_held_together(model, batch, forward, calls, is_even=has_target):
            continue
        with _answering(calls):
            alone = seeded_loss(model, others[0], forward)
        if alone == passes[0].loss:
            return GivenTwice(given=given, unread=unread, layer=calls[0].name, how=how)
    return None


def _are_of_a_kind(a: Tensor, b: Tensor) -> bool:
    """Whether one could stand for the other: numbers of one shape and size, or sequences of the same words."""
    if a.dtype != b.dtype or a.dim() != b.dim() or a.dim() < 2 or len(a) != len(b) or len(a) < _FEWEST_ROWS:
        return False
    if min(a[0].numel(), b[0].numel()) < _FEWEST_NUMBERS or a.is_complex() or a.is_sparse or b.is_sparse:
        return False
    if any(len(t.unique()) < _FEWEST_VALUES or bool((t == t[:1]).all()) for t in (a, b)):
        return False
    if not a.is_floating_point():  # of texts, one may be longer
        return a.shape[2:] == b.shape[2:] and float(torch.isin(b, a).float().mean()) >= _SHARED
    if a.shape != b.shape or torch.equal(a, b):
        return False
    sizes = [float(t.double().std()) for t in (a, b)]
    near = max(sizes) <= _MOST_APART * min(sizes)
    return near and float((a.double().mean() - b.double().mean()).abs()) <= _MOST_APART * min(sizes)


def _is_unread(model: nn.Module, batch: Any, forward: Forward, tensor: Tensor) -> bool:
    """Whether the loss and all inputs of modules stay the same with other values in a tensor's place, whatever is drawn."""
    mixed = _mixed(tensor)
    other = exchanged(batch, tensor, mixed)
    for seed in _SEEDS:
        own, changed = _passed(model, batch, forward, seed, tensor), _passed(model, other, forward, seed, mixed)
        if own.loss != changed.loss or len(own.calls) != len(changed.calls):
            return False
        if not all(_are_equal(x.given, y.given) for x, y in zip(own.calls, changed.calls, strict=True)):
            return False
    return True


def _found(passes: Sequence[_Pass], a: Tensor) -> tuple[str, list[_Call]] | None:
    """How a module is given copies of a tensor in all passes, and all calls of that module in the first."""
    if len({len(each.calls) for each in passes}) != 1:
        return None
    for calls in zip(*(each.calls for each in passes), strict=True):
        own = [call for call in passes[0].calls if call.module is calls[0].module]
        if len({len(call.given) for call in calls}) != 1:
            continue
        for parts in zip(*(call.given for call in calls), strict=True):
            if parts[0].numel() == 2 * a.numel() and len(parts[0]) == len(a):
                for axis in range(1, parts[0].dim()):
                    if all(part.shape[axis] % 2 == 0 for part in parts) and _are_copies(
                        [part.chunk(2, dim=axis) for part in parts]
                    ):
                        return "joined", own
        asked = [[part for part in call.given if part.numel() == a.numel() and len(part) == len(a)] for call in calls]
        attends = isinstance(calls[0].module, nn.MultiheadAttention)
        if calls[0].is_outermost and not attends and {len(parts) for parts in asked} == {2} and _are_copies(asked):
            return "arguments", own
        if len(own) == 2 and calls[0] is own[0] and _answers_alike(own):
            places = [i for i, call in enumerate(passes[0].calls) if call.module is own[0].module]
            given = [[each.calls[i].given for i in places] for each in passes]
            is_one = all(len(x) == len(y) == 1 for x, y in given) and given[0][0][0].numel() == a.numel()
            if is_one and _are_copies([[x[0], y[0]] for x, y in given]):
                return "calls", own
    return None


def _are_copies(passes: Sequence[Sequence[Tensor]]) -> bool:
    """Whether two tensors are equal in each pass, and others in each."""
    same = all(torch.equal(*pair) for pair in passes)
    return same and not any(torch.equal(x[0], y[0]) for x, y in itertools.combinations(passes, 2))


def _answers_alike(calls: Sequence[_Call]) -> bool:
    first, second = (call.returned for call in calls)
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return False
    return first.requires_grad and second.requires_grad and torch.equal(first, second)


def _are_held_together(model: nn.Module, batch: Any, forward: Forward, calls: Sequence[_Call], *, is_even: bool) -> bool:
    """Whether the loss goes by pairs of answers, and is no sum of what each costs, as of a policy's and its entropy's.

    With a target, exchanging the two has to leave the loss as it is: one of them may be a weight of the other.
    """
    own = calls[0].returned.detach()
    once, twice = own.roll(1, dims=0), own.roll(2, dims=0)

    def cost(first: Tensor, second: Tensor) -> float:
        with _answering(calls, [first, second]):
            return seeded_loss(model, batch, forward)

    costs = [cost(own, own), cost(once, twice), cost(own, twice), cost(once, own)]
    limit = _PART * max(map(abs, costs))
    if is_even and abs(cost(own, once) - costs[3]) > limit:
        return False
    return abs(costs[0] + costs[1] - costs[2] - costs[3]) > limit


@contextlib.contextmanager
def _answering(calls: Sequence[_Call], answers: Sequence[Any] | None = None) -> Iterator[None]:
    """The module of these calls returns what it did, or other answers, without running."""
    module, rest = calls[0].module, iter([call.returned for call in calls] if answers is None else answers)
    plain = vars(module).get("forward")
    module.forward = lambda *args, **kwargs: next(rest)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.forward
        if plain is not None:  # a wrapper's (Accelerate sets one)
            module.forward = plain


def _passed(model: nn.Module, batch: Any, forward: Forward, seed: int = 0, left_out: Tensor | None = None) -> _Pass:
    """The loss, and what every module is given on the way, without one tensor where it is given within a batch."""
    calls: list[_Call] = []
    running: list[_Call] = []

    def enter(name: str) -> Callable[..., None]:
        def see(module: nn.Module, args: Any, kwargs: Any) -> None:
            given = [
                t.detach().clone()
                for part in (*args, *kwargs.values())
                for _, t in tensors(part)
                if not t.requires_grad and t is not left_out
            ]
            running.append(_Call(name=name, module=module, is_outermost=not running, given=given))
            calls.append(running[-1])

        return see

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        running.pop().returned = output

    named = list(model.named_modules())
    handles = [module.register_forward_pre_hook(enter(name), with_kwargs=True) for name, module in named]
    handles += [module.register_forward_hook(leave) for _, module in named]
    try:
        loss = seeded_loss(model, batch, forward, seed)
    finally:
        for handle in handles:
            handle.remove()
    return _Pass(loss=loss, calls=calls)


def _mixed(tensor: Tensor, seed: int = 0) -> Tensor:
    """The same values at other places, so that words stay words."""
    order = torch.randperm(tensor.numel(), generator=torch.Generator().manual_seed(seed))
    return tensor.detach().flatten()[order.to(tensor.device)].view(tensor.shape)


def _are_equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(some, others, strict=True))


def _drops(model: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in model.modules())
