"""Labels of steps that belong to the step before or behind. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement

_TOLD, _OWN = 0.5, 0.15  # shares of the labels' variance, as the measurement has them
_FEWEST_STEPS, _LEARNED = 50, 0.8  # rehearsed steps; of the first loss
_NEAR = (0.5, 20.0)  # times what the labels' frequencies cost: so far off, the first loss is no mean of cross-entropies


def shifted(evidence: Evidence) -> list[Finding]:
    """Labels that a neighbouring step's input tells, which the model does not see, where no step shows that it learns."""
    found = reading.facts(evidence).readings.shifted
    if found is None or reading.has_learned(evidence) or reading.carries_over(evidence):
        return []
    looks = evidence.rehearsal.reference if evidence.rehearsal is not None else ()
    if looks and looks[-1].loss <= _LEARNED * _first(looks[0].loss, found.cost):
        return []
    steps = "step" if abs(found.by) == 1 else "steps"
    may_forecast = found.by > 0 and found.sees_earlier  # as likely as a mistake, and no measurement here tells which
    is_seen_long = bool(looks) and looks[-1].step >= _FEWEST_STEPS
    which = f"{abs(found.by)} {steps} {'later' if found.by > 0 else 'earlier'}"
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.shifted",
            severity="warning" if is_seen_long and not may_forecast else "hint",
            seen=f"batch{found.target} holds a label for each step of batch{found.given}; the input {which} explains "
            f"{100 * found.told:.0f} % of the labels' variance in held-out sequences, that of the label's own step "
            f"{100 * found.own:.0f} %, and the model's answer for a step does not depend on the input {which}",
            measurements=(
                Measurement(name=f"explained by the input {which}", value=found.told, threshold=_TOLD),
                Measurement(name="explained by the input of the same step", value=found.own, threshold=_OWN),
                Measurement(name="labels compared", value=float(found.places)),
            ),
            cause=f"labels are shifted against their inputs by {abs(found.by)}: a mark such as <s> is put in front of only one "
            "of the two, or padding at different ends, or one is cut ([:-1], [1:]) and the other is not"
            + ("; or what comes next is to be predicted, and no single step before it tells what" if found.by > 0 else ""),
            remedy="put the same number of fillers in front of inputs and labels (-100 for a label that does not count), and "
            "print one sequence with its labels beside it, as the loader yields them",
            source="own; fitted on half of the sequences, and inputs exchanged step by step",
        )
    ]


def _first(loss: float, cost: float) -> float:
    """The loss that counts as not having learned: a first one that is far off falls to what frequencies cost by itself."""
    return min(loss, cost) if _NEAR[0] * cost <= loss <= _NEAR[1] * cost else loss
