"""Targets of different lengths, filled up with one number: whether the loss counts what a mask or lengths tell of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import Returned, exchanged, loss_of, returned_once
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.relation import relation
from trainability.doctor.readings import FilledEnds

_FEWEST_ROWS, _FEWEST_LENGTHS = 8, 3
_LEAST = 0.1  # share of the targets
_MOSTLY = 0.9  # of the rows, of the filler
_JUMP = 3.0  # times a step: a series that ends by itself comes to its end
_TOLD = 0.5  # of the ends, in front of which a channel that tells them is otherwise
_FORETOLD = 5.0  # standard deviations; of 510 batches of 32 to 128 rows with lengths drawn at random, one passed it

Forward = Callable[[Any, Any], Tensor]


def filled_ends(model: nn.Module, batch: Any, forward: Forward) -> FilledEnds | None:
    """Find targets whose rows end in one number wherever a mask or lengths of the batch say that nothing was recorded.

    Args:
        model: runs as it is.
        batch: as the loop draws it; targets (batch, length, ...) float, and beside them a mask (batch, length) or lengths
            (batch,).
        forward: of (model, batch), the loss.

    Returns:
        None where there is none, and where the loss has no slope at the filler.
    """
    named = dict(tensors(batch))
    before: float | None = None
    own = returned_once(model, batch, forward)
    for place, target in named.items():
        if not target.is_floating_point() or target.dim() < 2 or len(target) < _FEWEST_ROWS:
            continue
        for teller, told in named.items():
            ends = _ends(told, target) if teller != place else None
            value = _filler(target, ends) if ends is not None else None
            if ends is None or value is None or not _is_asked(model, batch, forward, target, ends, own):
                continue
            before = _loss(model, batch, forward) if before is None else before
            others = [t for other, t in named.items() if other not in (place, teller) and t.shape[:1] == target.shape[:1]]
            telling = [told, *(t for t in others if _ends_alike(t, ends) or _foretells(t, ends))]
            shown = any(_loss(model, exchanged(batch, t, t.flip(0)), forward) != before for t in telling)
            return FilledEnds(
                target=place,
                told_by=teller,
                value=value,
                share=float(ends.float().mean()),
                sudden=_jumps(target, ends),
                shown=shown or _is_shown(model, batch, forward, target),
            )
    return None


def _ends(told: Tensor, target: Tensor) -> Tensor | None:
    """Places (batch, length) behind the end of each row, as this mask or these lengths have it; None where it is neither."""
    rows, length = target.shape[:2]
    if told.shape == (rows,):
        is_length = bool((told == told.round()).all()) and float(told.min()) >= 1 and float(told.max()) <= length
        ends = torch.arange(length, device=told.device)[None] >= told[:, None]
        return ends if is_length and told.dtype != torch.bool and _differ(ends) else None
    if told.shape[:2] != (rows, length) or told[0, 0].numel() != 1 or not bool(((told == 0) | (told == 1)).all()):
        return None
    there = told.reshape(rows, length).bool()
    for ends in (~there, there):  # True or 1 at the padding, as attention takes it
        if torch.equal(ends.int().cummax(dim=1).values.bool(), ends) and not bool(ends[:, 0].any()) and _differ(ends):
            return ends
    return None


def _differ(ends: Tensor) -> bool:
    return len(ends.sum(dim=1).unique()) >= _FEWEST_LENGTHS and float(ends.float().mean()) >= _LEAST


def _filler(target: Tensor, ends: Tensor) -> float | None:
    """The number that stands behind every end, and seldom in front of one."""
    behind = target[ends]
    value = float(behind.flatten()[0]) + 0.0  # no minus zero
    if not bool((behind == value).all()):
        return None
    last = _last(target, ends)[ends.any(dim=1)]
    return value if float((last != value).float().mean()) >= _MOSTLY else None


def _last(target: Tensor, ends: Tensor) -> Tensor:
    """What stands in front of each end."""
    places = (~ends).sum(dim=1) - 1
    return target[torch.arange(len(target), device=target.device), places]


def _jumps(target: Tensor, ends: Tensor) -> bool:
    """Whether a row leaps to its filler, by more than it moves from one place to the next."""
    steps = (target[:, 1:] - target[:, :-1]).abs()[~ends[:, 1:]]
    leap = (_last(target, ends) - target[ends].flatten()[0]).abs()[ends.any(dim=1)]
    return float(leap.median()) >= _JUMP * float(steps.median()) > 0


def _is_asked(model: nn.Module, batch: Any, forward: Forward, target: Tensor, ends: Tensor, own: Returned | None) -> bool:
    """Whether the loss has a slope at the filler with the model's answers held as they are: what it reads is no target."""
    given = target.clone().requires_grad_()
    with torch.enable_grad(), randomness_restored():
        changed = exchanged(batch, target, given * 1)  # no leaf: a loss may write into its targets
        loss = loss_of(model, changed, forward, own, own.tensors) if own is not None else forward(model, changed).sum()
        slope = torch.autograd.grad(loss, given, allow_unused=True)[0] if loss.requires_grad else None
    return slope is not None and float((slope[ends] != 0).float().mean()) >= _MOSTLY


def _is_shown(model: nn.Module, batch: Any, forward: Forward, target: Tensor) -> bool:
    """Whether the model's answers change with the target, as those of an autoencoder; True where it cannot be asked."""
    found = [returned_once(model, each, forward) for each in (batch, exchanged(batch, target, target.flip(0)))]
    one, other = (each.tensors if each is not None else None for each in found)
    return one is None or other is None or not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _ends_alike(rows: Tensor, ends: Tensor) -> bool:
    """Whether a channel of these rows is constant behind the same ends, and otherwise in front of them: it tells the model."""
    if rows.shape[:2] != ends.shape:
        return False
    channels = rows.reshape(*ends.shape, -1)
    behind = channels[ends]
    before = _last(channels, ends)[ends.any(dim=1)]
    tells = (behind == behind[:1]).all(dim=0) & ((before != behind[:1]).float().mean(dim=0) >= _TOLD)
    return bool(tells.any())


def _foretells(inputs: Tensor, ends: Tensor) -> bool:
    """Whether lengths go with these inputs: what stands behind the ends may then be true, and is no worse to learn."""
    columns = inputs[:, None] if inputs.dim() == 1 else inputs
    if columns.is_complex() or columns.dtype == torch.bool:
        return False
    lengths = (~ends).sum(dim=1, keepdim=True).float()
    found = relation(columns.detach().cpu(), lengths.cpu(), fewest=_FEWEST_ROWS)
    return found is not None and found.z >= _FORETOLD


def _loss(model: nn.Module, batch: Any, forward: Forward) -> float:
    with torch.enable_grad(), randomness_restored():
        seed_torch(0)
        return float(forward(model, batch).detach().sum())
