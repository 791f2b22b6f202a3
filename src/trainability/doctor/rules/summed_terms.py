"""A loss that is the sum of its terms, read from its graph, under SGD. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.outlook_limits import NO_BETTER
from trainability.doctor.rules.smaller_steps import was_unstable

FEWEST_TERMS = 16
_FEWEST_STEPS = 100
_OUTWEIGHS, _PAYS = 2.0, 0.5
_CLEARLY = 4.0  # factor of the cost at which a code pays off
_OF_EXAMPLES = 0.25  # of their number, from which a divergence of weights counts as if it were each example's
_AS_A_SUM = 2.0  # the same, from which the usual sum is advised: above 1 the decoder's mean is no minimum


def summed_terms(evidence: Evidence) -> list[Finding]:
    """The graph's evidence, for any loss; for cross-entropy, its size relative to the mean is enough."""
    graph, unequal = reading.facts(evidence).graph, reading.facts(evidence).unequal_terms
    if unequal is not None and unequal[0] >= unequal[1]:
        return [_beside_means(*unequal)]
    if graph is not None and graph.summed_beside is not None:
        return [_beside_each(graph.summed_beside)]
    if graph is not None and graph.prior_weight is not None and graph.prior_weight[0] >= _OF_EXAMPLES * graph.prior_weight[1]:
        return [_whole_prior(*graph.prior_weight, is_slight=reading.has_learned(evidence))]
    price = reading.facts(evidence).code_price
    if price is not None and (weight := weight_of_divergence(price)) is not None and not _is_used(evidence):
        return [_beside_a_mean(*price, weight)]
    if graph is None or graph.sums is None or graph.sums < FEWEST_TERMS:
        return []
    return [
        Finding(
            rule="sum_for_mean",
            code="sum_for_mean.terms",
            severity="warning" if reading.optimizer_name(evidence) == "SGD" and _overshoots(evidence) else "hint",
            seen=f"the loss is the sum of {graph.sums:,} terms, and so are its gradients",
            measurements=(Measurement(name="terms", value=float(graph.sums), threshold=float(FEWEST_TERMS)),),
            cause="the loss sums over examples and outputs, but the learning rate is for a mean",
            remedy=f"take the mean (reduction='mean', or mean() instead of sum()), or divide the learning rate by {graph.sums}",
            source="TheDeepChecker, TOSEM 2022; read off the graph of the loss",
        )
    ]


def weight_of_divergence(price: tuple[float, int, float] | None) -> float | None:
    """What a divergence is to be multiplied by where it outweighs the error; None where it does not, or nothing is known.

    Args:
        price: see `measure.code_price`.
    """
    if price is None:
        return None
    ratio, _, saved = price
    if ratio < _OUTWEIGHS or saved >= _PAYS:
        return None
    return 1 / ratio if _pays_as_a_sum(ratio, saved) else saved / _CLEARLY


def _pays_as_a_sum(ratio: float, saved: float) -> bool:
    return ratio * saved >= _AS_A_SUM


def _beside_each(examples: int) -> Finding:
    """A log-determinant or a divergence that is summed over the batch, added to one number for each example."""
    return Finding(
        rule="sum_for_mean",
        code="sum_for_mean.beside_each",
        severity="warning",
        seen=f"a sum over all {examples} examples is added to each of their {examples} terms, so that it counts {examples} "
        "times as much as the other term",
        measurements=(Measurement(name="weight of the sum", value=float(examples), threshold=1.0),),
        cause="a sum without dim also runs over the batch, and its result is broadcast over the examples",
        remedy="sum only over the features of an example: .sum(dim=1), or .flatten(1).sum(dim=1), instead of .sum(), so that "
        f"there are {examples} numbers",
        source="PyTorch, Broadcasting semantics; read off the graph of the loss",
        explains=("collapsed_output", "constant_as_good", "wrong_sign"),
    )


def _whole_prior(counted: float, examples: int, *, is_slight: bool) -> Finding:
    return Finding(
        rule="sum_for_mean",
        code="sum_for_mean.prior",
        severity="hint" if is_slight else "warning",
        seen=f"the KL term of the weights and their prior counts {counted:,.0f} times in a pass over {examples:,} examples, "
        "where each error counts once",
        measurements=(
            Measurement(name="times that the KL term counts in a pass", value=counted, threshold=_OF_EXAMPLES * examples),
        ),
        cause="the whole KL term is added to the mean loss of each batch, so the prior outweighs the data",
        remedy=f"divide the KL term by the number of training examples ({examples}) where the error is a mean over examples",
        source="Blundell et al., Weight Uncertainty in Neural Networks, ICML 2015, section 3.4; own: slope by log-deviations",
    )


def _beside_means(ratio: float, examples: int) -> Finding:
    """A divergence or a penalty that is summed over the batch, added to an error that is a mean."""
    return Finding(
        rule="sum_for_mean",
        code="sum_for_mean.beside_means",
        severity="warning",
        seen=f"the loss adds sums over the {examples} examples to means: for the parameters that both reach, the gradient of "
        f"the sums is {ratio:,.0f} times that of the means",
        measurements=(Measurement(name="gradient of the sums over that of the means", value=ratio, threshold=float(examples)),),
        cause="one term is summed over batch and units, another is a mean: the parameters follow only the sum",
        remedy=f"use sum or mean for both: for a variational bound, (error.sum() + divergence.sum()) / {examples}, with the "
        "error summed too",
        source="Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, eq. (10); own: half of the batch",
        explains=("collapsed_output", "constant_as_good"),
    )


def _beside_a_mean(ratio: float, numbers: int, saved: float, weight: float) -> Finding:
    """A divergence that is summed over the units of a code, added to an error that is a mean over an example's numbers."""
    return Finding(
        rule="sum_for_mean",
        code="sum_for_mean.beside_mean",
        severity="warning",
        seen=f"the reconstruction loss is a mean over the {numbers:,} numbers of an example, but the KL term is not: it counts "
        f"{ratio:,.0f} times as much as the error of one number, and what the latent saves in reconstruction loss is only "
        f"{100 * saved:.2g} % of what it costs in KL",
        measurements=(
            Measurement(name="weight of the KL term over that of one number's error", value=ratio, threshold=1.0),
            Measurement(name="reconstruction loss saved by the latent over its KL", value=saved, threshold=_PAYS),
        ),
        cause="the KL term outweighs the reconstruction loss, so the latent is ignored (posterior collapse): the decoder "
        "learns the mean of all examples",
        remedy=(
            "sum both over an example: F.mse_loss(output, x, reduction='sum') / len(x) (likewise binary cross-entropy) with "
            f"kl.sum(dim=1).mean(); or multiply the present KL term by {weight:.2g}"
        )
        if _pays_as_a_sum(ratio, saved)
        else f"multiply the present KL term by {weight:.2g}; a sum of the error instead of its mean "
        f"{'is too little' if ratio * saved < 1 else 'barely pays'}, because the inputs vary too little",
        source="Kingma and Welling, ICLR 2014, eq. (10); Lucas et al., Don't Blame the ELBO, NeurIPS 2019",
        explains=("collapsed_output", "constant_as_good", "activation_scale"),
    )


def _is_used(evidence: Evidence) -> bool:
    """Whether a rehearsal came clearly below the best constant answer's cost."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or rehearsal.constant_loss is None or not rehearsal.reference:
        return False
    return rehearsal.reference[-1].loss < NO_BETTER * rehearsal.constant_loss


def _overshoots(evidence: Evidence) -> bool:
    """Whether the rehearsal or the run shows steps that are too long or make no progress."""
    if not evidence.steps:
        return was_unstable(evidence)
    broken = any(not math.isfinite(step.loss) and not step.skipped for step in evidence.steps)
    return broken or (reading.num_steps(evidence) >= _FEWEST_STEPS and not reading.has_learned(evidence))
