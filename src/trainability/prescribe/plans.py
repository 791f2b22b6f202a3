"""Which initialisation would train: plans ranked by the gain budget that the closed form predicts, no weight drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from trainability import initialization
from trainability.doctor import predict, weight_moments
from trainability.doctor.theory.moments import SignalMoments, WeightMoments
from trainability.doctor.theory.trace import Trace
from trainability.initialization import InitPlan

# A further segment must bring the budget this much nearer to 0: a plan is also read by people.
_SEGMENT_COST = 0.3
_STDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A plan and what the closed form says of it.

    Attributes:
        plan: as for `--init.plan`.
        budget: log10 of the product of all gains and the input's mean square.
        logit_rms: predicted at the start; `None` where the theory cannot tell.
    """

    plan: InitPlan
    budget: float
    logit_rms: float | None


def ranked(model: nn.Module, trace: Trace, images: SignalMoments, *, like: InitPlan | None = None) -> list[Candidate]:
    """Rank plans by how near they bring the budget to 0, where signal and gradient keep their size.

    Args:
        model: whose weight layers the plans are for; it is not changed, and its weights do not matter.
        trace: of that model.
        images: moments of its input, whose scale is part of the budget.
        like: the plan in use; other standard deviations in it are tried too.

    Returns:
        Best first; empty where gains do not multiply (normalisation, residual sums).
    """
    found = []
    own = weight_moments(model)
    for plan in _plans(len(initialization.weight_layers(model)), like):
        prediction = predict(trace, {**own, **promised_moments(plan, model)}, images)
        if prediction.log10_gain is not None:
            budget = prediction.log10_gain + prediction.log10_input
            found.append(Candidate(plan=plan, budget=budget, logit_rms=prediction.logit_rms))
    return sorted(found, key=lambda candidate: abs(candidate.budget) + _SEGMENT_COST * len(candidate.plan.segments))


def promised_moments(plan: InitPlan, model: nn.Module) -> dict[str, WeightMoments]:
    """Say the second moments that a plan gives a model's weights, by their full names; biases are zero."""
    layers = initialization.weight_layers(model)
    return {
        f"{name}.weight" if name else "weight": WeightMoments(
            shape=tuple(module.get_parameter("weight").shape),
            variance=initialization.promised_std(segment, module) ** 2,
            bias_mean_square=0.0,
        )
        for (name, module), segment in zip(layers, plan.resolve(len(layers)), strict=True)
    }


def _plans(num_layers: int, like: InitPlan | None) -> Iterator[InitPlan]:
    for scheme in ("he", "xavier", "lecun"):
        yield InitPlan.parse(scheme)
    for count in range(1, num_layers):
        yield InitPlan.parse(f"xavier:{count},he")
        yield InitPlan.parse(f"he:{count},xavier")
    used = like.segments if like is not None else ()
    for std in _STDS if any(s.value is not None for s in used) else ():
        yield InitPlan(segments=tuple(s if s.value is None else dataclasses.replace(s, value=std) for s in used))
