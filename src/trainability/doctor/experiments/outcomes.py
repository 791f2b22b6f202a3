"""What the arms of a battery say: the state of the program as it is, and which change fixes it. Numbers only; no torch."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import FAILING, JOINT, OTHER_SEED, UNCHANGED, Arm, State
from trainability.doctor.experiments.judging import AT_CHANCE, CLEARLY, HALF, LEAST, OUT_OF_REACH, Scale, fixes
from trainability.doctor.outlook import judge_rehearsal

_FEWEST_LOOKS = 4
_LOST = 1.2  # more is left than at chance: not waiting there
_FURTHER = 0.1
_OWN_FALL = 0.7  # of what is left at the change's own start
_FAILS = {"dead", "unstable", "too slow", "stalled"}  # verdicts on a rehearsal
_RANK = {"as it is": 0, "trains": 1, "also helps": 2, "faster": 3, "no better": 4, "control": 5, "not tested": 6}


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
        fixed_in: steps in which a change fixed at first; None if none did.
        hastening: names of changes that make a program that learns only faster.
    """

    unchanged: Arm
    other: Arm
    scale: Scale
    vary: bool | None
    planned_steps: int | None
    evidence: Evidence
    fixed_in: int | None = None
    hastening: frozenset[str] = frozenset()

    def left(self, steps: int | None = None) -> float:
        """What the better of both seeds leaves, after some steps or at the end of each."""
        return min(self.scale.late(arm.curve, steps) for arm in (self.unchanged, self.other))

    @property
    def is_finite(self) -> bool:
        """Whether the loss is still finite at the end."""
        return math.isfinite(self.unchanged.curve[-1][1])

    def was_seen_to_fail(self, *but: str) -> bool:
        """Whether the rehearsal gave a reason why more steps would not help, other than these verdicts."""
        rehearsal = self.evidence.rehearsal
        return rehearsal is not None and judge_rehearsal(rehearsal).verdict in _FAILS.difference(but)

    @property
    def waited(self) -> bool:
        """Whether it was stepped for at least twice as long as a change that fixes it needed."""
        return self.fixed_in is None or self.unchanged.steps >= 2 * self.fixed_in

    @property
    def stands_still(self) -> bool:
        """Whether its loss on the reference was the same at every look, bit for bit."""
        return len(self.unchanged.curve) > _FEWEST_LOOKS and len({loss for _, loss in self.unchanged.curve}) == 1

    def may_get_going(self) -> bool:
        """Whether a program at chance may learn yet: its outputs live, and it was stepped little longer than the change, or
        more steps are planned.
        """
        tried, first = self.unchanged.steps, self.scale.left(self.unchanged.first_loss)
        if self.vary is False or self.was_seen_to_fail() or (self.waited and self.stands_still):
            return False
        if self.left() > _LOST and self.left() > 0.5 * first:
            return False
        return not self.waited or (self.planned_steps is not None and self.planned_steps > tried)

    def state(self, found: Sequence[Arm]) -> State:
        """How it did, beside the changes that fix it at first."""
        if not self.is_finite and not math.isfinite(self.other.curve[-1][1]):
            return "not finite"
        if self.left() >= AT_CHANCE:
            return "open" if self.may_get_going() else "at chance"
        waited = self.waited or not self.is_finite
        return "stays above" if waited and any(self.is_fixed_by(arm) for arm in found) else "learns"

    def is_fixed_by(self, arm: Arm) -> bool:
        """Whether the program learns with the change, with either seed, and does not without it after all its steps."""
        losses = [arm.loss, *([arm.again] if arm.again is not None else [])]
        return all(self._is_ahead(arm, loss, self.left()) for loss in losses)

    def is_fixed_early_by(self, arm: Arm, loss: float | None) -> bool:
        """The same of one loss after the arm's steps, beside the program as it is after as many."""
        return self._is_ahead(arm, loss, self.left(arm.steps))

    def _is_ahead(self, arm: Arm, loss: float | None, unchanged: float) -> bool:
        """Whether the change fixes the program, and is ahead of its better seed by more than the two are apart.

        How far the seeds are apart is no matter where a counted fact calls for the change: it was not chosen for doing best,
        and a fault such as a ReLU at the end stops one seed and caps another. Nor is it where the better seed is out of reach:
        of two seeds that fail, one may have learned a part.
        """
        changed = self.scale.left(loss)
        ahead = min(unchanged, 1.0) - changed
        if self.scale.is_game and not changed <= _OWN_FALL * self.scale.left(arm.curve[0][1]):
            return False  # other weights may make something nearer before any step, and learn nothing
        if arm.name in self.hastening and not arm.is_certain and unchanged < HALF:
            return False  # more steps do the same
        is_ahead = arm.is_certain or ahead > self.apart(arm.steps) or unchanged >= OUT_OF_REACH * max(changed, LEAST)
        return (
            fixes(changed, unchanged, blind=self.scale.blind, is_game=self.scale.is_game, is_certain=arm.is_certain)
            and is_ahead
        )

    def gets_further(self, arm: Arm) -> bool:
        """Whether a change is ahead of the better seed by more than both are apart, and by a tenth of what that leaves."""
        unchanged = min(self.left(arm.steps), 1.0)
        return unchanged - self.scale.left(arm.loss) > max(self.apart(arm.steps), _FURTHER * unchanged)

    def apart(self, steps: int) -> float:
        """The null: how far luck alone moves what the program as it is leaves; worse than chance counts as chance."""
        ends = [min(self.scale.late(arm.curve, steps), 1.0) for arm in (self.unchanged, self.other)]
        return abs(ends[0] - ends[1])


def judged(
    found: Sequence[Arm],
    witness: Witness,
    state: State,
    compensating: Collection[str],
    doubt: str | None = None,
    nearer: Mapping[str, Collection[str]] = {},
) -> list[Arm]:
    """Outcomes of changes that fix the program at first, once it had more time as it is and they another seed.

    Args:
        found: the changes.
        witness: the program as it is.
        state: how that did.
        compensating: names of those that make up for a fault without undoing it.
        doubt: why a change that makes up for a fault without undoing it is not the cause; None if nothing speaks against it.
        nearer: by name, which others are nearer to the cause, if they fix the program too.
    """
    worst = {
        arm.name: max(witness.scale.left(arm.loss), witness.scale.left(arm.again), LEAST)
        for arm in found
        if arm.again is not None and witness.is_fixed_by(arm)
    }
    fixing = [arm for arm in found if arm.name in worst]
    makes_up = {arm.name for arm in fixing if arm.name in compensating and _is_undone(arm, fixing, worst, compensating)}
    makes_up |= {name for name in worst if not worst.keys().isdisjoint(nearer.get(name, ()))}
    least = min((left for name, left in worst.items() if name not in makes_up), default=math.inf)
    judged = []
    for arm in found:
        if arm.again is None:
            judged.append(replace(arm, outcome="not tested", reason="it learns once; it was not tried with the other seed"))
        elif arm.steps < witness.unchanged.steps and not witness.is_fixed_early_by(arm, arm.again):
            judged.append(replace(arm, outcome="no better", reason="it learns with one seed and not with the other"))
        elif arm.name not in worst or state not in FAILING:
            judged.append(replace(arm, outcome="faster", reason="the program as it is gets there too, or may"))
        elif doubt is not None and arm.name in compensating:
            judged.append(replace(arm, outcome="also helps", reason=doubt))
        elif arm.name in makes_up:
            judged.append(replace(arm, outcome="also helps", reason="it makes up for the cause, which another change undoes"))
        elif worst[arm.name] > CLEARLY * least and not arm.is_certain:
            judged.append(replace(arm, outcome="also helps", reason="it learns, and another change reaches clearly less"))
        else:
            judged.append(replace(arm, outcome="trains"))
    return judged


def _is_undone(arm: Arm, fixing: Sequence[Arm], worst: Mapping[str, float], compensating: Collection[str]) -> bool:
    """Whether a change that does more than to make up for a fault fixes the program, and is as likely the cause."""
    others = [other for other in fixing if other.name not in compensating and other.rank <= arm.rank]
    return any(other.is_certain or worst[other.name] <= CLEARLY * worst[arm.name] for other in others)


def unfixed(arms: Iterable[Arm], state: State) -> list[str]:
    """What to look at where the program fails and no change fixes it: what none of them changes; empty elsewhere."""
    changes = [arm for arm in arms if arm.name not in (UNCHANGED, OTHER_SEED)]
    told = any(arm.outcome in ("trains", "also helps") or arm.bears_out for arm in changes)
    tried = sum(bool(arm.curve) and arm.outcome in ("no better", "faster") for arm in changes)
    if told or state not in FAILING or not tried:
        return []
    left = "which targets go with which inputs, what the loss compares, and what the model leaves out"
    return [f"experiments: none of the {tried} changes that were tried makes it learn; what they do not change: {left}"]


def ordered(arms: Mapping[str, Arm], order: Mapping[str, int], scale: Scale | None) -> tuple[Arm, ...]:
    """The program as it is, its other seed, then changes; of those that fix it, what is certain, then suspected, then small.

    Args:
        arms: by name.
        order: place of each change, the smallest first.
        scale: of the loss; None if it means nothing.
    """

    def place(arm: Arm) -> tuple[int, int, float]:
        if arm.outcome == "trains":
            return _RANK["trains"], arm.rank, float(min(order[name] for name in arm.name.split(JOINT)))
        return _RANK[arm.outcome], 0, scale.left(arm.loss) if scale is not None else 0.0

    references = [replace(arms[name], outcome="as it is") for name in (UNCHANGED, OTHER_SEED) if name in arms]
    changes = [arm for arm in arms.values() if arm.name not in (UNCHANGED, OTHER_SEED)]
    return (*references, *sorted(changes, key=place))
