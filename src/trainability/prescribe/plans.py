"""Rank initialisation plans by the gain budget that the closed form predicts, without drawing a weight."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from trainability import initialization
from trainability.doctor import input_moments, predict, trace, weight_moments
from trainability.doctor.theory.band import BUDGET_HIGH, BUDGET_LOW
from trainability.doctor.theory.moments import SignalMoments
from trainability.doctor.theory.trace import Trace
from trainability.initialization import InitPlan
from trainability.prescribe.candidates import plans, promised_moments

# A further segment must bring the budget this much nearer to 0, because short plans are easier to read.
_SEGMENT_COST = 0.3


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A plan and its predicted gain budget.

    Attributes:
        plan: as for `--init.plan`.
        budget: log10 of the product of all gains and the input's mean square.
    """

    plan: InitPlan
    budget: float


def recommend_init(model: nn.Module, images: Tensor) -> InitPlan:
    """Recommend an initialisation: the plan whose predicted gain budget, including the input, is nearest to 0.

    Args:
        model: a model that the closed form can trace; it is not changed, and its weights do not matter.
        images: (batch, ...) float, a batch as in training; its shape and its scale matter.

    Returns:
        A plan for `init_`.

    Raises:
        ValueError: the model cannot be traced, its gains do not multiply (normalisation, residual sums), or no plan brings
            the budget into the band that trains.
    """
    return best_plan(model, images).plan


def best_plan(model: nn.Module, images: Tensor, *, like: InitPlan | None = None) -> Candidate:
    """Find the plan that `recommend_init` recommends, with its budget.

    Args:
        model: as in `recommend_init`.
        images: as in `recommend_init`.
        like: the current plan; it is also tried with other standard deviations.

    Raises:
        ValueError: as in `recommend_init`.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.dim() < 2 or len(images) == 0:
        kind = f"{images.dtype} of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images is {kind}; expected a batch of float images, (batch, ...)")
    if not initialization.weight_layers(model):
        raise ValueError("the model has no convolution or linear layer to initialise")
    found = ranked(model, trace(model, tuple(images.shape), images.dtype), input_moments(images), like=like)
    if not found:
        raise ValueError(
            "plans cannot be ranked: the gains of this model do not multiply, because normalisation or residual sums rescale "
            "the signal"
        )
    best = found[0]
    if not BUDGET_LOW <= best.budget <= BUDGET_HIGH:
        raise ValueError(
            f'no plan brings the gain budget with the input into [{BUDGET_LOW:g}, {BUDGET_HIGH:g}]: the best, "{best.plan}", '
            f"gives {best.budget:+.1f}; scale the images to mean square 1 first"
        )
    return best


def ranked(model: nn.Module, trace: Trace, images: SignalMoments, *, like: InitPlan | None = None) -> list[Candidate]:
    """Rank plans by the distance of their gain budget from 0, where signal and gradient keep their size.

    Args:
        model: whose weight layers the plans are for; it is not changed, and its weights do not matter.
        trace: of that model.
        images: moments of its input, whose scale is part of the budget.
        like: the current plan; it is also tried with other standard deviations.

    Returns:
        Candidates, the best first; empty if gains do not multiply (normalisation, residual sums).
    """
    found = []
    own = weight_moments(model)
    for plan in plans(model, like):
        prediction = predict(trace, {**own, **promised_moments(plan, model)}, images)
        if prediction.log10_gain is not None:
            budget = prediction.log10_gain + prediction.log10_input
            found.append(Candidate(plan=plan, budget=budget))
    return sorted(found, key=lambda candidate: abs(candidate.budget) + _SEGMENT_COST * len(candidate.plan.segments))
