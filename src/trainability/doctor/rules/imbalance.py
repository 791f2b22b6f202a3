"""One class, one number or no class in the place of targets. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement

_FEWEST_EXAMPLES = 64


def one_class_everywhere(evidence: Evidence) -> list[Finding]:
    """Masks or marks of which nothing but one value is left; of one label an example class_order tells."""
    train = evidence.data.train if evidence.data is not None else None
    task = evidence.rehearsal.task if evidence.rehearsal is not None else None
    places = math.prod(reading.facts(evidence).target_shape[1:])
    if train is None or train.lone_target is None or train.num_images < _FEWEST_EXAMPLES or places < 2:
        return []
    if task is None or not task.target or "cross_entropy" not in (task.loss or ""):
        return []
    return [
        Finding(
            rule="class_imbalance",
            code="class_imbalance.one_class",
            severity="warning",
            seen=f"all {places} places of the targets of all {train.num_images} examples read are {train.lone_target:g}",
            measurements=(
                Measurement(name="examples read", value=float(train.num_images), threshold=float(_FEWEST_EXAMPLES)),
                Measurement(name="their only value", value=train.lone_target),
            ),
            cause="classes are lost before the loss: a mask was divided by 255 (ToTensor does), cast or thresholded too early",
            remedy="read masks as whole numbers: torch.as_tensor(numpy.array(mask)).long() in place of ToTensor",
            source="own; torchvision.transforms.ToTensor divides images of bytes by 255",
        )
    ]


def filled_in(place: str, value: float, share: float) -> Finding:
    """What is not known, and was given a number."""
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.filled",
        severity="warning",
        seen=f"{share:.0%} of a column of the targets, batch{place}, are {value:g}, whatever the input is; the other values, "
        "on both sides of it, go with the input",
        measurements=(
            Measurement(name="share of the examples with that number", value=share, threshold=0.3),
            Measurement(name="the number", value=value),
        ),
        cause="missing answers were filled in (fillna, nan_to_num), and the loss asks for what was filled in",
        remedy="leave them NaN and take the loss of the others alone: there = ~target.isnan(); loss(output[there], "
        "target[there]); of classes ignore_index=-100",
        source="own; relation to the input of where the number stands, and of the other values",
    )


def ignored_class(number: int, share: float) -> Finding:
    """A class of which nothing is learned."""
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.ignored",
        severity="warning",
        seen=f"the loss ignores class {number}, which {share:.0%} of the batch's examples are of",
        measurements=(Measurement(name="share of the examples that are ignored", value=share, threshold=0.0),),
        cause=f"ignore_index={number} is the number of a class, and not of what has no label",
        remedy="leave ignore_index at -100, or give it a number that no class has",
        source="PyTorch, torch.nn.CrossEntropyLoss (ignore_index)",
    )
