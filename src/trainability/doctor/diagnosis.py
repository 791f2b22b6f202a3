"""A verdict and the findings behind it. Data only; no torch."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding
from trainability.doctor.layer_table import LayerTable
from trainability.doctor.notebook import diagnosis_html
from trainability.doctor.serial import from_plain, to_plain
from trainability.doctor.text import render_text
from trainability.doctor.view import diagnosis_view, tone

Verdict = Literal[
    "will train",
    "is training",
    "has learned",
    "was still training when it ended",
    "slow start",
    "too slow",
    "stalled",
    "capped",
    "dead",
    "unstable",
    "broken loss",
    "broken data",
    "broken metric",
    "cannot tell",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A verdict and the findings behind it, worst first.

    Attributes:
        verdict: one of `VERDICTS`.
        reason: one sentence for the verdict.
        findings: causes; what a cause explains is listed in it and not beside it.
        evidence: what was looked at.
        not_checked: what was not, each with the reason.
        remaining_steps: for "slow start": predicted further steps at chance.
    """

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]
    evidence: Evidence
    not_checked: tuple[str, ...] = ()
    remaining_steps: float | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return diagnosis_html(self)

    @property
    def layers(self) -> tuple[LayerTable, ...]:
        """Tables of the layers: at the start, and at the newest sampled step; a notebook shows each."""
        return diagnosis_view(self).tables

    @property
    def worse_than_hint(self) -> bool:
        """Whether any finding is a warning or an error."""
        return any(finding.severity != "hint" for finding in self.findings)

    @property
    def asks_for_change(self) -> bool:
        """Whether something is to be changed: a finding is worse than a hint, or the verdict is that it fails.

        `check` then exits with 1.
        """
        return self.worse_than_hint or tone(self.verdict) == "bad"

    def to_dict(self) -> dict[str, Any]:
        """Strict-JSON form, evidence included."""
        return {**to_plain(self), "evidence": self.evidence.to_dict()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Diagnosis":
        """Read what `to_dict` wrote.

        Raises:
            ValueError: naming the field that does not fit.
        """
        if isinstance(value, dict) and "evidence" in value:
            value = {**value, "evidence": Evidence.from_dict(value["evidence"])}
        return from_plain(cls, value)
