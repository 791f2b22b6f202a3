"""Goals that a model makes for itself, of what comes after: whether they go by where an episode ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
import torch.nn.modules.module as module_hooks
from torch import Tensor, nn

from trainability.doctor.batches import tensors, to_device
from trainability.doctor.measure.ends_by_state import ends_by_state
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.loss_number import seeded_loss

_FEWEST = 16  # examples
_MOST_ENDS = 0.5  # share of them
_MOST_BATCHES = 32
_REPEATED, _REPEATED_AT_ENDS = 32, 8  # examples whose state and action others have, too

Forward = Callable[[Any, Any], Tensor]


def ends_facts(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]) -> dict[str, Any]:
    """Ask of the batch, or of the first of some that holds marks where it has none, whether goals go by where episodes end.

    Args:
        model: see `unread_ends`.
        batch: likewise.
        forward: likewise.
        batches: of the training loader.

    Returns:
        Fields of `Facts`: `unread_ends`, and `fresh_starts` and `ends_by_state` of the batches; or else `reversed_ends`.
    """
    held = {name for name, t in tensors(batch) if _are_marks(t, len(t) if t.dim() else 0)}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    found, asked = unread_ends(model, batch, forward), batch
    for other in islice(batches, _MOST_BATCHES) if found is None else ():
        marks = {name for name, t in tensors(other) if _are_marks(t, len(t) if t.dim() else 0)}
        if marks - held:
            asked = to_device(other, device)
            found = unread_ends(model, asked, forward)
            break
    state, after = _given(model, asked, forward)
    if found is None:
        return {"reversed_ends": reversed_ends(model, asked, forward, state, after)}
    fresh = fresh_starts(asked, state, after, found[0], batches)
    names = [next((name for name, t in tensors(asked) if t is own), None) for own in (state, after)]
    by_state = ends_by_state(names[0], names[1], found[0], batches) if names[0] and names[1] else None
    return {"unread_ends": found, "fresh_starts": fresh, "ends_by_state": by_state}


def holds_two_states(batch: Any) -> bool:
    """Whether two tensors of a batch have one shape, as states before and after a step: another network may be given one."""
    shapes = [t.shape for _, t in tensors(batch) if t.is_floating_point() and t.dim() > 1]
    return len(set(shapes)) < len(shapes)


def fresh_starts(
    batch: Any, state: Tensor | None, after: Tensor | None, marks: str, batches: Iterable[Any]
) -> tuple[int, int] | None:
    """Compare what comes after the same state and the same integers (actions), at marks and elsewhere.

    Args:
        batch: that holds both tensors.
        state: one of its tensors.
        after: another.
        marks: the place of the marks.
        batches: of the training loader, with the same places.

    Returns:
        At how many marks something else came after than another time, and of how many that can be compared; None where too few
        can, or where something else comes after elsewhere, too, as where chance decides.
    """
    places = dict(tensors(batch))
    names = [next((name for name, t in places.items() if t is own), None) for own in (state, after)]
    actions = [name for name, t in places.items() if t.dtype == torch.int64 and t.numel() == len(t) and name != marks]
    rows: list[tuple[bool, bytes, bytes]] = []
    for each in islice(batches, _MOST_BATCHES):
        found = {name: t.detach().cpu() for name, t in tensors(each)}
        if not {*names, *actions, marks} <= set(found):
            return None
        for k, mark in enumerate(found[marks].flatten().tolist()):
            key = b"".join(found[name][k].numpy().tobytes() for name in (names[0], *actions) if name is not None)
            rows.append((bool(mark), key, found[names[1]][k].numpy().tobytes() if names[1] is not None else b""))
    usual: dict[bytes, bytes] = {}
    again = 0
    for is_end, key, following in rows:
        if not is_end:
            again += key in usual
            if usual.setdefault(key, following) != following:
                return None
    told = 0, 0
    for is_end, key, following in rows:
        if is_end:
            known = key in usual
            told = told[0] + (usual.setdefault(key, following) != following), told[1] + known
    return told if again >= _REPEATED and told[1] >= _REPEATED_AT_ENDS else None


def unread_ends(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, float] | None:
    """Look for marks of the batch, 0 or 1, that nothing reads beside goals that a call without gradients makes.

    Args:
        model: is handed to `forward`; a part of it, or it itself, is given one tensor of the batch with gradients, and another
            of the same shape without them. The caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        The marks' place in the batch, and how much further the second tensor is from the first where they are 1: the mean
        distance over that where they are 0. None where the batch has no such marks, where other marks than integers (actions)
        change the loss, and where nothing can be asked.
    """
    state, after = _given(model, batch, forward)
    if state is None or after is None or len(state) < _FEWEST:
        return None
    marks = [(name, t) for name, t in tensors(batch) if _are_marks(t, len(state))]
    if not marks or seeded_loss(model, batch, forward) != (own := seeded_loss(model, batch, forward)):
        return None
    turned = [1 - t if t.dtype != torch.bool else ~t for _, t in marks]
    is_read = [
        seeded_loss(model, exchanged(batch, t, other), forward) != own for (_, t), other in zip(marks, turned, strict=True)
    ]
    # An integer that is read may be one of two actions; another mark may be the end itself, or a reward.
    unread = [mark for mark, used in zip(marks, is_read, strict=True) if not used]
    if not unread or any(used and t.dtype != torch.int64 for (_, t), used in zip(marks, is_read, strict=True)):
        return None
    name, ends = unread[-1]
    at = ends.flatten().bool()
    apart = (after.float() - state.float()).flatten(1).norm(dim=1)
    if not float(at.float().mean()) <= _MOST_ENDS or not float(apart[~at].mean()) > 0:
        return None
    return name, float(apart[at].mean() / apart[~at].mean())


def reversed_ends(
    model: nn.Module, batch: Any, forward: Forward, state: Tensor | None, after: Tensor | None
) -> tuple[str, float] | None:
    """Look for marks where alone the goals go by what comes after, while the loss goes by the first state everywhere.

    Args:
        model: see `unread_ends`.
        batch: likewise.
        forward: likewise.
        state: the tensor that is given with gradients; None where there is no such, or several.
        after: the tensor of the same shape that is given without them.

    Returns:
        The marks' place in the batch, and the share of the examples that are marked, at most half; None where there are none.
    """
    if state is None or after is None or len(state) < _FEWEST:
        return None
    own = seeded_loss(model, batch, forward)
    of_each = [t for _, t in tensors(batch) if t.is_floating_point() and t.numel() == len(state) == len(t)]
    rewards = [t for t in of_each if seeded_loss(model, exchanged(batch, t, t + 1 + t.roll(1, dims=0)), forward) != own]
    for name, t in tensors(batch):
        if not any(reward is not t for reward in rewards):  # other goals than of rewards may be meant for some examples alone
            continue
        if not _are_marks(t, len(state)) or float(share := t.flatten().float().mean()) > _MOST_ENDS:
            continue
        at = t.flatten().bool()
        parts = [seeded_loss(model, exchanged(batch, after, _moved(after, rows)), forward) for rows in (at, ~at)]
        first = seeded_loss(model, exchanged(batch, state, _moved(state, ~at)), forward)
        if parts[0] != own == parts[1] and first != own and own == seeded_loss(model, batch, forward):
            return name, float(share)
    return None


def _moved(tensor: Tensor, rows: Tensor) -> Tensor:
    """The same, with one and the row before added to the rows of some examples."""
    moved = tensor.clone()
    moved[rows] = moved[rows] + moved.roll(1, dims=0)[rows] + 1
    return moved


def _are_marks(tensor: Tensor, size: int) -> bool:
    """Whether a tensor holds a 0 or a 1 for each example, and both."""
    if tensor.numel() != size or tensor.dim() == 0 or len(tensor) != size or tensor.is_complex():
        return False
    return bool(((tensor == 0) | (tensor == 1)).all()) and bool((tensor == 0).any()) and bool((tensor == 1).any())


def _given(model: nn.Module, batch: Any, forward: Forward) -> tuple[Tensor | None, Tensor | None]:
    """Tensors of the batch that go into calls with gradients, and into those without: the only one of each kind."""
    own = [t for _, t in tensors(batch) if t.is_floating_point() and t.dim() > 1]
    seen: dict[bool, list[Tensor]] = {True: [], False: []}

    def look(module: nn.Module, args: Any) -> None:
        given = args[0] if args and isinstance(args[0], Tensor) else None
        kept = next((t for t in own if t is given), None)
        if kept is not None and not any(t is kept for t in seen[torch.is_grad_enabled()]):
            seen[torch.is_grad_enabled()].append(kept)

    handle = module_hooks.register_module_forward_pre_hook(look)  # of a target network outside the model, too
    try:
        seeded_loss(model, batch, forward)
    finally:
        handle.remove()
    with_gradients, without = seen[True], [t for t in seen[False] if not any(t is each for each in seen[True])]
    if len(with_gradients) != 1 or len(without) != 1 or with_gradients[0].shape != without[0].shape:
        return None, None
    return with_gradients[0], without[0]
