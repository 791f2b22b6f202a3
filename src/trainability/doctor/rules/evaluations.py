"""The evaluations of a run: training against validation, and which classes are predicted."""

import math

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule


@rule(severities=("warning",))
def prediction_collapse(evidence: Evidence) -> list[Finding]:
    """Almost all images are assigned to few classes.

    Fires: in the last evaluation after step 100 or later, the entropy of the predicted classes is below half of the labels'.
    Why: with ten balanced classes that is about three classes in use. Earlier it means nothing: an untrained deep net names
        one class for nearly everything.
    What fools it: an evaluation on a subset with another mix of classes, and a net that is on its way (it learns some classes
        first).
    Fix: check labels against images (`trainability.audit_data`), then the learning rate.
    Source: own; the log's trials caltech-1 to -4.
    """
    seen = [e for e in evidence.evaluations if e.predicted_class_entropy is not None and e.label_entropy and e.step >= 100]
    if not seen:
        return []
    last = seen[-1]
    share = (last.predicted_class_entropy or 0.0) / (last.label_entropy or 1.0)
    if share >= 0.5:
        return []
    most = ""
    if last.most_predicted_fraction is not None:
        most = f", {last.most_predicted_fraction:.0%} of them class {last.most_predicted_class}"
    return [
        Finding(
            rule="prediction_collapse",
            severity="warning",
            seen=f"predictions use {math.exp(last.predicted_class_entropy or 0.0):.1f} classes of "
            f"{math.exp(last.label_entropy or 0.0):.1f}{most}",
            measurements=(Measurement(name="entropy of predictions over labels", value=share, threshold=0.5),),
            cause="not learned yet, imbalanced labels, or labels that do not belong to their images",
            remedy="check labels against images (trainability.audit_data), then the learning rate",
            source="own; the log's trials caltech-1 to -4",
        )
    ]


@rule(severities=("warning", "hint"))
def overfit(evidence: Evidence) -> list[Finding]:
    """Training accuracy runs ahead of validation accuracy, and the gap grows.

    Fires: three evaluations of both splits or more, a gap of 0.1 or more at the last, larger than in the middle, and there
        larger than at the first. A warning from 0.3.
    Why: a gap alone is normal; one that grows means that what is learned no longer carries over.
    What fools it: splits of a few hundred images, where the gap is noise, and training errors measured with dropout on, which
        hide it.
    Fix: more augmentation, weight decay or dropout; or stop at the best validation step.
    Source: Zhang et al., AutoTrainer, ICSE 2021; own thresholds.
    """
    gaps = []
    for held_out in (e for e in evidence.evaluations if e.split == "validation" and e.top1_error is not None):
        same = [e for e in evidence.evaluations if e.split == "train" and e.step == held_out.step and e.top1_error is not None]
        if same:
            gaps.append((held_out.top1_error or 0.0) - (same[0].top1_error or 0.0))
    if len(gaps) < 3 or gaps[-1] < 0.1 or not gaps[-1] > gaps[len(gaps) // 2] > gaps[0]:
        return []
    return [
        Finding(
            rule="overfit",
            severity="warning" if gaps[-1] >= 0.3 else "hint",
            seen=f"training accuracy is {gaps[-1]:.1%} ahead of validation accuracy, and the gap grows",
            measurements=(Measurement(name="accuracy gap", value=gaps[-1], threshold=0.1),),
            cause="the net memorises its training images",
            remedy="more augmentation, weight decay or dropout; or stop at the best validation step",
            source="AutoTrainer, ICSE 2021",
        )
    ]
