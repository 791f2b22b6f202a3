"""Losses that are flat: for all weights, for a layer, for most examples, or except for rounding."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import LossGraph
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule

FIRST_STEPS = 20  # steps whose losses are compared
_LONG = 300  # steps, where targets are goals that the model makes of its own answers
ROUNDED, MOST_EXAMPLES = 1e-3, 0.8
NO_SLOPE = 1e-3  # gradient norm that rounding of numbers near 1 can cause


@rule(
    severities=("error", "warning"),
    verdict="dead",
    explains=(*SYMPTOMS, "untrained_parameter", "loss_at_start", "saturation", "unmoved_parameter", "zero_gradient"),
)
def flat_loss(evidence: Evidence) -> list[Finding]:
    """The gradient of every weight is exactly zero before the first step.

    Fires: no weight with two or more dimensions has a nonzero gradient, and the loss is not zero; or softmax, in the model or
        in cross-entropy, runs over a dimension of size 1, a warning if it leaves some weights of the model with a gradient of
        exactly zero and others with one. Code `step_function`: round, sign or similar is applied to a trained value. Warnings:
        code `zero`: the losses of the first 20 steps are 1e-6 or less, some of them 0 or negative through rounding, and no
        gradient is above 1e-3; `rounding`: the same, in a step that samples from its own outputs; or, for a loss below 1e-3,
        the gradient in float64 is a thousandth or less of that in float32; `most_examples`: for four fifths of the examples or
        more, a term of the loss has no slope, and none costs more than they do; `underflow`: four fifths or more of the numbers
        whose logarithm the loss takes are an epsilon added to what exp, softmax, sigmoid or a product rounded to zero. The last
        two are errors where no weight has a gradient, and so are `at_limit`: a clamp in the loss is at its limit for every
        example, `held`: the model's outputs come from a clamp, and all are beyond its limits, and `filler`: a maximum or
        minimum returns the same number in every row, infinite or a thousand times as large as all others. Codes
        `constant_output` and `softmax_of_one`: the output is the same for all examples, as of a softmax over one number.
    Why: exactly zero is not a matter of scale: something between every weight and the loss does not change with the weights.
        Softmax over a dimension of size 1 is always 1; sign, round and comparisons are flat.
    What fools it: a margin loss that the whole batch already satisfies, as with a pretrained model.
    Fix: for one output, use sigmoid with binary cross-entropy; for boxes that do not overlap, a generalised IoU, or an
        additional l1_loss; logsumexp of log-densities instead of log(density + epsilon); otherwise check what is between the
        last layer and the loss.
    Source: own; Wardat et al., DeepDiagnosis, ICSE 2022, for the constant output.
    """
    facts = reading.facts(evidence)
    graph = facts.graph or LossGraph()
    single = facts.single_output_softmax or (graph.takes == "log_softmax" and graph.num_outputs == 1)
    if not single and (filled := filled_extreme(evidence)):
        return filled
    if not single and (not facts.no_weight_moves or not abs(facts.loss or 0.0) > 1e-6):
        return flat_in_part(evidence)
    if not single and facts.flat_function is None and (limited := flat_for_all(evidence)):
        return limited
    constant, step = facts.constant_output, facts.flat_function
    word = "softmax_of_one" if single else "step_function" if step else "constant_output" if constant else ""
    return [
        Finding(
            rule="flat_loss",
            code=f"flat_loss.{word}".rstrip("."),
            severity="error",
            seen="softmax runs over a dimension of size 1, so every probability is 1 and the loss is constant"
            if single
            else "the gradient of every weight is exactly zero" + (", and all outputs are equal" if constant else ""),
            measurements=(
                Measurement(name="parameters with a gradient of exactly zero", value=float(len(facts.zero_gradient))),
                Measurement(name="parameters with a gradient", value=float(facts.num_gradients or 0)),
            ),
            cause="an unsuitable activation"
            if single
            else "something between the weights and the loss does not depend on them",
            remedy="binary_cross_entropy_with_logits for one output, without softmax; or two outputs and cross_entropy"
            if single
            else f"compute the loss from the input of {step}, whose slope is zero; use {step} only for predictions"
            if step
            else "check what is between the last layer and the loss; draw weights at random where they are zero",
            source="own",
        )
    ]


def flat_in_part(evidence: Evidence) -> list[Finding]:
    """Findings of `flat_loss` where some weight has a gradient that is not zero."""
    return (
        underflow(evidence)
        or chosen_from_one(evidence)
        or _rounding(evidence)
        or nothing_to_learn(evidence)
        or flat_examples(evidence)
    )


# What to compute instead of a function whose result rounds to zero before a logarithm.
_IN_LOGARITHMS = {
    "exp": "compute log-densities and add them up: torch.logsumexp(log_weight + log_density, dim=1), without exp and without "
    "an epsilon",
    "softmax": "cross_entropy or log_softmax of the logits, instead of log(softmax(...) + epsilon)",
    "sigmoid": "binary_cross_entropy_with_logits or logsigmoid of the logits, instead of log(sigmoid(...) + epsilon)",
    "prod": "sum logarithms instead of taking the logarithm of a product: log_prob.sum(dim=1)",
}


def underflow(evidence: Evidence) -> list[Finding]:
    """Logarithms of an epsilon added to zero: they are constant and have no slope."""
    facts, rehearsal = reading.facts(evidence), evidence.rehearsal
    if facts.underflow is None:
        return []
    function, share, epsilon = facts.underflow
    norms = [step.gradient_norm for step in rehearsal.steps if step.optimizer_steps] if rehearsal is not None else []
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.underflow",
            severity="error" if facts.no_weight_moves or (norms and not any(norms)) else "warning",
            seen=f"of the numbers whose logarithm the loss takes, {100 * share:.0f} % are just the epsilon, {epsilon:.3g}: "
            f"{function}() underflows to zero, so that the logarithm is constant at {math.log(epsilon):.4g} and has no slope",
            measurements=(Measurement(name="share of the logarithms", value=share, threshold=MOST_EXAMPLES),),
            cause="probabilities or densities are so small that their number format rounds them to zero",
            remedy=_IN_LOGARITHMS[function] + "; and bring targets and predictions to the same scale",
            source="own; read off the graph of the loss",
        )
    ]


def chosen_from_one(evidence: Evidence) -> list[Finding]:
    """A softmax inside the model over a single number, which gives weights behind it no gradient at any step."""
    facts, rehearsal, settings = reading.facts(evidence), evidence.rehearsal, settings_of(evidence)
    names = tuple(name for name in facts.zero_gradient if not name.endswith("bias"))
    if facts.graph is None or not facts.graph.lone_softmax or not names:
        return []
    decays = settings is not None and bool(settings.weight_decay)  # decay moves weights without a gradient
    if rehearsal is not None and not decays and not set(names) & set(rehearsal.unmoved):
        return []  # only the first batch was that short
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.softmax_of_one",
            severity="warning",
            seen="a softmax in the model runs over a dimension of size 1, so it is always 1: the gradient of "
            f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''} is exactly zero",
            measurements=(Measurement(name="weights with a gradient of exactly zero", value=float(len(names)), threshold=0.0),),
            cause="softmax runs over the wrong dimension",
            remedy="dim=-1 in softmax, or the dimension of the keys, not one of size 1",
            source="own; read off the graph of the loss",
            layers=names,
        )
    ]


def nothing_to_learn(evidence: Evidence) -> list[Finding]:
    """Losses that are zero except for rounding in both directions, from the first step on."""
    tried = evidence.rehearsal.steps if evidence.rehearsal is not None else ()
    losses = [step.loss for step in (tried or evidence.steps)[:FIRST_STEPS] if step.loss is not None]
    norms = [step.gradient_norm for step in (tried or evidence.steps)[:FIRST_STEPS] if step.gradient_norm is not None]
    if len(losses) < FIRST_STEPS or not all(abs(loss) <= 1e-6 for loss in losses) or min(losses) > 0:
        return []
    if reading.facts(evidence).output_rms == 0.0:  # as from a last layer of zeros, before the first reward: zero is right then
        return []
    late = [step.loss for step in evidence.steps[-FIRST_STEPS:]]
    if any(loss is not None and abs(loss) > 1e-6 for loss in late):
        return []  # goals are zero, too, until the first reward
    if reading.makes_goals(evidence) and (len(evidence.steps) < _LONG or None in late):
        return []
    if norms and max(norms) > NO_SLOPE:  # ratios of 1 times advantages of mean zero are zero, and have a slope
        return []
    if reading.facts(evidence).draws_own:
        return [_of_a_policy(max(map(abs, losses)))]
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.zero",
            severity="warning",
            seen=f"the loss is zero except for rounding from the first step on: at most {max(map(abs, losses)):.1g}",
            measurements=(Measurement(name="largest loss", value=max(map(abs, losses)), threshold=1e-6),),
            cause="the targets are the model's own outputs, or equal to them",
            remedy="take the targets from the data, or from a teacher that is another model than the trained one",
            source="own",
        )
    ]


_CANCELS = (
    "the terms of the loss cancel each other, whatever the weights: a common factor multiplies a sum that is zero, such as "
    "the mean of all logarithms times the sum of (reward - mean reward)"
)
_EACH_BY_ITS_OWN = (
    "multiply each term by its own weight before the mean: (log_prob * advantage).mean(), not log_prob.mean() * "
    "advantage.sum() or log_prob.mean() * advantage.mean()"
)


def _of_a_policy(largest: float) -> Finding:
    return Finding(
        rule="flat_loss",
        code="flat_loss.rounding",
        severity="warning",
        seen=f"the step samples from its own outputs, like a policy, and its loss is only rounding: at most {largest:.1g}",
        measurements=(Measurement(name="largest loss", value=largest, threshold=1e-6),),
        cause=_CANCELS,
        remedy=_EACH_BY_ITS_OWN,
        source="own",
    )


def _rounding(evidence: Evidence) -> list[Finding]:
    """Terms that cancel each other, so that the gradient is only float32's rounding error."""
    found = reading.facts(evidence).rounded_gradient
    if found is None:
        return []
    single, double = found
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.rounding",
            severity="warning",
            seen=f"the gradient is only rounding: its norm is {single:.2g} in float32, and {double:.2g} in float64",
            measurements=(Measurement(name="norm in float64 over float32", value=double / single, threshold=ROUNDED),),
            cause=_CANCELS,
            remedy=_EACH_BY_ITS_OWN,
            source="own; the same gradient in float64",
        )
    ]


def flat_for_all(evidence: Evidence) -> list[Finding]:
    """Why no weight has a gradient, where a limit of the number format or a clamp is the cause."""
    return held_outputs(evidence) or underflow(evidence) or flat_examples(evidence, "error") or _at_limit(evidence)


def held_outputs(evidence: Evidence) -> list[Finding]:
    """Outputs of a clamp at the end of the model that are all beyond its limits, where it has no slope."""
    facts = reading.facts(evidence)
    held = facts.graph.held_by if facts.graph is not None and facts.no_weight_moves else None
    if held is None:
        return []
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.held",
            severity="error",
            seen=f"the model returns the result of {held}, and every output for the first batch is at its limit: the gradient "
            "of every weight is exactly zero",
            measurements=(Measurement(name="outputs inside the limits", value=0.0, threshold=0.0),),
            cause=f"beyond its limits {held} has no slope, and the outputs start there",
            remedy=f"train without {held}, and limit only predictions: if not self.training: x = x.{held}"
            if held.startswith("clamp")
            else f"train without {held}; torch.tanh has a slope everywhere",
            source="PyTorch, torch.clamp; read off the graph of the loss",
            explains=("weights_decayed",),
        )
    ]


def filled_extreme(evidence: Evidence) -> list[Finding]:
    """A maximum of what a mask filled with plus infinity, or a minimum of minus infinity."""
    facts = reading.facts(evidence)
    if facts.filled_extreme is None:
        return []
    function, value = facts.filled_extreme
    low, neutral = ("min", "-inf") if "max" in function else ("max", "inf")
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.filler",
            severity="error" if facts.no_weight_moves else "warning",
            seen=f"{function}() takes {value:g} in every row, the number that a mask was filled with: what it goes by is never "
            "one of the values that were to be chosen from",
            measurements=(Measurement(name="rows in which a value is taken", value=0.0, threshold=1.0),),
            cause=f"the mask is filled with the number that {function} looks for, or {low} was meant",
            remedy=f"{low}(...) of the same, where that is the hardest or nearest; else fill with {neutral} before "
            f"{function}(...)",
            source="own; PyTorch, torch.Tensor.masked_fill",
            explains=("not_finite",),
        )
    ]


_BEYOND = (
    "the loss is constant where outputs do not overlap their targets, or are beyond a limit: at the start, or always, if "
    "outputs and targets differ in unit, order or scale"
)
_FROM_AFAR = (
    "add a term with a slope at any distance, such as l1_loss, or use a generalised IoU, which has a slope where nothing "
    "overlaps; and bring outputs and targets to the same unit and order (pixels or fractions, corners or centre and size)"
)


def _at_limit(evidence: Evidence) -> list[Finding]:
    """A clamp in the loss that is at its limit for the whole batch."""
    if not reading.facts(evidence).all_at_limit:
        return []
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.at_limit",
            severity="error",
            seen="a clamp in the loss is at its limit for every example, such as an overlap of zero: the gradient of every "
            "weight is exactly zero",
            measurements=(Measurement(name="examples with a slope", value=0.0, threshold=0.0),),
            cause=_BEYOND,
            remedy=_FROM_AFAR,
            source="own; Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, section 3",
        )
    ]


def flat_examples(evidence: Evidence, severity: Severity = "warning") -> list[Finding]:
    """A term of the loss without a slope for most examples, such as an overlap where nothing overlaps."""
    found = reading.facts(evidence).flat_examples
    if found is None:
        return []
    share, cost = found
    return [
        Finding(
            rule="flat_loss",
            code="flat_loss.most_examples",
            severity=severity,
            seen=f"a term of the loss is at its maximum, {cost:.4g}, for {100 * share:.0f} % of the examples, and has "
            "no slope there",
            measurements=(Measurement(name="share of the examples without a slope", value=share, threshold=MOST_EXAMPLES),),
            cause=_BEYOND,
            remedy=_FROM_AFAR,
            source="own; Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, section 3",
        )
    ]
