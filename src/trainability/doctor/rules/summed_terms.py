"""A loss that is the sum of its terms, as its graph says, under steps that are as long as the gradient. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.smaller_steps import was_unstable

FEWEST_TERMS = 16
_FEWEST_STEPS = 100


def summed_terms(evidence: Evidence) -> list[Finding]:
    """What the graph says of a loss of any kind: of cross-entropy its size beside the mean's does."""
    graph, unequal = reading.facts(evidence).graph, reading.facts(evidence).unequal_terms
    if unequal is not None and unequal[0] >= unequal[1]:
        return [_beside_means(*unequal)]
    if graph is None or graph.sums is None or graph.sums < FEWEST_TERMS:
        return []
    return [
        Finding(
            rule="sum_for_mean",
            code="sum_for_mean.terms",
            severity="warning" if reading.optimizer_name(evidence) == "SGD" and _overshoots(evidence) else "hint",
            seen=f'the loss is the sum of {graph.sums:,} terms (reduction="sum"), and so are its gradients',
            measurements=(Measurement(name="terms", value=float(graph.sums), threshold=float(FEWEST_TERMS)),),
            cause="the loss sums over examples and outputs, and the learning rate is for a mean",
            remedy=f"use reduction='mean', or divide the learning rate by {graph.sums}",
            source="TheDeepChecker, TOSEM 2022; read off the graph of the loss",
        )
    ]


def _beside_means(ratio: float, examples: int) -> Finding:
    """A divergence or a penalty that is summed over the batch, beside an error that is a mean."""
    return Finding(
        rule="sum_for_mean",
        code="sum_for_mean.beside_means",
        severity="warning",
        seen=f"the loss adds sums over the {examples} examples to means: by the parameters that both reach, the gradient of "
        f"the sums is {ratio:,.0f} times that of the means",
        measurements=(Measurement(name="gradient of the sums over that of the means", value=ratio, threshold=float(examples)),),
        cause="one term is summed over batch and units, another is a mean: the sum is all that the parameters go by",
        remedy=f"sum or mean for both: of a bound, (error.sum() + divergence.sum()) / {examples}, with the error summed, too",
        source="Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, eq. (10); asked with half of the batch",
        explains=("collapsed_output", "constant_as_good"),
    )


def _overshoots(evidence: Evidence) -> bool:
    """Whether what was tried, or the run, shows steps that are too long or lead nowhere."""
    if not evidence.steps:
        return was_unstable(evidence)
    broken = any(not math.isfinite(step.loss) and not step.skipped for step in evidence.steps)
    return broken or (reading.num_steps(evidence) >= _FEWEST_STEPS and not reading.has_learned(evidence))
