"""Whether a program learns whatever a rule says of it. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import HAS_LEARNED, WILL_TRAIN


def learns_all_the_same(evidence: Evidence) -> bool:
    """Whether a run has learned, or a rehearsal predicts that it will."""
    rehearsal = evidence.rehearsal
    is_predicted = rehearsal is not None and bool(rehearsal.steps) and bool(rehearsal.reference)
    if rehearsal is not None and is_predicted and judge_rehearsal(rehearsal).verdict in (WILL_TRAIN, HAS_LEARNED):
        return True
    return reading.has_learned(evidence)
