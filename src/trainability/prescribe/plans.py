"""Rank initialisation plans by the gain budget that the closed form predicts, without drawing a weight.

It ranks thousands of plans per second, because a layer's gain is proportional to its weights' variance: one prediction gives
the budgets of all other plans. The best are predicted again in full. `recommend_init`, remedies, experiments and `plan` use it.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from trainability import initialization
from trainability.doctor import input_moments, predict, trace, weight_moments
from trainability.doctor.arguments import check_model
from trainability.doctor.theory.band import BUDGET_HIGH, BUDGET_LOW
from trainability.doctor.theory.propagation import Prediction
from trainability.doctor.told import told
from trainability.initialization import InitPlan
from trainability.prescribe.candidates import gains_on_the_way, plan_by_fan_in, plans, plans_with_solved_std, promised_moments

_FACTORS = (0.7, 0.5, 0.35, 0.25, 0.1)
_REFERENCE = InitPlan.parse("lecun")
_NUM_FULL = 40  # number of plans, the best by the sum of gains, that are predicted in full
# A net whose signal leaves 1 between the layers and comes back trains late or not at all: of VGG-D's plans with a budget of 0,
# N(0, 0.067) for all layers, which does so, left chance on the digits with one seed of two, He's and N by fan-in with all.
_UNEVENNESS_COST = 1.0
_SEGMENT_COST = 0.1
_MOST_MADE_UP = 5.0  # powers of ten of the input's mean square; beyond, its own layer's gradient is as far off as its signal


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A plan and its predicted gain budget.

    Attributes:
        plan: as for `--init.plan`.
        budget: log10 of the product of all gains and the input's mean square; if gains do not multiply (residual sums,
            normalisation), the same function of the predicted outputs, log10(rms² / 2); `None` if they cannot be predicted.
        multiply: whether gains multiply.
    """

    plan: InitPlan
    budget: float | None
    multiply: bool = False


def recommend_init(model: nn.Module, images: Tensor) -> InitPlan:
    """Recommend an initialisation: the plan whose predicted gain budget, including the input, is nearest to 0.

    Args:
        model: a model that the closed form can trace; it is not changed, and its weights do not matter.
        images: (batch, ...) float, a batch as in training; its shape and its scale matter.

    Returns:
        A plan for `init_`.

    Raises:
        ValueError: the model cannot be traced, its gains do not multiply (normalisation, residual sums), or the images are
            too large or too small for any plan.
    """
    check_model(model)
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
        kind = f"{images.dtype} of shape {tuple(images.shape)}" if isinstance(images, Tensor) else told(images)
        raise ValueError(f"images is {kind}; expected a batch of float images, (batch, ...)")
    if not initialization.weight_layers(model):
        raise ValueError("the model has no convolution or linear layer to initialise")
    trace(model, tuple(images.shape), images.dtype)  # raises if the model cannot be traced
    best = ranked(model, images, like=like)[0]
    if not best.multiply or best.budget is None:
        raise ValueError(
            "plans cannot be ranked: the gains of this model do not multiply, because normalisation or residual sums rescale "
            "the signal"
        )
    power = math.log10(max(input_moments(images).mean_square, 1e-30))
    if abs(power) > _MOST_MADE_UP or not BUDGET_LOW <= best.budget <= BUDGET_HIGH:
        raise ValueError(
            f"the mean square of the images is 10^{power:+.1f}, and no starting weights make up for more than "
            f"10^{_MOST_MADE_UP:g}; scale the images to mean square 1 first"
        )
    return best


def ranked(
    model: nn.Module,
    images: Tensor,
    *,
    like: InitPlan | None = None,
    is_allowed: Callable[[InitPlan], bool] = lambda plan: True,
) -> list[Candidate]:
    """Rank plans by the distance of their predicted gain budget from 0, simpler and more even plans first.

    Args:
        model: its weights do not matter.
        images: (batch, ...) a batch as in training; its shape and its scale matter.
        like: the current plan; it is also considered with other standard deviations.
        is_allowed: which plans may be proposed.

    Returns:
        Candidates, the best first. If the net's scales cannot be predicted, the usual schemes without a budget.
    """
    layers = initialization.weight_layers(model)
    usual = [*plans(model, like), plan_by_fan_in(model)]
    try:
        structure, moments, own = trace(model, tuple(images.shape), images.dtype), input_moments(images), weight_moments(model)
    except (ValueError, RuntimeError):  # token ids, or operations that cannot be traced
        return [Candidate(plan=plan, budget=None) for plan in usual if is_allowed(plan)]

    def predicted(plan: InitPlan) -> Prediction:
        return predict(structure, {**own, **promised_moments(plan, model)}, moments)

    def cost(plan: InitPlan, budget: float) -> float:
        # After a residual sum or a normalisation, a layer's gain does not determine the signal's size.
        strays = _unevenness(plan, layers, reference.log10_input) if multiply else 0.0
        return abs(budget) + _SEGMENT_COST * len(plan.segments) + _UNEVENNESS_COST * strays

    considered = dict.fromkeys(usual)
    reference = predicted(_REFERENCE)
    multiply = reference.log10_gain is not None
    if multiply:  # gains multiply: the budget of every other plan follows from this one
        known, variances = _budget(reference), _variances(_REFERENCE, model)
        assert known is not None
        considered |= dict.fromkeys(plans_with_solved_std(model, variances, known))

        def estimated(plan: InitPlan) -> float:
            return known + sum(math.log10(v / variances[name]) for name, v in _variances(plan, model).items())

        allowed = sorted(filter(is_allowed, considered), key=lambda plan: cost(plan, estimated(plan)))[:_NUM_FULL]
    else:
        considered |= dict.fromkeys(plan_by_fan_in(model, factor=factor) for factor in _FACTORS)
        allowed = list(filter(is_allowed, considered))
    full = [(plan, _budget(predicted(plan))) for plan in allowed]
    full.sort(key=lambda found: math.inf if found[1] is None else cost(found[0], found[1]))
    return [Candidate(plan=plan, budget=budget, multiply=multiply) for plan, budget in full]


def _budget(prediction: Prediction) -> float | None:
    if prediction.log10_gain is not None:
        return prediction.log10_gain + prediction.log10_input
    rms = prediction.logit_rms
    return None if rms is None or not 0 < rms < math.inf else math.log10(rms**2 / 2)


def _variances(plan: InitPlan, model: nn.Module) -> dict[str, float]:
    layers = initialization.weight_layers(model)
    return {
        name: initialization.promised_std(segment, module) ** 2
        for (name, module), segment in zip(layers, plan.resolve(len(layers)), strict=True)
    }


def _unevenness(plan: InitPlan, layers: list[tuple[str, nn.Module]], log10_input: float) -> float:
    """Average distance of the signal's mean square from 1 after each layer, in powers of ten."""
    sizes = itertools.accumulate(gains_on_the_way(plan, layers), initial=log10_input)
    return statistics.fmean(abs(size) for size in itertools.islice(sizes, 1, None))
