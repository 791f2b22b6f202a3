"""An intervention: one thing that is changed in a copy of a program."""

from collections.abc import Callable
from dataclasses import dataclass

from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import Arm
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.finding import Finding


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """One change.

    Its place in the catalogue says how much it changes: of two that mend a program equally well, the one that stands first is
    the cause.

    Attributes:
        name: as results give it.
        change: what differs from the program as it is, in words.
        applies: whether there is something to change in this copy; where the form of the loop does not allow the change, there
            is not.
        make: makes the change, in place.
        answers: codes or names of findings that call for it.
        hinted: whether measurements call for it, where no finding does.
        family: changes of one family are not made together.
        reading: of a control, which asks a question and mends nothing: (its last loss, that of the program as it is, what a
            loss leaves) to an answer in words and whether it bears out what it was suspected for; None for a change.
    """

    name: str
    change: str
    applies: Callable[[Variant], bool]
    make: Callable[[Variant], None]
    answers: tuple[str, ...] = ()
    hinted: Callable[[Evidence], bool] = lambda evidence: False
    family: str = ""
    reading: Callable[[Arm, Arm, Callable[[float | None], float]], tuple[str, bool]] | None = None

    @property
    def is_control(self) -> bool:
        """Whether it asks a question and mends nothing."""
        return self.reading is not None

    def suspected_by(self, findings: tuple[Finding, ...]) -> tuple[str, ...]:
        """Codes of the findings that call for it."""
        return tuple(f.code for f in findings if f.code in self.answers or f.rule in self.answers)


def named(*interventions: Intervention) -> dict[str, Intervention]:
    """A table of interventions by name."""
    return {intervention.name: intervention for intervention in interventions}
