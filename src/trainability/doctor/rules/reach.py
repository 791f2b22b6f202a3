"""Targets that no output of the model can meet, whatever its weights."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts, LossGraph
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.head import NOTHING_LEARNED, shown_place
from trainability.doctor.rules.rule import rule

WANTED_BELOW = 0.25  # share of the outputs


@rule(
    severities=("error", "warning"),
    verdict="capped",
    explains=(*NOTHING_LEARNED, "capped_loss", "loss_below_floor", "exploding_gradient", "loss_cliff", "oscillation"),
)
def unreachable_target(evidence: Evidence) -> list[Finding]:
    """Targets lie where the model's last function cannot go.

    Fires: the loss is of the difference of output and target, its outputs come out of a ReLU, softplus, exponential, sigmoid or
        softmax, and 5 % or more of the targets are below 0, or outside [0, 1]. An error from a quarter. Under
        `binary_cross_entropy_with_logits` one target outside [0, 1] is an error (code `binary`). Code `exclusive`: outputs that
        sum to 1 under the binary loss, where 5 % or more of the examples have no mark or several. Of a softmax under a
        difference, too, where as many have targets that sum to something else than 0.9 to 1.1, and no answer gets below a
        tenth of their variance. Under a loss of another kind a warning, where the model ends in a ReLU and one number an
        example, and of outputs that are all zero the loss wants a quarter or more lower, and not without end, as it wants
        distances. Code `one_sided`: a ReLU makes all that is added to an input, or taken from it, and a quarter or more of the
        targets are on the other side: a warning.
    Why: the share is counted, and what lies outside cannot be met whatever the weights. Targets normalised to mean 0 have half
        of their values below 0.
    What fools it: targets with noise around the range, of which a few lie outside.
    Fix: remove the last activation, or bring the targets into its range.
    Source: own; the ranges of the functions.
    """
    facts = reading.facts(evidence)
    if facts.graph is not None and facts.graph.takes == "sigmoid" and facts.target_outside_unit:
        return [_no_probabilities(facts, facts.target_outside_unit)]
    is_difference = facts.graph is not None and facts.graph.takes == "distance"
    if facts.rows_off_one is not None and facts.rows_off_one >= 0.05 and not is_difference:
        return [_not_exclusive(facts.rows_off_one)]
    if facts.graph is not None and facts.graph.takes is None and (facts.wanted_below or 0.0) >= WANTED_BELOW:
        return [_held_at_zero(facts.wanted_below or 0.0)]
    if facts.graph is None or not is_difference:
        return []
    made = facts.graph.made_by
    if made == "softmax" and (facts.rows_off_one or 0.0) >= 0.05:
        return [_not_one_in_all(facts.graph, facts.rows_off_one or 0.0)]
    if made is None and (facts.out_of_reach or 0.0) >= WANTED_BELOW:
        return [_on_one_side(facts.out_of_reach or 0.0)]
    below, outside = facts.target_below_zero, facts.target_outside_unit
    share = below if made in ("relu", "softplus", "exp") else outside if made in ("sigmoid", "softmax") else None
    if share is None or share < 0.05:
        return []
    return [
        Finding(
            rule="unreachable_target",
            code=f"unreachable_target.{made}",
            severity="error" if share >= 0.25 else "warning",
            seen=f"{share:.0%} of the targets are outside the range of the {made} that makes the outputs",
            measurements=(Measurement(name="share of the targets outside", value=share, threshold=0.05),),
            cause=f"the model ends in {made}, and the targets are not scaled to its range",
            remedy=f"remove {shown_place(facts.graph, made)}; or scale the targets into its range",
            source="own",
        )
    ]


def _on_one_side(share: float) -> Finding:
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.one_sided",
        severity="warning",
        seen=f"a ReLU makes all that the model adds to what it is given: {share:.0%} of the targets are on the other side",
        measurements=(Measurement(name="share of the targets out of reach", value=share, threshold=WANTED_BELOW),),
        cause="what is added or taken away has one sign, whatever the weights",
        remedy="remove the ReLU behind the last layer of what is added",
        source="own; the answer without what the ReLU adds, beside the targets",
    )


def _held_at_zero(share: float) -> Finding:
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.relu",
        severity="warning",
        seen=f"the model ends in a ReLU, and of outputs of zero the loss wants {share:.0%} lower",
        measurements=(Measurement(name="share of the outputs", value=share, threshold=WANTED_BELOW),),
        cause="an output that cannot be negative, under a loss whose best answers are",
        remedy="remove the ReLU behind the last layer; or torch.nn.functional.softplus where a number above zero is meant",
        source="own; the gradient of the loss at the outputs",
    )


def _not_exclusive(share: float) -> Finding:
    """Softmax over answers of which several may be right, or none."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.exclusive",
        severity="error",
        seen=f"the outputs of an example sum to 1, and {share:.0%} of the examples have no mark or several",
        measurements=(Measurement(name="share of the examples with other than one mark", value=share, threshold=0.05),),
        cause="softmax makes the answers exclude each other, and the targets do not",
        remedy="sigmoid in place of softmax; or no activation, and binary_cross_entropy_with_logits",
        source="PyTorch, torch.nn.BCELoss",
    )


def _not_one_in_all(graph: LossGraph, share: float) -> Finding:
    """Values of which each may be met, and all of an example together may not."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.softmax",
        severity="error" if share >= 0.25 else "warning",
        seen=f"the outputs of an example sum to 1, and the targets of {share:.0%} of the examples do not",
        measurements=(Measurement(name="share of examples whose targets sum to something else", value=share, threshold=0.05),),
        cause="the model ends in softmax, and the targets are no shares of a whole",
        remedy=f"remove {shown_place(graph, 'softmax')}; or divide the targets of each example by their sum",
        source="own",
    )


def _no_probabilities(facts: Facts, share: float) -> Finding:
    """Targets that are no probabilities: the loss then has no floor, and falls as the logits grow without end."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.binary",
        severity="error",
        seen=f"{share:.0%} of the targets are outside [0, 1]: binary cross-entropy then falls without end",
        measurements=(
            Measurement(name="share of the targets outside", value=share, threshold=0.0),
            Measurement(name="mean of the targets", value=facts.target_mean or 0.0),
        ),
        cause="binary cross-entropy takes probabilities as targets: masks of 0 and 255, or labels of -1 and 1, are none",
        remedy="bring the targets to 0 and 1: target / 255 for masks, (target + 1) / 2 for labels of -1 and 1",
        source="PyTorch, torch.nn.BCEWithLogitsLoss",
    )
