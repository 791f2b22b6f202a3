"""Colour channels, or axes of points, in another order in validation than in training. No rule."""

import itertools
import math

from trainability.doctor.audit_results import LabelsCompared, SplitAudit
from trainability.doctor.finding import Finding, Measurement

_ERRORS, _KEPT_OF_TRAINING = 5.0, 0.9  # gain by another order of channels, in standard errors; of the accuracy on training
_COLOURS = 3
_LEFT = 0.2  # of the distance between the splits, that another order of channels leaves
_CLEAR, _GONE = 8.0, 0.3  # of coordinates: the difference in standard errors; what another order leaves of it
_CAUSE = "the splits are read by different libraries, one as RGB and one as BGR (cv2.imread returns BGR)"
_REMEDY = "read both with the same function; with cv2, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)"


def in_another_order(compared: LabelsCompared) -> bool:
    """Whether another order of validation's channels restores the accuracy, and no renaming of classes does better."""
    moved = compared.channel_order != tuple(range(len(compared.channel_order))) and compared.reordered_gain_z > _ERRORS
    kept = max(_KEPT_OF_TRAINING * compared.accuracy_training, compared.accuracy_renamed)
    return bool(compared.channel_order) and moved and compared.accuracy_reordered >= kept


def other_channels(compared: LabelsCompared) -> Finding:
    """Validation images in BGR and training images in RGB, or the other way round."""
    order = ", ".join(map(str, compared.channel_order))
    return Finding(
        rule="split_shift",
        code="split_shift.channels",
        severity="warning",
        seen=f"a classifier fitted on training is right on {100 * compared.accuracy_validation:.0f} % of validation, and on "
        f"{100 * compared.accuracy_reordered:.0f} % with validation's channels in the order {order}",
        measurements=(
            Measurement(
                name="accuracy on validation", value=compared.accuracy_validation, threshold=compared.accuracy_training
            ),
            Measurement(name="with the channels reordered", value=compared.accuracy_reordered),
            Measurement(name="gain", value=compared.reordered_gain_z, unit="standard errors", threshold=_ERRORS),
        ),
        cause=_CAUSE,
        remedy=_REMEDY,
        source="OpenCV, cv::imread (channels are stored in B G R order); own check",
    )


def other_statistics(train: SplitAudit, validation: SplitAudit) -> Finding | None:
    """The same from means and spreads of the channels alone, whatever the targets: another order of them agrees."""
    shapes = (*train.shapes, *validation.shapes)
    if not train.shapes or not all(len(shape) == _COLOURS and shape[0] == _COLOURS for shape in shapes):
        return None
    as_is = tuple(range(_COLOURS))
    apart = {order: _distance(train, validation, order) for order in itertools.permutations(as_is)}
    best = min(apart, key=apart.__getitem__)
    if best == as_is or apart[best] > _LEFT * apart[as_is]:
        return None
    order = ", ".join(map(str, best))
    return Finding(
        rule="split_shift",
        code="split_shift.channels",
        severity="warning",
        seen=f"means and standard deviations of validation's channels differ from training's by {apart[as_is]:.2f} standard "
        f"deviations, and by {apart[best]:.2f} if the channels are taken in the order {order}",
        measurements=(
            Measurement(name="distance of the channels", value=apart[as_is], unit="standard deviations"),
            Measurement(
                name="with the channels reordered",
                value=apart[best],
                unit="standard deviations",
                threshold=_LEFT * apart[as_is],
            ),
        ),
        cause=_CAUSE,
        remedy=_REMEDY,
        source="OpenCV, cv::imread (channels are stored in B G R order); own check",
    )


def other_axes(train: SplitAudit, validation: SplitAudit) -> Finding | None:
    """Points whose coordinates are in another order, as where one source has y and the other z upwards."""
    if not train.axes or len(train.axes) != len(validation.axes):
        return None
    as_is = tuple(range(len(train.axes)))
    apart = {order: _apart(train, validation, order) for order in itertools.permutations(as_is)}
    best = min(apart, key=apart.__getitem__)
    if best == as_is or apart[as_is] < _CLEAR or apart[best] > _GONE * apart[as_is]:
        return None
    order = ", ".join(map(str, best))
    return Finding(
        rule="split_shift",
        code="split_shift.axes",
        severity="warning" if len(as_is) > 2 else "hint",  # tracks in a plane may well go another way
        seen=f"spreads of validation's coordinates differ from training's by {apart[as_is]:.0f} standard errors, and by "
        f"{apart[best]:.1f} if the coordinates are taken in the order {order}",
        measurements=(
            Measurement(name="distance of the axes", value=apart[as_is], unit="standard errors", threshold=_CLEAR),
            Measurement(
                name="with the axes reordered", value=apart[best], unit="standard errors", threshold=_GONE * apart[as_is]
            ),
        ),
        cause="the splits have their coordinates in another order, as where one has y and the other z upwards",
        remedy=f"bring validation into training's order: points[..., [{order}]]",
        source="own; spreads of the coordinates, example by example",
    )


def _apart(train: SplitAudit, validation: SplitAudit, order: tuple[int, ...]) -> float:
    """Largest difference of a coordinate's spread, in standard errors of that difference."""
    pairs = [(train.axes[k], validation.axes[j]) for k, j in enumerate(order)]
    return max(abs(a - b) / max(math.hypot(e, f), 1e-12) for (a, e), (b, f) in pairs)


def _distance(train: SplitAudit, validation: SplitAudit, order: tuple[int, ...]) -> float:
    """Largest difference of a channel's mean or spread, in its typical standard deviations."""
    spread = max(sum(train.channel_stds) / len(train.channel_stds), 1e-12)
    pairs = [(train.channel_means[k], validation.channel_means[j]) for k, j in enumerate(order)]
    pairs += [(train.channel_stds[k], validation.channel_stds[j]) for k, j in enumerate(order)]
    return max(abs(one - other) for one, other in pairs) / spread
