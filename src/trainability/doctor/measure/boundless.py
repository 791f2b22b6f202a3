"""A variance, a weight or a temperature that a program learns, and whose growth the loss rewards without end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, first_examples
from trainability.doctor.measure.instead import loss_of, returned_once
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FAR = 20.0  # of a logarithm: the exponential is 5e8, or 2e-9
_VERY_FAR = 1e5  # of a variance
_STRAIGHT = 0.02  # by how much two legs of a line may differ, over their length
_STEEP = 0.2  # of the slope: a bonus for entropy is smaller
_FORGOTTEN = 1e-3  # of the gradient of all else
_MOST_NUMBERS, _MOST_ASKED = 64, 8  # of a parameter; parameters, the outermost first, with seven passes each
_MOST_COLUMNS = 16

Forward = Callable[[Any, Any], Tensor]
Ask = Callable[[float, Any], tuple[float, float, float]]


def boundless(model: nn.Module, batch: Any, forward: Forward, *, is_one: bool = True) -> dict[str, Any]:
    """Something that the loss makes grow without end, and behind which it forgets all else.

    A learned variance costs an error over it and its own logarithm. With the logarithm subtracted, the loss falls along a line
    as the variance grows, by the same for every example, and the error counts for nothing any more.

    Args:
        model: runs as it is; draws nothing at random.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        is_one: whether its outputs are asked, too: the model is called as a whole, and its loss is none that is known.

    Returns:
        Fields of `Facts`: the parameter's name, or which columns of which output, in words; and the gradient of all else far
        away over that at the start, of a single output what differs between the examples. None of them where there is none.
    """
    with randomness_restored():
        losses = []
        for seed in (0, 1):
            seed_torch(seed)
            losses.append(float(forward(model, batch).detach().sum()))
    if losses[0] != losses[1]:  # a bonus for the spread of what is drawn is one on purpose
        return {}
    for name, parameter in itertools.islice(small_parameters(model), _MOST_ASKED):
        rest = _parameter_is(model, batch, forward, parameter)
        if rest is not None:
            return {"boundless": f"parameter {name}", "boundless_rest": rest}
    found = _column_is(model, batch, forward) if is_one else None
    return {"boundless": found[0], "boundless_rest": found[1]} if found is not None else {}


def small_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Small parameters of modules that are no layer of PyTorch: what a program uses by hand."""
    for prefix, module in sorted(model.named_modules(), key=lambda named: named[0].count(".")):
        if type(module).__module__.startswith("torch.nn.modules"):
            continue
        for name, parameter in module.named_parameters(prefix=prefix, recurse=False):
            if parameter.requires_grad and parameter.numel() <= _MOST_NUMBERS and parameter.is_floating_point():
                yield name, parameter


def _parameter_is(model: nn.Module, batch: Any, forward: Forward, parameter: nn.Parameter) -> float | None:
    own = parameter.detach().clone()
    others = [p for p in model.parameters() if p.requires_grad and p is not parameter]

    def ask(by: float, part: Any) -> tuple[float, float, float]:
        """The loss, its slope along the parameter, and the norm of the gradient of all others."""
        parameter.data.copy_(own + by)
        with torch.enable_grad():
            loss = forward(model, part).sum()
            found = torch.autograd.grad(loss, [parameter, *others], allow_unused=True)
        slope = float(found[0].sum()) if found[0] is not None else 0.0
        return float(loss.detach()), slope, _norm(found[1:])

    try:
        return _falls(ask, batch, _halves(batch), own.numel())
    finally:
        parameter.data.copy_(own)


def _falls(ask: Ask, batch: Any, parts: list[Any], numbers: int) -> float | None:
    """Whether the loss falls along a line, or a logarithm, to where all else has no gradient left.

    Args:
        ask: of (how far, batch): the loss, its slope, and the norm of the gradient of all else.
        batch: the whole one.
        parts: of the batch, on which the slope must be the same.
        numbers: that are moved together.

    Returns:
        The gradient of all else there, over that at the start; None where it does not.
    """
    _, _, before = ask(0.0, batch)
    if not before > 0:
        return None
    for far, grows in ((_FAR, 1.0), (-_FAR, 1.0), (_VERY_FAR, 2.0)):  # the variance itself is never below zero
        try:
            (near, first, _), (further, second, after) = ask(far, batch), ask(2 * far, batch)
        except (RuntimeError, ValueError):  # a loss, or a distribution, that refuses what is out of its range
            continue
        if not (abs(first) < math.inf and abs(further) < math.inf and after < _FORGOTTEN * before):
            continue
        down = -second * far * grows  # as much again, to twice as far
        steep = down > _STEEP * numbers * (_FAR if grows == 1.0 else 1.0)
        straight = abs(first - grows * second) < _STRAIGHT * abs(first) and further < near - down / 2
        alike = (abs(ask(2 * far, part)[1] - second) < _STRAIGHT * abs(second) for part in parts)
        if steep and straight and all(alike):
            return after / before
    return None


def _halves(batch: Any) -> list[Any]:
    """The first half of a batch that can be cut: what is the same for each example is the same for half of them."""
    size = batch_size(batch)
    return [first_examples(batch, size // 2)] if size is not None and size >= 8 else []


def _norm(gradients: Any) -> float:
    return float(sum(float(g.detach().float().norm()) ** 2 for g in gradients if g is not None)) ** 0.5


def _column_is(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, float] | None:
    """Columns of a returned tensor, or one of several returned tensors."""
    returned = returned_once(model, batch, forward)
    found = returned.tensors if returned is not None else []
    if returned is None or any(not t.is_floating_point() or t.dim() == 0 for t in found):
        return None
    for place, tensor in enumerate(found):
        for name, mask in _parts(tensor, place, len(found)):

            def ask(by: float, part: Any, place: int = place, mask: Tensor = mask) -> tuple[float, float, float]:
                points = [t.clone().requires_grad_() for t in found]
                moved = [t + by * mask if k == place else t for k, t in enumerate(points)]
                loss = loss_of(model, part, forward, returned, moved)
                gradients = torch.autograd.grad(loss, points, allow_unused=True)
                own = gradients[place]
                if own is None:
                    return float(loss.detach()), 0.0, 0.0
                rest = [own * ~mask, *(g for k, g in enumerate(gradients) if k != place)]
                if len(found) == 1 and bool(mask.all()):  # nothing else is returned: what differs between examples
                    rest = [own - own.mean(dim=0)]
                return float(loss.detach()), _even(own, mask), _norm(rest)

            rest = _falls(ask, batch, [], 1)
            if rest is not None:
                return name, rest
    return None


def _even(gradient: Tensor, mask: Tensor) -> float:
    """The slope, where it is the same for every example; 0 elsewhere, as of a policy, whose outcomes differ."""
    rows = (gradient * mask).flatten(1).sum(dim=1) if gradient.dim() > 1 else gradient * mask
    total = float(rows.sum())
    return total if float((rows - rows.mean()).abs().max()) <= _STRAIGHT * float(rows.abs().mean()) else 0.0


def _parts(tensor: Tensor, place: int, count: int) -> Iterator[tuple[str, Tensor]]:
    whole = torch.ones_like(tensor, dtype=torch.bool)
    if count > 1 or tensor[:1].numel() == 1:
        yield f"output {place} of the model" if count > 1 else "the model's output", whole
    if tensor.dim() < 2 or tensor.shape[1] < 2:
        return
    width = tensor.shape[1]
    columns = [(k, k + 1) for k in range(width)] if width <= _MOST_COLUMNS else []
    for start, end in (*columns, (width // 2, width), (0, width // 2)) if width % 2 == 0 else columns:
        mask = torch.zeros_like(whole)
        mask[:, start:end] = True
        of = f" of output {place}" if count > 1 else ""
        yield (f"column {start}{of}" if end == start + 1 else f"columns {start} to {end - 1}{of}"), mask
