"""The recommended initialisation and the measured rate, as interventions that can be tried."""

from __future__ import annotations

from torch import Tensor, nn

from trainability.doctor.evidence import Evidence
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.intervention import Intervention
from trainability.doctor.experiments.optimizer_changes import measured_rate
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.measure.nested import modules
from trainability.initialization import init_
from trainability.prescribe.plans import best_plan


def with_prescribed(model: nn.Module | None, images: Tensor | None, evidence: Evidence) -> dict[str, Intervention]:
    """List every intervention, including the rate from the critical step and the initialisation from `recommend_init`.

    Args:
        model: its weights do not matter; None if there are several.
        images: a batch of its input; None if batches have another form.
        evidence: from a check.

    Returns:
        By name, the smallest change first; without a plan if none can be recommended, or if it has one scheme for all layers.
    """
    rate = measured_rate(evidence)
    known: dict[str, Intervention] = {}
    for name, change in INTERVENTIONS.items():
        known |= {rate.name: rate} if rate is not None and name == "rate_tenth" else {}
        known[name] = change
    if model is None or images is None:
        return known
    try:
        plan = best_plan(model, images).plan
    except ValueError:
        return known
    if str(plan) in known:
        return known

    def make(variant: Variant) -> None:
        init_(modules(variant.model)[0], plan, seed=1000 + variant.seed)

    recommended = Intervention(
        name="recommended_weights",
        change=f"weights by the plan {plan}",
        applies=lambda variant: len(modules(variant.model)) == 1,
        make=make,
        answers=INTERVENTIONS["he"].answers,
        family="weights",
    )
    return {**known, recommended.name: recommended}
