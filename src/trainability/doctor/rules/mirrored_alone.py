"""Images that are mirrored or moved without their targets, or by separate random draws. No rule."""

from trainability.doctor.audit_results import SplitAudit
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import ExchangedClasses, TurnedApart
from trainability.doctor.rules.parameters import SYMPTOMS

_NO_BOX, _MIRRORED = 0.005, 0.1  # shares of the boxes


def mirrored_alone(facts: Facts) -> Finding | None:
    """A certain mismatch between randomly transformed images and their targets; None if there is none."""
    if (apart := facts.readings.apart) is not None:
        return _apart(apart)
    if (exchanged := facts.readings.exchanged) is not None:
        return _exchanged(exchanged)
    return _left_alone(*facts.mirrored_alone) if facts.mirrored_alone is not None else None


def crossed_corners(train: SplitAudit, validation: SplitAudit | None) -> Finding | None:
    """Boxes whose corners stay in their places when the image is mirrored, so that the left one is on the right."""
    if validation is None or train.crossed is None or validation.crossed is None or max(validation.crossed) > _NO_BOX:
        return None
    for place, share in enumerate(train.crossed):
        if _MIRRORED <= share <= 1 - _MIRRORED and train.crossed[1 - place] <= _NO_BOX:
            low, high = (("x1", "x2"), ("y1", "y2"))[place]
            return Finding(
                rule="mirrored",
                code="mirrored.corners",
                severity="warning",
                seen=f"{low} is larger than {high} in {100 * share:.0f} % of the training boxes (x1, y1, x2, y2), and in none "
                "of validation",
                measurements=(Measurement(name=f"boxes with {low} > {high}", value=share, threshold=_MIRRORED),),
                cause=f"boxes are mirrored with their images, but {low} and {high} are not exchanged",
                remedy=f"new_{low}, new_{high} = width - {high}, width - {low} (1 - … for boxes relative to the image)"
                if place == 0
                else f"new_{low}, new_{high} = height - {high}, height - {low} (1 - … for boxes relative to the image)",
                source="own; every target that was read",
                explains=("shuffled_labels", *SYMPTOMS, "constant_as_good", "overfit", "evaluation_path"),
            )
    return None


def _apart(found: TurnedApart) -> Finding:
    """Two draws instead of one."""
    return Finding(
        rule="mirrored",
        code="mirrored.apart",
        severity="warning",
        seen=f"images in batch{found.input} and their targets in batch{found.target} are flipped or moved by separate random "
        f"draws: in {found.num_apart} of {found.num_pairs} pairs of reads of an example, the image is the same, or only "
        "moved, but the target is flipped or moved differently",
        measurements=(
            Measurement(name="pairs of reads that do not match", value=float(found.num_apart), threshold=7.0),
            Measurement(name="pairs of reads that could be compared", value=float(found.num_pairs)),
        ),
        cause="the random transform is called separately for the image and for its target, and draws again each time",
        remedy="draw once for both: flip = torch.rand(()) < 0.5 (or the position of the crop), then apply it to the image "
        "and its target; or concatenate image and mask (torch.cat), transform them together, and split them again",
        source="own; the same examples read five times",
        explains=("shuffled_labels", *SYMPTOMS, "constant_as_good", "overfit", "evaluation_path"),
    )


def _exchanged(found: ExchangedClasses) -> Finding:
    """Left arrows that become right ones, and keep their label."""
    return Finding(
        rule="mirrored",
        code="mirrored.classes",
        severity="warning",
        seen=f"training images are flipped at random ({found.sides} swapped) and keep their label, but flipping turns class "
        f"{found.first} into class {found.second}, and back: {100 * found.share:.0f} % or more of the validation images of "
        "each, flipped, look like the other",
        measurements=(Measurement(name="flipped images taken for the other class", value=found.share, threshold=0.9),),
        cause="these classes differ only in which side is which, and random flips exchange them",
        remedy="leave out the flip, or exchange the two labels whenever an image is flipped",
        source="own; a linear classifier of validation images, as they are and flipped",
        explains=("shuffled_labels", *SYMPTOMS, "constant_as_good", "overfit", "evaluation_path"),
    )


def _left_alone(sides: str, place: str, share: float) -> Finding:
    """Boxes, points or masks that stay where they were before the image was mirrored."""
    return Finding(
        rule="mirrored",
        code="mirrored.alone",
        severity="warning",
        seen=f"the loader flips images at random ({sides} swapped), but the targets in batch{place}, which depend on it, stay "
        "unchanged",
        measurements=(Measurement(name="variance explained by the difference of the two sides", value=share, threshold=0.3),),
        cause="images are mirrored without their boxes, points or masks",
        remedy="mirror targets with their image: 1 - x for a coordinate relative to the width, target.flip(-1) for a mask (1 "
        "- y and flip(-2) where top and bottom are swapped), and swap the ends of boxes; or do not mirror",
        source="own; the same examples read three times",
    )
