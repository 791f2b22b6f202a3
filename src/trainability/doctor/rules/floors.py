"""Losses that fall without end: along an output, along a learned parameter, or over the steps. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement

FAR_BELOW, FASTER_BELOW = (
    30.0,
    100.0,
)  # a negative loss, over the size of the first; the latter where it falls faster and faster


def one_output(facts: Facts) -> list[Finding]:
    """A deviation, a temperature or a weight that the model predicts at no cost."""
    if facts.one_output is None:
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.one_output",
            severity="error",
            seen=f"output {facts.one_output} alone takes the loss to zero, whatever the other outputs are",
            measurements=(Measurement(name="number of the output", value=float(facts.one_output)),),
            cause="the loss is divided by an output of the model, and a larger output costs nothing",
            remedy="add the logarithm of the denominator (torch.nn.functional.gaussian_nll_loss has both terms)",
            source="own; 20 added to one output, and subtracted",
        )
    ]


def floorless(facts: Facts) -> list[Finding]:
    """A square or an exponential that is subtracted: a divergence, an error, a penalty."""
    if facts.floorless is None:
        return []
    which = f"output {facts.floorless} of the model" if facts.floorless else "the model's output"
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.floorless",
            severity="error",
            seen=f"the loss falls faster and faster, below any number, as {which} grows",
            measurements=(Measurement(name="index of the output", value=float(facts.floorless)),),
            cause=f"a term that grows with the square of {which} is subtracted",
            remedy=f"add the term of {which} to the loss instead of subtracting it (an error, a divergence, a penalty)",
            source="own; the loss computed again with the output moved by 20 and 40 times its size, "
            "or by a quarter or a sixteenth of that where it would not be finite",
        )
    ]


def unnormalised(facts: Facts) -> list[Finding]:
    """Log-weights of a mixture without a log-softmax."""
    found = facts.readings.free_weights
    if found is None:
        return []
    place, count = found
    which = f"output {place} of the model" if place else "the model's output"
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.unnormalised",
            severity="warning",
            seen=f"whatever is added to {count} numbers of {which} lowers the loss by as much, without end: they are "
            "log-weights of a mixture whose exponentials do not add up to 1",
            measurements=(Measurement(name="numbers that are not normalised", value=float(count), threshold=0.0),),
            cause="the weights of the mixture's components are used as they come out of the layer, without a log_softmax",
            remedy="torch.log_softmax of the weights over the components, before they are added to the log-densities: "
            "-torch.logsumexp(log_weights.log_softmax(-1) + log_densities, -1)",
            source="Bishop, Mixture Density Networks, 1994, equation (25); own: slopes compared with shares",
        )
    ]


def slopes(facts: Facts) -> list[Finding]:
    """A penalty on a derivative that is subtracted."""
    if not facts.falls_with_slopes:
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.slopes",
            severity="error",
            seen="the loss falls without end, with the square of the derivatives that it takes",
            measurements=(Measurement(name="times the derivatives that were tried", value=1.6e4),),
            cause="a penalty on derivatives (a gradient penalty, a residual, a curvature) is subtracted",
            remedy="add the penalty to the loss instead: loss + weight * penalty",
            source="Gulrajani et al., Improved Training of Wasserstein GANs, 2017, equation 3; own: derivatives times a factor",
        )
    ]


def boundless(facts: Facts) -> list[Finding]:
    """The logarithm of a variance, or of another learned weight, is subtracted instead of added."""
    if facts.boundless is None:
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.boundless",
            severity="error",
            seen=f"the loss falls without end along {facts.boundless}, and far out nothing else has a gradient",
            measurements=(
                Measurement(name="gradient of everything else, far out over at the start", value=rest, threshold=1e-3),
            )
            if (rest := facts.boundless_rest) is not None
            else (),
            cause=f"the cost of {facts.boundless} is subtracted: the larger it is, the less the errors count",
            remedy=f"put a plus before the term of {facts.boundless} alone, as in error * exp(-s) + s",
            source="Kendall, Gal and Cipolla, CVPR 2018, equation 7; moved by 20 and 40, or by 1e5 and 2e5",
        )
    ]


def switched_off(facts: Facts) -> list[Finding]:
    """A learned weight of a task, without the logarithm that keeps it from zero."""
    if facts.switched_off is None:
        return []
    name, direction = facts.switched_off
    way = "grows" if direction > 0 else "shrinks"
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.switched_off",
            severity="error",
            seen=f"parameter {name} only multiplies terms of the loss, and they go to zero as it {way}",
            measurements=(Measurement(name="learned weights without a cost", value=1.0, threshold=0.0),),
            cause=f"a small weight costs nothing: learning {name} takes it to zero, and its terms count no more",
            remedy="subtract half the logarithm of each learned weight in the loss: sum(weight * term - 0.5 * log(weight)); "
            "with weight = exp(-s) that is sum(exp(-s) * term + 0.5 * s)",
            source="Kendall, Gal and Cipolla, CVPR 2018, equation 7; the parameter moved by 2, 20 and 40, or by 1e4",
        )
    ]


def pole(facts: Facts) -> list[Finding]:
    """An overlap of raw outputs: negative ones can make its denominator zero."""
    if facts.pole is None:
        return []
    return [
        Finding(
            rule="loss_below_floor",
            code="loss_below_floor.pole",
            severity="error",
            seen=f"as all outputs together pass {facts.pole:.3g}, the loss goes to one infinity and returns from the other",
            measurements=(Measurement(name="where the loss is divided by zero", value=facts.pole),),
            cause="the loss is divided by a sum of outputs that may be negative: it expects probabilities, not raw outputs",
            remedy="apply torch.sigmoid (or softmax) to the outputs before the loss",
            source="Milletari, Navab and Ahmadi, V-Net, 3DV 2016, for an overlap of probabilities; own search",
        )
    ]


def endless(evidence: Evidence) -> list[Finding]:
    """A loss that goes far below zero, faster and faster: one of its terms has no floor."""
    rehearsal = evidence.rehearsal
    if reading.is_opposed(evidence):
        return []
    tried = [seen.loss for seen in rehearsal.reference] if rehearsal is not None else []
    run = [s.loss for s in evidence.steps]
    for losses in (tried, [*run[:1], *(sum(run[i : i + 20]) / 20 for i in range(1, len(run) - 19, 20))]):
        if len(losses) < 8 or not all(map(math.isfinite, losses)):
            continue
        first, before, last = losses[0], losses[len(losses) // 2], losses[-1]
        below = -last / (abs(first) + 1)
        faster = below > FASTER_BELOW and last < 3 * before < 0
        if faster or (below > FAR_BELOW and len(losses) >= 15 and last < 1.7 * before < 0):
            limit = -(FASTER_BELOW if faster else FAR_BELOW) * (abs(first) + 1)
            return [
                Finding(
                    rule="wrong_sign",
                    code="wrong_sign.endless",
                    severity="error",
                    seen=f"the loss falls from {first:.3g} to {last:.3g}, and does not slow down: nothing limits it from below",
                    measurements=(
                        Measurement(name="loss at the end", value=last, threshold=limit),
                        Measurement(name="loss half-way", value=before),
                    ),
                    cause="a term of the loss has the wrong sign, and grows without end",
                    remedy="reverse the sign of the term of the loss that goes below zero (or of the whole loss): each term "
                    "must be lowest where the output is best",
                    source="own",
                )
            ]
    return []
