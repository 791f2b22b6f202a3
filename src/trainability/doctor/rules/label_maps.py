"""Maps of classes that are no longer what was drawn."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule

LEAST_SMEARED = 0.7  # of the edges that go through other classes


@rule(severities=("warning",), explains=("overfit", "label_conflict"))
def interpolated_labels(evidence: Evidence) -> list[Finding]:
    """Maps of classes were resized by interpolation, which makes classes of its own.

    Fires: in maps of whole numbers, 50 edges or more between two areas go through one or two pixels of each of other classes;
        0.7 of these edges or more go through classes numbered between the two, in their order, for two pairs of classes or
        more, and two different classes are found between others; and of neighbours of different classes, a quarter or more have
        numbers that are two apart or more.
    Why: interpolation between class 1 and class 4 makes 2 and 3. Class numbers are names: of classes that meet by chance, a
        third at most lie in the order of their numbers. Thin objects are lost, and edges belong to classes that are not
        there.
    What fools it: maps of amounts with many steep edges, such as depths in few levels; borders that are drawn in several
        classes of their own.
    Fix: resize maps by the nearest pixel: `interpolate(mask, size, mode="nearest")`, `InterpolationMode.NEAREST`,
        `Image.NEAREST`, `cv2.INTER_NEAREST`; the same for rotations and other warps.
    Source: torchvision, Transforms v2 (masks are resized by InterpolationMode.NEAREST); own limits.
    """
    found = reading.facts(evidence).readings.smeared_edges
    if found is None or found[0] < LEAST_SMEARED:
        return []
    share, number = found
    return [
        Finding(
            rule="interpolated_labels",
            severity="warning",
            seen=f"of {number} edges between two areas that go through a few pixels of other classes, {100 * share:.0f} % "
            "go through classes numbered between the two",
            measurements=(Measurement(name="share that lies between", value=share, threshold=LEAST_SMEARED),),
            cause="the maps of classes were resized or rotated by interpolation, as images are",
            remedy='resize maps by the nearest pixel: interpolate(mask, size, mode="nearest"), InterpolationMode.NEAREST, '
            "Image.NEAREST or cv2.INTER_NEAREST",
            source="torchvision, Transforms v2; the maps of the first batches",
        )
    ]
