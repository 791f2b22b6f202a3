"""A condition that a model is given beside its data: one number for every example, which counts the examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, first_examples, tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST = 8  # examples
_SAME = 1e-4
_DRAWS = 6  # passes, so that one class of two that is drawn for each is the same in 1 of 32


def counted_condition(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass
) -> tuple[str, float] | None:
    """Ask whether a number that all examples share goes with how many they are, as `torch.full((len(x),), len(x))` does.

    Args:
        model: is handed to `forward`; the caller puts modes, buffers and random state back.
        batch: that can be cut; it is asked for a half and for three quarters of its examples.
        forward: of (model, batch), the loss.
        seen: the same pass on the whole batch.

    Returns:
        The input's name, or its place, and the number on the whole batch; None where there is none, and where the model is
        not called, or not called so, on fewer examples.
    """
    size = batch_size(batch)
    if size is None or size < _FEWEST or not seen.calls:
        return None
    alike = [(place, _number(given, size)) for place, given in enumerate(seen.inputs)]
    suspects = {place: number for place, number in alike if number is not None}
    for part in (size // 2, size - size // 4) if suspects else ():
        given = _inputs_of(seen, model, first_examples(batch, part), forward)
        if len(given) != len(seen.inputs):
            return None
        now = {place: _number(given[place], part) for place in suspects}
        suspects = {
            place: number
            for place, number in suspects.items()
            if (less := now[place]) is not None and math.isclose(less * size, number * part, rel_tol=_SAME)
        }
    place = next(iter(suspects), None)
    if place is None:
        return None
    return (seen.names[place] if seen.names else str(place)), suspects[place]


def one_class_asked(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[str, int] | None:
    """Find a model that is told one class for all examples, of several models of which another is told many.

    Args:
        model: whose children are the several: of players, a generator and the one that judges it.
        batch: that is asked.
        forward: of (model, batch), all losses of the loop's body.

    Returns:
        The model's name and the class, where every call of it gets an integer for each of 16 examples and more, always this
        one under other random numbers, too, and a call of another gets the batch's own integers of that many examples, which
        differ; else None.
    """
    told: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_children()}
    own = {t.data_ptr(): t for _, t in tensors(batch) if _are_classes(t)}

    def look(name: str) -> Callable[..., None]:
        def seen(module: nn.Module, args: Any, kwargs: Any) -> None:
            told[name] += [t.detach().clone() for _, t in tensors([args, kwargs]) if _are_classes(t)]
            used.update(t.data_ptr() for _, t in tensors([args, kwargs]) if t.data_ptr() in own and _differ(own[t.data_ptr()]))

        return seen

    used: set[int] = set()
    handles = [m.register_forward_pre_hook(look(name), with_kwargs=True) for name, m in model.named_children()]
    try:
        with torch.enable_grad(), randomness_restored():
            for seed in range(_DRAWS):  # one class a step may be drawn, or a time that a step of a diffusion takes
                seed_torch(seed)
                forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    for name, given in told.items():
        values = {int(v) for t in given for v in t.unique()}
        others = [t for other, each in told.items() if other != name for t in each]
        if used and len(values) == 1 and any(_differ(t) for t in others):
            return name, values.pop()
    return None


def drawn_beside(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> str | None:
    """Find a model that is given the batch's examples with classes that are drawn, though the batch holds theirs.

    Args:
        model: whose children are several, as for `one_class_asked`.
        batch: of examples, and a class of each.
        forward: of (model, batch), all losses of the loop's body.

    Returns:
        The model's name, where a call of it gets the batch's own numbers, also scaled, and for each example one of the batch's
        classes, which is another under other random numbers, and no call gets the batch's classes; else None.
    """
    own = [t for _, t in tensors(batch) if _are_classes(t) and _differ(t)]
    rows = [t for _, t in tensors(batch) if t.is_floating_point() and t.numel() > len(t)]
    calls: list[list[tuple[str, bool, list[Tensor]]]] = []
    if len(own) != 1 or not rows:
        return None

    def look(name: str) -> Callable[..., None]:
        def seen(module: nn.Module, args: Any, kwargs: Any) -> None:
            given = [t.detach() for _, t in tensors([args, kwargs])]
            is_real = any(_goes_with(t, each) for t in given for each in rows)
            calls[-1].append((name, is_real, [found for t in given if (found := _classes_of(t)) is not None]))

        return seen

    handles = [m.register_forward_pre_hook(look(name), with_kwargs=True) for name, m in model.named_children()]
    try:
        with torch.enable_grad(), randomness_restored():
            for seed in range(2):
                seed_torch(seed)
                calls.append([])
                forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    known = set(own[0].unique().tolist())
    if len(calls[0]) != len(calls[1]) or any(torch.equal(t, own[0]) for each in calls for _, _, given in each for t in given):
        return None
    for (name, is_real, first), (_, _, second) in zip(*calls, strict=True):
        drawn = [a for a, b in zip(first, second, strict=False) if not torch.equal(a, b) and set(a.tolist()) <= known]
        if is_real and len(first) == len(second) == len(drawn) == 1:
            return name
    return None


def _classes_of(given: Tensor) -> Tensor | None:
    """A class for each example, also where each is a row of zeros with a one."""
    if _are_classes(given):
        return given.clone()
    is_one_hot = given.dim() == 2 and given.shape[1] > 1 and bool(((given == 0) | (given == 1)).all())
    return given.argmax(dim=1) if is_one_hot and bool((given.sum(dim=1) == 1).all()) else None


def _goes_with(given: Tensor, rows: Tensor) -> bool:
    """Whether a tensor is another one, by a factor and an offset."""
    if not given.is_floating_point() or given.numel() != rows.numel() or len(given) != len(rows):
        return False
    both = torch.stack([given.flatten().double(), rows.flatten().double()])
    return bool(torch.corrcoef(both)[0, 1].abs() > 1 - _SAME)


def _are_classes(given: Tensor) -> bool:
    return given.dtype == torch.int64 and given.dim() == 1 and len(given) >= 2 * _FEWEST


def _differ(classes: Tensor) -> bool:
    return bool((classes != classes[0]).any())


def _number(given: Any, size: int) -> float | None:
    """The number that is there once for each example, the same for all."""
    is_numbers = isinstance(given, Tensor) and given.dtype != torch.bool and not given.is_complex() and not given.requires_grad
    if not is_numbers or given.dim() == 0 or len(given) != size or given.numel() != size:
        return None
    first = float(given.flatten()[0])
    return first if first != 0 and math.isfinite(first) and bool((given == given.flatten()[0]).all()) else None


def _inputs_of(seen: ForwardPass, model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> list[Any]:
    """What the model is given in its first call on another batch."""
    found: list[list[Any]] = []

    def look(module: nn.Module, args: Any, kwargs: Any) -> None:
        found.append(list(args) or [kwargs.get(name) for name in seen.names])

    handle = seen.calls[0].model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            forward(model, batch)
    finally:
        handle.remove()
    return found[0] if found else []
