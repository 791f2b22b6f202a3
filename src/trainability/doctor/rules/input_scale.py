"""The scale of the inputs, channel by channel, and its effect."""

import math
from collections.abc import Sequence
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.best_constant import comes_to_nothing, standing, still_falls
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import LOUD_COLUMN, Facts
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.layer_table import number
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import HAS_LEARNED, WILL_TRAIN
from trainability.doctor.rules.learns import learns_all_the_same
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.smaller_steps import was_unstable
from trainability.doctor.rules.unrelated import unrelated
from trainability.doctor.theory.band import BUDGET_HIGH, BUDGET_LOW, PILOT_DEPTH

OUTSIDE_UNIT, WELL_TOLD = 0.05, 0.1  # share of the targets; of the best constant answer's cost
_FAR_FROM_OTHERS = 10.0  # of `measure.filled_columns`
_PRECISION = 2.0**23  # a number over float32's spacing there, at least
_SWAMPED = 20.0  # times its standard deviation, a channel's mean
_SMALL_BOTH = 0.05  # standard deviation of the inputs, rms of the targets
_SLIGHT = 10.0  # an input off by less only slows down the first steps


@rule(
    severities=("error", "warning", "hint"),
    verdict="broken data",
    explains=(
        "exploding_gradient",
        "not_finite",
        "oscillation",
        "loss_cliff",
        "clipping",
        "update_ratio",
        "loss_at_start",
        "plateau",
        "dead_units",
        "constant_output",
        "saturation",
        "activation_scale",
        "prediction_collapse",
    ),
)
def input_scale(evidence: Evidence) -> list[Finding]:
    """Inputs are far from mean 0 and standard deviation 1.

    Fires: a channel's mean is above 3 in size, or its standard deviation is below 0.05 or above 10; in a watched run alone,
        those of all numbers of the first batch, if it holds more than one example. An error where a step would replace a weight
        or the loss is not finite: from a standard deviation or mean of 10, if the step would be small enough without its
        square, and from 100 in any case; only if nothing normalises and, with 8 layers or more, if the gain budget is right
        without the input. A hint where normalisation follows (in a watched run alone, directly after the first layer); where a
        rehearsal predicts training, or a tenth of the loss is gone in 50 steps with small inputs; in a watched run alone,
        unless its loss is not finite, or after 100 steps is at chance or at the best constant answer's cost; where the gain
        budget with this input is inside the band that trains, or the layers with weights are given it near mean 0 and standard
        deviation 1, as by a division in forward (a warning if a rehearsal is unstable and the run has not learned since); where
        mean and standard deviation are below 10; where the mean is within a fifth of a standard deviation that is at most 100;
        and where other inputs go through an embedding. No hint for these where every channel's mean is 20 times its standard
        deviation and 50 rehearsed steps leave nine tenths of the loss. Silent where the mean is that small beside the standard
        deviation, a normalisation follows or the budget is inside the band, and no step is too large, as with VGG's own input;
        and where a step samples from its own outputs, like a policy, and inputs are near 0 and near each other, like the first
        states of episodes. Code `rounded`, instead: a table of at most three columns is float32, and a column holds few values,
        all multiples of a power of two of 64 or more, most of them adjacent, while the targets have ten times as many values; a
        warning wherever the size alone would be a hint, unless the run trains all the same. Code `column`: a linear layer is
        given data in which one column has an rms of 300 or more, and half of the columns at most 10, or a hundredth of it; a
        hint where the program learns. Code `filled`: the least or the greatest number of a column of a table occurs in 0.3 % of
        the rows and five of them or more, and is ten standard deviations of the others from the nearest of them; a warning
        where 50 rehearsed steps leave the loss above half of what a constant costs. Code `twice`: the first layer with weights
        is given the loader's numbers times a constant (another one may be added), with a standard deviation below 0.02, where
        the loader's have 0.05 to 1.5, and the constant is 1 / 200 or less; a hint where normalisation follows, or the program
        learns. Code `each`: every example is scaled by its own values, to the range from 0 to 1 or to mean 0 and standard
        deviation 1, the loss is of a difference, and 5 % or more of the targets are outside [0, 1]; a warning where a run of
        100 steps or more has ended, or stands still, above a tenth of the best constant answer's cost, or where
        `shuffled_labels.unrelated` would be one; else a hint.
    Why: the input's mean square multiplies the signal like the gain of one more layer. Images divided by 255 (mean 0.5,
        standard deviation 0.25) are far inside the limits; images of 0 to 255 are far outside.
    What fools it: for `rounded`, levels set at these values on purpose. Silent where inputs are looked up in an embedding, or
        are integers and not images, because indices have no scale.
    Fix: subtract each channel's mean and divide by its standard deviation, both measured on the training set.
    Source: LeCun et al., Efficient BackProp, 1998, section 4.3; own thresholds. VGG itself trains on 0 to 255 with the mean
        subtracted (Simonyan and Zisserman, 2015, section 2.1), hence the hint.
    """
    found = _of_all_channels(evidence)
    found = _rounded(evidence, found) or found
    for other in (_loud_column(evidence), _filled_columns(evidence), _own_scale(evidence), _shrunk(evidence)):
        found = other if other and all(finding.severity == "hint" for finding in found) else found
    return found


def _of_all_channels(evidence: Evidence) -> list[Finding]:
    data, probe = evidence.data, evidence.probe
    if probe is not None and probe.layers and probe.layers[0].kind == "embedding":
        return []
    layers = reading.latest_layers(evidence)  # in the order in which they run
    if probe is None and (_is_too_little(evidence) or (layers and layers[0].kind == "norm")):
        return []
    looks_up = any(s.kind == "embedding" for s in layers)
    means, stds = _means_and_stds(evidence)
    if not means or not stds or not all(map(math.isfinite, (*means, *stds))):
        return []
    far, thin, wide = max(means, key=abs), min(stds), max(stds)
    if abs(far) <= 3 and thin >= 0.05 and wide <= 10:
        return []
    if reading.facts(evidence).readings.has_only_scalars and not was_unstable(evidence):
        return []  # what a few numbers do to inputs, as to times or distances, is a formula, and no sum over columns
    if wide == 0.0 and (data is None or reading.facts(evidence).featureless):
        return []  # one number everywhere: constant_input reports it
    if data is None and abs(far) <= 3 and wide <= 10 and reading.facts(evidence).draws_own:
        return []  # an episode's first states, which are near each other, unlike later ones
    total = reading.total_budget(probe) if probe is not None else None
    centred = abs(far) <= max(3.0, 0.2 * wide) and thin >= 0.05 and wide <= 100  # one batch's mean is off by as much
    size = max(abs(far), wide)
    largest = _largest_update(evidence)
    burst = any(not math.isfinite(s.loss) and not s.skipped for s in evidence.steps)
    blown = largest > 1 or burst
    # Gradients grow with the square of the input's size; the rest of the step comes from the rate.
    inside = reading.facts(evidence).scaled_inside
    trains = _trains_all_the_same(evidence, only_small=abs(far) <= 3 and wide <= 10)
    harmed = blown and not inside and not trains and (size >= 100 or (size >= 10 and largest < size * size))
    if total is not None and probe is not None and sum(s.gain is not None for s in probe.layers) >= PILOT_DEPTH:
        # Weights of a wrong scale are not the input's fault.
        harmed &= not BUDGET_LOW <= total <= BUDGET_HIGH and BUDGET_LOW <= (probe.log10_gain or 0.0) <= BUDGET_HIGH
    in_band = total is not None and BUDGET_LOW <= total <= BUDGET_HIGH
    absorbed = probe is not None and (probe.structure == "normalised" or in_band)
    if centred and absorbed and not harmed:
        return []
    slight = size < _SLIGHT and thin >= 0.05
    # The band does not overrule a rehearsal whose steps are too long, nor a run that fails.
    absorbed &= probe is None or probe.structure == "normalised" or not was_unstable(evidence)
    # Watched alone: a normalisation after the first layer removes the scale, or the scale has not kept the run from learning.
    fails = burst or comes_to_nothing(evidence)
    absorbed |= data is None and probe is None and not harmed and (_is_normalised(layers) or not fails)
    absorbed |= inside or trains
    # What tells examples apart is a small part of what they share, and the net does not begin to learn.
    offset = min(abs(mean) / max(std, 1e-30) for mean, std in zip(means, stds, strict=True))
    absorbed &= not (offset >= _SWAMPED and not trains and not inside and reading.stands_still(evidence))
    severity: Severity = "hint" if absorbed or centred or looks_up or slight else "warning"
    if harmed and not looks_up and (probe is None or probe.structure != "normalised"):
        severity = "error"
    return [
        Finding(
            rule="input_scale",
            severity=severity,
            seen=_seen(evidence, far, thin, wide),
            measurements=(
                Measurement(name="largest mean", value=far, threshold=3.0),
                Measurement(name="smallest standard deviation", value=thin, threshold=0.05),
                Measurement(name="largest standard deviation", value=wide, threshold=10.0),
            ),
            cause="inputs are not normalised, or are normalised with another data set's statistics",
            remedy="subtract each column's mean and divide by its standard deviation, both of the training set; category "
            "indices go through nn.Embedding"
            if _is_table(evidence)
            else "subtract each channel's mean and divide by its standard deviation, measured on the training set"
            + (f": (x - {means[0]:.3g}) / {stds[0]:.3g}" if _is_grey(evidence) and stds[0] > 0 else "")
            + _likewise(reading.facts(evidence), wide),
            source="preflight-ml",
        )
    ]


def _likewise(facts: Facts, wide: float) -> str:
    """Of targets that are as small as the inputs, as where both were divided by 255 twice."""
    if facts.target_rms is None or max(wide, facts.target_rms) >= _SMALL_BOTH or facts.target_rms == 0:
        return ""
    return f"; likewise the targets, whose rms is {facts.target_rms:.2g}: a division too many may have made both small"


def _means_and_stds(evidence: Evidence) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel of the data, or of a batch as a whole; empty where neither was measured."""
    data, probe, facts = evidence.data, evidence.probe, reading.facts(evidence)
    if data is not None:
        return data.train.channel_means, data.train.channel_stds
    if probe is not None and probe.input_is_whole:
        return (), ()
    if probe is not None:
        mean = probe.input_mean
        return (mean,), (math.sqrt(max(probe.input_mean_square - mean * mean, 0.0)),)
    if facts.input_mean is not None and facts.input_std is not None:
        return (facts.input_mean,), (facts.input_std,)
    return (), ()


def _rounded(evidence: Evidence, found: list[Finding]) -> list[Finding]:
    """Large inputs whose rounding makes different examples equal: what is lost does not come back where a model scales them."""
    train, coarse = evidence.data.train if evidence.data is not None else None, reading.facts(evidence).readings.coarse
    if train is not None:
        coarse = (*train.coarse, train.num_images) if train.coarse is not None else None
    if coarse is None or not found:
        return []
    column, step, values, examples = coarse
    severity = found[0].severity
    if severity == "hint" and not _trains_all_the_same(evidence, only_small=False):
        severity = "warning"
    return [
        replace(
            found[0],
            code="input_scale.rounded",
            severity=severity,
            seen=f"column {column} of the inputs holds {values} values in {examples} examples, all multiples of {step:g}",
            measurements=(Measurement(name="different values", value=float(values)), *found[0].measurements),
            cause=f"large numbers, such as times in seconds, were rounded to float32, whose spacing is {step:g} from "
            f"{step * _PRECISION:.2g} on: the differences between neighbours are lost, and no later subtraction brings them "
            "back",
            remedy="subtract the start in float64, then cast to float32: torch.tensor(t - t[0], dtype=torch.float32), where "
            "t is a float64 array",
            source="IEEE 754, binary32: 24 bits of precision; values counted",
        )
    ]


def _trains_all_the_same(evidence: Evidence, *, only_small: bool) -> bool:
    """Whether the rehearsal or the run learns with these inputs, which overrules a general limit.

    With large inputs the first loss is large and falls by itself: there the loss must be predicted to fall below the best
    constant answer's cost. With small ones it is not.
    """
    rehearsal = evidence.rehearsal
    if rehearsal is None or not rehearsal.steps or not rehearsal.reference:
        return False
    first, last = rehearsal.reference[0], rehearsal.reference[-1]
    falls = only_small and first.loss > 0 and last.step >= 50 and last.loss <= reading.LEARNED * first.loss
    return falls or judge_rehearsal(rehearsal).verdict in (WILL_TRAIN, HAS_LEARNED)


def _is_too_little(evidence: Evidence) -> bool:
    """Whether the first batch of a watched loop is a single example, such as a policy's state: too few numbers for a scale."""
    return any(sample.batch_size == 1 for sample in evidence.samples[:1])


def _is_normalised(layers: Sequence[LayerStats]) -> bool:
    """Whether a normalisation directly follows the first layer with weights."""
    return [layer.kind for layer in layers[:2]][1:] == ["norm"]


def _is_table(evidence: Evidence) -> bool:
    """Whether each example is a row of columns."""
    if evidence.data is not None:
        return bool(evidence.data.train.shapes) and all(len(shape) == 1 for shape in evidence.data.train.shapes)
    return evidence.probe is None and reading.facts(evidence).input_columns is not None


def _seen(evidence: Evidence, far: float, thin: float, wide: float) -> str:
    """The measured sizes: of channels, of a table's columns, or of all numbers of a batch."""
    columns = reading.facts(evidence).input_columns
    if evidence.data is None and evidence.probe is None and columns is not None:
        mean, place, least, most = columns
        return f"column means reach {mean:.3g} (column {place}), standard deviations of columns {least:.3g} to {most:.3g}"
    if thin == wide:
        of = "all columns together have" if _is_table(evidence) else "inputs have"
        return f"{of} mean {far:.3g} and standard deviation {wide:.3g}"
    return f"channel means reach {far:.3g}, standard deviations {thin:.3g} to {wide:.3g}"


def _is_grey(evidence: Evidence) -> bool:
    """Whether inputs are images of one channel, so that mean and deviation are not those of a table's columns."""
    shapes = evidence.data.train.shapes if evidence.data is not None else ()
    return bool(shapes) and all(len(shape) == 3 and shape[0] == 1 for shape in shapes)


def _largest_update(evidence: Evidence) -> float:
    """Largest update over weight seen; a net killed by its first step no longer moves."""
    first = evidence.samples[0].layers if evidence.samples else ()
    probed = evidence.probe.layers if evidence.probe is not None else ()
    layers = (*probed, *first, *reading.latest_layers(evidence))
    ratios = [s.update_ratio for s in layers if s.update_ratio is not None and s.kind != "norm"]
    return max((ratio if math.isfinite(ratio) else math.inf for ratio in ratios), default=0.0)


def _loud_column(evidence: Evidence) -> list[Finding]:
    """A column of data, or one that the model computes from an input number: a time, a step."""
    loud = evidence.facts.loud_column if evidence.facts is not None else None
    if loud is None:
        return []
    layer, column, size = loud
    return [
        Finding(
            rule="input_scale",
            code="input_scale.column",
            severity="hint" if learns_all_the_same(evidence) else "warning",
            seen=f"column {column} of the input of {layer} has rms {size:.3g}, and half of the columns less than a thirtieth "
            "of that",
            measurements=(Measurement(name="rms of the column", value=size, threshold=LOUD_COLUMN),),
            cause="a raw number (a time, a step, an amount) is an input together with far smaller ones",
            remedy=f"subtract the mean of column {column} before {layer} and divide by its standard deviation, both of the "
            "training set; or use sines and cosines of it",
            source="LeCun et al., Efficient BackProp, 1998, section 4.3",
            layers=(layer,),
        )
    ]


def _filled_columns(evidence: Evidence) -> list[Finding]:
    """Missing values that are a number far from all others: -9999, or 0 of a pressure."""
    found = evidence.data.train.filled_columns if evidence.data is not None else ()
    if not found:
        return []
    place, value, share, gap = max(found, key=lambda told: told[3])
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return [
        Finding(
            rule="input_scale",
            code="input_scale.filled",
            severity="warning" if reading.stays_above_half(evidence) else "hint",
            seen=f"column {place}{others} of the inputs: {100 * share:.1f} % of the examples hold {value:.4g}, "
            f"{gap:.0f} standard deviations of all other values away from the nearest of them",
            measurements=(
                Measurement(name="distance in standard deviations of the others", value=gap, threshold=_FAR_FROM_OTHERS),
                Measurement(name="share of the examples", value=share),
            ),
            cause="the number stands for a missing value, and was scaled with the others: what tells examples apart is "
            "squeezed into a small part of the column's range",
            remedy="before scaling, replace it by NaN, compute mean and standard deviation without it (numpy.nanmean, "
            "numpy.nanstd), and fill with the mean, with a further column that says where",
            source="own; values compared",
        )
    ]


def _shrunk(evidence: Evidence) -> list[Finding]:
    """Input that was scaled where it was loaded, and is scaled again in the model."""
    found = reading.facts(evidence).readings.shrunk
    if found is None:
        return []
    probe = evidence.probe
    layers = reading.latest_layers(evidence)
    absorbed = probe.structure == "normalised" if probe is not None else _is_normalised(layers)
    return [
        Finding(
            rule="input_scale",
            code="input_scale.twice",
            severity="hint" if absorbed or learns_all_the_same(evidence) else "warning",
            seen=f"the loader yields numbers with standard deviation {found.loaded:.2g}; the model multiplies them by "
            f"{number(found.factor)}, and {found.layer or 'its first layer'} is given {found.given:.2g}",
            measurements=(
                Measurement(name="standard deviation in front of the first layer", value=found.given, threshold=0.02),
            ),
            cause="the input is scaled down twice, as by ToTensor and a division by 255 in forward: beside the biases, what "
            "tells examples apart is hardly there",
            remedy="scale the input in one place only: leave out the one in the model",
            source="LeCun et al., Efficient BackProp, 1998, section 4.3",
            layers=(found.layer,) if found.layer else (),
        )
    ]


def _own_scale(evidence: Evidence) -> list[Finding]:
    """Windows that are scaled one by one, with targets that are not."""
    facts = evidence.facts
    if facts is None or facts.own_scale is None or facts.graph is None or facts.graph.takes != "distance":
        return []
    if not (facts.target_outside_unit or 0.0) >= OUTSIDE_UNIT:
        return []
    at, planned = standing(evidence), reading.planned_steps(evidence)
    is_over = planned is not None and reading.num_steps(evidence) >= planned
    stuck = at is not None and at.loss > WELL_TOLD * at.cost and (is_over or not still_falls(evidence))
    # What is left of the examples tells nothing of the targets: the sizes that were taken away may have told all.
    emptied = any(found.code == "shuffled_labels.unrelated" and found.severity != "hint" for found in unrelated(evidence))
    return [
        Finding(
            rule="input_scale",
            code="input_scale.each",
            severity="warning" if stuck or emptied else "hint",
            seen="each example is scaled by itself, "
            + ("from its smallest value to its largest" if facts.own_scale == "extremes" else "by its own mean and deviation")
            + f", and the targets are not: {100 * (facts.target_outside_unit or 0.0):.0f} % of them are outside [0, 1]",
            measurements=(
                Measurement(name="targets outside [0, 1]", value=facts.target_outside_unit or 0.0, threshold=OUTSIDE_UNIT),
            ),
            cause="the size of an example relative to others is lost, and the target depends on it",
            remedy="scale by the mean and standard deviation of the whole training set; or scale each target like its own "
            "example, and undo it for predictions",
            source="own; Kim et al., Reversible Instance Normalization, ICLR 2022, section 3",
            explains=("shuffled_labels",) if emptied else (),
        )
    ]
