"""The initialisation plans that are considered for a net: short ones, in the schemes that the field uses."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from trainability import initialization
from trainability.doctor.theory.moments import WeightMoments
from trainability.initialization import InitPlan
from trainability.initialization.plan import Segment
from trainability.initialization.weights import fans, weight_of

SCALED_BY_FANS = ("he", "xavier", "lecun")
"""Schemes whose scale follows a layer's fans, the simplest first."""

_STDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
_NUM_LAST = 3  # a VGG's fully connected layers, which its authors draw by a scheme of their own


def plans(model: nn.Module, like: InitPlan | None) -> Iterator[InitPlan]:
    """List plans for a net: one scheme for all layers, two schemes, and `like` with other standard deviations.

    Args:
        model: whose weight layers the plans are for.
        like: the current plan; `None` if there is none.
    """
    num_layers = len(initialization.weight_layers(model))
    for scheme in SCALED_BY_FANS:
        yield InitPlan.parse(scheme)
    for first, then in itertools.permutations(SCALED_BY_FANS, 2):
        for count in range(1, num_layers):
            yield InitPlan.parse(f"{first}:{count},{then}")
    used = like.segments if like is not None else ()
    for std in _STDS if any(segment.value is not None for segment in used) else ():
        yield InitPlan(segments=tuple(s if s.value is None else dataclasses.replace(s, value=std) for s in used))


def plans_with_solved_std(model: nn.Module, variances: Mapping[str, float], budget: float) -> Iterator[InitPlan]:
    """List plans with one normal segment (the first layer, or all but some first and last ones) that brings the budget to 0.

    A layer's gain is proportional to its weights' variance, so the budget is a known sum plus 2 log10 σ for each layer of the
    segment, which has one solution.

    Args:
        model: whose weight layers the plans are for.
        variances: of the weights under a plan whose budget is known, by layer name.
        budget: with these variances, input included.
    """
    layers = initialization.weight_layers(model)
    known = [math.log10(variances[name]) for name, _ in layers]
    last = min(_NUM_LAST, len(layers) - 1)
    for outside in SCALED_BY_FANS:
        drawn = [2 * math.log10(initialization.promised_std(Segment(scheme=outside), module)) for _, module in layers]
        middles = {*((first, len(layers) - end) for first in range(len(layers)) for end in (0, last)), (0, 1)}
        for first, end in sorted(middles):
            if first >= end:
                continue
            rest = sum(new - old for place, (new, old) in enumerate(zip(drawn, known, strict=True)) if not first <= place < end)
            std = float(f"{10 ** ((sum(known[first:end]) - rest - budget) / (2 * (end - first))):.2g}")
            parts = [Segment(scheme=outside, count=first)] if first else []
            parts.append(Segment(scheme="normal", value=std, count=end - first if end < len(layers) else None))
            parts += [Segment(scheme=outside)] if end < len(layers) else []
            yield InitPlan(segments=tuple(parts))


def plan_by_fan_in(model: nn.Module, *, factor: float = 1.0) -> InitPlan:
    """Write the standard deviations that keep a ReLU net's signal, √(2 / fan-in), as normal segments, one for equal fan-ins.

    They are He's, written without the scheme's name: a Gaussian of any standard deviation was known before it.

    Args:
        model: whose weight layers the plan is for.
        factor: on all standard deviations; below 1 for nets with residual sums, which grow with depth.
    """
    segments: list[Segment] = []
    for _, module in initialization.weight_layers(model):
        std = float(f"{factor * math.sqrt(2 / fans(module)[0]):.2g}")
        if segments and segments[-1].value == std:
            segments[-1] = dataclasses.replace(segments[-1], count=(segments[-1].count or 0) + 1)
        else:
            segments.append(Segment(scheme="normal", value=std, count=1))
    return InitPlan(segments=tuple(segments))


def promised_moments(plan: InitPlan, model: nn.Module) -> dict[str, WeightMoments]:
    """Return the second moments of a model's weights under a plan, by parameter name; biases are zero."""
    layers = initialization.weight_layers(model)
    return {
        f"{name}.weight" if name else "weight": WeightMoments(
            shape=tuple(weight_of(module).shape),
            variance=initialization.promised_std(segment, module) ** 2,
            bias_mean_square=0.0,
        )
        for (name, module), segment in zip(layers, plan.resolve(len(layers)), strict=True)
    }


def gains_on_the_way(plan: InitPlan, layers: Sequence[tuple[str, nn.Module]]) -> list[float]:
    """Return log10 of each layer's gain before a ReLU, fan-in times variance over 2, in order."""
    return [
        math.log10(fans(module)[0] * initialization.promised_std(segment, module) ** 2 / 2)
        for (_, module), segment in zip(layers, plan.resolve(len(layers)), strict=True)
    ]
