"""Logits divided by a temperature so large that classes, or a teacher's outputs, hardly matter. No rule."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_table import number
from trainability.doctor.rules.smaller_steps import TINY_STEPS

_FEWEST_STEPS, _FEWEST_UPDATES = 100, 2
SOFTENED, NEARLY_ALIKE, LOGITS_APART = 20.0, 0.1, 5.0  # divisor of the logits; their differences after it
LARGEST_SCALE, LEAST_FLOOR = 0.5, 0.75  # of cosines before cross-entropy; of the loss of equal logits
_STANDS = 0.95  # of the loss at first
_FIRST_STEPS = 20
_MISSING = 10.0  # square of the temperature over the factor of the loss


def softened(evidence: Evidence) -> Finding | None:
    """Logits divided until no class differs from another."""
    found = reading.facts(evidence).softened
    if found is None or found[0] < SOFTENED or not found[1] < NEARLY_ALIKE:
        return None
    rehearsal, recent = evidence.rehearsal, reading.recent_loss(evidence)
    tried = [seen.loss for seen in rehearsal.reference] if rehearsal is not None else []
    first, last = (evidence.steps[0].loss, recent) if recent is not None else (tried[0], tried[-1]) if tried else (0.0, 0.0)
    if last < 0.98 * first:
        return None
    divisor, spread = found
    return Finding(
        rule="capped_loss",
        code="capped_loss.temperature",
        severity="error",
        seen=f"logits are divided by {divisor:g} before cross-entropy, and then differ by {spread:.2g} between classes: all "
        "classes are about equally likely",
        measurements=(
            Measurement(name="divisor of the logits", value=divisor, threshold=SOFTENED),
            Measurement(name="difference of the logits", value=spread, threshold=NEARLY_ALIKE),
        ),
        cause="the temperature is too large: no output makes the loss small, and gradients shrink with it",
        remedy=f"a temperature near {divisor * spread / LOGITS_APART:.1g}, so that logits differ by several units",
        source="own; measured in one pass",
    )


def bounded_cosines(evidence: Evidence) -> Finding | None:
    """Cosines that are multiplied by a temperature by which they should be divided."""
    found = reading.facts(evidence).cosine_scale
    if found is None:
        return None
    scale, classes = found
    floor, chance = math.log1p((classes - 1) * math.exp(-2 * scale)), math.log(classes)
    if scale > LARGEST_SCALE or floor < LEAST_FLOOR * chance:
        return None
    return Finding(
        rule="capped_loss",
        code="capped_loss.temperature",
        severity="warning",
        seen=f"the logits of cross-entropy are cosines times {scale:.3g}: with {classes:,} of them the loss cannot come below "
        f"{floor:.3g}, and costs {chance:.3g} if all are alike",
        measurements=(
            Measurement(name="least possible loss", value=floor, threshold=LEAST_FLOOR * chance),
            Measurement(name="loss of equal logits", value=chance),
            Measurement(name="number that cosines are multiplied by", value=scale, threshold=LARGEST_SCALE),
        ),
        cause="cosines are multiplied by the temperature, and not divided by it: right and wrong pairs hardly differ",
        remedy=f"divide by the temperature: logits = a @ b.T / {scale:.3g}",
        source="Chen et al., A Simple Framework for Contrastive Learning (SimCLR), ICML 2020, eq. 1; the bound is computed",
    )


def softened_divergence(evidence: Evidence) -> Finding | None:
    """A divergence between softened outputs that is not multiplied by the temperature's square, under SGD."""
    facts = reading.facts(evidence)
    if facts.distilled is None or facts.loss is None or reading.optimizer_name(evidence) != "SGD":
        return None
    temperature, spread, divergence = facts.distilled
    due = temperature**2
    if not (divergence > 0 and facts.loss * _MISSING <= due * divergence and spread < NEARLY_ALIKE and _stands(evidence)):
        return None
    return Finding(
        rule="capped_loss",
        code="capped_loss.temperature",
        severity="warning",
        seen=f"logits are divided by {temperature:g} on both sides of a divergence, which makes its gradient about "
        f"{number(due)} times smaller, but the loss is only {number(facts.loss / divergence)} times the divergence",
        measurements=(
            Measurement(name="loss over divergence", value=facts.loss / divergence, threshold=due / _MISSING),
            Measurement(name="square of the temperature", value=due),
        ),
        cause="the factor temperature ** 2 is missing: under SGD steps are shorter by that factor, and the small loss looks "
        "like success",
        remedy=f"multiply the divergence by the square of the temperature: loss = {temperature:g} ** 2 * divergence",
        source="Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2",
        explains=("slow_start", "vanishing_gradient", "update_ratio", "plateau", "constant_as_good"),
    )


def one_temperature(evidence: Evidence) -> Finding | None:
    """A divergence of softened outputs from a teacher's that are not softened, or the other way round."""
    found = reading.facts(evidence).temperatures
    if found is None:
        return None
    own, other = found
    is_own = own > other
    return Finding(
        rule="capped_loss",
        code="capped_loss.one_temperature",
        severity="warning" if is_own else "hint",
        seen=f"kl_div compares outputs divided by {own:g} with a teacher's outputs divided by {other:g}",
        measurements=(
            Measurement(name="divisor of the outputs", value=own, threshold=other),
            Measurement(name="divisor of the teacher's outputs", value=other, threshold=own),
        ),
        cause="one softmax of the two lacks the temperature: the divergence is smallest where the outputs are "
        f"{own / other:.2g} times the teacher's, so that the student is {'too sure' if is_own else 'not sure enough'}",
        remedy=f"the same temperature on both sides: log_softmax(z / {max(own, other):g}) and softmax(teacher / "
        f"{max(own, other):g})",
        source="Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2; own: divisors followed",
    )


def _stands(evidence: Evidence) -> bool:
    """Whether the loss stands still: over 100 steps of a run, or in a rehearsal whose steps could be 1,000 times as long."""
    if evidence.steps:
        recent = reading.recent_loss(evidence)
        first = statistics.median(step.loss for step in evidence.steps[:_FIRST_STEPS])  # batches differ from each other
        return reading.num_steps(evidence) >= _FEWEST_STEPS and recent is not None and recent > _STANDS * first
    rehearsal = evidence.rehearsal
    if rehearsal is None or len(rehearsal.critical) < _FEWEST_UPDATES or not rehearsal.reference:
        return False
    first, last = rehearsal.reference[0].loss, rehearsal.reference[-1].loss
    return last > _STANDS * first and all((step.multiple or 0.0) > TINY_STEPS for _, step in rehearsal.critical)
