"""Whether rows that a loss compares in pairs belong to one example, where the batch holds several partners for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.pairing import changed_rows, exchanged_row, rows_asked
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.pair_facts import Misaligned

_FEWEST, _FEWEST_ASKED = 8, 4  # examples
_MOST = 0.75  # share of the examples that are compared with others' partners alone
_MOST_OUTPUTS = 8

Forward = Callable[[Any, Any], Tensor]
Rows = set[tuple[int, int]]  # by the number of an output, and the row in it


def joined_to_others(model: nn.Module, batch: Any, forward: Forward) -> Misaligned | None:
    """Exchange an example's row in each tensor of the batch, and see which outputs' gradients go by it.

    Args:
        model: runs in eval mode; the caller puts modes, buffers and random state back.
        batch: with a tensor (examples, ...) and another one (examples, partners, ...), of the same sizes otherwise.
        forward: of (model, batch), the loss.

    Returns:
        The two tensors, where three in four of the examples asked about are compared with other examples' rows and with none
        of their own; None otherwise, as where all pairs are compared, and where it cannot be asked.
    """
    found = {name: t for name, t in tensors(batch) if t.dim()}
    if len({len(t) for t in found.values()}) != 1 or len(next(iter(found.values()))) < _FEWEST:
        return None
    pairs = [(one, other) for one, a in found.items() for other, b in found.items() if _is_several(a, b)]
    if not pairs:
        return None
    set_training(model, False)
    first, again = asked_outputs(model, batch, forward), asked_outputs(model, batch, forward)
    if first is None or again is None or _changed(first[0], again[0]) or _changed(first[1], again[1]):
        return None
    anchor, partner = pairs[0]
    others = asked_outputs(model, exchanged(batch, found[anchor], found[anchor].roll(1, dims=0)), forward)
    anchors = _changed(first[0], others[0]) if others is not None else set()
    looks: list[tuple[int, Rows, Rows]] = []
    for row in rows_asked(len(found[anchor])):
        made: dict[str, Rows] = {}
        compared: Rows = set()
        for name in found:
            changed = exchanged_row(batch, name, row)
            now = asked_outputs(model, changed, forward) if changed is not None else None
            made[name] = _changed(first[0], now[0]) if now is not None else set()
            if name == anchor and now is not None:
                compared = _changed(first[1], now[1])
        own = set[tuple[int, int]]().union(*(rows for name, rows in made.items() if name != anchor))
        if made[anchor] and own and not own & made[anchor] and (rows := compared - anchors):
            looks.append((row, rows, own))
    wrong = [look for look in looks if not look[1] & look[2]]
    if len(looks) < _FEWEST_ASKED or len(wrong) < _MOST * len(looks):
        return None
    row, rows, own = wrong[0]
    return Misaligned(
        given=anchor,
        target=partner,
        num_wrong=len(wrong),
        num_asked=len(looks),
        row=row,
        made=min(own)[1],
        held=min(rows)[1],
        num_partners=found[partner].shape[1],
    )


def _is_several(one: Tensor, other: Tensor) -> bool:
    """Whether a tensor has two rows or more like those of another for each of its examples."""
    return other.dim() == one.dim() + 1 and other.shape[1] > 1 and other.shape[2:] == one.shape[1:] and one.dtype == other.dtype


def asked_outputs(model: nn.Module, batch: Any, forward: Forward) -> tuple[list[Tensor], list[Tensor]] | None:
    """What the model, or parts of it that the step calls, returned to the step, and the gradient of the loss at that.

    None where there are more than eight such tensors, or no gradient.
    """
    with torch.enable_grad(), randomness_restored(), _returned(model) as outputs:
        seed_torch(0)
        loss = forward(model, batch).sum()
    if not 0 < len(outputs) <= _MOST_OUTPUTS or not loss.requires_grad:
        return None
    slopes = torch.autograd.grad(loss, outputs, allow_unused=True)
    pulled = [torch.zeros_like(t) if slope is None else slope for t, slope in zip(outputs, slopes, strict=True)]
    return [t.detach() for t in outputs], pulled


@contextmanager
def _returned(model: nn.Module) -> Iterator[list[Tensor]]:
    outputs: list[Tensor] = []
    running: list[nn.Module] = []

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        running.pop()
        if not running:
            outputs.extend(t for _, t in tensors([output]) if t.requires_grad and t.dim())

    handles = [m.register_forward_pre_hook(lambda module, args: running.append(module)) for m in model.modules()]
    handles += [m.register_forward_hook(leave) for m in model.modules()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _changed(before: list[Tensor], now: list[Tensor]) -> Rows:
    if len(before) != len(now):
        return set()
    return {(k, row) for k, (one, other) in enumerate(zip(before, now, strict=True)) for row in changed_rows(one, other)}
