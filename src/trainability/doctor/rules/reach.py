"""Targets that no output of the model can meet, whatever its weights."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts, LossGraph
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import MOST_GAP, Circular
from trainability.doctor.rules.head import NOTHING_LEARNED, shown_place
from trainability.doctor.rules.rule import rule

WANTED_BELOW = 0.25  # share of the outputs
LEFT_OVER = 0.2  # of the square of the targets
OF_OTHER_SIZES = 0.2  # of the variance of targets, which are left by those of one size
_PERIODS = (("2 * torch.pi", 6.2832), ("torch.pi", 3.1416), ("360", 360.0), ("180", 180.0), ("24", 24.0), ("1", 1.0))
_ABOUT = 0.03  # of a period, which the largest and the smallest target of some examples are not quite apart
_BEYOND = 0.05  # of the targets, beyond a clamp
_LEAST_CUT = 0.15  # of the variance of targets, that clipping them to the range costs
LEAST_CROSSED = 0.1  # of the boxes; a mistake of a few annotations is another matter


@rule(
    severities=("error", "warning", "hint"),
    verdict="capped",
    explains=(*NOTHING_LEARNED, "capped_loss", "loss_below_floor", "exploding_gradient", "loss_cliff", "oscillation"),
)
def unreachable_target(evidence: Evidence) -> list[Finding]:
    """Targets are outside the range of the model's last function.

    Fires: the loss is of the difference of output and target, the outputs come from a ReLU, softplus, exponential, sigmoid or
        softmax, and 5 % or more of the targets that the loss reads are below 0, or outside [0, 1], by more than rounding. An
        error from a quarter; a hint where clipping them to the range costs less than 15 % of their variance, of columns of a
        table the one where it costs most, beside the largest variance of a column: noise around a bound has such targets. Under
        `binary_cross_entropy_with_logits`, or where a formula takes the logarithms of a sigmoid and of 1 minus it, one target
        outside [0, 1] is an error (code `binary`). Code `marks`: the targets are 0 and one number of 1.5 or more, the loss is
        made of a sigmoid or softmax of the outputs and is another with targets of 0 and 1, and outputs of 0 and 1 at the right
        places do not bring it to zero. Code `corners`, a warning: the loss subtracts the first two of a box's four numbers from
        the last two, and for a tenth of the batch's boxes or more a difference is negative. Code `exclusive`: under a binary
        loss, outputs sum to 1, and 5 % or more of the examples have no mark or several. Also for a softmax under a difference,
        where as many examples have targets that do not sum to 0.9 to 1.1, and no output gets below a tenth of their variance.
        Under another loss, a warning where the model ends in a ReLU with one number per example, and for a quarter or more of
        the outputs, all zero, the loss wants lower values, but not without end, as with distances. Code `one_sided`, a warning:
        everything that is added to an input, or subtracted from it, comes from a ReLU, and a quarter or more of the targets are
        on the other side. Code `generated`, a warning, in a check with `step`: one model is given both data and what another
        makes, which ends in a sigmoid, tanh, ReLU, softplus or exponential, and 5 % or more of the data's values are outside
        its range by more than a tenth of its half, or of their spread. Also a warning where one term of the loss, a distance of
        PyTorch, compares outputs of a ReLU, softplus, sigmoid, softmax or tanh with targets, a quarter or more of which, or of
        those in one of their columns, are outside its range, and clipping them costs 15 % of their variance or more. Code
        `log_scale`, a warning: two exponentials, of multiples with positive factors, are taken of one result of a ReLU or
        softplus, as of the log-variance of a code. Code `one_way`, a warning: for pairs, exchanged in 32 or more examples,
        answers are opposite about one number to 1e-4, also at other weights, and of two labels the mean distances of the pairs'
        inputs are four standard errors apart. Code `normalised`, a warning: the outputs come from a layer normalisation over
        all numbers of an answer, and a fifth or more of the targets' variance is left when each is normalised in the same way,
        scaled and shifted as fits best. Code `through_zero`, a warning: no parameter is a bias or belongs to a normalisation,
        twice an input of at most eight columns has twice the answer, to 1e-4, and for 50 or more pairs of examples in one
        direction from zero, one 1.5 times as far or more, a fifth or more of the targets' square is what no function leaves
        that grows in proportion, and three times what nearest examples differ by. Code `circular`, a warning: the loss is a
        square of what the targets are moved by, or far away in proportion to it, and convex in them with other answers, too; a
        column of them has more than 30 values, at least 4 % in each fifth of its range; of 300 or more examples, at most 15 %
        of the nearest by their inputs are farther than a quarter of the way around, by ranks; and from inputs of the largest
        targets to the nearest of the smallest it is 0.35 or less of what it is half of the way around, and at most three times
        as far as between others that follow each other; over two twentieths of the targets there, it is 0.35 or more of what it
        is elsewhere, as inputs that fade out come to rest; and a ridge regression on the inputs and 200 random ReLUs of them,
        fitted to the other half, misses a tenth or more of the targets in the outermost twentieths by more than a quarter of
        the range. Code `limits`: of the outputs of a clamp, a Hardtanh or a ReLU6, where 5 % or more of the targets are beyond,
        and clipping them costs 15 % of their variance or more; an error from a quarter of the targets. Codes: the activation,
        `relu`, `sigmoid`, `softmax`, `softplus` or `tanh`.
    Why: the share is counted, and targets outside the range cannot be met by any weights. Of targets normalised to mean 0, half
        are below 0.
    What fools it: noise as large as what the targets tell. Of `circular`, a saw of many teeth.
    Fix: remove the last activation, or bring the targets into its range.
    Source: own; the ranges of the functions.
    """
    facts = reading.facts(evidence)
    if facts.graph is not None and facts.graph.takes == "sigmoid" and facts.target_outside_unit:
        return [_no_probabilities(facts, facts.target_outside_unit)]
    if facts.readings.odd_likelihood:
        return [_no_probabilities(facts, facts.readings.odd_likelihood)]
    if (facts.readings.boxes_crossed or 0.0) >= LEAST_CROSSED:
        return [_no_corners(facts.readings.boxes_crossed or 0.0)]
    if facts.readings.one_way is not None:
        return [_one_way(facts.readings.one_way)]
    is_difference = facts.graph is not None and facts.graph.takes == "distance"
    if facts.rows_off_one is not None and facts.rows_off_one >= 0.05 and not is_difference:
        return [_not_exclusive(facts.rows_off_one)]
    if facts.graph is not None and facts.graph.takes is None and (facts.wanted_below or 0.0) >= WANTED_BELOW:
        return [_held_at_zero(facts.wanted_below or 0.0)]
    if facts.readings.normed_answers is not None and facts.readings.normed_answers[1] >= OF_OTHER_SIZES:
        return [_normalised(*facts.readings.normed_answers)]
    limited = facts.readings.limited
    if limited is not None and limited[2] >= _BEYOND and limited[3] >= _LEAST_CUT:
        return [_limited(*limited)]
    if facts.readings.through_zero is not None and facts.readings.through_zero[1] >= LEFT_OVER:
        return [_through_zero(*facts.readings.through_zero)]
    if facts.readings.circular is not None and facts.readings.circular.gap <= MOST_GAP:
        return [_circular(facts.readings.circular)]
    if facts.readings.floored_log_scale is not None:
        return [_log_scale(facts.readings.floored_log_scale)]
    if facts.judged_outside is not None and facts.judged_outside[1] >= 0.05:
        return [_generated(*facts.judged_outside)]
    found = _last_function(facts) or ([_far_mark(facts.readings.far_mark)] if facts.readings.far_mark is not None else [])
    return found or ([_of_one_term(*facts.graph.bounded_term)] if facts.graph is not None and facts.graph.bounded_term else [])


def _far_mark(mark: float) -> Finding:
    """Masks as they are in image files."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.marks",
        severity="error",
        seen=f"the targets are 0 and {mark:g}, and the loss compares them with outputs between 0 and 1",
        measurements=(Measurement(name="largest target", value=mark, threshold=1.0),),
        cause=f"marks of yes and no are 0 and {mark:g}, as in a mask file, where the loss takes 0 and 1",
        remedy=f"divide the targets by {mark:g}, or (target > 0).float()",
        source="Milletari et al., V-Net, 3DV 2016, section 3 (Dice of binary volumes); own: the loss with targets of 0 and 1",
    )


def _limited(low: float, high: float, share: float, cost: float) -> Finding:
    """A clamp behind the last layer."""
    names = {f"below {low:g}": low, f"above {high:g}": high}
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.limits",
        severity="error" if share >= 0.25 else "warning",
        seen=f"the outputs are limited, none is {' or '.join(name for name, end in names.items() if math.isfinite(end))}; "
        f"{100 * share:.0f} % of the targets are, by {100 * cost:.0f} % of their variance",
        measurements=(
            Measurement(name="targets beyond the limits", value=share, threshold=_BEYOND),
            Measurement(name="what clipping the targets costs of their variance", value=cost, threshold=_LEAST_CUT),
        ),
        cause="clamp, Hardtanh or ReLU6 behind the last layer has other limits than the targets, and no gradient beyond them",
        remedy="leave out the limit while the model trains, and clamp its answers where they are used; or scale the targets "
        "into these limits",
        source="PyTorch, torch.clamp; the limits read off the graph",
    )


def _normalised(width: int, left_over: float) -> Finding:
    """A normalisation behind the last layer."""
    left = "one of two answers is left" if width == 2 else "of answers of any size, those of one size are left"
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.normalised",
        severity="warning",
        seen=f"a layer normalisation makes the outputs: the {width} numbers of an answer have mean 0 and mean square 1 before "
        f"its scale and shift; of the targets' variance, {100 * left_over:.0f} % cannot be met so",
        measurements=(Measurement(name="share of the targets' variance", value=left_over, threshold=OF_OTHER_SIZES),),
        cause=f"a normalisation behind the last layer: {left}",
        remedy="leave out the normalisation behind the last layer",
        source="Ba et al., Layer Normalization, 2016, equation 3; own threshold",
    )


def _through_zero(pairs: int, left: float) -> Finding:
    """No layer has a bias."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.through_zero",
        severity="warning",
        seen=f"twice an input has twice the answer, exactly, and the answer to zero is zero; in {pairs} pairs of examples that "
        f"lie in one direction from zero, that leaves {100 * left:.0f} % of the targets' square unexplained",
        measurements=(Measurement(name="share of the targets' square", value=left, threshold=LEFT_OVER),),
        cause="no layer has a bias and nothing normalises: the answer grows in proportion to the size of the input",
        remedy="bias=True, the default, in every layer; or a further input column of ones",
        source="own; a net of ReLUs without biases is positively homogeneous",
    )


def _circular(found: Circular) -> Finding:
    """An angle that is compared as a number."""
    column = "" if found.column is None else f"[:, {found.column}]"
    period = next((name for name, size in _PERIODS if abs(found.around - size) <= _ABOUT * size), f"{found.around:.3g}")
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.circular",
        severity="warning",
        seen=f"target{column} goes around: of {found.examples} examples, those with its largest and its smallest values, "
        f"{found.around:.3g} apart in the loss, have inputs that are alike",
        measurements=(
            Measurement(name="gap between inputs of the two ends, over half-way around", value=found.gap, threshold=MOST_GAP),
            Measurement(name="share of the neighbours that are a quarter of the way or more apart", value=found.astray),
        ),
        cause="an angle, a bearing, an hour of the day or a phase is compared as a number on a line: near its two ends, the "
        "model gives what lies between them",
        remedy=f"angle = 2 * torch.pi * target{column} / period, with a period of {period}: let the model return two numbers "
        "for it, compared with torch.sin(angle) and torch.cos(angle), and take torch.atan2 of them to predict; or compare its "
        f"one number with (1 - torch.cos(2 * torch.pi * (output{column} - target{column}) / period)).mean()",
        source="Mardia and Jupp, Directional Statistics, 2000, sections 1.1 and 2.2; distances between the training examples",
    )


def _log_scale(function: str) -> Finding:
    """A posterior that cannot be narrower than its prior."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.log_scale",
        severity="warning",
        seen=f"exp() is taken of the result of a {function} and of a multiple of it, as of a log-variance: it is never "
        "below 0, so neither is a scale below 1",
        measurements=(Measurement(name="least value of the logarithm", value=0.0, threshold=0.0),),
        cause=f"a {function} is applied to the mean and log-variance of the code, which need both signs",
        remedy=f"remove the {function} behind the layers that return the mean and the log-variance",
        source="Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix C; read off the graph of the loss",
    )


def _last_function(facts: Facts) -> list[Finding]:
    """What makes the outputs, compared with all targets."""
    if facts.graph is None or facts.graph.takes != "distance":
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
    cut = facts.cut_at_zero if made in ("relu", "softplus", "exp") else facts.cut_to_unit
    is_noise = cut is not None and cut < _LEAST_CUT
    measured = Measurement(name="cost of clipping them, over their variance", value=cut or 0.0, threshold=_LEAST_CUT)
    return [
        Finding(
            rule="unreachable_target",
            code=f"unreachable_target.{made}",
            severity="hint" if is_noise else "error" if share >= 0.25 else "warning",
            seen=f"{100 * share:.0f} % of the targets are outside the range of the {made} that makes the outputs"
            + (f"; clipped to it, they lose {100 * (cut or 0.0):.2g} % of their variance" if is_noise else ""),
            measurements=(
                Measurement(name="share of the targets outside", value=share, threshold=0.05),
                *((measured,) if cut is not None else ()),
            ),
            cause=f"the model ends in {made}, and the targets are not scaled to its range"
            + ("; or noise takes them a little beyond it, which does no harm" if is_noise else ""),
            remedy=f"remove {shown_place(facts.graph, made)}; or scale the targets into its range",
            source="own",
        )
    ]


def _of_one_term(distance: str, made: str, share: float) -> Finding:
    """Some outputs of several, such as the size of a box beside its place."""
    return Finding(
        rule="unreachable_target",
        code=f"unreachable_target.{made}",
        severity="warning",
        seen=f"a term of the loss ({distance}) compares outputs of a {made} with targets, {100 * share:.0f} % of "
        "which are outside its "
        "range",
        measurements=(Measurement(name="share of the targets outside", value=share, threshold=0.25),),
        cause=f"{made} is applied to outputs whose targets are not in its range, such as logarithms or offsets",
        remedy=f"remove the {made} from the outputs whose targets are outside its range; or scale these targets into it",
        source="own; the targets that the loss function was given",
    )


def _generated(made: str, share: float) -> Finding:
    """Data that a generator cannot make."""
    to = "[-1, 1]: 2 * (x - low) / (high - low) - 1" if made == "tanh" else "[0, 1]: (x - low) / (high - low)"
    scale = f"scale the data to {to} with the data's own least and greatest value, and generated data back"
    remove = f"remove the {made} at the end of the generator"
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.generated",
        severity="warning",
        seen=f"{100 * share:.0f} % of the values of the real data are outside the range of the {made} that makes the generated "
        "data, and one model is given both",
        measurements=(Measurement(name="share of the values outside", value=share, threshold=0.05),),
        cause=f"the generator ends in {made}, and the real data are not scaled to its range: their size alone tells them apart",
        remedy=f"{scale}; or {remove}" if made in ("tanh", "sigmoid") else remove,
        source="Radford, Metz and Chintala, DCGAN, ICLR 2016 (images scaled to the range of tanh); values compared",
    )


def _on_one_side(share: float) -> Finding:
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.one_sided",
        severity="warning",
        seen=f"everything that the model adds to its input comes from a ReLU: {100 * share:.0f} % of the targets are "
        "on the other side",
        measurements=(Measurement(name="share of the targets out of reach", value=share, threshold=WANTED_BELOW),),
        cause="what is added or subtracted has one sign, whatever the weights",
        remedy="remove the ReLU after the last layer of the added part",
        source="own; the output without the ReLU's part, compared with the targets",
    )


def _held_at_zero(share: float) -> Finding:
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.relu",
        severity="warning",
        seen=f"the model ends in a ReLU, and the loss wants {100 * share:.0f} % of the outputs below zero",
        measurements=(Measurement(name="share of the outputs", value=share, threshold=WANTED_BELOW),),
        cause="the output cannot be negative, but the loss is lowest for negative outputs",
        remedy="remove the ReLU after the last layer; or use torch.nn.functional.softplus where positive numbers are intended",
        source="own; the gradient of the loss at the outputs",
    )


def _no_corners(share: float) -> Finding:
    """Boxes of another form than the loss takes."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.corners",
        severity="warning",
        seen=f"the loss takes the first two numbers of a box from the last two, as of corners (x1, y1, x2, y2); for "
        f"{100 * share:.0f} % of the boxes a width or height is then negative",
        measurements=(Measurement(name="share of the boxes with a negative side", value=share, threshold=LEAST_CROSSED),),
        cause="the targets are places and sizes (x, y, width, height), or corners in another order, and the loss expects "
        "corners",
        remedy="turn the targets into corners where they are read: torch.cat([b[:, :2], b[:, :2] + b[:, 2:]], 1) of (x, y, "
        "width, height), and torch.cat([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], 1) of (centre, size)",
        source="Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, algorithm 1; the loss's own differences",
    )


def _one_way(apart: float) -> Finding:
    """A comparison that depends on which of two comes first."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.one_way",
        severity="warning",
        seen="the model says of (b, a) the opposite of what it says of (a, b), whatever its weights, and the labels go by how "
        f"far the two are apart ({apart:.1f} standard errors)",
        measurements=(Measurement(name="distance between the labels", value=apart, unit="standard errors", threshold=4.0),),
        cause="a linear layer compares the two by their signed difference, which is opposite for the exchanged pair: it cannot "
        "say whether they are the same",
        remedy="torch.abs(a - b), or (a - b) ** 2, in place of a - b, in front of the layer; or torch.cat([a, b], 1) into "
        "a network with a hidden layer",
        source="Koch, Zemel and Salakhutdinov, Siamese Neural Networks for One-shot Image Recognition, 2015, section 3.1; "
        "pairs exchanged",
        explains=("shuffled_labels", "constant_as_good"),
    )


def _not_exclusive(share: float) -> Finding:
    """Softmax over labels of which several may be right, or none."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.exclusive",
        severity="error",
        seen=f"the outputs of an example sum to 1, but {100 * share:.0f} % of the examples have no positive label, or several",
        measurements=(
            Measurement(name="share of the examples without exactly one positive label", value=share, threshold=0.05),
        ),
        cause="softmax makes labels mutually exclusive, and the targets are not",
        remedy="sigmoid instead of softmax; or no activation, and binary_cross_entropy_with_logits",
        source="PyTorch, torch.nn.BCELoss",
    )


def _not_one_in_all(graph: LossGraph, share: float) -> Finding:
    """Values of an example that can be met one by one, but not all together."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.softmax",
        severity="error" if share >= 0.25 else "warning",
        seen=f"the outputs of an example sum to 1, but the targets of {100 * share:.0f} % of the examples do not",
        measurements=(Measurement(name="share of examples whose targets sum to something else", value=share, threshold=0.05),),
        cause="the model ends in softmax, but the targets are not shares of a whole",
        remedy=f"remove {shown_place(graph, 'softmax')}; or divide the targets of each example by their sum",
        source="own",
    )


def _no_probabilities(facts: Facts, share: float) -> Finding:
    """Targets that are not probabilities: the loss then has no floor, and falls as the logits grow without end."""
    return Finding(
        rule="unreachable_target",
        code="unreachable_target.binary",
        severity="error",
        seen=f"{100 * share:.0f} % of the targets are outside [0, 1]: binary cross-entropy then falls without end",
        measurements=(
            Measurement(name="share of the targets outside", value=share, threshold=0.0),
            Measurement(name="mean of the targets", value=facts.target_mean or 0.0),
        ),
        cause="binary cross-entropy expects probabilities as targets, not masks of 0 and 255 or labels of -1 and 1",
        remedy="scale the targets to 0 and 1: target / 255 for masks, (target + 1) / 2 for labels of -1 and 1, and "
        "(target - low) / (high - low) with the ends of the training data for others",
        source="PyTorch, torch.nn.BCEWithLogitsLoss",
    )
