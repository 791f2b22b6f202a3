"""A rule: one function from evidence to findings, with what its findings mean and the page that explains it. No torch."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

from trainability.doctor.diagnosis import Verdict
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Severity

Check = Callable[[Evidence], list[Finding]]
# A run that stands still shows it in its loss, in its predictions, and beside the best constant answer: what explains the
# first explains the others.
_ALIKE = {"plateau": ("prediction_collapse", "constant_as_good", "collapsed_output")}
SECTIONS = ("Fires", "Why", "What fools it", "Fix", "Source")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One cause or symptom that the doctor knows.

    Its place in the order is where it is written: files in the order of `catalogue.FILES`, and within a file from top to
    bottom, what lies upstream first.

    Attributes:
        name: as findings name it.
        check: evidence to findings; none where the parts that it needs are missing. Its docstring is the rule's page.
        severities: those that its findings can have, the worst first.
        verdict: what an error of it says about the run; None if nothing.
        explains: symptoms that this rule suppresses: where both fire, they are listed in this finding and not beside it.
            Symptoms of symptoms follow by themselves.
        predicts: what it says before a run is a prediction, by theory or by a threshold on one pass. It never overrules what
            a rehearsal showed: where the rehearsed loss falls, its findings are hints.
    """

    name: str
    check: Check
    severities: tuple[Severity, ...]
    verdict: Verdict | None = None
    explains: tuple[str, ...] = ()
    predicts: bool = False

    @property
    def file(self) -> str:
        """Name of the file that the rule is in, which is what it looks at."""
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
