"""Images that are mirrored or moved without their targets, or by other draws. No rule."""

from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import TurnedApart
from trainability.doctor.rules.parameters import SYMPTOMS


def mirrored_alone(facts: Facts) -> Finding | None:
    """What is certain of targets beside images that are turned at random; None where they go together."""
    if (apart := facts.readings.apart) is not None:
        return _apart(apart)
    return _left_alone(*facts.mirrored_alone) if facts.mirrored_alone is not None else None


def _apart(found: TurnedApart) -> Finding:
    """Two draws where one is meant."""
    return Finding(
        rule="mirrored",
        code="mirrored.apart",
        severity="warning",
        seen=f"images in batch{found.input} and their targets in batch{found.target} are flipped or moved at random by draws "
        f"of their own: of {found.num_pairs} pairs of readings of one example, {found.num_apart} have the image as it was, or "
        "moved, and the target turned or moved otherwise",
        measurements=(
            Measurement(name="pairs of readings that do not go together", value=float(found.num_apart), threshold=7.0),
            Measurement(name="pairs of readings that are plain", value=float(found.num_pairs)),
        ),
        cause="the random transform is called once for the image and once more for its target, and draws anew each time",
        remedy="draw once for both: flip = torch.rand(()) < 0.5 (or the place of the crop), then change the image and its "
        "target by it; or put image and mask on top of each other (torch.cat), transform them together, and take them apart",
        source="own; the same examples read five times",
        explains=("shuffled_labels", *SYMPTOMS, "constant_as_good", "overfit", "evaluation_path"),
    )


def _left_alone(sides: str, place: str, share: float) -> Finding:
    """Boxes, points or masks that lie where things were before the image was mirrored."""
    return Finding(
        rule="mirrored",
        code="mirrored.alone",
        severity="warning",
        seen=f"collate_fn flips images at random ({sides} exchanged), and the targets in batch{place}, which depend on it, "
        "stay as they are",
        measurements=(Measurement(name="variance that the two sides explain", value=share, threshold=0.3),),
        cause="images are mirrored without the boxes, points or masks that belong to them",
        remedy="mirror targets with their image: 1 - x of a place that is a part of the width, target.flip(-1) of a mask "
        "(1 - y and flip(-2) where top and bottom are exchanged), and exchange the ends of boxes; or leave mirroring out",
        source="own; the same examples made into a batch three times",
    )
