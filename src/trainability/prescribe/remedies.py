"""Replace the general remedy of findings about the initialisation by a plan that fits the model."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from trainability.doctor import Diagnosis
from trainability.doctor.rate_choice import leaves_room
from trainability.initialization import InitPlan
from trainability.prescribe.plans import best_plan

# Causes that another initialisation fixes. If the input alone is the cause (`gain_budget_low.input`), the input must change.
FIXED_BY_A_PLAN = {"gain_budget_low", "gain_budget_high", "slow_start"}

# Rules whose remedy is another learning rate, and verdicts under which none is needed.
OF_THE_RATE = (
    "exploding_gradient",
    "not_finite",
    "oscillation",
    "loss_cliff",
    "update_ratio",
    "unmoved_parameter",
)
_TRAINS = ("will train", "has learned", "is training", "was still training when it ended", "slow start")


def asks_for_a_rate(diagnosis: Diagnosis) -> bool:
    """Whether the first finding, or the verdict if there is none, gives the learning rate as the cause.

    Also where nothing worse than a hint was found and a rehearsal of tiny steps leaves open what a run will do.
    """
    first, rehearsal = next(iter(diagnosis.findings), None), diagnosis.evidence.rehearsal
    if diagnosis.verdict in _TRAINS:
        return False
    if rehearsal is not None and all(found.severity == "hint" for found in diagnosis.findings) and leaves_room(rehearsal):
        return True
    return diagnosis.verdict in ("too slow", "unstable") if first is None else first.rule in OF_THE_RATE


def prescribed(diagnosis: Diagnosis, model: nn.Module, images: Tensor, *, plan: str | None) -> Diagnosis:
    """Add a plan that brings the budget into the band to the remedies of findings about the initialisation.

    Args:
        diagnosis: of `model` before training.
        model: its weights do not matter.
        images: a batch, for the input's scale.
        plan: the current plan; `None` if the model was not initialised by one.

    Returns:
        The diagnosis, unchanged if no plan helps or none can be predicted.
    """
    if not any(finding.code in FIXED_BY_A_PLAN for finding in diagnosis.findings):
        return diagnosis
    try:
        best = best_plan(model, images, like=InitPlan.parse(plan) if plan is not None else None)
    except ValueError:
        return diagnosis
    how = f'--init.plan "{best.plan}"' if plan is not None else f'trainability.init_(model, "{best.plan}", seed=0)'
    remedy = f"{how}: the gain budget with the input becomes {best.budget:+z.1f}, and biases zero"
    findings = tuple(
        dataclasses.replace(finding, remedy=remedy) if finding.code in FIXED_BY_A_PLAN else finding
        for finding in diagnosis.findings
    )
    return dataclasses.replace(diagnosis, findings=findings)
