"""Whether targets are brought into another order than the answers that they are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import Returned, exchanged, pull, returned_once
from trainability.doctor.measure.pairing import Pairing, changed_rows, exchanged_row, place_of_rows, rows_asked, unpaired
from trainability.doctor.measure.workspace import set_training

_FEWEST, _MOVED = 8, 0.1  # examples; share of them whose target is another's
# Rows that must have told; share of them whose target is held against others' answers alone. Of a sorted target a row that is
# exchanged moves all between its two places, often its own among them.
_ROWS, _MANY = 4, 0.25
_SAME = 1e-4  # of a gradient

Forward = Callable[[Any, Any], Tensor]


def pairing_facts(
    model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, pairing: Pairing, *, read: Any = None
) -> dict[str, Any]:
    """Fields of `Facts` about which target is set beside which example; see `moved_targets` and `unpaired`."""
    return {
        "rates_twice": pairing.rates_twice,
        "moved_targets": moved_targets(model, batch, forward, seen, pairing.targets, read=read),
        "unpaired": unpaired(model, batch, forward, seen),
    }


def moved_targets(
    model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, targets: Iterable[Tensor], *, read: Any = None
) -> bool:
    """Whether the loss is given a tensor of the batch in another order, and answers in the batch's own.

    Not where answers are in another order too (sorted in the model or behind it), where the order goes by the answers (a sort
    of both, a matching) or by what the model is given (lengths), and where the batch says the order.

    Args:
        model: the caller puts buffers and random state back.
        batch: what model and loss are given.
        forward: of (model, batch), the loss.
        seen: a pass.
        targets: that the losses were given in it.
        read: of a loop that was watched, whose model cannot be asked: what its loader has yielded, () of no loader; None takes
            `batch` for that, and asks the model.
    """
    given = [x for x in seen.inputs if isinstance(x, Tensor) and x.dim()]
    loaded = [t for _, t in (seen.batch if read is None else tensors(read))]
    whole = _in_another_order(loaded, given, list(targets))
    if whole is None or not all(any(_are_equal(x, t) for t in loaded) for x in given if read is not None):
        return False
    known = [t for _, t in seen.batch if any(_are_equal(t, each) for each in loaded)]
    outside = [t for _, t in seen.batch if _is_order(t) and not any(t is each for each in known)]
    if len(given) > 1 and outside:  # the model may have used what this order was made of
        return False
    own = returned_once(model, batch, forward)
    place = place_of_rows(own, len(whole)) if own is not None else None
    if own is None or place is None:
        return False
    target = next((t for t in known if _are_equal(t, whole)), None)
    if target is None:  # it was moved before the model was called
        held = [t for _, t in seen.batch if t.numel() == len(t) == len(whole) and _is_moved(t.flatten(), whole.flatten())]
        is_alone = len(held) == len(given) == 1 and not any(_is_order(t) for t in loaded)
        return is_alone and _share_of_others(model, batch, forward, own, place, held[0], []) == 0.0
    says = [t for t in known if t is not target and (_is_order(t) or any(_are_equal(t, x) for x in given))]
    share = _share_of_others(model, batch, forward, own, place, target, says)
    is_moved = share is not None and share >= _MANY
    return is_moved and (read is not None or _answers_in_order(model, batch, forward, place, given))


def _in_another_order(loaded: list[Tensor], given: list[Tensor], targets: list[Tensor]) -> Tensor | None:
    """A tensor of the batch that is a target in another order alone, beside an input that the model gets as it is."""
    kept = any(_are_equal(x, t) for x in given for t in loaded)
    for tensor in loaded if kept else ():
        used = [t.flatten() for t in targets if tensor.dim() and t.numel() == tensor.numel() == len(tensor) >= _FEWEST]
        if not used or any(_are_equal(x, tensor) for x in given):
            continue
        others = [t for t in used if _has_same_values(t, tensor.flatten())]
        if others and all(_is_moved(t, tensor.flatten()) for t in others):
            return tensor
    return None


def _has_same_values(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.double().sort().values, other.to(one.device).double().sort().values)


def _is_moved(one: Tensor, other: Tensor) -> bool:
    return _has_same_values(one, other) and float((one != other.to(one.device)).double().mean()) > _MOVED


def _share_of_others(
    model: nn.Module, batch: Any, forward: Forward, own: Returned, place: int, target: Tensor, says: list[Tensor]
) -> float | None:
    """Share of the targets that are held against other rows' answers; None where that goes by the answers or by `says`."""
    name = next(name for name, t in tensors(batch) if t is target)
    flipped = [t.flip(0) if t.dim() and len(t) == len(target) else t for t in own.tensors]
    places: list[dict[int, set[int]]] = []
    for answers in (own.tensors, flipped):

        def ask(given: Any, answers: list[Tensor] = answers) -> Tensor | None:
            return pull(model, given, forward, own, answers=answers, place=place)

        before, again = ask(batch), ask(batch)
        if before is None or again is None or not torch.equal(before, again):
            return None
        others = (ask(exchanged(batch, t, t.roll(1, dims=0))) for t in says)
        if any(now is None or float((now - before).norm()) > _SAME * float(before.norm()) for now in others):
            return None
        rows = {row: exchanged_row(batch, name, row) for row in rows_asked(len(target))}
        places.append({row: changed_rows(before, ask(given)) for row, given in rows.items() if given is not None})
    told = [(row, held) for row, held in places[0].items() if held and places[1].get(row)]
    if len(told) < _ROWS or any(places[1][row] != held for row, held in told):
        return None
    return sum(row not in held for row, held in told) / len(told)


def _answers_in_order(model: nn.Module, batch: Any, forward: Forward, place: int, given: list[Tensor]) -> bool:
    """Whether an example of the batch makes the answer in its own place."""
    names = [name for name, t in tensors(batch) if any(_are_equal(t, x) for x in given)]
    modes, told = [(module, module.training) for module in model.modules()], []
    set_training(model, False)  # statistics of a batch go by all its examples
    try:
        own = returned_once(model, batch, forward)
        if own is None:
            return False
        for name in names:
            for row in rows_asked(len(own.tensors[place])):
                changed = exchanged_row(batch, name, row)
                now = returned_once(model, changed, forward) if changed is not None else None
                rows = changed_rows(own.tensors[place], now.tensors[place]) if now is not None else set()
                told += [row in rows] if rows else []
    finally:
        for module, training in modes:
            module.training = training
    return bool(told) and sum(told) > len(told) / 2


def _is_order(tensor: Tensor) -> bool:
    """Whether it holds each of the numbers from 0 once."""
    if tensor.dim() != 1 or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        return False
    return torch.equal(tensor.sort().values, torch.arange(len(tensor), dtype=tensor.dtype, device=tensor.device))


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same rows, in whatever shape, format and on whatever device."""
    if one is other:
        return True
    if not one.dim() or not other.dim() or len(one) != len(other) or one.numel() != other.numel():
        return False
    return bool((one.reshape(-1) == other.reshape(-1).to(one.device)).all())
