"""Inputs that stand for other things in validation than in training. No rule."""

from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.pair_facts import ValuesCompared

_TOLD, _LOST, _OWN = 0.3, 0.35, 0.6  # of the variance in training; of that in validation at most, and by its own inputs


def means_otherwise(seen: ValuesCompared | None) -> list[Finding]:
    """What was fitted once on each part: statistics of a scale, an encoder's names, a vocabulary."""
    if seen is None or seen.training < _TOLD or seen.validation > _LOST * seen.training or seen.own < _OWN * seen.training:
        return []
    found = (
        f"ridge regression on training explains {seen.training:.0%} of the variance of other training targets and "
        f"{max(seen.validation, -9.99):.0%} of that of validation's; fitted on validation, {seen.own:.0%}"
    )
    scaled = "; in both parts every column has the mean 0 and the spread 1, to rounding" if seen.scaled_apart else ""
    return [
        Finding(
            rule="split_shift",
            code="split_shift.meaning",
            severity="warning",
            seen=found + scaled,
            measurements=(
                Measurement(name="variance explained in validation", value=seen.validation, threshold=_LOST * seen.training),
                Measurement(name="variance explained in training", value=seen.training, threshold=_TOLD),
                Measurement(name="variance explained by a fit on validation", value=seen.own, threshold=_OWN * seen.training),
            ),
            cause="each part was scaled by its own mean and spread"
            if seen.scaled_apart
            else "what turns raw values into inputs (a scaler, an encoder, an index of names) was fitted again on validation",
            remedy="fit it on training once, and use it as it is on validation: scaler.transform(validation) in place of "
            "fit_transform; one index of names for both",
            source="own; ridge regression on one part, asked about the other",
            explains=("overfit", "evaluation_path"),
        )
    ]
