"""A rule: one function from evidence to findings, with what its findings mean and the page that explains it. No torch."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

from trainability.doctor.diagnosis import Verdict
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Severity

Check = Callable[[Evidence], list[Finding]]
# A run that stands still shows it in its loss, in its predictions, and against the best constant answer: what explains the
# first explains the others.
_ALIKE = {"plateau": ("prediction_collapse", "constant_as_good", "collapsed_output")}
SECTIONS = ("Fires", "Why", "What fools it", "Fix", "Source")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One cause or symptom that the doctor knows.

    Rules are ordered by file, as in `catalogue.FILES`, and within a file from top to bottom: upstream causes first.

    Attributes:
        name: as in findings.
        check: function from evidence to findings; returns none if the parts that it needs are missing. Its docstring is the
            rule's page.
        severities: those that its findings can have, worst first.
        verdict: what an error of it says about the run; None if nothing.
        explains: symptoms that this rule suppresses: if both fire, the symptoms are listed in this finding, not separately.
            Symptoms of symptoms are included.
        predicts: before a run, its findings are predictions, from theory or from a threshold on one pass. They never overrule a
            rehearsal: where the rehearsed loss falls, they are hints.
    """

    name: str
    check: Check
    severities: tuple[Severity, ...]
    verdict: Verdict | None = None
    explains: tuple[str, ...] = ()
    predicts: bool = False

    @property
    def file(self) -> str:
        """Name of the rule's file, which is what the rule looks at."""
        return self.check.__module__.rpartition(".")[2]

    @property
    def summary(self) -> str:
        """What is wrong where the rule fires, in one sentence: the first paragraph of the docstring."""
        return " ".join((inspect.getdoc(self.check) or "").partition("\n\n")[0].split())

    @property
    def sections(self) -> dict[str, str]:
        """The docstring's sections by name, each as one line of text."""
        parts = re.split(rf"^({'|'.join(SECTIONS)}):", inspect.getdoc(self.check) or "", flags=re.MULTILINE)
        return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def rule(
    *,
    severities: tuple[Severity, ...],
    verdict: Verdict | None = None,
    explains: tuple[str, ...] = (),
    predicts: bool = False,
) -> Callable[[Check], Rule]:
    """Make a rule of a function, under the function's name; the arguments are the attributes of `Rule`."""
    symptoms = tuple(dict.fromkeys((*explains, *(alike for symptom in explains for alike in _ALIKE.get(symptom, ())))))

    def made(check: Check) -> Rule:
        return Rule(
            name=check.__name__, check=check, severities=severities, verdict=verdict, explains=symptoms, predicts=predicts
        )

    return made
