"""An intervention: one thing that is changed in a copy of a program."""

from collections.abc import Callable
from dataclasses import dataclass

from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import SYMPTOMS, Arm
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.finding import Finding
from trainability.doctor.rules.catalogue import RULES

_UPSTREAM = ("data", "inputs", "head", "loss", "parameters", "rehearsal")


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """One change.

    Its place in the catalogue says how much it changes: of two that fix a program equally well, the one that stands first is
    the cause.

    Attributes:
        name: as results give it.
        change: what differs from the program as it is, in words.
        applies: whether there is something to change in this copy; where the form of the loop does not allow the change, there
            is not.
        make: makes the change, in place.
        answers: codes or names of findings that call for it.
        compensates: whether it makes up for many faults without undoing them, as another learning rate does; no counted fact is
            about it, and where another change that a finding suggests fixes the program too, that one is the cause.
        yields_to: family of changes any of which is nearer to the cause, if it fixes the program too, however far it gets.
        hastens: whether a program that learns as it is learns the same in fewer steps, as with a larger learning rate.
        stands_in: as `compensates`, unless a counted fact calls for it: frozen layers, once trained, may do the work of any
            others.
        is_counted: whether it applies only where what it undoes was counted in this copy, as weights that no gradient reaches,
            a fact whether or not a finding says so.
        is_setting: whether it makes a setting of the program usual, or takes it away.
        hinted: whether measurements call for it, where no finding does.
        family: changes of one family are not made together.
        reading: of a control, which asks a question and fixes nothing: (it, the program as it is, its other seed, what a loss
            leaves) to an answer in words and whether it bears out what it was suspected for; None for a change.
        beside: name of a second control, which is tried once this one bears something out, and has to do so too.
    """

    name: str
    change: str
    applies: Callable[[Variant], bool]
    make: Callable[[Variant], None]
    answers: tuple[str, ...] = ()
    compensates: bool = False
    hastens: bool = False
    yields_to: str = ""
    stands_in: bool = False
    is_counted: bool = False
    is_setting: bool = False
    hinted: Callable[[Evidence], bool] = lambda evidence: False
    family: str = ""
    reading: Callable[[Arm, Arm, Arm, Callable[[float | None], float]], tuple[str, bool]] | None = None
    beside: str = ""

    @property
    def is_control(self) -> bool:
        """Whether it asks a question and fixes nothing."""
        return self.reading is not None

    def suspected_by(self, findings: tuple[Finding, ...]) -> tuple[str, ...]:
        """Codes of the findings that call for it."""
        return tuple(f.code for f in findings if f.code in self.answers or f.rule in self.answers)

    def is_certain(self, findings: tuple[Finding, ...]) -> bool:
        """Whether it is counted, or a finding that calls for it is: no prediction, no symptom with many causes, and no hint."""
        if self.is_counted:
            return True
        calling = set(self.suspected_by(findings))
        return not self.compensates and any(f.code in calling and f.severity != "hint" and is_fact(f) for f in findings)

    def makes_up(self, findings: tuple[Finding, ...]) -> bool:
        """Whether it may fix a program whose fault is another."""
        return self.compensates or (self.stands_in and not self.is_certain(findings))


def is_fact(finding: Finding) -> bool:
    """Whether a finding was counted, and says by what a program goes wrong: no prediction and no symptom."""
    predicts = finding.rule in RULES and RULES[finding.rule].predicts
    return not predicts and {finding.rule, finding.code}.isdisjoint(SYMPTOMS)


def keeps_from_learning(finding: Finding) -> bool:
    """Whether it is a fact, and no hint, about what the loss is computed from and what moves the weights."""
    rule = RULES.get(finding.rule)
    if rule is None or rule.file not in _UPSTREAM or rule.verdict == "broken metric":
        return False
    return finding.severity != "hint" and is_fact(finding)


def named(*interventions: Intervention) -> dict[str, Intervention]:
    """A table of interventions by name."""
    return {intervention.name: intervention for intervention in interventions}
