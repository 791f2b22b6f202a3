"""A term of a loss that costs the most where the outputs are right, beside others that cost the least there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.preferred import preferences
from trainability.doctor.measure.terms import Terms

_MOST_TERMS = 5
_LOW = 0.5  # of what right answers cost, that wrong ones cost at most: a score is near 0 there

Forward = Callable[[Any, Any], Tensor]


def turned_term(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> tuple[float, float] | None:
    """Ask each term of a loss, by itself, what `preferences` asks of a whole loss.

    Args:
        model: returns one tensor, and is called once; runs as it is.
        batch: one input and one target.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own answers.

    Returns:
        What right and what wrong answers cost by the first term that is a score: never negative, by half larger for right
        answers, and another with other targets. None of a loss of one term, and of terms that some are added to and others are
        taken off.
    """
    target = seen.target()
    if target is None or len(seen.returned) != 1 or target.dim() < 1 or len(target) < 2:
        return None
    own = _values(model, batch, forward)
    if not 2 <= len(own) <= _MOST_TERMS:
        return None
    other = _values(model, exchanged(batch, target, target.roll(1, dims=0)), forward)
    for number, value in enumerate(own):
        if len(other) != len(own) or value == other[number] or not value >= 0:
            continue
        costs = preferences(model, batch, _only(forward, number, len(own)), seen)["prefers_wrong"]
        if costs is not None and 0 <= costs[1] <= _LOW * costs[0]:
            return costs
    return None


def _values(model: nn.Module, batch: Any, forward: Forward) -> list[float]:
    return [float(term.detach().sum()) for term in Terms.of(model, batch, forward).of_loss()]


def _only(forward: Forward, number: int, count: int) -> Forward:
    """One term of a loss."""

    def term(model: nn.Module, batch: Any) -> Tensor:
        terms = Terms.of(model, batch, forward).of_loss()
        if len(terms) != count:
            raise ValueError(f"the loss has {len(terms)} terms, and had {count}")
        return terms[number]

    return term
