"""A learned weight of a loss that costs nothing: the loss falls as the weight goes to zero, and its term counts no more."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.boundless import small_parameters
from trainability.doctor.measure.nested import modules
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.uses import used_by

_NEAR = 2.0
_FAR = (20.0, -20.0, 1e4)  # of a logarithm, either way; of a standard deviation
_MOST_ASKED, _MOST_TURNED = 4, 8  # parameters, and numbers of each; weights whose sign is turned
_GONE = 1e-4  # of the term, that may be left far away
_SAME = 2e-3  # by how much two ratios may differ, over their size
_SHARE = 1e-2  # of the loss, for the term

Forward = Callable[[Any, Any], Tensor]


def switched_off(model: nn.Module, batch: Any, forward: Forward, ascending: Collection[str] = ()) -> tuple[str, int] | None:
    """A parameter that is nothing but a factor of terms of the loss, where the loss falls as the factor goes to zero.

    A weight that is learned beside what it weights needs a cost of its own: without one, the lowest loss is that of weight 0.

    Args:
        model: runs as it is; draws nothing at random.
        batch: what it is asked.
        forward: of (model, batch), the loss; small parameters of modules that it holds are asked too.
        ascending: names of parameters that the optimizer is to maximise, as of multipliers; they are left alone.

    Returns:
        The parameter, or one number of it, and the direction (1 or -1) in which the loss falls: what the loss loses on the way
        is, to 0.2 %, proportional to what all other gradients lose; gone at the far end; and never negative, whichever of the
        model's weights changes its sign. None if there is none.
    """
    with randomness_restored():
        losses = []
        for seed in (0, 1):
            seed_torch(seed)
            losses.append(float(forward(model, batch).detach().sum()))
    if losses[0] != losses[1]:
        return None
    for name, parameter in itertools.islice(_of_all(model, forward), _MOST_ASKED):
        if name in ascending:
            continue
        others = [p for p in model.parameters() if p.requires_grad and p is not parameter]
        for place in _places(parameter):
            direction = None
            with contextlib.suppress(RuntimeError, ValueError):  # refuses what is out of its range
                direction = _falls(_Asked(model, batch, forward, parameter, others, place))
            if direction is not None:
                return name if place is None else f"{name}[{', '.join(map(str, place))}]", direction
    return None


def number_of(name: str, model: nn.Module) -> Tensor | None:
    """What a parameter, or one number of it, is now; by the name that `switched_off` gives it. A watched loop's has no dots."""
    whole, _, place = name.rstrip("]").partition("[")
    found = next((p for own, p in model.named_parameters() if whole in (own, own.replace(".", "_"))), None)
    if found is None:
        return None
    return found.detach().clone()[tuple(map(int, place.split(", "))) if place else ...].flatten().cpu()


class _Asked:
    """The loss with one parameter moved, or one number of it, and the gradients of all others."""

    def __init__(
        self,
        model: nn.Module,
        batch: Any,
        forward: Forward,
        parameter: nn.Parameter,
        others: list[nn.Parameter],
        place: tuple[int, ...] | None,
    ) -> None:
        self.others = others
        self._model, self._batch, self._forward, self._parameter = model, batch, forward, parameter
        self._mask = torch.ones_like(parameter) if place is None else torch.zeros_like(parameter)
        if place is not None:
            self._mask[place] = 1.0

    def __call__(self, by: float, *, with_gradients: bool = True) -> tuple[float, list[Tensor]]:
        own = self._parameter.data
        self._parameter.data = own + by * self._mask.data
        try:
            with torch.enable_grad(), randomness_restored():
                seed_torch(0)
                loss = self._forward(self._model, self._batch).sum()
                if not with_gradients:
                    return float(loss.detach()), []
                found = torch.autograd.grad(loss, self.others, allow_unused=True)
        finally:
            self._parameter.data = own
        return float(loss.detach()), [torch.zeros_like(p) if g is None else g for p, g in zip(self.others, found, strict=True)]


def _falls(ask: _Asked) -> int | None:
    """The direction in which the loss falls by a factor of a term alone, to where nothing of the term is left."""
    loss, gradients = ask(0.0)
    if not 0 < loss < math.inf:
        return None
    for far in _FAR:
        end, last = ask(far)
        lost = loss - end
        if not lost > _SHARE * loss or not abs(ask(2 * far, with_gradients=False)[0] - end) <= _GONE * lost:
            continue
        near, other = ask(math.copysign(_NEAR, far))
        left = (near - end) / lost
        if not _GONE < left < 1 - 10 * _SAME:
            continue
        before, after = ([(a - b).double() for a, b in zip(each, last, strict=True)] for each in (gradients, other))
        size = sum(float((g * g).sum()) for g in before)
        off = sum(float((b - left * a).square().sum()) for a, b in zip(before, after, strict=True))
        if size > 0 and math.sqrt(off / size) < _SAME * left and _never_negative(ask, far):
            return 1 if far > 0 else -1
    return None


def _never_negative(ask: _Asked, far: float) -> bool:
    """Whether the term is at least zero with each of the model's outermost weights negated: a critic's difference is not."""
    for p in ask.others[-_MOST_TURNED:]:
        own = p.data
        p.data = -own
        try:
            here, there = (ask(by, with_gradients=False)[0] for by in (0.0, far))
        finally:
            p.data = own
        if not here - there >= 0:
            return False
    return True


def _places(parameter: nn.Parameter) -> Iterable[tuple[int, ...] | None]:
    """All numbers together, then each alone where they are few."""
    yield None
    if 1 < parameter.numel() <= _MOST_TURNED:
        yield from itertools.product(*map(range, parameter.shape))


def _of_all(model: nn.Module, forward: Forward) -> Iterator[tuple[str, nn.Parameter]]:
    known: set[int] = set()
    for module in (model, *modules(used_by(forward))):
        for name, parameter in small_parameters(module):
            if id(parameter) not in known:
                known.add(id(parameter))
                yield name, parameter


def maximised_by(optimizer: torch.optim.Optimizer | None, model: nn.Module) -> set[str]:
    """Names of the parameters that an optimizer maximises, as the multipliers of a constraint."""
    if optimizer is None:
        return set()
    ids = {id(p) for group in optimizer.param_groups if group.get("maximize") for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in ids}
