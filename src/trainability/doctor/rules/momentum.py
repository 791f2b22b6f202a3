"""Momentum: how many steps it remembers, and what of each gradient enters it."""

import math
import statistics
from collections.abc import Sequence

from trainability.doctor import reading
from trainability.doctor.best_constant import best_constant
from trainability.doctor.evidence import Evidence, OptimizerSettings
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_table import number
from trainability.doctor.rules.rule import rule

DAMPED = 0.1  # of lr times gradient: the step under a steady gradient; a mean of gradients, dampening=momentum, gives 1
LONG_MEMORY_STEPS = 200.0  # of momentum: 0.995; usual values remember 10 (0.9) or 100 (0.99) steps
SWINGING_MEMORY, _FEWEST_STEPS, _FEWEST_TURNS, _TURN = 50.0, 50, 2, 0.05  # of the loss over its best: up and down again
ADDED_UP, OVERSHOT = 50.0, 1.5  # critical multiples: of the first step, and later the typical one


@rule(
    severities=("warning", "hint"),
    explains=(
        "exploding_gradient",
        "oscillation",
        "loss_cliff",
        "plateau",
        "not_finite",
        "dead_units",
        "update_ratio",
        "prediction_collapse",
        "saturation",
        "unreached_parameter",
    ),
)
def long_momentum(evidence: Evidence) -> list[Finding]:
    """Momentum averages over hundreds of steps, or more than the run has.

    Fires: momentum is 0.995 or more (it averages over 200 steps or more). A hint once the loss is below chance and does not
        rise. Code `swings`: it is 0.98 or more, the first step could be 50 times as long and later ones at most 1.5 times, and
        after 50 rehearsed steps or more the loss is no better than the best constant answer's and has risen and fallen twice,
        by a twentieth each time. Code `betas`: for Adam and similar optimizers, beta1 ** 2 is not below the root of beta2;
        always a warning where beta1 is the larger of the two. Code `dampening`: 1 - dampening is less than a tenth of 1 -
        momentum.
    Why: the step is the sum of all gradients, each weighted by momentum to the power of its age. With 0.999 it grows to a
        thousand times the gradient, and goes on for that long after the gradient has reversed: the loss oscillates or diverges.
        Dampening scales every gradient but the first, so that their sum comes to (1 - dampening) / (1 - momentum) of the
        gradient; at 1 only the first gradient counts.
    What fools it: dampening, and huge batches over very long runs.
    Fix: momentum=0.9.
    Source: Goh, Why Momentum Really Works, Distill 2017: 1 / (1 - momentum) steps are remembered.
    """
    settings = evidence.optimizer or (evidence.probe.optimizer if evidence.probe is not None else None)
    if settings is not None and settings.betas is not None and settings.betas[0] ** 2 >= math.sqrt(settings.betas[1]):
        return [_betas(evidence, settings.name, *settings.betas)]
    momentum = settings.momentum if settings is not None else None
    if settings is not None and momentum and 1 - (settings.dampening or 0.0) < DAMPED * (1 - momentum):
        return [_dampened(evidence, settings, momentum)]
    if settings is None or momentum is None or not momentum >= 1 - 1 / LONG_MEMORY_STEPS:
        return _swinging(evidence, settings, momentum) if settings is not None and momentum is not None else []
    memory = 1 / (1 - momentum) if momentum < 1 else math.inf
    fine = reading.has_learned(evidence) and reading.trend(evidence) != "rising"
    return [
        Finding(
            rule="long_momentum",
            severity="hint" if fine else "warning",
            seen=f"momentum {momentum:g} averages the gradients of {memory:,.0f} steps",
            measurements=(Measurement(name="steps averaged", value=memory, unit="steps", threshold=LONG_MEMORY_STEPS),),
            cause="steps continue in a direction that the gradient left long ago, and add up",
            remedy=f"{settings.name}(..., momentum=0.9)",
            source="Why Momentum Really Works, Distill 2017",
        )
    ]


def _dampened(evidence: Evidence, settings: OptimizerSettings, momentum: float) -> Finding:
    """Only a small part of each gradient enters the momentum."""
    entering = 1 - (settings.dampening or 0.0)
    return Finding(
        rule="long_momentum",
        code="long_momentum.dampening",
        severity="hint" if reading.has_learned(evidence) else "warning",
        seen=f"with dampening {settings.dampening:g}, only {entering:.2g} of each gradient but the first enters the momentum",
        measurements=(
            Measurement(name="steps over learning rate times gradient", value=entering / (1 - momentum), threshold=DAMPED),
        ),
        cause="steps are those of a far smaller learning rate" if entering > 0 else "no gradient but the first moves anything",
        remedy=f"{settings.name}(..., dampening=0)",
        source="PyTorch, torch.optim.SGD",
        explains=("untrained_parameter", "unmoved_parameter", "slow_start"),
    )


def _betas(evidence: Evidence, name: str, first: float, second: float) -> Finding:
    """The numerator of the step averages over more steps than its denominator."""
    learned = reading.has_learned(evidence)
    return Finding(
        rule="long_momentum",
        code="long_momentum.betas",
        # Swapped, they are a mistake even in a run that learns with them.
        severity="warning" if second < first or not learned or reading.trend(evidence) == "rising" else "hint",
        seen=f"betas=({first:g}, {second:g}): the mean of the gradients covers more steps than the mean of their squares",
        measurements=(Measurement(name="beta1 ** 2 over root of beta2", value=first**2 / math.sqrt(second), threshold=1.0),),
        cause="the two betas are swapped" if second < first else "beta2 is too small for beta1",
        remedy=f"{name}(..., betas=(0.9, 0.999))",
        source="Kingma and Ba, Adam, ICLR 2015, theorem 4.1",
    )


def _swinging(evidence: Evidence, settings: OptimizerSettings, momentum: float) -> list[Finding]:
    """Steps that add up until they overshoot, and a loss that swings: the pendulum of a heavy ball."""
    rehearsal, constant = evidence.rehearsal, best_constant(evidence)
    if rehearsal is None or constant is None or momentum < 1 - 1 / SWINGING_MEMORY or len(rehearsal.steps) < _FEWEST_STEPS:
        return []
    first, *later = [step.multiple for _, step in rehearsal.critical if step.multiple is not None] or [0.0]
    losses = [look.loss for look in rehearsal.reference]
    if len(later) < 2 or first < ADDED_UP or (typical := statistics.median(later)) > OVERSHOT:
        return []
    if min(losses[-2:]) < constant[0] or _turns(losses, _TURN) < 2 * _FEWEST_TURNS:
        return []
    return [
        Finding(
            rule="long_momentum",
            code="long_momentum.swings",
            severity="warning",
            seen=f"momentum {momentum:g} adds up the steps of {1 / (1 - momentum):.0f} gradients: the first step could be "
            f"{number(first)} times as long, later ones {number(typical)} times, and the loss "
            f"on a fixed batch goes up and down between {min(losses[len(losses) // 2 :]):.3g} and "
            f"{max(losses[len(losses) // 2 :]):.3g}",
            measurements=(
                Measurement(name="steps averaged", value=1 / (1 - momentum), unit="steps", threshold=SWINGING_MEMORY),
                Measurement(name="critical step over the typical one", value=typical, threshold=OVERSHOT),
            ),
            cause="steps continue in a direction that the gradient left long ago, and add up",
            remedy=f"{settings.name}(..., momentum=0.9)",
            source="Why Momentum Really Works, Distill 2017",
        )
    ]


def _turns(values: Sequence[float], share: float) -> int:
    """How often a sequence changes from falling to rising or back, by this share of where it turned."""
    turns, direction, turned = 0, -1, values[0]
    for value in values[1:]:
        turned = min(turned, value) if direction < 0 else max(turned, value)
        if abs(value - turned) > share * abs(turned):
            turns, direction, turned = turns + 1, -direction, value
    return turns
