"""What a loop's own batch asks for, read off the gradient of its outputs, and what one answer for all of it would cost.

Monitor is not given targets. For three losses the gradient of the outputs tells them, and whether it does is seen: the loss,
computed anew from outputs and what was told, is the loss that the loop handed over. A fourth needs no such proof: where the
gradient lies along that of an error of the model's own input, they are to rebuild it, whatever else is in the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.measure import statistics
from trainability.doctor.measure.beyond_range import cut

LOSSES = ("mse_loss", "cross_entropy", "binary_cross_entropy_with_logits", "reconstruction")
MOST_NUMBERS = 1 << 21  # of outputs that are looked at
_SAME = 1e-3  # of the loss, from which the one computed anew may differ
_ROWS_OF_A_CLASS = 4  # examples of a batch for each class in it, from which their frequencies tell
_ALONG = 1e-3  # of the gradient, that does not lie along the gap
_FLOOR = 0.75  # of what the mean costs, that the least error may
_VISIBLE = 1e-4  # of the outputs' size, that targets have at least
_NEAR = 5e-3  # of 0 and 1, for targets that are told within rounding


def told_constants(output: Tensor, gradient: Tensor, loss: Tensor | float, given: Tensor | None = None) -> Tensor:
    """What the best constant answer costs on the batch, for each loss that the outputs' gradient may be of.

    Args:
        output: (examples, ...), of a model.
        gradient: of the loss, for the outputs; that of a mean over all of them.
        loss: that the loop handed over.
        given: the model's input, where it has as many numbers as the output.

    Returns:
        (len(LOSSES) + 6,) float32 on the device. In the order of `LOSSES`, NaN where it is not that loss; then of the targets
        of a squared error the rms, the share below 0 and the share outside [0, 1], and what clipping them to 0 and above and to
        [0, 1] costs; and the rms of the output. Means, variances and class frequencies of a batch are those of its examples;
        what so few of them take off the cost is added again.
    """
    output, gradient = output.detach().float(), gradient.detach().float()
    loss = torch.as_tensor(loss, device=output.device).detach().float()
    count, examples = output.numel(), len(output)
    told = output - gradient * (count / 2)
    squared = _if_same((output - told).square().mean(), loss, told.var(dim=0, correction=1).mean())
    # What is next to nothing beside the outputs is their rounding: a penalty on outputs has no targets. Nor does a gradient of
    # zero tell any: under every loss whose floor is zero outputs may be where it is.
    is_told = (statistics.rms(told) > _VISIBLE * statistics.rms(output)) & gradient.any()
    # Where all rows are asked for the same numbers, which differ among themselves, rows are the members of an ensemble.
    is_told &= told.var(dim=0).mean() >= _VISIBLE**2 * told.var()
    squared = torch.where(is_told, squared, torch.nan)
    costs = [squared, _classes(output, gradient, loss), _marks(output, gradient * count, loss, examples)]
    costs.append(_rebuilt(output, gradient, loss, given))
    rounding = _VISIBLE * statistics.rms(told)
    below, above = (told < -rounding).float().mean(), (told > 1 + rounding).float().mean()
    costs += [statistics.rms(told), below, below + above, cut(told, 0.0, math.inf), cut(told, 0.0, 1.0), statistics.rms(output)]
    return torch.stack(costs)


def _classes(output: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
    """Cross-entropy of one class a row, along the last dimension or, of places, along the first behind the examples.

    Rows without a gradient are left out where the loss is the mean over the others: they are of ignored targets, as padding is.
    """
    found = torch.full((), torch.nan, device=output.device)
    if output.dim() < 2:
        return found
    # (examples, classes, height, width), and of three dimensions either.
    for dim in {2: (1,), 3: (2, 1), 4: (1,)}.get(output.dim(), (output.dim() - 1,)):
        if output.shape[dim] < 2:
            continue
        rows, slopes = (x.movedim(dim, -1).reshape(-1, x.shape[dim]) for x in (output, gradient))
        is_asked = (slopes != 0).any(dim=1)
        found = torch.where(found.isnan(), _classes_of(rows, slopes, torch.ones_like(is_asked), loss), found)
        if output.device.type != "cpu" or not is_asked.all():  # the same again otherwise; another device would be waited for
            found = torch.where(found.isnan(), _classes_of(rows, slopes, is_asked, loss), found)
    return found


def _classes_of(rows: Tensor, slopes: Tensor, is_asked: Tensor, loss: Tensor) -> Tensor:
    """The same of logits (rows, classes), of which some are asked and the loss is the mean over these; NaN where it is not."""
    asked = is_asked.sum()
    told = rows.softmax(dim=1) - slopes * asked
    labels = told.argmax(dim=1)
    marks = F.one_hot(labels, rows.shape[1]).float()
    share = (marks * is_asked[:, None]).sum(dim=0) / asked
    entropy = -torch.special.xlogy(share, share).sum() + (torch.count_nonzero(share) - 1) / (2 * asked)
    # With few examples a class, those that the batch lacks are not known: what knows nothing costs is the bound then.
    is_known = torch.count_nonzero(share) <= asked / _ROWS_OF_A_CLASS
    entropy = torch.where(is_known, entropy, math.inf).clamp(max=math.log(rows.shape[1]))
    # A batch of one class does not tell the classes of the data: a sorted loader's, or a critic's of nothing but real examples.
    is_told = (((told - marks).abs().amax(dim=1) < _NEAR) | ~is_asked).all() & (torch.count_nonzero(share) > 1)
    each = F.cross_entropy(rows, labels, reduction="none")
    again = (each * is_asked).sum() / asked
    # Rows that were chosen because they cost most tell no frequencies: whatever the class of another, it costs less.
    chosen = torch.where(is_asked, -math.inf, -rows.log_softmax(dim=1).amax(dim=1)).max()
    is_told &= is_asked.all() | (torch.where(is_asked, each, math.inf).min() <= chosen)
    return torch.where(is_told, _if_same(again, loss, entropy), torch.nan)


def _marks(output: Tensor, slopes: Tensor, loss: Tensor, examples: int) -> Tensor:
    """Binary cross-entropy of logits; a constant answers the share of marks, of all units together, as some have few."""
    told = output.sigmoid() - slopes
    is_told = (told >= -_NEAR).all() & (told <= 1 + _NEAR).all()
    share = told.clamp(0, 1).mean()
    is_told &= (share > _NEAR / examples) & (share < 1 - _NEAR / examples)
    entropy = _entropy(share) + 1 / (2 * examples)
    entropy = entropy.clamp(max=math.log(2))
    again = F.binary_cross_entropy_with_logits(output, told.clamp(0, 1))
    # Far from 0 it is linear in the outputs, as a mean of likelihoods is that a model returns; but right answers have no slope.
    is_linear = (again - (slopes * output).mean()).abs() <= _SAME * again.abs()
    are_marks = ((told < _NEAR) | (told > 1 - _NEAR)).all() & (slopes.abs() < _NEAR).any()
    is_told &= ~is_linear | are_marks
    return torch.where(is_told, _if_same(again, loss, entropy), torch.full((), torch.nan, device=output.device))


def _rebuilt(output: Tensor, gradient: Tensor, loss: Tensor, given: Tensor | None) -> Tensor:
    """An error of the input made anew, as a mean or a sum, beside other terms that stay as they are.

    The squared distance, or binary cross-entropy of logits or of probabilities.
    """
    if given is None:
        return torch.full((), torch.nan, device=output.device)
    given = given.detach().float().reshape(output.shape)
    gap = output - given
    spread = given.var(dim=0, correction=1).sum() * len(given)
    cost = _beside(gradient, gap, loss, spread / 2 - gap.square().sum() / 2)
    share = given.clamp(0, 1)
    for shown, slope in ((output.sigmoid(), output.sigmoid() - given), (output, gap / (output * (1 - output)))):
        is_share = (given == share).all() & ((shown >= 0) & (shown <= 1)).all()
        error = F.binary_cross_entropy(shown.clamp(0, 1).nan_to_num(0.5), share, reduction="sum")
        constant, floor = _entropy_of_mean(share) * len(share), _entropy(share).sum()
        found = _beside(gradient, slope, loss, constant - error)
        # Numbers between 0 and 1 cost something where they are made anew to the letter, too: that must be plainly less.
        is_plain = _beside(gradient, slope, loss, floor - error) < _FLOOR * found
        is_bent = (
            slope - slope.mean()
        ).norm() > _ALONG * slope.norm()  # else any linear function of the outputs has that slope
        cost = torch.where(cost.isnan() & is_share & is_plain & is_bent, found, cost)
    return cost


def _beside(gradient: Tensor, slope: Tensor, loss: Tensor, more: Tensor) -> Tensor:
    """The loss where an error with that slope costs so much more; NaN where the gradient does not lie along the slope."""
    weight = (gradient * slope).sum() / slope.square().sum()
    along = (gradient - weight * slope).norm() <= _ALONG * gradient.norm()
    return torch.where(along & (weight > 0), loss + weight * more, torch.nan)


def _entropy(share: Tensor) -> Tensor:
    return -(torch.special.xlogy(share, share) + torch.special.xlogy(1 - share, 1 - share))


def _entropy_of_mean(share: Tensor) -> Tensor:
    """Of each unit's mean, summed; what a mean of so few examples takes off is added again."""
    mean, variance = share.mean(dim=0), share.var(dim=0, correction=1)
    again = variance / (2 * len(share) * (mean * (1 - mean)).clamp_min(1e-12))
    return (_entropy(mean) + again.clamp(max=0.5)).sum()


def _if_same(again: Tensor, loss: Tensor, cost: Tensor) -> Tensor:
    return torch.where((again - loss).abs() <= _SAME * loss.abs(), cost, torch.nan)


def told_fields(numbers: Sequence[float]) -> dict[str, Any]:
    """Fields of a sample, of the numbers that `told_constants` gives, on the host."""
    costs = {name: cost for name, cost in zip(LOSSES, numbers, strict=False) if not math.isnan(cost)}
    # What is made anew is known unit by unit, and marks only of all units together.
    preferred = sorted(LOSSES, key=lambda name: name == "binary_cross_entropy_with_logits")
    task, cost = next(((name, costs[name]) for name in preferred if name in costs), (None, None))
    if task is None:
        return {}
    names = ("target_rms", "target_below_zero", "target_outside_unit", "cut_at_zero", "cut_to_unit", "output_rms")
    told = dict(zip(names, numbers[len(LOSSES) :], strict=True))
    kept = names if task == "mse_loss" else names[-1:]
    return {"task_loss": task, "constant_loss": cost} | {name: told[name] for name in kept}
