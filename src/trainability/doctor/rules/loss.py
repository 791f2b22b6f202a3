"""The loss function and the metric: what they compute, compared with what their names say."""

import math

from trainability.doctor import reading
from trainability.doctor.audit_results import MetricAudit
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import LossGraph
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.divided_again import divided_again
from trainability.doctor.rules.far_start import WIDE_GAIN, Told, above_constant, drawn_wide, falls_at_once, sums_over_neighbours
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.summed_terms import summed_terms

FAR_ABOVE = 20.0  # times ln C; a healthy VGG-D at twice its width starts at 4
_FEW_OUTPUTS = 8  # unused outputs that cost little and are soon unlearned
_TOLD_BY_METRIC = {
    "raised": ("", "a function of a list of (output, target) pairs, or of one pair; it receives the model's own outputs"),
    "batching": (
        "the counts of one batch are divided by another batch's size, or means over batches are averaged",
        "sum correct counts and examples over all batches, and divide once",
    ),
    "state": ("it keeps earlier counts", "reset the counts before every evaluation"),
    "threshold": (
        "its threshold is not where the model's output becomes a yes: 0 for logits, 0.5 for probabilities",
        "compare logits with 0, or apply torch.sigmoid first",
    ),
    "form": (
        "it compares outputs and targets in another shape or form than the model's",
        "bring outputs and targets to the same shape, and logits to the form that it takes, before the metric",
    ),
    "count": (
        "it returns a count, or a sum over the examples, which is compared only between sets of the same size",
        "divide by the number of examples",
    ),
    "unknown": ("it is neither an accuracy nor an error, or it is scaled", "nothing, if this is intended"),
    "value": (
        "it does not compute what its name says",
        "sum correct counts and examples over all batches, and divide once",
    ),
}


def _metric_word(audit: MetricAudit) -> str | None:
    """Kind of the metric's mistake; None if it has none."""
    wrong = audit.wrong
    if not wrong:
        if audit.measure == "count" and not audit.raises:
            return "count"
        # An input that raises is not the loop's; one with a wrong result may be.
        return None if audit.raises or audit.asked_as in ("as they are", "surer", "with ten classes") else "form"
    names = {case.name for case in wrong}
    if any(case.error for case in wrong):
        return "raised"
    if names == {"48 of 120 right, by little"}:
        return "threshold"
    if all(name.startswith("batch") for name in names):
        return "batching"
    if audit.measure == "unknown":
        return "unknown"
    # Right when first called, and wrong later.
    kept = "every answer right" not in names and "48 of 120 right, asked again" in names
    return "state" if kept and len({case.got for case in audit.cases[2:4]}) > 1 else "value"


@rule(severities=("error", "warning", "hint"), verdict="broken metric")
def metric_wrong(evidence: Evidence) -> list[Finding]:
    """The metric is wrong on a known case, or depends on how the data is batched.

    Fires: on one of the audit's known cases, in the shape of the model's own outputs, the metric is off by 1e-4 or more, or
        raises. A warning where only outputs close to the threshold between yes and no are wrong (code `threshold`), and where
        it is not known what the metric computes and it depends on the batches. A hint where it is right only if outputs are
        first reshaped, or converted to probabilities or classes (code `form`), and where it is not known what it computes and
        its best value is neither 0 nor 1 (code `unknown`), or where it orders all cases by how many answers are right and is
        twice as large of the same answers twice: a whole number, a cost of classes, or a sum over values (their norm grows with
        the root of two; code `count`). Codes: `value`, `state`, `batching` or `raised`, by what is wrong
        with it.
    Why: the right values are counted by hand, so only rounding may differ, which is below 1e-6 at these sizes.
    What fools it: a metric that returns several numbers and not the relevant one first. Measures other than accuracy,
        cross-entropy and the usual distances are only tested for repeatability, and for independence of order and batching.
    Fix: sum correct counts and examples over all batches, and divide once at the end.
    Source: own; the log divided the last batch's count by the size of the whole set.
    """
    audit = evidence.metric
    word = _metric_word(audit) if audit is not None else None
    if audit is None or word is None:
        return []
    wrong, (cause, remedy) = audit.wrong, _TOLD_BY_METRIC[word]
    raised = next((case.error for case in wrong if case.error), None)
    unsure = word == "threshold" or (word == "batching" and audit.measure == "unknown")
    shown = wrong or audit.cases[:3]
    return [
        Finding(
            rule="metric_wrong",
            code=f"metric_wrong.{word}",
            severity="hint" if word in ("form", "unknown", "count") else "warning" if unsure else "error",
            seen=f"the metric is wrong on the model's outputs as they are, and right on the same outputs {audit.asked_as}"
            if word == "form"
            else f"the metric returns {audit.cases[2].got:.4g} for 48 of 120 right, and {audit.cases[5].got:.4g} for them "
            "twice over"
            if word == "count"
            else f"{shown[0].name}: the metric returns {shown[0].got:.4g}, {shown[0].expected:.4g} is right"
            + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
            measurements=tuple(Measurement(name=case.name, value=case.got, threshold=case.expected) for case in shown[:4]),
            cause=raised or cause,
            remedy=remedy,
            source="own; the log divided the last batch's count by the whole set's size",
        )
    ]


@rule(severities=("warning", "hint"), explains=("loss_at_start",))
def head_width(evidence: Evidence) -> list[Finding]:
    """The head has more outputs than the data has classes.

    Fires: the number of classes is known from the caller or the data, and there are more logits. A hint if there are fewer than
        twice as many, or fewer than eight unused outputs.
    Why: the extra classes are never right. The loss starts ln(outputs / classes) too high, and the first steps only unlearn
        them; with 1,000 outputs for 257 classes that is 1.36 nats.
    What fools it: a head that keeps outputs for classes to be added later. Fewer outputs than classes is `label_range`.
    Fix: build the head with as many outputs as there are classes.
    Source: own; the log's trials caltech-1 to -3, which start at ln 1000 and not at ln 257.
    """
    probe = evidence.probe
    known = evidence.num_classes or (evidence.data.num_classes if evidence.data is not None else None)
    if probe is None or probe.num_logits is None or known is None or probe.num_logits <= known:
        return []
    return [
        Finding(
            rule="head_width",
            severity="warning" if probe.num_logits >= max(2 * known, known + _FEW_OUTPUTS) else "hint",
            seen=f"the head has {probe.num_logits} outputs for {known} classes",
            measurements=(
                Measurement(name="outputs", value=float(probe.num_logits), threshold=float(known)),
                Measurement(name="extra loss at the start", value=math.log(probe.num_logits / known), unit="nats"),
            ),
            cause="the head was built for another data set",
            remedy=f"build the head with {known} outputs",
            source="own; the log's trials caltech-1 to -3: ln 1000 against ln 257",
        )
    ]


@rule(
    severities=("warning", "hint"),
    explains=(
        "exploding_gradient",
        "not_finite",
        "oscillation",
        "loss_cliff",
        "clipping",
        "update_ratio",
        "dead_units",
        "loss_at_start",
    ),
    predicts=True,
)
def sum_for_mean(evidence: Evidence) -> list[Finding]:
    """The loss is the sum over the batch instead of the mean.

    Fires: the loss is the batch size times the mean cross-entropy of the same logits, within 1 %. A hint once the run, or its
        rehearsal, learns: the learning rate is then right for the sum. Code `terms`: the loss is one of PyTorch's with
        reduction="sum", or the sum of all its terms, or of squared or absolute differences, 16 or more; a warning under SGD
        where a rehearsal is unstable, or a run is not finite or has not learned in 100 steps; else a hint. Code `beside_means`,
        a warning: some terms of the loss, for both halves of the batch together, are the sum of the halves' values and others
        the mean, and the gradient of the sums is as many times that of the means as the batch has examples, over the parameters
        that both reach; the means reach all parameters that the sums do, and more. Code `beside_each`, a warning: one number
        that is a sum over all examples, computed by a layer, is added to one number per example, before the mean or sum of
        these. Code `beside_mean`, a warning: the error of a variational autoencoder is a mean over all numbers, its divergence
        counts at least twice as much as the error of one number, and the first unit of information saves less than half of its
        cost; silent where the rehearsal came below the best constant answer's cost, and where the decoder gets more of the
        example than the code. Code `prior`: a term of the loss depends on the weights alone, and its slope by the logarithms of
        their deviations is the same everywhere and below zero; in a pass over the data it counts a quarter as many times as
        there are examples, or more, where each example's error counts once. A hint where the program learns.
    Why: the gradient grows with the batch, so a learning rate that is right for one batch size is wrong for another. A factor
        that equals the batch size to 1 % is no coincidence.
    What fools it: a loss multiplied by the batch size on purpose, with a learning rate to match.
    Fix: use reduction='mean', or divide the learning rate by the batch size, with code `terms` by the number of terms. Codes
        `beside_mean` and `beside_means`: reduction='sum' for the error, divided by the number of examples, beside a divergence
        that is summed over the code and divided likewise; or a smaller weight for the divergence, as the finding gives it.
        Code `beside_each`: sum over the features of an example alone, .sum(dim=1). Code `prior`: divide the divergence by the
        number of training examples.
    Source: Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022.
    """
    probe = evidence.probe
    if probe is None or not probe.cross_entropy or not reading.is_summed(probe):
        return summed_terms(evidence)
    ratio = probe.loss / probe.cross_entropy
    return [
        Finding(
            rule="sum_for_mean",
            severity="hint" if reading.has_learned(evidence) else "warning",
            seen=f"the loss is {ratio:.0f} times the mean cross-entropy, the number of examples in the batch",
            measurements=(Measurement(name="loss over mean cross-entropy", value=ratio, threshold=1.0),),
            cause="the loss sums over the batch",
            remedy="use reduction='mean', or divide the learning rate by the batch size",
            source="TheDeepChecker, TOSEM 2022",
        )
    ]


def _factor_of(larger: float, smaller: float, tolerance: float) -> int | None:
    """Return the integer from 2 to 64 that is near the ratio of the two; None if there is none."""
    if not smaller > 0 or not math.isfinite(larger / smaller):
        return None
    factor = round(larger / smaller)
    return factor if 2 <= factor <= 64 and abs(larger / smaller / factor - 1) < tolerance else None


@rule(severities=("warning", "hint"))
def loss_divided(evidence: Evidence) -> list[Finding]:
    """The logged loss is the cross-entropy divided by an integer.

    Fires: the cross-entropy of the logits is 2 to 64 times the probe's loss, within 0.5 %; or 2 to 64 times the first logged
        loss, within 5 % with a probe and 2 % without one, where ln C is used instead. With k micro-batches per step: the first
        loss is 1/k of the probe's, within 10 %, or the last 20 stay at ln C / k, within 1 %. A hint without a probe, and where
        `Monitor` receives the loss that goes backward and the step has that many micro-batches: backward is then right, and
        only the log may be off. Code `again`: a step adds up several backward passes, and their gradients are divided by the
        number of passes twice, at each of its first steps; a hint under an optimizer that divides by the gradient's own size.
        Code `mean`: the loss is a mean and is divided by its number of terms, or of examples, once more; a hint there, too, and
        where the loss falls.
    Why: dividing by the number of accumulation steps for backward is right, but logging the divided value makes curves of
        different settings incomparable. No untrained net starts below ln C. The wider limits allow for another batch and for
        dropout.
    What fools it: a loss that is multiplied by 1 / k on purpose, a net that was already trained at the first logged step, and a
        loss of another kind: a focal loss with gamma 2 on two classes starts at ln 2 / 4, and a yes-or-no loss for each class
        at ln 2. Hence the hint where only ln C is known, for two classes and powers of two, and for a loss of ln 2; silent
        where the graph shows another loss than a cross-entropy.
    Fix: log the loss before dividing it; divide only for backward.
    Source: own; the log's trials caltech-1 to -4 start at ln(1000) / 2.
    """
    if again := divided_again(evidence):
        return again
    probe, chance = evidence.probe, reading.chance_loss(evidence)
    graph = reading.facts(evidence).graph
    takes = (graph or LossGraph()).takes
    if takes in ("sigmoid", "distance"):
        return []  # another loss, and not a part of the cross-entropy
    seen: tuple[float, float, int] | None = None
    guessed = False
    is_other = graph is not None and takes is None and not graph.has_opaque_parts  # any number lies near such a fraction
    if (
        not is_other
        and probe is not None
        and probe.cross_entropy
        and (factor := _factor_of(probe.cross_entropy, probe.loss, 0.005))
    ):
        seen = (probe.cross_entropy, probe.loss, factor)
        # A focal loss on two classes starts at ln 2 / 2**gamma, exactly so where the logits are zero.
        guessed = (
            chance is not None
            and math.isclose(chance, math.log(2))
            and factor & (factor - 1) == 0
            and probe.cross_entropy > 0.9 * chance
        )
        # A binary loss for each class starts at ln 2, which is ln C over an integer for 4, 8 and 16 classes.
        guessed |= takes != "log_softmax" and math.isclose(probe.loss, math.log(2), rel_tol=0.05)
    # A focal loss is not a cross-entropy, and its first value says nothing about one.
    plain = probe is None or not probe.cross_entropy or math.isclose(probe.loss, probe.cross_entropy, rel_tol=0.01)
    # A first batch of one class costs what the net happens to predict for that class, not ln C.
    of_one_class = bool(evidence.samples) and evidence.samples[0].num_classes == 1
    if seen is None and plain and not is_other and reading.started_at_zero(evidence) and math.isfinite(evidence.steps[0].loss):
        first = evidence.steps[0].loss
        if probe is not None and probe.at_start and probe.cross_entropy:
            # Another batch and dropout shift the first loss by a few percent.
            factor = _factor_of(probe.cross_entropy, first, 0.05)
            if factor is None and chance is not None and first < 0.9 * chance and probe.cross_entropy > 0.95 * chance:
                # No untrained net is below chance; dropout, which the probe has off, hides the exact factor.
                factor = max(2, round(probe.cross_entropy / first))
            seen = (probe.cross_entropy, first, factor) if factor else None
        elif chance is not None and first < chance and not of_one_class and (factor := _factor_of(chance, first, 0.02)):
            seen, guessed = (chance, first, factor), True
    seen = seen or _over_micro_batches(evidence)
    if seen is None:
        return []
    expected, logged, factor = seen
    # A user's own loop passes the tensor that goes backward, which has to be divided.
    is_told = evidence.facts is not None and evidence.facts.graph is not None
    accumulated = is_told and any(step.micro_batches == factor for step in evidence.steps)
    return [
        Finding(
            rule="loss_divided",
            severity="hint" if guessed or accumulated else "warning",
            seen=f"the loss is {logged:.3f} where the cross-entropy is {expected:.3f}: divided by {factor}",
            measurements=(
                Measurement(name="cross-entropy over loss", value=expected / logged, threshold=1.0),
                Measurement(name="loss", value=logged, unit="nats"),
            ),
            cause="the loss is divided by the number of accumulation steps, then averaged as if it were not",
            remedy=f"log loss * {factor} (divide by the accumulation steps for backward only)",
            source="own; the log's trials caltech-1 to -4 start at ln(1000) / 2",
        )
    ]


def _over_micro_batches(evidence: Evidence) -> tuple[float, float, int] | None:
    """Cross-entropy, loss and their ratio, where it is the number of micro-batches per step; None otherwise."""
    factor = reading.loss_divisor(evidence)
    if factor <= 1:
        return None
    probe, first = evidence.probe, evidence.steps[0].loss
    # The probe's loss, if the first one gives the division away; chance level, if the last ones do.
    known = probe.cross_entropy if probe is not None and probe.at_start else None
    if known is not None and math.isfinite(first) and abs(known / (factor * first) - 1) < 0.1:
        return known, first, factor
    return reading.chance_loss(evidence) or 0.0, (reading.recent_loss(evidence) or 0.0) / factor, factor


@rule(
    severities=("warning", "hint"),
    explains=("dead_units", "exploding_gradient", "not_finite", "constant_as_good", "oscillation", "loss_cliff", "clipping"),
)
def loss_at_start(evidence: Evidence) -> list[Finding]:
    """The first loss is far above chance level, or above what the logits predict.

    Fires: the cross-entropy before the first step is at least 2 ln C, or more than twice the predicted loss plus 1 nat. A
        warning from 20 ln C, until the loss is below half of ln C. Code `wide`, a warning: half of the weight layers multiply
        the mean square of their input by 8 or more, and 100 steps leave the loss above 0.7 ln C. Code `falls`, a hint, for a
        loss of an unknown kind: it starts at 1,000 or more, and is below a thousandth of that in the second half of the
        rehearsal; a warning from 100,000. Code `constant`, a warning: the loss starts at ten times the cost of the best
        constant answer, and is still at twice that cost after 100 steps or more, or after 20 rehearsed ones whose pace does not
        reach it within a quarter of the plan; or it starts at a hundred times that cost and then is not finite; or at twenty
        times, and a run of 100 steps or more is at 0.95 of that cost or above. Code `neighbours`, in place of a warning without
        a code or of `constant`: products with a square matrix that is not trained and has no number below zero, or sums by
        index, multiply the rms of their rows, by 30 or more in all. Silent where a rehearsal's outputs more than doubled, so
        that they were not large at first, or where its steps removed 98 % of the start's cost above the constant.
    Why: a net that knows nothing and predicts equal probabilities costs ln C; under other losses, as much as the best constant
        answer. Anything above that comes from confident wrong guesses. Usually a hint: a good VGG with He's initialisation
        starts at 8.9 where ln C is 2.3, and trains. At 20 ln C the first hundreds of steps only unlearn.
    What fools it: healthy nets with large logits, such as He's initialisation without normalisation.
    Fix: divide the last layer's initial weights by 10; or leave it, if the loss falls within the first steps. For `wide` and
        `constant`, use smaller initial weights, as layer.reset_parameters() draws them; for `falls`, start the last layer's
        bias at a typical target.
    Source: docs/theory.md, section 5, equation (7).
    """
    probe, chance = evidence.probe, reading.chance_loss(evidence)
    if chance is None and (far_off := falls_at_once(evidence) or above_constant(evidence)) is not None:
        return [far_off]
    start = _cross_entropy_at_start(evidence)
    if start is None or chance is None or not math.isfinite(start):
        return []
    far = start >= FAR_ABOVE * chance
    wide = drawn_wide(evidence, chance)
    if reading.has_learned(evidence) and not wide and not (far and (reading.recent_loss(evidence) or 0.0) > 0.5 * chance):
        return []
    expected = probe.predicted_loss if probe is not None else None
    excess = start - chance
    surprise = expected is not None and start > 2 * expected + 1
    if excess < chance and not surprise:  # twice ln C
        return []
    is_twice = excess >= chance
    limit = FAR_ABOVE * chance if far else 2 * chance if is_twice or expected is None else 2 * expected + 1
    measurements = [Measurement(name="loss at the start", value=start, unit="nats", threshold=limit)]
    if expected is not None:
        measurements.append(Measurement(name="loss predicted from weights", value=expected, unit="nats"))
    sums = sums_over_neighbours(evidence) if far and not wide else None
    told = _WIDE if wide else sums or _LARGE_LOGITS
    return [
        Finding(
            rule="loss_at_start",
            code="loss_at_start.wide" if wide else "loss_at_start.neighbours" if sums is not None else "loss_at_start",
            severity="warning" if far or wide else "hint",
            seen=f"the loss starts at {start:.2f}; "
            + (
                f"chance level is ln C = {chance:.2f}"
                if is_twice
                else f"the scale of the logits predicts {expected:.2f}, and ln C is {chance:.2f}"
            )
            + (f"; {len(wide)} layers multiply the mean square of their input by {WIDE_GAIN:g} or more" if wide else ""),
            measurements=tuple(measurements),
            cause=told.cause,
            remedy=told.remedy,
            source="docs/theory.md, section 5",
            layers=wide,
        )
    ]


_WIDE = Told(
    cause="initial weights are too large in most layers; normalisation hides it in the layers, but not in the logits",
    remedy="draw the weights with a standard deviation of 0.02, as in GPT-2, or call layer.reset_parameters() for every layer",
)
_LARGE_LOGITS = Told(
    cause="logits are large at the start, so the first steps only unlearn confident guesses",
    remedy="divide the last layer's initial weights by 10; or leave it, if the loss falls within the first steps",
)


def _cross_entropy_at_start(evidence: Evidence) -> float | None:
    """Of the probe; or of a watched run's first step, where its loss is known for that."""
    if evidence.probe is not None:
        return evidence.probe.cross_entropy if evidence.probe.at_start else None
    known = evidence.facts is not None and evidence.facts.task_loss == "cross_entropy" and reading.started_at_zero(evidence)
    return evidence.steps[0].loss if known else None
