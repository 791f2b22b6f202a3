"""A loss of yes and no that no answer to a no changes, as a hinge whose labels are 0 and 1: it is asked, whatever its form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import Returned, exchanged, loss_of, pull, returned_once
from trainability.doctor.tasks import output_form

_FEWEST = 8  # examples of either answer
# Far and near, on either side of undecided: a margin that is kept has no gradient, and one that is broken has.
_ASKED = {"values": (-8.0, -2.0, -0.5, 0.0, 0.5, 2.0, 8.0), "probabilities": (0.02, 0.2, 0.5, 0.8, 0.98)}
_ALIKE = 1e-4  # difference of two losses, over their size
_NO_COST = 0.05  # of the best answer to a 1, over the median

Forward = Callable[[Any, Any], Tensor]


def unread_zeros(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> float | None:
    """What a target of 0 costs at every answer, where the loss has a gradient at examples whose target is 1, and at no other.

    A margin loss of 0 and 1 costs the same at every answer to a 0, and that is not zero: it is the cost of a 1 at the margin.
    Masks, rewards and indicators cost nothing where they are 0. So does half of a cross-entropy: of these, the loss is never
    negative, next to nothing for the best answer to a 1, and depends on nothing but answers and targets.

    Args:
        model: returns one tensor with one number for each example, and is called once.
        batch: one target of 0 and 1 for each example.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own answers.

    Returns:
        The loss of a batch whose targets are all 0, of a margin loss; 0.0 of half of a cross-entropy; None of any other, and
        where answers of which all are alike, or drawn, cannot be put in the place of the model's own, or targets cannot.
    """
    output, target = seen.output, seen.target()
    if output is None or len(seen.returned) != 1 or target is None or target.numel() != output.numel() != 1:
        return None
    if output.numel() != len(output) or not output.is_floating_point() or output_form(output) not in _ASKED:
        return None
    y = target.detach().flatten().float()
    if not bool(((y == 0) | (y == 1)).all()) or min(int((y == 0).sum()), int((y == 1).sum())) < _FEWEST:
        return None
    own = returned_once(model, batch, forward)
    if own is None or len(own.tensors) != 1:
        return None
    choices = torch.tensor(_ASKED[output_form(output)])
    drawn = choices[torch.randint(len(choices), (len(y),), generator=torch.Generator().manual_seed(0))]
    is_felt = torch.zeros(len(y), dtype=torch.bool)
    for answer in (*(value.expand(len(y)) for value in choices), drawn):
        slope = pull(model, batch, forward, own, answers=[answer.reshape(output.shape).to(output)])
        if slope is None:
            return None
        is_felt |= slope.flatten().cpu() != 0
    is_one = y.cpu() == 1
    if not bool(is_felt[is_one].all()) or bool(is_felt[~is_one].any()):
        return None
    return _Costs(model, batch, forward, seen, own, y).of_zero(choices, drawn)


class _Costs:
    """The loss of other answers, and of other targets in the batch."""

    def __init__(self, model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, own: Returned, y: Tensor) -> None:
        self._model, self._batch, self._forward, self._own = model, batch, forward, own
        parts = [t for _, t in seen.batch if t.dim()]
        # The loss may compare what it made of the targets, as their numbers in another type or shape.
        self._targets = [t for t in parts if t.numel() == y.numel() and torch.equal(t.detach().flatten().float(), y)]
        self._others = [t for t in parts if all(t is not each for each in self._targets)]

    def of_zero(self, choices: Tensor, drawn: Tensor) -> float | None:
        """As `unread_zeros`."""
        if not self._targets or any(t.dtype == torch.bool for t in self._targets):  # a mask
            return None
        no, yes = (torch.tensor([self._with_targets(value, a) for a in choices], dtype=torch.float64) for value in (0, 1))
        size = float(yes.abs().median())  # an exponential's largest is out of all proportion
        if not bool(no.isfinite().all() & yes.isfinite().all()) or float(no.max() - no.min()) > _ALIKE * size:
            return None
        cost = float(no.mean())
        if abs(cost) <= _ALIKE * size:
            is_half = float(yes.min()) >= 0 and float(yes.min()) < _NO_COST * size and bool((yes.diff() < 0).all())
            return 0.0 if is_half and not self._depends_on_more(drawn) else None
        return cost if float(yes.min()) < cost and self._is_of_products(choices, no, yes) else None

    def _is_of_products(self, choices: Tensor, no: Tensor, yes: Tensor) -> bool:
        """Whether targets are no weights, beside another term: the loss is not linear in them, nor changes with their size."""
        at = 0.5 if all(t.is_floating_point() for t in self._targets) else 2
        asked = torch.tensor([self._with_targets(at, a) for a in choices], dtype=torch.float64)
        size = float(yes.abs().max())
        return all(bool(((asked - as_weights).abs() > _ALIKE * size).any()) for as_weights in (no + at * (yes - no), yes))

    def _depends_on_more(self, drawn: Tensor) -> bool:
        """Whether other tensors of the batch change the loss, with the answers as they are."""
        plain = self._loss(self._batch, drawn)
        return any(self._loss(exchanged(self._batch, t, t.detach().roll(1, dims=0)), drawn) != plain for t in self._others)

    def _with_targets(self, value: float, answer: Tensor) -> float:
        batch = self._batch
        for t in self._targets:
            batch = exchanged(batch, t, torch.full_like(t, value))
        return self._loss(batch, answer)

    def _loss(self, batch: Any, answer: Tensor) -> float:
        like = self._own.tensors[0]
        given = answer.expand(len(like)).reshape(like.shape).to(like)
        return float(loss_of(self._model, batch, self._forward, self._own, [given]).detach())
