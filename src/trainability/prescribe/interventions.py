"""The recommended initialisation as an intervention, to be tried."""

from __future__ import annotations

from torch import Tensor, nn

from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.intervention import Intervention
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.measure.copies import modules
from trainability.initialization import init_
from trainability.prescribe.plans import best_plan


def with_recommended(model: nn.Module | None, images: Tensor | None) -> dict[str, Intervention]:
    """Every intervention, and the initialisation that `recommend_init` recommends for this model and input.

    Args:
        model: its weights do not matter; None where there are several.
        images: a batch of its input; None where batches are of another form.

    Returns:
        By name, the smallest change first; without the plan where none can be recommended, or it is one scheme throughout.
    """
    if model is None or images is None:
        return INTERVENTIONS
    try:
        plan = best_plan(model, images).plan
    except ValueError:
        return INTERVENTIONS
    if str(plan) in INTERVENTIONS:
        return INTERVENTIONS

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
    return {**INTERVENTIONS, recommended.name: recommended}
