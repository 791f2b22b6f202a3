"""Losses that are flat in part: for a layer, for most examples, or but for rounding. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rate_choice import settings_of

FIRST_STEPS = 20  # whose losses are looked at
ROUNDED, MOST_EXAMPLES = 1e-3, 0.8


def flat_in_part(evidence: Evidence) -> list[Finding]:
    """What `flat_loss` finds where some weight has a gradient that is not zero."""
    return chosen_from_one(evidence) or nothing_to_learn(evidence) or _rounding(evidence) or _most_examples(evidence)


def chosen_from_one(evidence: Evidence) -> list[Finding]:
    """A softmax inside the model that runs over one number, and weights that no gradient comes back to, at any step."""
    facts, rehearsal, settings = reading.facts(evidence), evidence.rehearsal, settings_of(evidence)
    names = tuple(name for name in facts.zero_gradient if not name.endswith("bias"))
    if facts.graph is None or not facts.graph.lone_softmax or not names:
        return []
    decays = settings is not None and bool(settings.weight_decay)  # moves what has no gradient
    if rehearsal is not None and not decays and not set(names) & set(rehearsal.unmoved):
        return []  # the first batch alone was that short
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.softmax_of_one",
            severity="warning",
            seen=f"a softmax in the model runs over a dimension of size 1, so it is 1 whatever goes in: the gradient of "
            f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''} is exactly zero",
            measurements=(Measurement(name="weights with a gradient of exactly zero", value=float(len(names)), threshold=0.0),),
            cause="softmax runs over another dimension than that of what is chosen from",
            remedy="dim=-1 in softmax, or the dimension of the keys, in place of one of size 1",
            source="own; read off the graph of the loss",
            layers=names,
        )
    ]


def nothing_to_learn(evidence: Evidence) -> list[Finding]:
    """Losses that are zero but for rounding, on both sides of it, from the first step on."""
    tried = evidence.rehearsal.steps if evidence.rehearsal is not None else ()
    losses = [step.loss for step in (tried or evidence.steps)[:FIRST_STEPS] if step.loss is not None]
    if len(losses) < FIRST_STEPS or not all(abs(loss) <= 1e-6 for loss in losses) or min(losses) > 0:
        return []
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.zero",
            severity="warning",
            seen=f"the loss is zero but for rounding from the first step on: at most {max(map(abs, losses)):.1g}",
            measurements=(Measurement(name="largest loss", value=max(map(abs, losses)), threshold=1e-6),),
            cause="the targets are the model's own outputs, or the same as they are",
            remedy="take the targets from the data, or from a teacher that is another model than the one that learns",
            source="own",
        )
    ]


def _rounding(evidence: Evidence) -> list[Finding]:
    """Terms that cancel each other, so that the gradient is what float32 leaves of zero."""
    found = reading.facts(evidence).rounded_gradient
    if found is None:
        return []
    single, double = found
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.rounding",
            severity="warning",
            seen=f"the gradient is rounding: its norm is {single:.2g} in float32, and {double:.2g} in float64",
            measurements=(Measurement(name="norm in float64 over float32", value=double / single, threshold=ROUNDED),),
            cause="the terms of the loss cancel each other, whatever the weights: one factor stands before a sum that is zero, "
            "as the mean of all logarithms before the sum of rewards less their mean",
            remedy="multiply each term by its own weight before the mean: (log_prob * advantage).mean(), and not "
            "log_prob.mean() * advantage.sum()",
            source="own; the same gradient in float64",
        )
    ]


def _most_examples(evidence: Evidence) -> list[Finding]:
    """A term of the loss that tells most examples nothing, as an overlap does where nothing overlaps."""
    found = reading.facts(evidence).flat_examples
    if found is None:
        return []
    share, cost = found
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.most_examples",
            severity="warning",
            seen=f"a term of the loss is {cost:.4g} for {share:.0%} of the examples, its worst, and has no slope there",
            measurements=(Measurement(name="share of the examples without a slope", value=share, threshold=MOST_EXAMPLES),),
            cause="answers are out of its range: of another unit, order or scale than what they are held against, so that "
            "nothing overlaps, or beyond a limit",
            remedy="bring answers and targets to one unit and order before they are compared (pixels or parts of the side, "
            "corners or centre and size), and add a term that falls from afar: l1_loss, or a generalised IoU",
            source="own; Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, section 3",
        )
    ]
