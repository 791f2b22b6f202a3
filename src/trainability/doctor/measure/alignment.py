"""Whether an answer is held against its own example's target: rows are exchanged one by one, and what follows is compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import map_parts, tensors
from trainability.doctor.facts import Misaligned
from trainability.doctor.measure.workspace import set_training

_FEWEST, _ROWS = 8, 12
_TRIED = 3  # rows, after which nothing is asked any more where no target had a gradient of its own
_FEW = 2  # rows of the gradient that one target may have a part in
_MOST = 0.75  # share of the rows that must be held against another's target
_SLIGHT = 1e-6  # of the largest value

Forward = Callable[[Any, Any], Tensor]


def misaligned(whole: nn.Module, head: nn.Module, batch: Any, forward: Forward) -> Misaligned | None:
    """Exchange a row of each tensor of the batch, and see whose output changes, and whose gradient where outputs are fixed.

    Args:
        whole: is handed to `forward`; runs in eval mode, and the caller puts modes back.
        head: of its modules the one, called once, whose output has a row per example and goes into the loss.
        batch: as the loop draws it.
        forward: of (whole, batch), the loss.

    Returns:
        The two tensors of the batch, and an example of whose answer is held against whose target; None where each is held
        against its own, where outputs or targets mix examples, and where it cannot be asked.
    """
    found = dict(tensors(batch))
    sizes = {len(t) for t in found.values() if t.dim()}
    if len(sizes) != 1 or min(sizes) < _FEWEST:
        return None
    count = sizes.pop()
    set_training(whole, False)
    outputs: list[Any] = []
    handle = head.register_forward_hook(lambda module, args, output: outputs.append(output))

    def answers(given: Any) -> Tensor | None:
        outputs.clear()
        with torch.no_grad():
            _ask(whole, given, forward)
        return _rows_of(outputs[0], count) if len(outputs) == 1 else None

    try:
        before, own = answers(batch), answers(batch)
        if before is None or own is None or not torch.equal(before, own):
            return None
        kept = outputs[0]
        pulled = _pull(whole, head, batch, forward, kept, own)
        if pulled is None:
            return None
        seen: dict[tuple[str, str], list[tuple[int, set[int], set[int]]]] = {}
        tried = 0
        for row in _rows(count):
            moved, asked = {}, {}
            for name in (n for n, t in found.items() if t.dim()):
                changed = _exchanged(batch, name, row)
                if changed is None:
                    continue
                now = answers(changed)
                moved[name] = _changed_rows(own, now) if now is not None else set()
                asked[name] = _changed_rows(pulled, _pull(whole, head, changed, forward, kept, own))
            for given, rows in moved.items():
                for target, held in asked.items():
                    if 0 < len(rows) <= count / 2 and 0 < len(held) <= _FEW:
                        seen.setdefault((given, target), []).append((row, rows, held))
            tried += 1
            sound = all(_is_own(*look) for looks in seen.values() for look in looks)
            if sound and (tried == _TRIED or any(len(looks) > 1 for looks in seen.values())):
                return None
    finally:
        handle.remove()
    return next((told for names, looks in seen.items() if (told := _judged(names, looks, count)) is not None), None)


def mispaired(whole: nn.Module, batch: Any, forward: Forward) -> Misaligned | None:
    """Likewise where a loss holds one output against another, row by row: whether like rows come of like rows of the batch.

    Args:
        whole: returns several tensors with a row per example, in one call or several; runs in eval mode.
        batch: as the loop draws it.
        forward: of (whole, batch), the loss.

    Returns:
        The two tensors of the batch that like rows are made of, and an example; None where they come of like rows, or it cannot
        be asked.
    """
    found = dict(tensors(batch))
    sizes = {len(t) for t in found.values() if t.dim()}
    if len(sizes) != 1 or min(sizes) < _FEWEST or len(found) < 2:
        return None
    count = sizes.pop()
    set_training(whole, False)
    returned: list[Tensor] = []
    handle = whole.register_forward_hook(lambda module, args, output: returned.extend(t for _, t in tensors(output)))

    def answers(given: Any) -> list[Tensor]:
        returned.clear()
        with torch.no_grad():
            _ask(whole, given, forward)
        return [t.detach() for t in returned if t.dim() > 1 and len(t) == count and t.is_floating_point()]

    try:
        own = answers(batch)
        if len(own) != 2 or not all(torch.equal(a, b) for a, b in zip(own, answers(batch), strict=True)):
            return None
        seen: dict[tuple[str, str], list[tuple[int, set[int], set[int]]]] = {}
        for row in _rows(count):
            made: list[tuple[str, set[int]]] = [("", set()), ("", set())]
            for name in (n for n, t in found.items() if t.dim() and _exchanged(batch, n, row) is not None):
                now = answers(_exchanged(batch, name, row))
                for place, (before, after) in enumerate(zip(own, now, strict=True)):
                    if rows := _changed_rows(before, after):
                        made[place] = (name, rows | made[place][1])
            (one, first), (other, second) = made
            if one != other and 0 < len(first) <= _FEW and 0 < len(second) <= _FEW:
                seen.setdefault((one, other), []).append((row, first, second))
            if len(seen) != 1 or any(_is_own(*look) for looks in seen.values() for look in looks):
                return None
    finally:
        handle.remove()
    return next((told for names, looks in seen.items() if (told := _judged(names, looks, count)) is not None), None)


def _is_own(row: int, rows: set[int], held: set[int]) -> bool:
    """Whether the target of a row is set against what that row's input made; of a graph, its own and not a neighbour's."""
    return bool(rows & held) and (row in held or row not in rows)


def _judged(names: tuple[str, str], looks: list[tuple[int, set[int], set[int]]], count: int) -> Misaligned | None:
    wrong = [(row, rows, held) for row, rows, held in looks if not _is_own(row, rows, held)]
    if len(looks) < 4 or len(wrong) < _MOST * len(looks):
        return None
    steps = {min(held) - min(rows) for _, rows, held in wrong}
    if len(steps) == 1 and abs(min(steps)) < count / 2:  # the target of what comes next, of a batch that is a series
        return None
    row, rows, held = wrong[0]
    made = row if row in rows else min(rows)
    return Misaligned(
        given=names[0], target=names[1], num_wrong=len(wrong), num_asked=len(looks), row=row, made=made, held=min(held)
    )


def _rows(count: int) -> list[int]:
    """The first, the last, and some between."""
    between = [1 + k * (count - 2) // (_ROWS - 2) for k in range(_ROWS - 2)]
    return list(dict.fromkeys([count // 2, count // 4, count - 1, 0, *between]))


def _exchanged(batch: Any, name: str, row: int) -> Any:
    """The batch with another example's value in one row of one tensor; None where all examples have the same."""
    tensor = dict(tensors(batch))[name]
    others = (tensor != tensor[row : row + 1]).flatten(1).any(dim=1) if tensor.dim() > 1 else tensor != tensor[row]
    if not bool(others.any()):
        return None
    changed = tensor.clone()
    changed[row] = tensor[int(others.nonzero()[-1])]

    def swap(part: Any) -> Any:
        return changed if part is tensor else part if isinstance(part, Tensor) else map_parts(part, swap)

    return swap(batch)


def _ask(whole: nn.Module, batch: Any, forward: Forward) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return forward(whole, batch).sum()


def _rows_of(output: Any, count: int) -> Tensor | None:
    """The first tensor of numbers that a module returned with a row per example."""
    found = (t for _, t in tensors(output) if t.dim() and len(t) == count and t.is_floating_point())
    return next((t.detach() for t in found), None)


def _pull(whole: nn.Module, head: nn.Module, batch: Any, forward: Forward, kept: Any, own: Tensor) -> Tensor | None:
    """The gradient of the loss at outputs that stay the same, whatever goes in: at `own`, one tensor of what was `kept`."""
    points = own.clone().requires_grad_()

    def fix(part: Any) -> Any:
        if isinstance(part, Tensor):
            return points if part.data_ptr() == own.data_ptr() and part.shape == own.shape else part.detach()
        return map_parts(part, fix)

    fixed = fix(kept)
    plain = vars(head).get("forward")
    head.forward = lambda *args, **kwargs: fixed
    try:
        with torch.enable_grad():
            loss = _ask(whole, batch, forward)
            (gradient,) = torch.autograd.grad(loss, points, allow_unused=True) if loss.requires_grad else (None,)
        return gradient
    finally:
        del head.forward
        if plain is not None:
            head.forward = plain


def _changed_rows(before: Tensor | None, now: Tensor | None) -> set[int]:
    if before is None or now is None or before.shape != now.shape:
        return set()
    apart = (before - now).abs().reshape(len(before), -1).amax(dim=1)
    return set(apart.gt(_SLIGHT * float(before.abs().max())).nonzero().flatten().tolist())
