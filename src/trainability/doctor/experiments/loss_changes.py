"""Changes of what the loss weighs."""

from typing import Any

from torch import Tensor

from trainability.doctor import reading
from trainability.doctor.batches import cloned
from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.loop_changes import loss_of
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.measure.code_price import divergence_and_error
from trainability.doctor.measure.nested import modules
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.rules.summed_terms import weight_of_divergence


def _place_of_error(variant: Variant) -> int | None:
    """Which of the errors that are computed stands beside the divergence of a code; None where none does, or cannot be seen."""
    forward = loss_of(variant) if variant.step is None and len(modules(variant.model)) == 1 else None
    if forward is None or weight_of_divergence(reading.facts(variant.evidence).code_price) is None:
        return None
    with randomness_restored(), variant.loop().undisturbed(afresh=True):
        parts = divergence_and_error(variant.model, cloned(variant.reference), forward)
    return None if parts is None else parts[2]


def _reweigh(variant: Variant) -> None:
    """Multiplies the divergence, in the loss that is trained and in the one that is looked at: of a constant answer both cost
    the same, since a code that is not used diverges from nothing.
    """
    forward, place = loss_of(variant), _place_of_error(variant)
    weight = weight_of_divergence(reading.facts(variant.evidence).code_price)
    assert forward is not None
    assert weight is not None

    def loss(model: Any, batch: Any) -> Tensor:
        parts = divergence_and_error(model, batch, forward, place)
        return forward(model, batch) if parts is None else weight * parts[0] + parts[1]

    variant.training_step = variant.judge = loss


LOSS_CHANGES = named(
    Intervention(
        name="divergence_less",
        change="a smaller weight for the divergence of the code",
        applies=lambda variant: _place_of_error(variant) is not None,
        make=_reweigh,
        answers=("sum_for_mean.beside_mean",),
    ),
)
