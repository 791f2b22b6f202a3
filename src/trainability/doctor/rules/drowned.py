"""Training examples that are drowned in noise, which validation's do not have. No rule."""

from trainability.doctor.audit_results import AddedNoise
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.inputs import SYMPTOMS

_MOSTLY, _DROWNED, _TENTH = 0.8, 5.0, 0.1  # share of the variance; times the examples' size; of it, that is left to learn from


def drowned(found: AddedNoise, *, learns: bool) -> Finding:
    """Noise several times larger than what it is added to.

    Args:
        found: of the training data.
        learns: whether the program is seen to learn, as by averages over many places.
    """
    times, tenth = found.noise / found.spread, _TENTH * found.spread
    return Finding(
        rule="split_shift",
        code="split_shift.noise",
        severity="warning" if times >= _DROWNED and not learns else "hint",
        seen=f"each time a training example is read, noise of standard deviation {found.noise:.2g} is added to its values; "
        f"in validation, they vary by {found.spread:.2g}: noise is {100 * found.share:.0f} % of the variance of training's",
        measurements=(
            Measurement(name="share of the variance that is noise", value=found.share, threshold=_MOSTLY),
            Measurement(name="noise over the spread of validation's inputs", value=times, threshold=_DROWNED),
            Measurement(name="standard deviation of the noise", value=found.noise),
            Measurement(name="draws compared", value=float(found.num_examples * found.num_draws)),
        ),
        cause="the noise of the augmentation is so large that little of an example is left, as if its size were meant for "
        "other units (raw counts, pixels from 0 to 255); validation is read without it",
        remedy=f"reduce the noise from {found.noise:.2g} to about {tenth:.2g}, a tenth of the examples' size, or remove it",
        source="own; examples drawn several times",
        explains=("shuffled_labels", *SYMPTOMS, "constant_as_good", "overfit", "evaluation_path"),
    )
