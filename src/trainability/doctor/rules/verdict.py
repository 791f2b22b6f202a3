"""Evidence to diagnosis: runs every rule, puts symptoms under their causes, and draws a verdict."""

import math
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.audit_results import DataAudit, MetricAudit
from trainability.doctor.diagnosis import Diagnosis, Verdict
from trainability.doctor.evidence import Evidence, ProbeResult
from trainability.doctor.finding import SEVERITIES, Finding
from trainability.doctor.rules.catalogue import RULES
from trainability.doctor.theory.band import (
    BUDGET_HIGH,
    BUDGET_LOW,
    DEFAULT_ADAM_TRAINED,
    DEFAULT_SGD_STUCK,
    DEFAULT_SGD_TRAINED,
    PILOT_DEPTH,
)

# Of several errors, the verdict is that of the first kind here.
PRECEDENCE: tuple[Verdict, ...] = ("broken data", "broken metric", "unstable", "dead", "cannot tell")


def diagnose(*parts: Evidence | ProbeResult | DataAudit | MetricAudit) -> Diagnosis:
    """Runs every rule, reports symptoms under their cause, and gives a verdict.

    Args:
        parts: of a probe, of audits, of a monitor (`monitor.evidence()`), in any mixture; `Evidence.of` joins them.

    Returns:
        Findings worst first. A rule that fails is named in `not_checked` and stops nothing.

    Raises:
        ValueError: no part, or something else.
    """
    evidence = Evidence.of(*parts)
    found: list[Finding] = []
    failed: list[str] = []
    for name, rule in RULES.items():
        try:
            found.extend(rule.check(evidence))
        except Exception as error:  # the doctor never turns a run that works into one that fails
            failed.append(f"{name}: the rule itself failed ({type(error).__name__}: {error})")
    causes = _under_causes(found)
    order = list(RULES)
    causes.sort(key=lambda f: (-SEVERITIES.index(f.severity), order.index(f.rule)))
    verdict, reason, remaining = _verdict(evidence, causes)
    return Diagnosis(
        verdict=verdict,
        reason=reason,
        findings=tuple(causes),
        evidence=evidence,
        not_checked=(*_not_checked(evidence), *failed, *evidence.problems),
        remaining_steps=remaining,
    )


def _under_causes(found: list[Finding]) -> list[Finding]:
    """Takes away what another finding explains; a cause must be at least a warning, or as severe as its symptom."""
    present = {f.rule: f for f in found}
    explained: dict[str, set[str]] = {}
    absorbed: set[str] = set()
    for cause, rule in RULES.items():
        if cause not in present:
            continue
        weight = SEVERITIES.index(present[cause].severity)
        explained[cause] = {
            symptom
            for symptom in rule.explains
            if symptom in present
            and (weight > 0 or present[symptom].severity == "hint")
            and cause not in explained.get(symptom, set())  # of two that could be each other's cause, the first is
        }
        absorbed |= explained[cause]
    result = []
    for finding in found:
        if finding.rule in absorbed:
            continue
        chain, todo = [], list(explained.get(finding.rule, ()))
        while todo:
            symptom = todo.pop()
            if symptom not in chain:
                chain.append(symptom)
                todo.extend(explained.get(symptom, ()))
        result.append(replace(finding, explains=tuple(sorted(chain))))
    return result


def _verdict(evidence: Evidence, causes: list[Finding]) -> tuple[Verdict, str, float | None]:
    errors = [f for f in causes if f.severity == "error"]
    for wanted in PRECEDENCE:
        for finding in errors:
            if RULES[finding.rule].verdict == wanted:
                return wanted, finding.seen, None
    plateau = evidence.probe.plateau_steps if evidence.probe is not None and evidence.probe.at_start else None
    recent, steps = reading.recent_loss(evidence), reading.num_steps(evidence)
    if reading.has_learned(evidence):
        return "is training", f"the loss is down to {recent:.3f} after {steps} steps", None
    if evidence.steps:
        if plateau is not None and math.isfinite(plateau) and steps < 2 * plateau:
            left = max(plateau - steps, 0.0)
            return "slow start", f"{steps} steps at chance, about {plateau:,.0f} were predicted", left
        return "cannot tell", f"{steps} steps are too few to tell, and the loss has not fallen yet", None
    return _verdict_before(evidence, plateau)


def _verdict_before(evidence: Evidence, plateau: float | None) -> tuple[Verdict, str, float | None]:
    probe = evidence.probe
    if probe is None:
        return "cannot tell", "neither a probe nor a running loop was looked at", None
    plateau = reading.plateau_ends(probe) if plateau is not None else None
    if plateau is not None and plateau > 100:
        return "slow start", f"the loss will stay at chance for about {plateau:,.0f} steps, then fall", plateau
    total = reading.total_budget(probe)
    if total is not None and not BUDGET_LOW <= total <= BUDGET_HIGH:
        return "cannot tell", _outside_the_band(evidence, probe, total, plateau), None
    if total is not None and plateau is not None:
        return (
            "will train",
            f"gain budget {total:+.1f}, loss predicted to leave chance within {plateau:.0f} steps",
            None,
        )
    if total is not None:
        return "will train", f"gain budget {total:+.1f} is inside the band that trains", None
    finite = math.isfinite(probe.loss) and math.isfinite(probe.gradient_norm)
    if probe.structure in ("normalised", "residual") and finite and probe.gradient_norm > 0:
        return (
            "will train",
            f"the net is {probe.structure}, signal and gradient reach every layer that was measured",
            None,
        )
    return "cannot tell", "the closed form could not follow this model, and nothing else speaks for or against it", None


def _outside_the_band(evidence: Evidence, probe: ProbeResult, total: float, plateau: float | None) -> str:
    """Why a budget outside the band settles nothing for this net: in what it differs from those of the pilot."""
    depth = sum(layer.gain is not None for layer in probe.layers)
    adaptive = reading.is_adaptive(evidence)
    differs = [
        f"{depth} weight layers" if depth < PILOT_DEPTH else "",
        "biases that start away from zero" if probe.biased else "",
        str(reading.optimizer_name(evidence)) if adaptive else "",
    ]
    reason = f"gain budget {total:+.1f} is outside the band of {BUDGET_LOW:g} to {BUDGET_HIGH:g}"
    if here := ", ".join(word for word in differs if word):
        reason += f" that was found with {PILOT_DEPTH} and more weight layers, zero biases and SGD; this program has {here}"
    if plateau is not None:
        reason += f"; its loss is predicted to leave chance within {plateau:.0f} steps"
    if total < BUDGET_LOW and adaptive:
        reason += f"; Adam trained PyTorch's default initialisation at budgets down to {DEFAULT_ADAM_TRAINED:g}"
    elif total < BUDGET_LOW and probe.biased:
        reason += (
            f"; SGD trained PyTorch's default initialisation at budgets down to {DEFAULT_SGD_TRAINED:g}, "
            f"and not at {DEFAULT_SGD_STUCK:g} and below"
        )
    return reason


def _not_checked(evidence: Evidence) -> tuple[str, ...]:
    missing = []
    if evidence.probe is None:
        missing.append("the start: no probe (probe(model, loss_fn, images, labels))")
    else:
        missing.extend(evidence.probe.notes)
        if evidence.probe.plateau_steps is None:
            missing.append(
                "steps at chance: known only for plain ReLU nets with zero biases and a budget not above the band, under SGD, "
                "given the optimizer"
            )
        if evidence.probe.overfit_loss is None:
            missing.append("whether one batch can be overfitted: not asked for (overfit_steps=100)")
    if not evidence.steps:
        missing.append("training steps: none watched (Monitor)")
    if evidence.data is None:
        missing.append("data: no audit (audit_data)")
    elif evidence.data.class_signal_z is None:
        missing.append("labels against images: too few images per class for a linear probe")
    if evidence.metric is None:
        missing.append("metric: no audit (audit_metric)")
    if evidence.steps and not evidence.evaluations:
        missing.append("evaluations: none recorded (Monitor.record_evaluation)")
    return tuple(missing)
