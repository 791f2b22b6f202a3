"""Log-weights of a mixture that are not normalised, so that the loss falls by as much as is added to all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from trainability.doctor.measure.instead import loss_of, pull, returned_once

_MOST_TENSORS, _MOST_NUMBERS, _FEWEST = 6, 128, 4  # returned; for an example; examples
_SAME, _CERTAIN = 1e-3, 0.98  # of the sum of a row's shares; the largest share, where a choice is nearly made
_NORMALISED, _ADDED = 1e-3, 20.0

Forward = Callable[[Any, Any], Tensor]


def free_weights(model: nn.Module, batch: Any, forward: Forward) -> tuple[int, int] | None:
    """Look for numbers of each example along which the loss has slopes like the shares that mixture components have in it.

    Such slopes have one sign, differ between examples, and add up to the same number for each of them. Of log-probabilities,
    whose exponentials add up to 1, that is right: the model cannot raise all of them.

    Args:
        model: called once.
        batch: what it is asked.
        forward: of (model, batch), the loss.

    Returns:
        The place of the tensor among those returned, and how many components there are; None without such numbers, where they
        are normalised, and where the loss does not fall in proportion to what is added to all of them.
    """
    own = returned_once(model, batch, forward)
    for place, tensor in enumerate(own.tensors[:_MOST_TENSORS] if own is not None else ()):
        if own is None or not tensor.is_floating_point() or tensor.dim() < 2 or len(tensor) < _FEWEST:
            continue
        numbers = tensor[0].numel()
        slope = pull(model, batch, forward, own, place=place) if 2 <= numbers <= _MOST_NUMBERS else None
        for chosen in _shared(slope.reshape(len(slope), -1).double()) if slope is not None else ():
            values = tensor.detach().reshape(len(tensor), -1)[:, chosen].double()
            if float(values.logsumexp(dim=1).abs().max()) > _NORMALISED and _falls(model, batch, forward, own, place, chosen):
                return place, len(chosen)
    return None


def _shared(slope: Tensor) -> Iterator[list[int]]:
    """Columns, side by side or at one distance, whose slopes (examples, numbers) are shares of one number in each row."""
    count = slope.shape[1]
    of_one_sign = ((slope <= 0).all(dim=0) | (slope >= 0).all(dim=0)).tolist()
    for step in range(1, count // 2 + 1) if sum(of_one_sign) > 1 else ():
        if count % step:
            continue
        for first in range(step):
            column = list(range(first, count, step))
            for size in range(len(column), 1, -1):
                starts = range(len(column) - size + 1) if step == 1 else (0,) if size == len(column) else ()
                for start in starts:
                    chosen = column[start : start + size]
                    if all(of_one_sign[k] for k in chosen) and _are_shares(slope[:, chosen]):
                        yield chosen


def _are_shares(slope: Tensor) -> bool:
    sums, sign = slope.sum(dim=1), float(slope[0].sum().sign())
    middle = float(sums.mean())
    if sign == 0 or not bool((slope * sign >= 0).all()) or float((sums - middle).abs().max()) > _SAME * abs(middle):
        return False
    shares = slope / sums[:, None]
    is_open = float((shares.amax(dim=1) < _CERTAIN).double().mean()) > 0.5
    return is_open and float(shares.std(dim=0).max()) > _SAME


def _falls(model: nn.Module, batch: Any, forward: Forward, own: Any, place: int, chosen: list[int]) -> bool:
    """Whether the loss falls along a line as far as 20 and 40 away."""
    costs = []
    for by in (0.0, _ADDED, 2 * _ADDED):
        answers = [t.detach().clone() for t in own.tensors]
        answers[place].view(len(answers[place]), -1)[:, chosen] += by
        costs.append(float(loss_of(model, batch, forward, own, answers).detach()))
    start, near, far = costs
    return near < start and abs((far - near) - (near - start)) < _SAME * abs(near - start)
