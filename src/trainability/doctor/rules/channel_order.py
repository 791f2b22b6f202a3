"""Colours of validation that stand in another order than in training. No rule."""

from trainability.doctor.audit_results import LabelsCompared
from trainability.doctor.finding import Finding, Measurement

_ERRORS, _KEPT_OF_TRAINING = 5.0, 0.9  # standard errors that another order of channels gains; of the accuracy on training


def in_another_order(compared: LabelsCompared) -> bool:
    """Whether validation's channels are those of training in another order: colour tells the classes, and its names do not."""
    moved = compared.channel_order != tuple(range(len(compared.channel_order))) and compared.reordered_gain_z > _ERRORS
    kept = max(_KEPT_OF_TRAINING * compared.accuracy_training, compared.accuracy_renamed)
    return bool(compared.channel_order) and moved and compared.accuracy_reordered >= kept


def other_channels(compared: LabelsCompared) -> Finding:
    """Validation in BGR under training in RGB, or the other way round."""
    order = ", ".join(map(str, compared.channel_order))
    return Finding(
        rule="split_shift",
        code="split_shift.channels",
        severity="warning",
        seen=f"a classifier fitted on training is right on {compared.accuracy_validation:.0%} of validation as it is, and on "
        f"{compared.accuracy_reordered:.0%} with its channels in the order {order}",
        measurements=(
            Measurement(
                name="accuracy on validation", value=compared.accuracy_validation, threshold=compared.accuracy_training
            ),
            Measurement(name="with the channels reordered", value=compared.accuracy_reordered),
            Measurement(name="gain", value=compared.reordered_gain_z, unit="standard errors", threshold=_ERRORS),
        ),
        cause="the two are read by different libraries, one as RGB and one as BGR (cv2.imread gives BGR)",
        remedy="read both with the same function; of cv2, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)",
        source="OpenCV, cv::imread (channels are stored in B G R order); own check",
    )
