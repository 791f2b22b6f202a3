"""What experiments make of a verdict: the box of a diagnosis follows from what was tried last. Data only; no torch."""

from trainability.doctor.diagnosis import Verdict
from trainability.doctor.experimented import FAILING, Arm, Experiments, ends, figures, written

# Verdicts that a confirmed cause contradicts, promises among them, and those that a program that learns contradicts.
_MILD = ("will train", "slow start", "cannot tell", "has learned")
_PROMISES = ("will train", "has learned")
_TRIED = ("dead", "stalled", "too slow", "unstable")
_LOST = 1.2
_LIFT_A_CAP = ("softmax_off", "sigmoid_off", "last_activation_off")
_HALF_LEFT = 0.5  # of the way to the ideal, with either seed: a program that is called dead is not
_LITTLE_LEFT = 0.25  # where nothing else speaks against it, it was seen to train


def tried_verdict(verdict: Verdict, reason: str, experiments: Experiments, *, is_clear: bool = False) -> tuple[Verdict, str]:
    """The verdict after experiments, with its reason, which says how the program as it is did in them.

    Args:
        verdict: before them.
        reason: for it.
        experiments: on the same program.
        is_clear: nothing worse than a hint was found, and a rehearsal alone could not tell.
    """
    control = next((arm for arm in experiments.arms if arm.bears_out and arm.outcome == "control"), None)
    if control is not None:
        return ("broken data", control.reason) if verdict in _MILD else (verdict, f"{reason}; {control.reason}")
    unchanged = experiments.unchanged
    if unchanged is None or not unchanged.curve:
        return verdict, reason
    if experiments.state in FAILING:
        return _of_failure(verdict, reason, experiments, unchanged)
    if experiments.state == "open":
        waits = "and may still begin within its plan, so there is nothing to confirm yet"
        return verdict, f"{reason}; in experiments it has not learned yet ({_both(experiments, unchanged)}), {waits}"
    if experiments.state != "learns":
        return verdict, reason
    left, learns = _left(experiments, unchanged), f"it learns as it is ({_both(experiments, unchanged)})"
    if verdict in _TRIED and left <= _HALF_LEFT:
        return "cannot tell", f"{reason}; but in experiments {learns}"
    if verdict == "cannot tell" and is_clear and experiments.chance is not None and left <= _LITTLE_LEFT:
        return "will train", f"in experiments {learns}"
    return verdict, f"{reason}; in experiments {learns}, so there is nothing to confirm"


def _of_failure(verdict: Verdict, reason: str, experiments: Experiments, unchanged: Arm) -> tuple[Verdict, str]:
    if experiments.confirmed:
        said = f"one change makes it learn: {figures(experiments.confirmed[0], experiments)}"
        return (_kind(experiments, unchanged), said) if verdict in _MILD else (verdict, f"{reason}; {said}")
    tried = sum(bool(arm.curve) and arm.outcome not in ("control", "not tested") for arm in experiments.changes)
    helps = next((arm for arm in experiments.changes if arm.outcome == "also helps"), None)
    none = f"{helps.change} helps ({ends(helps)})" if helps is not None else f"none of {tried} changes makes it learn"
    said = f"in experiments it does not learn as it is ({_both(experiments, unchanged)}), and {none}"
    if experiments.state == "not finite" and verdict in _MILD:
        return "unstable", said
    # What stays above a change that was not confirmed has learned something.
    return ("cannot tell" if verdict in _PROMISES and experiments.state == "at chance" else verdict), f"{reason}; {said}"


def _kind(experiments: Experiments, unchanged: Arm) -> Verdict:
    """In which way a program fails that a change makes learn."""
    if experiments.state == "not finite":
        return "unstable"
    if experiments.state == "stays above":
        return "capped" if experiments.confirmed[0].name in _LIFT_A_CAP else "too slow"
    lost = experiments.chance is not None and (unchanged.loss or 0.0) > _LOST * experiments.chance
    return "unstable" if lost else "stalled"


def _left(experiments: Experiments, unchanged: Arm) -> float:
    """What the worse of both seeds leaves of the way from chance, or from the first loss, to the ideal."""
    first = unchanged.first_loss if experiments.chance is None else experiments.chance
    ideal = 0.0 if experiments.chance is None else experiments.ideal
    losses = [seed.loss for seed in (unchanged, experiments.other_seed) if seed is not None and seed.curve]
    if first is None or not first > ideal or len(losses) < 2:
        return float("inf")
    return max((loss - ideal) / (first - ideal) for loss in losses if loss is not None)


def _both(experiments: Experiments, unchanged: Arm) -> str:
    other = experiments.other_seed
    return ends(unchanged) + (f", other seed {written(other.loss)}" if other is not None and other.curve else "")
