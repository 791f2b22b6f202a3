"""A drawn code whose noise is scaled by another number than the divergence takes for its standard deviation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.code_draws import CodeDraws
from trainability.doctor.measure.nodes import SAME_VALUES, call_of, name_of, parents_of, within
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.readings import CodeSpread

_FEWEST = 16  # numbers of a code
_NEAR = 1e-2  # of a slope
_OFF = 0.1  # of a deviation, or of how fast it grows
_MOVES = (-3.0, 2.0)  # of the encoder's output
_MOST_NODES = 4000
_PRODUCTS = ("Addmm", "Mm", "Bmm", "Baddbmm", "Linear", "Convolution", "MkldnnLinear", "MkldnnRnn", "CudnnRnn")
_OF_LAYERS = frozenset(
    f"{name}Backward" for name in ("Addmm", "Mm", "Linear", "Convolution", "Split", "SplitWithSizes", "Slice")
)

# What an encoder's output may be to a divergence, and the deviation that it then stands for.
_FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "log variance": lambda x: (0.5 * x).exp(),
    "log deviation": torch.exp,
    "variance": lambda x: x.clamp_min(0).sqrt(),
    "deviation": torch.abs,
}


def code_spread(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> CodeSpread | None:
    """Compare the deviation by which a code is drawn with the one in the loss's divergence from the standard normal.

    The draw is cut off from what it was drawn by: the gradient that is left at the mean and at the encoder's other output is
    that of the divergence, w * (deviation ** 2 / 2 - log(deviation) + mean ** 2 / 2), number by number. The mean tells w, and
    w which function of the other output its deviation is. At a deviation of 1, where a head of zeros starts, the right one has
    no slope either: the encoder's output is then moved, and the loss asked again.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: of examples along the first dimension.
        forward: of (model, batch), the loss.

    Returns:
        None where both are the same number, or one is so many times the other at every output, as noise that a schedule scales
        is; where no such divergence is in the loss; where no layer stands between the code and the loss; and of more than one
        drawn code.
    """
    first = _look(model, batch, forward)
    if first is None or first.taken_for is None:
        return None
    looks = [first]
    if not first.taken_for or _is_constant(first.ratios):
        if first.spot is None:
            return None
        moved = [_look(model, batch, forward, _Moved(spot=first.spot, by=by)) for by in _MOVES]
        if any(look is None for look in moved):
            return None
        looks += [look for look in moved if look is not None]
    forms = {look.taken_for for look in (looks if first.taken_for else looks[1:])}
    taken_for = forms.pop()
    if forms or taken_for is None:
        return None
    if not taken_for:
        return CodeSpread(taken_for="", ratio=0.0) if first.is_whole and not first.is_read_beside else None
    if all(_is_constant(look.ratios) for look in looks):
        return None  # a schedule scales the noise; from one pass to the next it may go on, so each is taken by itself
    return CodeSpread(taken_for=taken_for, ratio=float((looks[0] if first.taken_for else looks[1]).ratios.median()))


@dataclass(frozen=True, kw_only=True)
class _Look:
    """The divergence of one forward pass.

    Attributes:
        taken_for: the form that it takes an output for; "" if it does not depend on any, None if the deviation is that of the
            draw, or of no form.
        ratios: deviation of the draw over that of the form.
        spot: the call that made the encoder's output.
        is_whole: whether that is what a layer made.
        is_read_beside: whether the loss reads the drawn code through no layer, too.
    """

    taken_for: str | None
    ratios: Tensor
    spot: tuple[int, int] | None
    is_whole: bool = False
    is_read_beside: bool = False


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """An encoder's output that is moved: each number by another, between half of `by` and all of it.

    Attributes:
        spot: number of a call, and the place among what it returns.
    """

    spot: tuple[int, int]
    by: float

    def of(self, output: Tensor) -> Tensor:
        steps = torch.linspace(0.5, 1.0, output.numel(), device=output.device, dtype=output.dtype)
        return output + self.by * steps.view(output.shape)


class _Calls(TorchFunctionMode):
    """Numbers the calls, and moves what one of them returns."""

    def __init__(self, moved: _Moved | None) -> None:
        super().__init__()
        self.spots: dict[int, tuple[int, int]] = {}
        self._moved, self._count = moved, 0

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._count += 1
        moved = self._moved if self._moved and self._moved.spot[0] == self._count else None
        if isinstance(result, Tensor):
            result = moved.of(result) if moved else result
            self.spots[id(result)] = (self._count, 0)
        elif type(result) in (tuple, list):
            if moved:
                result = type(result)(moved.of(x) if k == moved.spot[1] else x for k, x in enumerate(result))
            self.spots |= {id(x): (self._count, k) for k, x in enumerate(result) if isinstance(x, Tensor)}
        return result


def _look(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], moved: _Moved | None = None) -> _Look | None:
    """None where there is no divergence, or nothing that decodes the code."""
    calls, draws = _Calls(moved), CodeDraws()
    with torch.enable_grad(), randomness_restored(), calls, draws:
        seed_torch(0)
        loss = forward(model, batch)
    if len(draws.found) != 1 or not loss.requires_grad:
        return None
    mean, deviation, code = draws.found[0]
    chain = draws.chain(deviation)
    slopes = torch.autograd.grad(loss, [draws.source(mean), *chain], retain_graph=True, allow_unused=True)
    weight = _weight(slopes[0], mean.detach()) if slopes[0] is not None and mean.numel() >= _FEWEST else None
    ways = _ways(loss, code)
    if weight is None or not ways[0]:
        return None
    spot = calls.spots.get(id(chain[-1]))
    if all(slope is None or float(slope.abs().max()) <= 1e-6 * weight for slope in slopes[1:]):
        is_whole = name_of(chain[-1].grad_fn) in _OF_LAYERS  # nothing else may lie between the encoder and the deviation
        return _Look(taken_for="", ratios=torch.zeros(1), spot=spot, is_whole=is_whole, is_read_beside=ways[1])
    taken_for, ratios = _form(chain, [None if slope is None else slope / weight for slope in slopes[1:]])
    return _Look(taken_for=taken_for, ratios=ratios, spot=spot)


def _form(chain: list[Tensor], slopes: list[Tensor | None]) -> tuple[str | None, Tensor]:
    """What the divergence takes one of a chain of outputs for, and the deviation of the draw over that; None if it is right."""
    deviation = chain[0]
    taken_for, ratios = None, torch.zeros(1)
    for place, (output, slope) in enumerate(zip(chain, slopes, strict=True)):
        if slope is None or output.shape != deviation.shape:
            continue
        growth = torch.ones_like(output)
        if place:
            (growth,) = torch.autograd.grad(deviation.sum(), output, retain_graph=True)
        for name, form in _FORMS.items():
            told = _told(output, slope, form)
            if told is None:
                continue
            if _is_same(deviation.detach(), growth, *told):
                return None, ratios
            if taken_for is None:
                taken_for, ratios = name, deviation.detach().abs() / told[0].clamp_min(1e-12)
    return taken_for, ratios


def _is_constant(ratios: Tensor) -> bool:
    return float(ratios.max() - ratios.min()) <= _NEAR * float(ratios.max())


def _ways(loss: Tensor, code: Tensor) -> tuple[bool, bool]:
    """Whether a code goes to the loss through a layer, and whether through none."""
    found = list(within([loss.grad_fn], None, _MOST_NODES))
    goes_to: dict[Any, list[Any]] = {}
    for node in found:
        for parent in parents_of(node):
            goes_to.setdefault(parent, []).append(node)
    todo = [node for node in found if name_of(node) == "AccumulateGrad" and node.variable is code]
    seen, through = set(todo), False
    while todo:
        for node in goes_to.get(todo.pop(), ()):
            if call_of(node).startswith(_PRODUCTS) and any(map(_is_weight, parents_of(node))):
                through = True
            elif node not in seen:
                seen.add(node)
                todo.append(node)
    return through, loss.grad_fn in seen


def _is_weight(node: Any) -> bool:
    while call_of(node) in SAME_VALUES and len(parents_of(node)) == 1:
        node = parents_of(node)[0]
    return name_of(node) == "AccumulateGrad" and isinstance(node.variable, nn.Parameter)


def _weight(slope: Tensor, mean: Tensor) -> float | None:
    """The factor before the divergence, where the loss's slope at the mean is the mean times that."""
    if slope.shape != mean.shape or not bool(mean.any()):
        return None
    weight = float((slope.double() * mean.double()).sum() / mean.double().square().sum())
    off = float((slope.double() - weight * mean.double()).norm())
    return weight if weight > 0 and off <= _NEAR * weight * float(mean.double().norm()) else None


def _told(output: Tensor, slope: Tensor, form: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor] | None:
    """A deviation of that form, and how fast it grows with the output, where the divergence's slope is that of this form."""
    given = output.detach().clone().requires_grad_()
    deviation = form(given)
    (growth,) = torch.autograd.grad(deviation.sum(), given)
    deviation = deviation.detach()
    wanted = (deviation - 1 / deviation) * growth
    if not bool(wanted.isfinite().all()) or not bool(wanted.any()):
        return None
    return (deviation, growth) if float((slope - wanted).norm()) <= _NEAR * float(wanted.norm()) else None


def _is_same(deviation: Tensor, growth: Tensor, told: Tensor, told_growth: Tensor) -> bool:
    """Whether two deviations are one number, and grow alike."""
    pairs = ((deviation, told), (growth / deviation, told_growth / told))
    return all(float((a / b - 1).abs().median()) <= _OFF for a, b in pairs)
