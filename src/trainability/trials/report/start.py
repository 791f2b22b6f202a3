"""The start of a trial's runs -> its part of the page.

This is the plan as a strip of layers, the gain budget on its scale, and the predicted plateau against the steps of the trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainability.doctor.theory.band import BUDGET_HIGH, BUDGET_LOW
from trainability.initialization import InitPlan, Segment
from trainability.models.vgg import CONFIGS
from trainability.trials.report.table import VARIANT_WORDS, signed, steps
from trainability.trials.run import Result
from trainability.trials.trial import Variant

SCALE_END = 12.0
"""The scale of budgets goes from minus this value to plus this value."""

STRONGEST = 2.0
"""Power of ten of a gain at which the strip's colour is full."""


@dataclass(frozen=True, kw_only=True)
class StripLayer:
    """A weight layer of the strip.

    Attributes:
        name: the paper's, as conv3_1.
        module: as in `named_modules()`.
        scheme: short, as "Xavier" or "σ 0.01".
        gain: factor of the mean square of the signal, in words.
        kind: "grows", "fades" or "keeps".
        strength: of its colour, in percent.
    """

    name: str
    module: str
    scheme: str
    gain: str
    kind: str
    strength: float


@dataclass(frozen=True, kw_only=True)
class PlanStrip:
    """A plan, layer by layer; `title` distinguishes it from the trial's other plans."""

    title: str
    plan: str
    layers: tuple[StripLayer, ...]


@dataclass(frozen=True, kw_only=True)
class BudgetMark:
    """A budget on the scale: whose, where in percent of its width, and in words; `colour` is a role."""

    name: str
    text: str
    place: float
    colour: str


@dataclass(frozen=True, kw_only=True)
class PredictedStay:
    """How long a run was predicted to stay at chance, against the steps it had.

    Attributes:
        title: which run.
        length: of the stay, in percent of the steps.
        is_endless: whether it is predicted never to leave.
        left: where the run left chance, in percent.
        text: the same in words.
    """

    title: str
    length: float
    is_endless: bool
    left: float | None
    text: str


def layer_names(config: str) -> list[str]:
    """Name a VGG's weight layers as the field does, in forward order: conv1_1 to fc8."""
    convolutions = [
        f"conv{stage}_{number}"
        for stage, kernels in enumerate(CONFIGS[config], start=1)
        for number, _ in enumerate((kernel for kernel in kernels if isinstance(kernel, int)), start=1)
    ]
    return [*convolutions, "fc6", "fc7", "fc8"]


def scheme_name(segment: Segment) -> str:
    """Write a scheme short."""
    if segment.scheme == "normal":
        return f"σ {segment.value:.3g}"
    value = "" if segment.value is None else f" {segment.value:g}"
    return f"{segment.scheme.capitalize()}{value}"


def strip(title: str, config: str, plan: str, gains: Sequence[tuple[str, float]]) -> PlanStrip:
    """Make the strip of a plan.

    Args:
        title: which one it is.
        config: letter of the net.
        plan: as for `--init.plan`.
        gains: (module, gain) of every weight layer, in forward order.
    """
    segments = InitPlan.parse(plan).resolve(len(gains))
    layers = []
    for name, segment, (module, gain) in zip(layer_names(config), segments, gains, strict=True):
        power = math.log10(gain) if gain > 0 else -STRONGEST
        kind = "keeps" if abs(power) < 0.05 else "grows" if power > 0 else "fades"
        strength = 100 * min(1.0, abs(power) / STRONGEST)
        layers.append(
            StripLayer(
                name=name,
                module=module,
                scheme=scheme_name(segment),
                gain=f"×{gain:.2g}" if gain < 100 else f"×{gain:,.0f}",
                kind=kind,
                strength=strength,
            )
        )
    return PlanStrip(title=title, plan=plan, layers=tuple(layers))


def strips_of(result: Result, inits: Sequence[tuple[Variant, str, str, list[dict[str, Any]]]]) -> list[PlanStrip]:
    """Make the strips of a trial: of each probed plan, or of each plan that its runs start from.

    Args:
        result: of the trial.
        inits: (variant, letter of the net, plan, rows of the initialisation table) of its runs.
    """
    if result.probes:
        plans = {plan.label: plan.plan for plan in result.trial.plans}
        return [
            strip(label, "D", plans[label], [(layer["name"], layer["gain"]) for layer in found["evidence"]["probe"]["layers"]])
            for label, found in result.probes.items()
        ]
    found: dict[str, PlanStrip] = {}
    for variant, config, plan, rows in inits:
        if rows and plan not in found and all(row["gain"] is not None for row in rows):
            title = VARIANT_WORDS[variant].capitalize() if found else ""
            found[plan] = strip(title, config, plan, [(row["name"], row["gain"]) for row in rows])
    return list(found.values())


def marks_of(result: Result, colours: Mapping[str, str]) -> list[BudgetMark]:
    """Place the budgets of a trial's starts, input included, on the scale; equal ones once.

    Args:
        result: of the trial.
        colours: label of a probed plan, or variant -> role of a colour.
    """
    found: dict[str, float] = {}
    for label in result.probes:
        value = result.runs["repaired", 0].get(f"budget:{label}")
        if value is not None:
            found[label] = value
    for (variant, _), numbers in result.runs.items() if not result.probes else ():
        value = numbers.get("budget")
        if value is not None and all(abs(value - other) > 0.25 for other in found.values()):
            found[variant] = value
    words: Mapping[str, str] = VARIANT_WORDS  # type: ignore[assignment]
    return [
        BudgetMark(
            name=words.get(name, name) if len(found) > 1 else "",
            text=signed(value),
            place=place(value),
            colour=colours[name] if len(found) > 1 else "ink",
        )
        for name, value in found.items()
    ]


def place(budget: float) -> float:
    """Place a budget on the scale, in percent; values beyond an end are placed at that end."""
    return 100 * min(1.0, max(0.0, (budget + SCALE_END) / (2 * SCALE_END)))


BAND = (place(BUDGET_LOW), place(BUDGET_HIGH))
"""Position of the trainable band on the scale."""


def stay(title: str, predicted: float, num_steps: int, left: float | None, nonfinite: float | None) -> PredictedStay:
    """Compare the predicted plateau with the number of steps of a run.

    Args:
        title: which run.
        predicted: steps at chance; infinite if it never leaves.
        num_steps: number of steps of the trial.
        left: step at which the run left chance.
        nonfinite: step at which it was not finite.
    """
    is_endless = math.isinf(predicted)
    length = 100.0 if is_endless else 100 * min(1.0, predicted / num_steps)
    measured = f"left it at step {left:,.0f}" if left is not None else f"had not left it after {num_steps:,} steps"
    if nonfinite is not None:
        measured = f"was not finite at step {nonfinite:,.0f}"
    predicted_words = "predicted never to leave chance" if is_endless else f"predicted to stay at chance for {steps(predicted)}"
    return PredictedStay(
        title=title,
        length=length,
        is_endless=is_endless,
        left=None if left is None else 100 * min(1.0, left / num_steps),
        text=f"{predicted_words}; {measured}",
    )
