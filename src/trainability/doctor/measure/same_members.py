"""One module at several places of a list, which gives the same answer at each: members of an ensemble that are one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.nodes import SAME_VALUES, call_of, parents_of, within
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_NUMBERED = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_PRODUCTS = ("Addmm", "Mm", "Bmm", "Baddbmm", "Mv", "Dot", "Linear", "Convolution", "ScaledDotProduct")
_ROUNDING = 1e-5  # of a loss
_MOST_NODES = 2000


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What a module was given, and what it answered: one tensor, or several."""

    given: list[Tensor]
    answers: list[Tensor]
    is_tensor: bool


def same_members(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[str, ...]:
    """Find modules at several numbered places of a list, which are given the same tensors and give the same answer.

    A projection that is two things on purpose, queries and keys for example, is told from an ensemble by what becomes of its
    answers: the loss is the same whichever of two is moved, as behind a mean; or all go side by side to the loss, where
    targets or weights may be those of each.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.

    Returns:
        The names of the first such module, one for each place; none where a layer is given another input at each place, as one
        that is applied several times is, where answers differ, and where a module holds dropout, by which they may.
    """
    shared = _shared(model)
    if not shared:
        return ()
    calls, loss = _run(model, batch, forward, shared)
    value = float(loss.detach())
    for names, module in shared.items():
        found = calls[names][: len(names)]
        if len(found) == len(names) and _are_same(found):
            moved = [_moved(model, batch, forward, module, k) for k in sorted({0, 1, len(names) - 1})]
            if _is_one(value, moved) or (all(each != value for each in moved) and _are_side_by_side(loss, found)):
                return names
    return ()


def _shared(model: nn.Module) -> dict[tuple[str, ...], nn.Module]:
    """Modules at several numbered places of one list, by their names there."""
    places: dict[tuple[str, int], list[str]] = {}
    held = dict(model.named_modules(remove_duplicate=False))
    for name, module in held.items():
        parent, _, own = name.rpartition(".")
        # Names that are given by hand, such as `query` and `key`, say that one module is two things on purpose.
        is_numbered = own.isdigit() and isinstance(held[parent], _NUMBERED)
        if is_numbered and any(p.requires_grad for p in module.parameters()) and not _is_drawn(module):
            places.setdefault((parent, id(module)), []).append(name)
    return {tuple(names): held[names[0]] for names in places.values() if len(names) > 1}


def _is_drawn(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0 for part in module.modules())


def _run(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], shared: dict[tuple[str, ...], nn.Module]
) -> tuple[dict[tuple[str, ...], list[_Call]], Tensor]:
    """The calls of each module, and the loss."""
    calls: dict[tuple[str, ...], list[_Call]] = {names: [] for names in shared}

    def watched(names: tuple[str, ...]) -> Callable[..., None]:
        def called(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            given, answers = ([t for _, t in tensors(each)] for each in ((args, kwargs), output))
            calls[names].append(_Call(given=given, answers=answers, is_tensor=isinstance(output, Tensor)))

        return called

    handles = [module.register_forward_hook(LeftBehind(watched(names)), with_kwargs=True) for names, module in shared.items()]
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return calls, forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()


def _are_same(calls: list[_Call]) -> bool:
    """Whether calls have one input and one answer, a tensor of numbers."""
    first = calls[0]
    if not first.given or not first.is_tensor or not first.answers[0].is_floating_point():
        return False
    return all(
        len(first.given) == len(each.given)
        and all(a is b for a, b in zip(first.given, each.given, strict=True))
        and each.is_tensor
        and torch.equal(first.answers[0], each.answers[0])
        for each in calls[1:]
    )


def _moved(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], module: nn.Module, place: int) -> float:
    """The loss where one call's answer is moved, by the same numbers whichever it is."""
    count = 0

    def called(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        nonlocal count
        count += 1
        if count != place + 1:
            return output
        rng = torch.Generator().manual_seed(0)
        noise = torch.randn(output.shape, generator=rng).to(output)
        return output + noise * (output.detach().abs().mean() + 1e-3)

    handle = module.register_forward_hook(LeftBehind(called))
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return float(forward(model, batch).detach())
    finally:
        handle.remove()


def _is_one(loss: float, moved: list[float]) -> bool:
    """Whether a loss changes, and by as much whichever answer is moved."""
    rounding = _ROUNDING * max(map(abs, (loss, *moved)))
    return max(moved) - min(moved) <= rounding and abs(moved[0] - loss) > 10 * rounding


def _are_side_by_side(loss: Tensor, calls: list[_Call]) -> bool:
    """Whether the answers, and no other tensor, are joined by one `cat` or `stack`, and no product of matrices follows."""
    answers = [call.answers[0].grad_fn for call in calls]
    if loss.grad_fn is None or None in answers:
        return False
    found = list(within([loss.grad_fn], None, _MOST_NODES))
    for node in found:
        joined = [_unfolded(each, answers) for each in parents_of(node)] if call_of(node) in ("Cat", "Stack") else []
        if len(joined) == len(answers) and all(each in joined for each in answers):
            return not any(call_of(each).startswith(_PRODUCTS) for each in _behind(node, found))
    return False


def _unfolded(node: Any, ends: list[Any]) -> Any:
    """The node that made the numbers, behind views of them."""
    while node not in ends and call_of(node) in SAME_VALUES and len(parents_of(node)) == 1:
        node = parents_of(node)[0]
    return node


def _behind(node: Any, found: list[Any]) -> list[Any]:
    """The nodes that go on with what one of them made, up to the loss."""
    goes_to: dict[Any, list[Any]] = {}
    for each in found:
        for parent in parents_of(each):
            goes_to.setdefault(parent, []).append(each)
    behind, todo = {node}, [node]
    while todo:
        new = set(goes_to.get(todo.pop(), ())) - behind
        behind |= new
        todo += new
    return list(behind - {node})
