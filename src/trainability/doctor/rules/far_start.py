"""Losses that start far too high: far from any sensible output, or from the best constant answer. No rule."""

import math
from dataclasses import dataclass

from trainability.doctor import reading
from trainability.doctor.best_constant import AS_GOOD, FEWEST_STEPS, best_constant, standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_table import number
from trainability.doctor.outlook_limits import UNKNOWN_PLAN_STEPS
from trainability.doctor.rules.smaller_steps import orthogonal_recurrence

# First and later loss over the best constant's; the first of a run that is no better than it, and of one that is not finite.
FAR_ABOVE, LEFT_ABOVE, FAR_ABOVE_AND_NO_BETTER, FAR_BEFORE_BLOWN = 10.0, 2.0, 20.0, 100.0
LEFT_BEHIND = 0.02  # of what the first loss is above the constant's cost
GROWN = 2.0  # outputs over the first ones
MULTIPLIED = 20.0  # outputs over what the last layer makes
BY_NEIGHBOURS = 30.0  # the signal, by all sums over neighbours
FAR_OFF = 1e5  # a first loss of which the later ones are less than a thousandth
_FEWEST_STEPS = 20
# Gain of a layer that is drawn too wide: He's weights without a ReLU behind have 2, and a sum over 40 of N(0, 1) has 40. Steps
# after which such a start shows in a loss over chance.
WIDE_GAIN, WIDE_STEPS, WIDE_LEFT = 8.0, 100, 0.7


def falls_at_once(evidence: Evidence) -> Finding | None:
    """A start far from any sensible output."""
    losses = [seen.loss for seen in evidence.rehearsal.reference] if evidence.rehearsal is not None else []
    later = [abs(loss) for loss in losses[len(losses) // 2 :]]
    if len(losses) < 8 or not 1e3 <= losses[0] < math.inf or not max(later) < 1e-3 * losses[0]:
        return None
    return Finding(
        rule="loss_at_start",
        code="loss_at_start.falls",
        severity="warning" if losses[0] >= FAR_OFF else "hint",
        seen=f"the loss starts at {losses[0]:.3g}, and is at most {max(later):.3g} in the second half of the rehearsal",
        measurements=(Measurement(name="loss at the start", value=losses[0], threshold=1e3),),
        cause="the first outputs are far from the targets: a bias, a scale of weights, or targets that are not normalised",
        remedy="start the last layer's bias at a typical target (for a rate, its logarithm), and its weights small",
        source="own",
    )


# Source: Sitzmann et al., Implicit neural representations with periodic activation functions, 2020, section 3.2.
_BEHIND_SINE = "; after sin(w * x), torch.nn.init.uniform_ within sqrt(6 / fan_in) / w"


def above_constant(evidence: Evidence) -> Finding | None:
    """A start that costs many times the best constant answer, and that the first steps do not leave."""
    constant, losses = best_constant(evidence), _losses(evidence)
    if (
        constant is None
        or not constant[0] > 0
        or len(losses) < 2
        or not math.isfinite(losses[0])
        or reading.is_opposed(evidence)
    ):
        return None
    cost, name = constant
    first, number = losses[0], len(losses) if evidence.steps else _rehearsed(evidence)
    recent, blown = reading.recent_loss(evidence), not all(map(math.isfinite, losses))
    last = math.inf if blown else recent if recent is not None else losses[-1]
    at = standing(evidence)
    enough = number >= (FEWEST_STEPS if evidence.steps else _FEWEST_STEPS) and not _comes_down_soon(evidence, cost)
    stays = enough and first >= FAR_ABOVE * cost and last >= LEFT_ABOVE * cost
    if blown:  # through time, weights multiply themselves: exploding_gradient reports those
        stays = first >= FAR_BEFORE_BLOWN * cost and orthogonal_recurrence(evidence) is None
    never = at is not None and at.is_no_better and first >= FAR_ABOVE_AND_NO_BETTER * cost
    if (not stays and not never) or (not blown and (_outputs_grow(evidence) or _leaves(evidence, first, last, cost))):
        return None
    sums = sums_over_neighbours(evidence)
    limit = FAR_BEFORE_BLOWN if blown else FAR_ABOVE if stays else FAR_ABOVE_AND_NO_BETTER
    left = [] if blown else [Measurement(name="loss now", value=last, threshold=(LEFT_ABOVE if stays else AS_GOOD) * cost)]
    return Finding(
        rule="loss_at_start",
        code="loss_at_start.neighbours" if sums is not None else "loss_at_start.constant",
        severity="warning",
        seen=f"the loss starts at {first:.3g}, and is {'not finite' if blown else f'{last:.3g}'} after {number} steps; {name}, "
        f"whatever the input, costs {cost:.3g}",
        measurements=(
            Measurement(name="loss at the start", value=first, threshold=limit * cost),
            *left,
            Measurement(name="loss of the best constant answer", value=cost),
        ),
        cause=sums.cause
        if sums is not None
        else "the first outputs are large random numbers: initial weights are too large, or the output is multiplied",
        remedy=sums.remedy if sums is not None else _smaller_outputs(evidence),
        source="own",
    )


@dataclass(frozen=True, kw_only=True)
class Told:
    """Cause and remedy of a finding."""

    cause: str
    remedy: str


def sums_over_neighbours(evidence: Evidence) -> Told | None:
    """What to say of a first loss that is large because sums over neighbours multiply the signal."""
    found = reading.facts(evidence).readings.neighbour_sums
    if found is None or found.gain < BY_NEIGHBOURS:
        return None
    return Told(
        cause=f"{found.count} sums over neighbours multiply the signal by {found.gain:.3g} in all: the adjacency matrix is not "
        "normalised, and each sum grows with the number of neighbours",
        remedy="take means over neighbours, or divide the matrix by its degrees: A = A + I; D = A.sum(1); "
        "A / (D[:, None] * D[None, :]) ** 0.5",
    )


def _outputs_grow(evidence: Evidence) -> bool:
    """Whether a rehearsal's outputs became larger: then their size was not what made the first loss large."""
    looks = evidence.rehearsal.reference if evidence.rehearsal is not None else ()
    sizes = [seen.output_rms for seen in looks if seen.output_rms is not None]
    return len(sizes) > 1 and sizes[-1] > GROWN * sizes[0]


def _leaves(evidence: Evidence, first: float, last: float, cost: float) -> bool:
    """Whether a rehearsal without a planned end removed nearly all of the start's cost above the constant."""
    return not evidence.steps and last - cost < LEFT_BEHIND * (first - cost)


def drawn_wide(evidence: Evidence, chance: float) -> tuple[str, ...]:
    """Layers with a far too large gain, if at least half are so and the steps made have not corrected it."""
    probe, rehearsal = evidence.probe, evidence.rehearsal
    gained = [s for s in probe.layers if s.gain is not None and s.kind != "norm"] if probe is not None else []
    wide = tuple(s.name for s in gained if (s.gain or 0.0) >= WIDE_GAIN)
    tried = rehearsal.reference[-1] if rehearsal is not None and rehearsal.reference else None
    steps, loss = reading.num_steps(evidence), reading.recent_loss(evidence)
    if not evidence.steps and tried is not None:
        steps, loss = tried.step, tried.loss
    if len(gained) < 2 or len(wide) < len(gained) / 2 or steps < WIDE_STEPS or loss is None:
        return ()
    return wide if loss > WIDE_LEFT * chance else ()


def _comes_down_soon(evidence: Evidence, cost: float) -> bool:
    """Whether a rehearsal's loss, at the pace of its second half, reaches the constant's cost within a quarter of the plan."""
    rehearsal = evidence.rehearsal
    if evidence.steps or rehearsal is None or len(rehearsal.reference) < 3:
        return False
    last = rehearsal.reference[-1]
    middle = next(seen for seen in reversed(rehearsal.reference) if seen.step <= last.step / 2)
    if not middle.loss > last.loss > cost or not math.isfinite(middle.loss):
        return False
    needed = math.log(last.loss / cost) / math.log(middle.loss / last.loss) * (last.step - middle.step)
    return last.step + needed <= (rehearsal.planned_steps or UNKNOWN_PLAN_STEPS) / 4


def _losses(evidence: Evidence) -> list[float]:
    """From the run, if it was watched from its first step on; otherwise from the rehearsal."""
    if reading.started_at_zero(evidence):
        return [step.loss for step in evidence.steps if not step.skipped]
    rehearsal = evidence.rehearsal
    if evidence.steps or rehearsal is None:
        return []
    looks = [seen.loss for seen in rehearsal.reference]
    return [*looks, math.nan] if rehearsal.ended_by == "not finite" else looks


def _rehearsed(evidence: Evidence) -> int:
    return len(evidence.rehearsal.steps) if evidence.rehearsal is not None else 0


def _smaller_outputs(evidence: Evidence) -> str:
    """New weights; where the outputs are far larger than the last layer's, the factor between the two."""
    size = reading.facts(evidence).output_rms
    layers = [s for s in (evidence.probe.layers if evidence.probe is not None else ()) if s.activation_rms]
    made = layers[-1].activation_rms if layers else None
    if size is not None and made and size > MULTIPLIED * made:
        times = number(size / made)
        return f"divide outputs by {times}: they are that many times the last layer's output (a temperature, a scale)"
    takes_sine = evidence.facts is not None and evidence.facts.takes_sine
    return "layer.reset_parameters() for every layer, PyTorch's default initialisation" + (_BEHIND_SINE if takes_sine else "")
