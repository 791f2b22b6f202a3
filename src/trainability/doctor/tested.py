"""What experiments say of each finding: confirmed, refuted, open, or not tested. No torch."""

from collections.abc import Collection
from dataclasses import replace

from trainability.doctor.diagnosis import Verdict
from trainability.doctor.experimented import FAILING, JOINT, Arm, Experiments, figures, written
from trainability.doctor.finding import Finding, Tested

OWN = "confirmed_change"
"""The rule of what was confirmed and no other rule suspected."""

_PLACES = {"confirmed": 0, "open": 1, "not tested": 1, "refuted": 2}
# Verdicts that a confirmed cause contradicts.
_MILD = ("will train", "slow start", "cannot tell", "has learned")
_LOST = 1.2


def with_outcomes(findings: list[Finding], experiments: Experiments, predictions: Collection[str]) -> list[Finding]:
    """Writes the outcome into each finding and orders them anew: what was confirmed first, what was refuted last.

    Args:
        findings: in their order.
        experiments: on the same program.
        predictions: rules that predict. Where one is refuted, its finding is a hint; a fact stays one, if not the cause.

    Returns:
        The findings; a confirmed one is an error.
    """
    judged = []
    for finding in findings:
        outcome = _tested(finding, experiments)
        severity = finding.severity
        if outcome.outcome == "confirmed":
            severity = "error"
        elif outcome.outcome == "refuted" and finding.rule in predictions:
            severity = "hint"
        judged.append(replace(finding, tested=outcome, severity=severity))
    rank = {arm: place for place, arm in enumerate(experiments.arms)}

    def place(finding: Finding) -> tuple[int, int]:
        assert finding.tested is not None
        confirming = [rank[arm] for arm in arms_of(finding, experiments) if arm.outcome == "mends"]
        return _PLACES[finding.tested.outcome], min(confirming, default=0)

    return sorted(judged, key=place)


def arms_of(finding: Finding, experiments: Experiments) -> list[Arm]:
    """Changes that the finding calls for."""
    if finding.rule == OWN:
        return [arm for arm in experiments.confirmed if finding.code == own_code(arm)]
    return [arm for arm in experiments.changes if finding.code in arm.suspects]


def own_code(arm: Arm) -> str:
    """Code of the finding about a change that no rule suspected."""
    return f"{OWN}.{arm.name.replace(JOINT, '_and_')}"


def _tested(finding: Finding, experiments: Experiments) -> Tested:
    arms = arms_of(finding, experiments)
    if not arms:
        return Tested(outcome="not tested", said="no change that was tried speaks of it")
    answered = [arm for arm in arms if arm.outcome == "control"]
    for arm in answered:
        if arm.bears_out:
            unchanged = experiments.unchanged
            ends = f"loss {written(arm.loss)}, as it is {written(unchanged.loss_at(arm.steps) if unchanged else None)}"
            return Tested(outcome="confirmed", said=f"{arm.reason} ({arm.change}: {ends}, {arm.steps:,} steps)")
    mending = [arm for arm in arms if arm.outcome == "mends"]
    if mending:
        return Tested(outcome="confirmed", said=figures(mending[0], experiments))
    tried = [arm for arm in arms if arm.outcome not in ("not tested", "control")]
    if not tried:
        reasons = "; ".join(f"{arm.change}: {arm.reason}" for arm in arms)
        return Tested(outcome="not tested", said=reasons)
    if not experiments.fails:
        return Tested(outcome="not tested", said=_SAYS[experiments.state])
    best = min(tried, key=lambda arm: arm.loss if arm.loss is not None else float("inf"))
    other = experiments.confirmed[0] if experiments.confirmed else None
    if other is None:
        return Tested(
            outcome="open", said=f"it mends nothing alone, and neither does any other change ({best.change}: {_ends(best)})"
        )
    if any(arm.outcome == "helps" for arm in tried):
        return Tested(outcome="open", said=f"it helps, and {other.change} does more ({best.change}: {_ends(best)})")
    return Tested(outcome="refuted", said=f"{best.change}: {_ends(best)}, while {figures(other, experiments)}")


def _ends(arm: Arm) -> str:
    return f"loss {written(arm.first_loss)} to {written(arm.loss)} in {arm.steps:,} steps"


_SAYS = {
    "learns": "the program learns as it is",
    "open": "the program as it is may still get going within its plan",
    "unknown": "too few steps could be made to tell",
}


def tried_verdict(verdict: Verdict, experiments: Experiments) -> tuple[Verdict, str] | None:
    """The verdict that a confirmed cause asks for, with its reason; None where the present one stands."""
    if not experiments.confirmed or experiments.state not in FAILING or verdict not in _MILD:
        return None
    arm, unchanged = experiments.confirmed[0], experiments.unchanged
    assert unchanged is not None
    kind: Verdict = "stalled"
    if experiments.state == "not finite":
        kind = "unstable"
    elif experiments.state == "stays above":
        kind = "capped"
    elif experiments.chance is not None and (unchanged.loss or 0.0) > _LOST * experiments.chance:
        kind = "unstable"
    return kind, f"one change makes it learn: {figures(arm, experiments)}"
