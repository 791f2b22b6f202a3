"""One module at several places of a list, which gives the same answer at each: members of an ensemble that are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_Call = tuple[list[Tensor], list[Tensor]]  # what it was given, and what it answered


def same_members(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[str, ...]:
    """Find modules that one parent holds several times, and calls each time with the same tensors, for the same answer.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.

    Returns:
        The names of the first such module, one for each place; none where a layer is given another input at each place, as one
        that is applied several times is, where answers differ, and where a module holds dropout, by which they may.
    """
    places: dict[tuple[str, int], list[str]] = {}
    held = dict(model.named_modules(remove_duplicate=False))
    for name, module in held.items():
        if name and any(p.requires_grad for p in module.parameters()) and not _is_drawn(module):
            places.setdefault((name.rpartition(".")[0], id(module)), []).append(name)
    shared = {tuple(names): held[names[0]] for names in places.values() if len(names) > 1}
    if not shared:
        return ()
    calls: dict[tuple[str, ...], list[_Call]] = {names: [] for names in shared}

    def watched(names: tuple[str, ...]) -> Callable[..., None]:
        def called(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls[names].append(([t for _, t in tensors((args, kwargs))], [t for _, t in tensors(output)]))

        return called

    handles = [module.register_forward_hook(LeftBehind(watched(names)), with_kwargs=True) for names, module in shared.items()]
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return next((names for names, found in calls.items() if _are_same(found, len(names))), ())


def _is_drawn(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0 for part in module.modules())


def _are_same(calls: list[_Call], places: int) -> bool:
    """Whether as many calls as there are places, two at least, have one input and one answer."""
    if len(calls) < places or not calls[0][0] or not calls[0][1]:
        return False
    (given, answers), others = calls[0], calls[1:places]
    return all(
        len(given) == len(again) and all(a is b for a, b in zip(given, again, strict=True)) and _are_equal(answers, told)
        for again, told in others
    )


def _are_equal(answers: list[Tensor], others: list[Tensor]) -> bool:
    return len(answers) == len(others) and all(torch.equal(a, b) for a, b in zip(answers, others, strict=True))
