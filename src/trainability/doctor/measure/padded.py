"""Targets beside padded words: whether they are padded at the other end, and whether the loss asks for padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.padding_number import are_words, padding_of

_FEWEST_ROWS, _FEWEST_LENGTHS = 8, 3
_ENDS_MEET = 0.2  # share of the rows whose filler is as long as the padding: behind it a tag may be the filler's number, too
_ELSEWHERE = 0.9  # share of the padding at which a target padded at the same end has its filler
_ASKED = 0.9  # share of the padding that the loss asks for


def beside_padding(seen: ForwardPass, loss: Tensor) -> dict[str, Any]:
    """Hold targets, a number for each place of padded sequences, against where the padding is.

    Args:
        seen: the pass, of a model that is given words (batch, places), once.
        loss: with its graph.

    Returns:
        Fields of `Facts`: `padded_apart` and `padding_asked`.
    """
    words = next((x for x in seen.inputs if are_words(x)), None)
    number = padding_of(words) if words is not None and len(seen.calls) == 1 else None
    if words is None or number is None or len(words) < _FEWEST_ROWS:
        return {}
    is_padding = words == number
    given = {x.data_ptr() for x in seen.inputs if isinstance(x, Tensor)}
    found = [t for _, t in seen.batch if t.shape == words.shape and are_words(t) and t.data_ptr() not in given]
    if len(found) != 1 or int(is_padding.sum(dim=1).unique().numel()) < _FEWEST_LENGTHS:
        return {}
    if len(seen.inputs) == 1 and (apart := _apart(is_padding, found[0])) is not None:
        return {"padded_apart": apart}
    return {"padding_asked": _asked(is_padding, found[0], seen.output, loss)}


def _apart(is_padding: Tensor, target: Tensor) -> float | None:
    """Share of the padding beside which a target stands that is no filler, where the filler is at the other end."""
    if int(is_padding[:, 0].sum()) < int(is_padding[:, -1].sum()):
        target, is_padding = target.flip(1), is_padding.flip(1)  # as if the padding were in front
    filler = int(target[:, -1].mode().values)
    run = (target.flip(1) == filler).int().cumprod(dim=1).sum(dim=1)
    long = is_padding.sum(dim=1)
    beside = float((target[is_padding] == filler).float().mean())
    meet = float((run == long).float().mean())
    if bool((run >= long).all()) and meet >= _ENDS_MEET and beside < _ELSEWHERE:
        return 1 - beside
    return None


def _asked(is_padding: Tensor, target: Tensor, output: Tensor | None, loss: Tensor) -> tuple[str, int, float] | None:
    """How the padding is marked, its number in the targets, and its share of the places that the loss asks for."""
    there = target[is_padding].unique()
    if output is None or output.dim() != 3 or len(there) != 1 or not output.requires_grad:
        return None
    times = [d for d in (1, 2) if output.shape[d] == target.shape[1]]
    if len(times) != 1:
        return None
    (slope,) = torch.autograd.grad(loss, [output], allow_unused=True, retain_graph=True)
    if slope is None:
        return None
    is_asked = (slope.movedim(times[0], 1) != 0).any(dim=2)
    share = float(is_padding[is_asked].float().mean()) if bool(is_asked.any()) else 0.0
    if float(is_asked[is_padding].float().mean()) < _ASKED:
        return None
    number = int(there[0])
    if number < 0:
        return "marked", number, share
    return ("class", number, share) if bool((target[~is_padding] == number).any()) else None
