"""How the changes that were tried stand: which came lowest, which fix the program, which are asked for first."""

import contextlib
import math
from collections.abc import Collection, Iterable

from trainability.doctor.experimented import JOINT, OTHER_SEED, UNCHANGED, Arm
from trainability.doctor.experiments import judging
from trainability.doctor.experiments.intervention import Intervention, keeps_from_learning
from trainability.doctor.experiments.judging import Scale
from trainability.doctor.experiments.outcomes import Witness
from trainability.doctor.experiments.sources import Source
from trainability.doctor.finding import Finding
from trainability.doctor.rate_choice import own_rate, settings_of

FEWEST_STEPS = 20  # fewer tell nothing apart
_MOST_PAIRED = 3
_RATES = ("rate_tenth", "rate_ten")
_LEAST_OF_SGD, _LEAST_OF_OTHERS = 1e-2, 1e-4  # a tenth of the usual 0.1 over 1 - momentum, and of Adam's default


class Standing:
    """The arms of one program, and how they rank.

    Attributes:
        arms: by name.
        vary: whether the outputs of the program as it is still depend on the input.
        scale: of the loss; None if it means nothing.
    """

    def __init__(self, source: Source, findings: tuple[Finding, ...], interventions: dict[str, Intervention]) -> None:
        self.source, self.findings, self.interventions = source, findings, interventions
        self.arms: dict[str, Arm] = {}
        self.vary: bool | None = None
        self.scale: Scale | None = None
        self.order = {name: place for place, name in enumerate(interventions)}

    def left(self, loss: float | None) -> float:
        return self.scale.left(loss) if self.scale is not None else math.inf

    def scaled(self) -> Scale | None:
        """By chance and the ideal loss; where chance is unknown, by the first loss."""
        task, ideal = self.source.task, self.source.ideal
        if task.chance is not None and task.chance > ideal + 1e-9:
            return Scale(chance=task.chance, ideal=ideal)
        first = self.arms[UNCHANGED].curve[0][1]
        return (
            Scale(chance=first, ideal=0.0, blind=True, is_game=self.source.plays)
            if math.isfinite(first) and first > 0
            else None
        )

    def witness(self, fixed_in: int | None = None) -> Witness:
        assert self.scale is not None
        return Witness(
            unchanged=self.arms[UNCHANGED],
            other=self.arms[OTHER_SEED],
            scale=self.scale,
            vary=self.vary,
            planned_steps=self.source.setup.planned_steps,
            evidence=self.source.evidence,
            fixed_in=fixed_in,
            hastening=frozenset(name for name, change in self.interventions.items() if change.hastens),
        )

    def may_come_late(self, witness: Witness, found: Iterable[Arm], compensating: Collection[str]) -> bool:
        """Whether a program at chance, of unknown length, may only be on a plateau: in its first pass, or at a usual rate.

        So it may where nothing fixes it but what shortens a plateau, as a larger rate does, and nothing shows that it fails. At
        a usual rate, a rehearsal that was too slow shows nothing: there may be more steps.
        """
        with contextlib.suppress(TypeError, NotImplementedError):
            size = len(self.source.setup.train_loader)  # type: ignore[arg-type]
            fixing = [arm.name for arm in found if arm.again is not None and witness.is_fixed_by(arm)]
            waits = bool(fixing) and set(fixing) <= set(compensating) and not any(arm.is_certain for arm in found)
            is_usual = self._has_usual_rate()
            is_open = self.source.setup.planned_steps is None and (size > witness.unchanged.steps or is_usual)
            fails = witness.was_seen_to_fail(*(("too slow",) if is_usual else ()))
            return waits and is_open and witness.vary is not False and not fails
        return False

    def _has_usual_rate(self) -> bool:
        """Whether the program's own rate is at most ten times smaller than what is usual for such an optimizer."""
        settings, rate = settings_of(self.source.evidence), own_rate(self.source.evidence)
        if settings is None or rate is None:
            return False
        return rate / (1 - (settings.momentum or 0.0)) >= (_LEAST_OF_SGD if "SGD" in settings.name else _LEAST_OF_OTHERS)

    def tested(self) -> list[Arm]:
        """Arms of single changes that were stepped."""
        singles = [arm for name, arm in self.arms.items() if name in self.interventions and arm.curve]
        return [arm for arm in singles if not self.interventions[arm.name].is_control]

    def best(self, count: int) -> list[Arm]:
        """Those that came lowest on their way; of about equal ones, what findings suggest first."""
        return self.one_of_a_family(self.tested())[:count]

    def one_of_a_family(self, arms: Iterable[Arm]) -> list[Arm]:
        """The best of each family, in the order of `best`: two ways to draw weights teach hardly more than one."""

        def place(arm: Arm) -> tuple[float, tuple[int, int]]:
            return round(min(self.left(loss) for _, loss in arm.curve), 1), self.priority(arm.name)

        ranked = sorted(arms, key=place)
        return list({self.family(arm.name): arm for arm in reversed(ranked)}.values())[::-1]

    def promising(self) -> list[str]:
        """The best changes, what the findings suggest, and another rate."""
        suspected = self.one_of_a_family(arm for arm in self.tested() if arm.suspects)[:_MOST_PAIRED]
        rates = [name for name in _RATES if name in self.arms and self.arms[name].curve]
        return list(dict.fromkeys([*(arm.name for arm in [*self.best(_MOST_PAIRED), *suspected]), *rates]))

    def of_facts(self) -> list[str]:
        """The changes that counted facts call for: two facts may need both, where a rate makes up for either."""
        return [arm.name for arm in self.one_of_a_family(arm for arm in self.tested() if arm.is_certain)][:_MOST_PAIRED]

    def family(self, name: str) -> str:
        return self.interventions[name].family or name

    def makes_up(self, name: str) -> bool:
        """Whether a change, or both of a pair, makes up for many faults without undoing them."""
        return all(self.interventions[part].makes_up(self.findings) for part in name.split(JOINT))

    def nearer_than(self, name: str, others: Iterable[Arm]) -> set[str]:
        """Which of the others are nearer to the cause than a change, if they fix the program too."""
        family = self.interventions[name].yields_to if JOINT not in name else ""
        single = [arm.name for arm in others if JOINT not in arm.name]
        return {other for other in single if family and self.interventions[other].family == family}

    def fixing(self) -> list[Arm]:
        """Arms that fix the program, beside both its seeds; of about equal ones the smallest change first."""
        witness = self.witness()
        pairs = [arm for name, arm in self.arms.items() if JOINT in name and arm.curve]
        found = [
            arm for arm in (*self.tested(), *pairs) if arm.steps >= FEWEST_STEPS and witness.is_fixed_early_by(arm, arm.loss)
        ]
        least = max(min((self.left(arm.loss) for arm in found), default=0.0), judging.LEAST)

        def place(arm: Arm) -> tuple[bool, tuple[int, int]]:
            return self.left(arm.loss) > judging.CLEARLY * least and not arm.is_certain, self.priority(arm.name)

        return sorted(found, key=place)

    def doubt(self) -> str | None:
        """Why a rate, a clip or the like that fixes the program is not its cause.

        A counted fact keeps it from learning, and no change that was stepped is about that; or the change of an unusual setting
        gets further by itself, so that a rate may make up for that.
        """
        stepped = {code for arm in self.tested() for code in arm.suspects}
        fact = next((f.code for f in self.findings if keeps_from_learning(f) and f.code not in stepped), None)
        if fact is not None:
            return f"{fact} was counted, and no change that was tried undoes it"
        settings = [arm for arm in self.tested() if self.interventions[arm.name].is_setting]
        ahead = next((arm for arm in settings if self.witness().gets_further(arm)), None)
        return f"{ahead.change}: the program gets further with that, too, and a rate may only make up for it" if ahead else None

    def is_asked(self, name: str, *, is_solved: bool) -> bool:
        """Whether it is of use where the program learns: a control, of a solved one if a finding asks for it; and what undoes a
        counted fact, which may keep the loss from falling further.
        """
        change = self.interventions[name]
        if not change.is_control and not change.is_counted and change.is_certain(self.findings):
            return True
        return change.is_control and (not is_solved or bool(change.suspected_by(self.findings)))

    def priority(self, name: str) -> tuple[int, int]:
        """What is certain, then what findings suggest, then what measurements do; small changes first. Of a pair, its first."""
        first = name.split(JOINT)[0]
        change = self.interventions[first]
        known = (change.is_certain(self.findings), change.suspected_by(self.findings), change.hinted(self.source.evidence))
        return next((rank for rank, is_so in enumerate(known) if is_so), len(known)), self.order[first]
