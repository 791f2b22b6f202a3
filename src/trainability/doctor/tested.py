"""What experiments say of each finding: confirmed, refuted, open, or not tested. No torch."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from trainability.doctor.experimented import INAPPLICABLE, JOINT, SYMPTOMS, Arm, Experiments, beside, ends, figures, written
from trainability.doctor.finding import Finding, Tested

OWN = "confirmed_change"
"""The rule of what was confirmed and no other rule suspected."""

_PLACES = {"confirmed": 0, "open": 1, "not tested": 1, "refuted": 2}


def with_outcomes(findings: list[Finding], experiments: Experiments, predictions: Collection[str]) -> list[Finding]:
    """Writes the outcome into each finding and orders them anew: what was confirmed first, what was refuted last.

    Args:
        findings: in their order.
        experiments: on the same program.
        predictions: rules that predict. Where one is refuted, its finding is a hint; a fact stays one, if not the cause.

    Returns:
        The findings; a confirmed one is an error.
    """
    claims = _claims(findings, experiments, predictions)
    judged = []
    for finding in findings:
        outcome = _tested(finding, experiments, claims, predictions)
        severity = finding.severity
        if outcome.outcome == "confirmed":
            severity = "error"
        elif outcome.outcome == "refuted" and finding.rule in predictions:
            severity = "hint"
        judged.append(replace(finding, tested=outcome, severity=severity))
    causes = list(claims)

    def place(finding: Finding) -> tuple[int, int]:
        assert finding.tested is not None
        return _PLACES[finding.tested.outcome], causes.index(finding.code) if finding.code in claims else 0

    return sorted(judged, key=place)


def with_confirmations(findings: list[Finding], experiments: Experiments, predictions: Collection[str]) -> list[Finding]:
    """Of a run that has begun: writes into each finding what experiments confirmed before it; order and severity stay.

    Args:
        findings: of the run.
        experiments: made before it.
        predictions: as for `with_outcomes`.
    """
    claims = _claims(findings, experiments, predictions)
    return [replace(f, tested=_tested(f, experiments, claims, predictions)) if f.code in claims else f for f in findings]


def _claims(findings: list[Finding], experiments: Experiments, predictions: Collection[str]) -> dict[str, Arm]:
    """Which findings confirmed changes confirm, by code, the cause first.

    The first change confirms one finding, and each part of a pair one: of several that call for it a counted fact comes first,
    then what calls for both parts, then what stands first. Further changes make the program learn as well, so they confirm
    counted facts only.
    """
    alone = {arm.name: arm for arm in experiments.changes}
    claims: dict[str, Arm] = {}

    def called(finding: Finding, arm: Arm) -> set[str]:
        parts = arm.name.split(JOINT)
        return {
            part
            for part in parts
            if finding.code in (alone[part].suspects if len(parts) > 1 and part in alone else arm.suspects)
        }

    for number, arm in enumerate(experiments.confirmed):
        calling = [
            f
            for f in findings
            if arm in arms_of(f, experiments) and (not number or (arm.is_certain and _is_fact(f, predictions)))
        ]
        calling.sort(key=lambda finding, arm=arm: (not _is_fact(finding, predictions), -len(called(finding, arm))))
        unclaimed = set(arm.name.split(JOINT))
        for finding in calling:
            parts = unclaimed if finding.rule == OWN else called(finding, arm) & unclaimed
            if parts and finding.code not in claims:
                claims[finding.code] = arm
                unclaimed = unclaimed - parts
    return claims


def _is_fact(finding: Finding, predictions: Collection[str]) -> bool:
    return finding.rule not in predictions and {finding.rule, finding.code}.isdisjoint(SYMPTOMS)


def arms_of(finding: Finding, experiments: Experiments) -> list[Arm]:
    """Changes that the finding calls for."""
    if finding.rule == OWN:
        return [arm for arm in experiments.confirmed if finding.code == own_code(arm)]
    return [arm for arm in experiments.changes if finding.code in arm.suspects]


def own_code(arm: Arm) -> str:
    """Code of the finding about a change that no rule suspected."""
    return f"{OWN}.{arm.name.replace(JOINT, '_and_')}"


def _tested(finding: Finding, experiments: Experiments, claims: Mapping[str, Arm], predictions: Collection[str]) -> Tested:
    arms = arms_of(finding, experiments)
    if not arms:
        return Tested(outcome="not tested", said="no experiment makes this change")
    answered = [arm for arm in arms if arm.outcome == "control"]
    for arm in answered:
        if arm.bears_out:
            unchanged = experiments.unchanged
            both = f"loss {written(arm.loss)}, as it is {written(unchanged.loss_at(arm.steps) if unchanged else None)}"
            return Tested(outcome="confirmed", said=f"{arm.reason} ({arm.change}: {both}, {arm.steps:,} steps)")
    if finding.code in claims:
        return Tested(outcome="confirmed", said=figures(claims[finding.code], experiments))
    fixing = next((arm for arm in arms if arm.outcome == "trains"), None)
    if fixing is not None:
        return Tested(outcome="open", said=f"{fixing.change} makes it learn, which {next(iter(claims), OWN)} accounts for")
    tried = [arm for arm in arms if arm.outcome not in ("not tested", "control")]
    if answered and not tried:
        return Tested(outcome="open", said="; ".join(arm.reason for arm in answered))
    if not tried:
        return Tested(outcome="not tested", said="; ".join(f"{arm.change}: {arm.reason}" for arm in arms))
    if not experiments.fails:
        return _beside_success(tried, experiments)
    best = min(tried, key=lambda arm: arm.loss if arm.loss is not None else float("inf"))
    helps = next((arm for arm in tried if arm.outcome == "also helps"), None)
    if helps is not None:
        return Tested(outcome="open", said=f"{helps.change}: {ends(helps)}; it also helps: {helps.reason}")
    other = experiments.confirmed[0] if experiments.confirmed else None
    if other is None:
        return Tested(outcome="open", said=f"{best.change}: {ends(best)}; {_nothing_else(experiments)}")
    if _is_fact(finding, predictions) and beside(best, experiments) == "lower":
        return Tested(outcome="open", said=f"{best.change}: {ends(best)}; it helps, and is not enough alone")
    return Tested(outcome="refuted", said=f"{best.change}: {ends(best)}, while {figures(other, experiments)}")


def _beside_success(tried: list[Arm], experiments: Experiments) -> Tested:
    """Of a program that learns as it is, what undoes a counted fact confirms no cause; how far it gets is said."""
    counted = [arm for arm in tried if arm.is_certain and arm.loss is not None and math.isfinite(arm.loss)]
    best, said = min(counted, key=lambda arm: arm.loss or 0.0, default=None), _SAYS[experiments.state]
    stands = beside(best, experiments) if best is not None else None
    if best is None or stands not in ("lower", "alike") or experiments.unchanged is None:
        return Tested(outcome="not tested", said=said)
    if stands == "alike":
        return Tested(outcome="open", said=f"{said}; {best.change}: about the same loss in {best.steps:,} steps")
    seeds = [seed.loss_at(best.steps) for seed in (experiments.unchanged, experiments.other_seed) if seed is not None]
    nearer = min(loss for loss in seeds if loss is not None)
    figured = f"{written(nearer)} to {written(best.loss)} in {best.steps:,} steps"
    return Tested(outcome="open", said=f"{said}, and reaches a lower loss with {best.change}: {figured}")


def _nothing_else(experiments: Experiments) -> str:
    """Says of how many changes none makes the program learn, and how many were not tested though they apply."""
    tried = sum(arm.outcome in ("no better", "faster") for arm in experiments.changes)
    missing = sum(arm.outcome == "not tested" and arm.reason != INAPPLICABLE for arm in experiments.changes)
    said = f"none of the {tried} changes that were tried makes it learn"
    return f"{said}; {missing} {'was' if missing == 1 else 'were'} not tested" if missing else said


_SAYS = {
    "learns": "the program learns as it is",
    "open": "the program as it is may still get going within its plan",
    "unknown": "too few steps could be made to tell",
}
