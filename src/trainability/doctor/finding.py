"""A finding: one cause with the numbers that support it. Data only; no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["hint", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("hint", "warning", "error")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number that supports a finding.

    Attributes:
        name: what was measured.
        value: in `unit`.
        unit: "" for a pure number.
        threshold: of the rule; None for a number given as context.
    """

    name: str
    value: float
    unit: str = ""
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What experiments say of a finding.

    Attributes:
        outcome: "confirmed": what it calls for, changed alone, makes the program learn; "refuted": it does not, and another
            change does; "open": it does not, and neither does another, or the program learns as it is; "not tested".
        said: one sentence, with both curves' figures where there are two.
    """

    outcome: Literal["confirmed", "refuted", "open", "not tested"]
    said: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause, with what was seen, its severity, the reason, and what to change.

    Attributes:
        rule: the rule's name in `RULES`.
        severity: "hint", "warning" or "error".
        seen: one sentence.
        measurements: the numbers that support it; at least one.
        cause: the likely cause.
        remedy: a concrete change: config field or code line.
        source: paper, equation, or "own" with the runs that it comes from.
        layers: names of the layers concerned.
        code: identifies the cause for programs: the rule's name, or, if a rule distinguishes causes, its name and a word for
            the cause (`gain_budget_low.input`). Empty takes the rule's name.
        explains: rules whose findings are symptoms of this cause and are therefore not reported separately. A rule's check
            names those that this finding explains beyond `Rule.explains`; a diagnosis, those that it took away.
        read_more: the command that prints the rule's page. Empty takes `trainability explain` and the code.
        tested: what experiments say of it; None where none were made.

    Raises:
        ValueError: it has no measurements, or an unknown severity.
    """

    rule: str
    severity: Severity
    seen: str
    measurements: tuple[Measurement, ...]
    cause: str
    remedy: str
    source: str
    layers: tuple[str, ...] = ()
    code: str = ""
    explains: tuple[str, ...] = ()
    read_more: str = ""
    tested: Tested | None = None

    def __post_init__(self) -> None:
        if not self.code:
            object.__setattr__(self, "code", self.rule)
        if not self.read_more:
            object.__setattr__(self, "read_more", f"trainability explain {self.code}")
        if not self.measurements:
            raise ValueError(f"finding {self.rule!r} has no measurements")
        if self.severity not in SEVERITIES:
            raise ValueError(f"finding {self.rule!r}: severity {self.severity!r} is none of {', '.join(SEVERITIES)}")


def take_news(findings: Iterable[Finding], told: dict[str, int]) -> list[Finding]:
    """Those that appear or become more severe.

    Args:
        findings: of the newest diagnosis.
        told: the worst severity of each rule that was told, as its place in `SEVERITIES`; brought up to date. What fades and
            comes back is no news.
    """
    given = [(finding, SEVERITIES.index(finding.severity)) for finding in findings]
    news = [finding for finding, severity in given if severity > told.get(finding.rule, -1)]
    for finding, severity in given:
        told[finding.rule] = max(severity, told.get(finding.rule, -1))
    return news
