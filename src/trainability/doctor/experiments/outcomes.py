"""What the arms of a battery say: the state of the program as it is, and which change mends it. Numbers only; no torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import FAILING, JOINT, OTHER_SEED, UNCHANGED, Arm, State
from trainability.doctor.experiments.judging import AT_CHANCE, CLEARLY, LEAST, Scale, mends
from trainability.doctor.outlook import judge_rehearsal

_LOST = 1.2  # more is left than at chance: not waiting there
_RANK = {"as it is": 0, "mends": 1, "helps": 2, "faster": 3, "no better": 4, "control": 5, "not tested": 6}


@dataclass(frozen=True, kw_only=True)
class Witness:
    """The program as it is.

    Attributes:
        unchanged: stepped for as long as there was time.
        other: with another seed.
        scale: of the loss.
        vary: whether the outputs still depend on the input at the end; None if not seen.
        planned_steps: of the whole run; None if unknown.
        evidence: what was seen before.
        mended_in: steps in which a change mended at first; None if none did.
    """

    unchanged: Arm
    other: Arm
    scale: Scale
    vary: bool | None
    planned_steps: int | None
    evidence: Evidence
    mended_in: int | None = None

    def left(self, steps: int | None = None) -> float:
        """What the better of both seeds leaves, after some steps or at the end of each."""
        return min(self.scale.late(arm.curve, steps) for arm in (self.unchanged, self.other))

    @property
    def is_finite(self) -> bool:
        """Whether the loss is still finite at the end."""
        return math.isfinite(self.unchanged.curve[-1][1])

    def was_seen_to_fail(self) -> bool:
        """Whether the rehearsal gave a reason why more steps would not help."""
        rehearsal = self.evidence.rehearsal
        return rehearsal is not None and judge_rehearsal(rehearsal).verdict in ("dead", "unstable", "too slow", "stalled")

    @property
    def waited(self) -> bool:
        """Whether it was stepped for at least twice as long as a change that mends needed."""
        return self.mended_in is None or self.unchanged.steps >= 2 * self.mended_in

    def may_get_going(self) -> bool:
        """Whether a program at chance may learn yet: its outputs live, and it was stepped little longer than the change, or
        more steps are planned.
        """
        tried, first = self.unchanged.steps, self.scale.left(self.unchanged.first_loss)
        if self.vary is False or self.was_seen_to_fail():
            return False
        if self.left() > _LOST and self.left() > 0.5 * first:
            return False
        return not self.waited or (self.planned_steps is not None and self.planned_steps > tried)

    def state(self, found: Sequence[Arm]) -> State:
        """How it did, beside the changes that mend at first."""
        if not self.is_finite and not math.isfinite(self.other.curve[-1][1]):
            return "not finite"
        if self.left() >= AT_CHANCE:
            return "open" if self.may_get_going() else "at chance"
        waited = self.waited or not self.is_finite
        return "stays above" if waited and any(self.is_mended_by(arm) for arm in found) else "learns"

    def is_mended_by(self, arm: Arm) -> bool:
        """Whether the change leaves less, with either seed, than the program as it is after all its steps."""
        ends = [self.scale.left(arm.loss), *([self.scale.left(arm.again)] if arm.again is not None else [])]
        return all(mends(end, self.left(), blind=self.scale.blind) for end in ends)

    def is_mended_early_by(self, arm: Arm, loss: float | None) -> bool:
        """Whether a loss after the arm's steps mends, beside the program as it is after as many."""
        return mends(self.scale.left(loss), self.left(arm.steps), blind=self.scale.blind)


def judged(found: Sequence[Arm], witness: Witness, state: State) -> list[Arm]:
    """Outcomes of changes that mend at first, once the program as it is had more time and they another seed."""
    worst = {
        arm.name: max(witness.scale.left(arm.loss), witness.scale.left(arm.again), LEAST)
        for arm in found
        if arm.again is not None and witness.is_mended_by(arm)
    }
    least = min(worst.values(), default=math.inf)
    judged = []
    for arm in found:
        if arm.again is None:
            judged.append(replace(arm, outcome="not tested", reason="mends once; no time was left for the other seed"))
        elif arm.steps < witness.unchanged.steps and not witness.is_mended_early_by(arm, arm.again):
            judged.append(replace(arm, outcome="no better", reason="mends with one seed and not with the other"))
        elif arm.name not in worst or state not in FAILING:
            judged.append(replace(arm, outcome="faster", reason="the program as it is gets there too, or may"))
        elif worst[arm.name] > CLEARLY * least:
            judged.append(replace(arm, outcome="helps", reason="mends, and another change reaches clearly less"))
        else:
            judged.append(replace(arm, outcome="mends"))
    return judged


def ordered(arms: Mapping[str, Arm], order: Mapping[str, int], scale: Scale | None) -> tuple[Arm, ...]:
    """The program as it is, its other seed, then the changes; of those that mend, what was suspected and is small comes first.

    Args:
        arms: by name.
        order: place of each change, the smallest first.
        scale: of the loss; None if it means nothing.
    """

    def place(arm: Arm) -> tuple[int, bool, float]:
        if arm.outcome == "mends":
            return _RANK["mends"], not arm.suspects, float(min(order[name] for name in arm.name.split(JOINT)))
        return _RANK[arm.outcome], False, scale.left(arm.loss) if scale is not None else 0.0

    references = [replace(arms[name], outcome="as it is") for name in (UNCHANGED, OTHER_SEED) if name in arms]
    changes = [arm for arm in arms.values() if arm.name not in (UNCHANGED, OTHER_SEED)]
    return (*references, *sorted(changes, key=place))
