"""Colour channels in another order in validation than in training. No rule."""

from trainability.doctor.audit_results import LabelsCompared
from trainability.doctor.finding import Finding, Measurement

_ERRORS, _KEPT_OF_TRAINING = 5.0, 0.9  # gain by another order of channels, in standard errors; of the accuracy on training


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
        cause="the splits are read by different libraries, one as RGB and one as BGR (cv2.imread returns BGR)",
        remedy="read both with the same function; with cv2, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)",
        source="OpenCV, cv::imread (channels are stored in B G R order); own check",
    )
