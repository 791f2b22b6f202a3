"""The battery: the program as it is, a second seed of it, and one change after another, within a time."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Sequence

from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import INAPPLICABLE, JOINT, OTHER_SEED, UNCHANGED, Arm, Experiments, State
from trainability.doctor.experiments import judging
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.intervention import Intervention
from trainability.doctor.experiments.outcomes import judged, ordered, unfixed
from trainability.doctor.experiments.sources import ProgramFailed, Source, kept_batches
from trainability.doctor.experiments.standing import FEWEST_STEPS, Standing
from trainability.doctor.experiments.variant import run
from trainability.doctor.finding import Finding
from trainability.doctor.measure.nested import modules
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.setup import Setup

PATIENCE = 5  # times as long as a change that fixes it, the program as it is may take to get there too
LONGER = 4  # times as long, where no change fixes the program at first and there is time
LOOKS = 8  # at the reference, of an arm
_RUNGS = (8, 3, 1)  # where there is no time for all, the steps of an arm are divided by these ...
_KEPT = 1 / 3  # ... and this share goes on
_MOST_AGAIN = 5

Progress = Callable[[str, int, int | None], None]
Elsewhere = Callable[[Sequence[str], int], dict[str, Arm]]
"""Steps the program with each of these changes, alone, so many steps, somewhere else; arms by the change's name."""


def experiment(
    setup: Setup,
    evidence: Evidence,
    findings: Sequence[Finding] = (),
    *,
    make: Callable[[], Setup] | None = None,
    seconds: float = 60.0,
    max_steps: int = 120,
    interventions: dict[str, Intervention] | None = None,
    progress: Progress | None = None,
    elsewhere: Elsewhere | None = None,
) -> Experiments:
    """Changes one thing at a time in copies of a program, and steps each copy beside the program as it is.

    Args:
        setup: of the program. Model, optimizer, loaders and random state are afterwards as they were, bit for bit, also after
            an exception or Ctrl-C.
        evidence: what `check` saw.
        findings: what it suspects; the changes that they call for come first.
        make: makes the program anew; None to copy it.
        seconds: about as long at most.
        max_steps: of an arm; where no change fixes the program and there is time, four times as many.
        interventions: by name, the smallest change first; None for all.
        progress: called with the change that is tried, its number, and how many are planned, which grows where more are
            needed; `None` before that is known.
        elsewhere: tries changes side by side, each alone; `None` tries one after the other, here.

    Returns:
        What each change did.

    Raises:
        ValueError: there is no batch, or a number is below what it may be.
    """
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds:g}; expected more than 0")
    if max_steps < FEWEST_STEPS:
        raise ValueError(f"max_steps is {max_steps}; expected {FEWEST_STEPS} or more")
    began = time.monotonic()
    if setup.optimizer is None and setup.step is None:
        return Experiments(notes=("experiments: no optimizer was given (optimizer=)",))
    if len(modules(setup.model)) > 1 and evidence.rehearsal is None:
        return Experiments(notes=("experiments: several models were not rehearsed, and whether they share a loss is unknown",))
    with randomness_restored(), generators_restored(setup.train_loader), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the loop itself will say once is not said many times
        batches, notes = kept_batches(setup.train_loader, max_steps, 0.1 * seconds)
        try:
            source = Source(setup, evidence, batches, make=make)
        except ProgramFailed as error:
            return Experiments(notes=(*notes, f"experiments: nothing was tested, because {error}"))
        if source.plays and source.judge is None:
            return Experiments(notes=(*notes, "experiments: of models with losses of their own none makes what batches hold"))
        if evidence.facts is not None and evidence.facts.draws_own and source.task.chance is None and not source.plays:
            why = "a step draws by what its outputs say, as a policy acts, and its loss does not show what is learned"
            return Experiments(notes=(*notes, f"experiments: nothing was tested, because {why}"))
        table = INTERVENTIONS if interventions is None else interventions
        found = _Battery(source, tuple(findings), table, max_steps, began + seconds, progress, elsewhere).run()
    notes = (*notes, *source.notes, *found.notes)
    return dataclasses.replace(found, notes=notes, seconds=time.monotonic() - began)


def single_arm(
    source: Source,
    findings: Sequence[Finding],
    interventions: dict[str, Intervention],
    name: str,
    *,
    steps: int,
    max_steps: int,
) -> Arm:
    """Step a program with one change, as the battery does.

    Args:
        source: of the program.
        findings: as for `experiment`.
        interventions: by name.
        name: of the change.
        steps: that are taken.
        max_steps: as for `experiment`; looks at the reference are spread over them.
    """
    return _Battery(source, tuple(findings), interventions, max_steps, math.inf).arm((name,), steps)


class _Battery(Standing):
    """The arms of one program, as they are run.

    Attributes:
        steps: of an arm.
        cost: seconds of a step.
    """

    def __init__(
        self,
        source: Source,
        findings: tuple[Finding, ...],
        interventions: dict[str, Intervention],
        max_steps: int,
        deadline: float,
        progress: Progress | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        super().__init__(source, findings, interventions)
        self.steps, self.every, self.deadline, self.progress = max_steps, max(1, max_steps // LOOKS), deadline, progress
        self.elsewhere = elsewhere
        self.cost, self.begun = 0.0, 0
        self.total: int | None = None  # copies that are planned
        self.notes: list[str] = []
        self.again: dict[tuple[str, int], float] = {}

    def run(self) -> Experiments:
        """Runs all of it."""
        if not self.without_change(UNCHANGED, self.steps, deadline=time.monotonic() + 0.15 * self.left_seconds()):
            return self.result("unknown")
        unchanged = self.arms[UNCHANGED]
        if math.isfinite(unchanged.curve[-1][1]) and unchanged.steps < self.steps:
            self.notes.append(f"experiments: {unchanged.steps} of {self.steps} steps each fit the time (seconds)")
            self.steps = unchanged.steps
        if self.steps < FEWEST_STEPS or not self.affords(3 * self.steps):
            fits = f"{unchanged.steps} steps took {unchanged.seconds:.0f} s"
            self.notes.append(f"experiments: {fits}; each change needs {FEWEST_STEPS} steps at least (seconds)")
            return self.result("unknown")
        if not self.without_change(OTHER_SEED, self.steps):
            return self.result("unknown")
        self.scale = self.scaled()
        if self.scale is None and any(math.isfinite(self.arms[name].curve[-1][1]) for name in (UNCHANGED, OTHER_SEED)):
            self.notes.append("experiments: what chance costs is not known, and the first loss is no measure")
            return self.result("unknown")
        if self.scale is None:  # not finite from the first step on; changes are measured by what they reach
            self.notes.append("experiments: what chance costs could not be seen; the loss is not finite")
            return self.result("not finite")
        beside = {change.beside for change in self.interventions.values()}
        names = [name for name in self.interventions if name not in beside]
        left = self.witness().left(self.steps)
        if left < judging.FAR_LEFT:  # whatever a change reaches, it does not fix a program that learns so much
            self.one_by_one([name for name in names if self.is_asked(name, is_solved=left <= judging.SOLVED)])
            return self.concluded([])
        self.one_by_one(names)
        found = self.fixing()
        if not found:
            found = self.longer()
        if not found and self.witness().left(self.steps) >= judging.LEARNED:
            found = self.in_pairs(self.promising())
        elif found and all(self.makes_up(arm.name) or not self.holds(arm) for arm in found):
            found = self.in_pairs(self.of_facts())
        return self.concluded(found)

    def arm(self, names: tuple[str, ...], steps: int, *, seed: int = 0, deadline: float = math.inf) -> Arm:
        """Steps the program with these changes; one with which it fails to run is not tested, and says why."""
        changes = [self.interventions[name] for name in names]
        arm = Arm(
            name=JOINT.join(names) or (OTHER_SEED if seed else UNCHANGED),
            change=", and ".join(change.change for change in changes) or ("another seed" if seed else "as it is"),
            suspects=tuple(dict.fromkeys(code for change in changes for code in change.suspected_by(self.findings))),
            is_certain=any(change.is_certain(self.findings) for change in changes),
        )
        if self.progress is not None:
            self.begun += 1
            self.total = None if self.total is None else max(self.total, self.begun)
            self.progress(arm.change, self.begun, self.total)
        began = time.monotonic()
        try:
            with self.source.variant(seed) as variant:
                for change in changes:
                    if not change.applies(variant):
                        return dataclasses.replace(arm, outcome="not tested", reason=INAPPLICABLE)
                    change.make(variant)
                seen = run(variant, steps, deadline=deadline, every=self.every)
        except Exception as error:
            reason = f"the program failed {'with it' if names else 'without a change'} ({error_line(error)})"
            return dataclasses.replace(arm, outcome="not tested", reason=reason)
        if arm.name == UNCHANGED:
            self.cost, self.vary = seen.step_seconds, seen.outputs_vary
        return dataclasses.replace(arm, curve=seen.curve, seconds=time.monotonic() - began)

    def without_change(self, name: str, steps: int, *, deadline: float = math.inf) -> bool:
        """Steps the program as it is, or its other seed; where it fails, what fewer steps showed stays, with a note."""
        arm = self.arm((), steps, seed=int(name == OTHER_SEED), deadline=deadline)
        if not arm.curve:
            tested = "" if name in self.arms else "nothing was tested; "
            self.notes.append(f"experiments: {tested}{arm.change}, {arm.reason}")
            return False
        self.arms[name] = arm
        return True

    def with_change(self, name: str, steps: int) -> Arm:
        """Steps the program with one change; where it fails, what fewer steps showed stays."""
        arm = self.arm((name,), steps)
        if arm.curve or name not in self.arms:
            self.arms[name] = arm
        return self.arms[name]

    def one_by_one(self, names: list[str]) -> None:
        """Every change that applies; by successive halving where there is no time for all."""
        names = [name for name in sorted(names, key=self.priority) if self.applies(name)]
        spared = (PATIENCE + 2) * self.steps * self.cost
        for_all = max(self.left_seconds() - spared, 0.4 * self.left_seconds())
        rungs = (1,) if len(names) * self.steps * self.cost <= for_all else _RUNGS
        for divisor in rungs:
            steps = max(self.steps // divisor, min(self.steps, LOOKS))
            most = max(1, int(for_all / len(rungs) / max(steps * self.cost, 1e-9)))
            for name in names[most:]:
                self.leave_out(name, "no time was left")
            names = names[:most]
            if self.total is None:  # with a second seed of what helps, and a longer look at the program as it is
                self.total = self.begun + sum(round(len(names) * _KEPT**rung) for rung in range(len(rungs))) + 2
            made = self.elsewhere(names, steps) if self.elsewhere is not None else {}
            self.begun += len(made)
            for name in names:
                if name in made:
                    self.arms[name] = made[name]
                elif self.affords(steps):
                    self.with_change(name, steps)
                else:
                    self.leave_out(name, "no time was left")
            if steps < self.steps:
                names = self.survivors(names)

    def survivors(self, names: list[str]) -> list[str]:
        """The better third, whatever fixes the program already, and whatever a finding suggests."""
        ranked = sorted(names, key=lambda name: self.left(self.arms[name].loss))
        kept = {*ranked[: max(2, round(_KEPT * len(ranked)))], *(name for name in names if self.arms[name].suspects)}
        kept |= {name for name in names if self.witness().is_fixed_early_by(self.arms[name], self.arms[name].loss)}
        return [name for name in names if name in kept]

    def longer(self) -> list[Arm]:
        """The best changes again, as many as there is time for, for four times as long."""
        steps = LONGER * self.steps
        count = next((count for count in (3, 2, 1) if self.affords((count + 2) * steps)), 0)
        if not count:
            return []
        best = self.best(count)
        if not (self.without_change(UNCHANGED, steps) and self.without_change(OTHER_SEED, steps)):
            return []
        for arm in best:
            if self.affords(steps):
                self.with_change(arm.name, steps)
        return self.fixing()

    def in_pairs(self, names: list[str]) -> list[Arm]:
        """Two changes together, where none suffices alone."""
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                if self.family(first) != self.family(second) and self.affords((PATIENCE + 2) * self.steps):
                    pair = self.arm(tuple(sorted((first, second), key=lambda name: self.order[name])), self.steps)
                    self.arms[pair.name] = pair
        return self.fixing()

    def with_other_seed(self, arm: Arm) -> float | None:
        """The last loss of a change with the other seed; infinite where it fails, None where there is no time."""
        if (arm.name, arm.steps) not in self.again and self.affords(arm.steps):
            loss = self.arm(tuple(arm.name.split(JOINT)), arm.steps, seed=1).loss
            self.again[arm.name, arm.steps] = math.inf if loss is None else loss
        return self.again.get((arm.name, arm.steps))

    def holds(self, arm: Arm) -> bool:
        """Whether a change fixes the program with the other seed, too, as far as can be seen."""
        loss = self.with_other_seed(arm)
        return loss is None or self.witness().is_fixed_early_by(arm, loss)

    def concluded(self, found: list[Arm]) -> Experiments:
        """Tries changes that fix the program with the other seed too, gives it more time as it is, and says what is left."""
        again = []
        for arm in found[:_MOST_AGAIN]:
            again.append(dataclasses.replace(arm, again=self.with_other_seed(arm)))
        if found and self.affords(2 * found[0].steps):
            self.without_change(UNCHANGED, PATIENCE * found[0].steps, deadline=self.deadline)
        holds = any(arm.again is not None and self.witness().is_fixed_by(arm) for arm in again)
        again = [self.given_as_long(arm, waits=not holds) for arm in again]
        witness = self.witness(found[0].steps if found else None)
        compensating = [arm.name for arm in found if self.makes_up(arm.name)]
        state = witness.state(again)
        if state == "at chance" and self.may_come_late(witness, again, compensating):
            state = "open"
        nearer = {arm.name: self.nearer_than(arm.name, found) for arm in found}
        for arm in judged([*again, *found[_MOST_AGAIN:]], witness, state, compensating, self.doubt(), nearer):
            self.arms[arm.name] = arm
        self.read_controls(is_longer=not found)
        self.notes += unfixed(self.arms.values(), state)
        return self.result(state)

    def read_controls(self, *, is_longer: bool) -> None:
        """What the controls answer; where the program as it is learned late, they are asked for as many steps."""
        unchanged, other = self.arms[UNCHANGED], self.arms[OTHER_SEED]
        for name, arm in list(self.arms.items()):
            change = self.interventions.get(name)
            if change is None or change.reading is None or not arm.curve:
                continue
            steps = min(unchanged.steps, other.steps)
            is_late = self.witness().left(arm.steps) > judging.LEARNED >= self.witness().left(steps)
            if is_longer and is_late and self.affords(steps):
                arm = self.with_change(name, steps)
            said, bears_out = change.reading(arm, unchanged, other, self.left)
            if bears_out and change.beside:
                said, bears_out = self.read_beside(change.beside, arm.steps)
            suspects = arm.suspects or (change.answers if bears_out else ())
            self.arms[name] = dataclasses.replace(arm, outcome="control", reason=said, bears_out=bears_out, suspects=suspects)

    def read_beside(self, name: str, steps: int) -> tuple[str, bool]:
        """What a second control answers; where it cannot be tried, nothing is borne out."""
        if name not in self.interventions or not self.applies(name) or not self.affords(steps):
            return "it learns as fast so, and whether it has only memorised its examples could not be seen", False
        reading, arm = self.interventions[name].reading, self.with_change(name, steps)
        if reading is None or not arm.curve:
            return arm.reason, False
        said, bears_out = reading(arm, self.arms[UNCHANGED], self.arms[OTHER_SEED], self.left)
        self.arms[name] = dataclasses.replace(arm, outcome="control", reason=said)
        return said, bears_out

    def given_as_long(self, arm: Arm, *, waits: bool) -> Arm:
        """A change that fixed it at first is given as many steps as it had, where that came near.

        So is one of which a seed lags behind, where no change fixes the program with both (`waits`).
        """
        witness = self.witness()
        steps = witness.unchanged.steps
        is_close = witness.left() > judging.FAR_LEFT and not witness.is_fixed_by(arm) and steps > arm.steps
        if not is_close or not (waits or witness.is_fixed_early_by(arm, arm.again)) or not self.affords(2 * steps):
            return arm
        names = tuple(arm.name.split(JOINT))
        other = self.arm(names, steps, seed=1)
        return dataclasses.replace(self.arm(names, steps), again=math.inf if other.loss is None else other.loss)

    def result(self, state: State) -> Experiments:
        for name in self.interventions:
            if name not in self.arms:
                self.leave_out(name, "the program learns as it is" if state == "learns" else "not reached")
            elif self.is_cut_short(self.arms[name]):
                reason = f"cut short after {self.arms[name].steps} of {self.steps} steps"
                self.arms[name] = dataclasses.replace(self.arms[name], outcome="not tested", reason=reason)
        return Experiments(
            arms=ordered(self.arms, self.order, self.scale),
            state=state,
            steps=self.steps,
            chance=self.source.task.chance,
            ideal=self.source.ideal,
            outputs_vary=self.vary,
            notes=tuple(self.notes),
        )

    def is_cut_short(self, arm: Arm) -> bool:
        """Whether there was no time for all steps of a change, which then says nothing against it."""
        is_finite = arm.loss is not None and math.isfinite(arm.loss)
        return arm.outcome == "no better" and is_finite and arm.steps < self.steps

    def left_seconds(self) -> float:
        return self.deadline - time.monotonic()

    def affords(self, steps: float) -> bool:
        return steps * self.cost <= self.left_seconds()

    def applies(self, name: str) -> bool:
        """Whether there is something to change; recorded where there is not."""
        try:
            with self.source.variant() as variant:
                fits, reason = self.interventions[name].applies(variant), INAPPLICABLE
        except Exception as error:
            fits, reason = False, f"whether it applies could not be seen ({error_line(error)})"
        if not fits:
            self.leave_out(name, reason)
        return fits

    def leave_out(self, name: str, reason: str) -> None:
        """Records why a change was not tried; one that was tried for fewer steps keeps what it showed."""
        if name not in self.arms or not self.arms[name].curve:
            change = self.interventions[name]
            self.arms[name] = Arm(
                name=name,
                change=change.change,
                outcome="not tested",
                reason=reason,
                suspects=change.suspected_by(self.findings),
                is_certain=change.is_certain(self.findings),
            )
