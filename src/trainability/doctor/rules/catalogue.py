"""Evidence to diagnosis: every rule by name, what explains what, and the verdict."""

import math
from collections.abc import Callable
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.audit_results import DataAudit, MetricAudit
from trainability.doctor.diagnosis import Diagnosis, Verdict
from trainability.doctor.evidence import Evidence, ProbeResult
from trainability.doctor.finding import SEVERITIES, Finding
from trainability.doctor.rules import data as rules_data
from trainability.doctor.rules import layers as rules_layers
from trainability.doctor.rules import run as rules_run
from trainability.doctor.rules import start as rules_start
from trainability.doctor.theory.signal import BUDGET_HIGH, BUDGET_LOW

Rule = Callable[[Evidence], list[Finding]]

# In the order in which findings of equal severity are told: what lies upstream first.
RULES: dict[str, Rule] = {
    "blind": rules_layers.blind,
    "metric_wrong": rules_data.metric_wrong,
    "label_range": rules_data.label_range,
    "channels_last": rules_data.channels_last,
    "not_finite_data": rules_data.not_finite_data,
    "blank_images": rules_data.blank_images,
    "shuffled_labels": rules_data.shuffled_labels,
    "split_overlap": rules_data.split_overlap,
    "augmentation_missing": rules_data.augmentation_missing,
    "split_shift": rules_data.split_shift,
    "split_size": rules_data.split_size,
    "mirrored": rules_data.mirrored,
    "label_conflict": rules_data.label_conflict,
    "class_imbalance": rules_data.class_imbalance,
    "softmax_twice": rules_start.softmax_twice,
    "head_width": rules_start.head_width,
    "sum_for_mean": rules_start.sum_for_mean,
    "loss_divided": rules_start.loss_divided,
    "missing_zero_grad": rules_layers.missing_zero_grad,
    "wrong_mode": rules_layers.wrong_mode,
    "untrained_parameter": rules_layers.untrained_parameter,
    "lr_schedule": rules_run.lr_schedule,
    "accumulation": rules_run.accumulation,
    "clip_dropped": rules_run.clip_dropped,
    "batch_leakage": rules_start.batch_leakage,
    "padded_pointwise": rules_start.padded_pointwise,
    "gain_budget_low": rules_start.gain_budget_low,
    "gain_budget_high": rules_start.gain_budget_high,
    "input_scale": rules_data.input_scale,
    "slow_start": rules_start.slow_start,
    "exploding_gradient": rules_layers.exploding_gradient,
    "saturation": rules_layers.saturation,
    "dead_units": rules_layers.dead_units,
    "vanishing_gradient": rules_layers.vanishing_gradient,
    "not_finite": rules_run.not_finite,
    "oscillation": rules_run.oscillation,
    "loss_cliff": rules_run.loss_cliff,
    "plateau": rules_run.plateau,
    "underflow": rules_start.underflow,
    "cannot_overfit": rules_start.cannot_overfit,
    "constant_output": rules_start.constant_output,
    "prediction_collapse": rules_run.prediction_collapse,
    "overfit": rules_run.overfit,
    "clipping": rules_run.clipping,
    "update_ratio": rules_layers.update_ratio,
    "activation_scale": rules_start.activation_scale,
    "loss_at_start": rules_start.loss_at_start,
}

_NO_SIGNAL = ("slow_start", "vanishing_gradient", "plateau", "constant_output", "underflow", "cannot_overfit")
_TOO_LARGE = ("exploding_gradient", "not_finite", "oscillation", "loss_cliff", "clipping", "update_ratio", "dead_units")

# A cause, and the symptoms that are not told again beside it. Symptoms of symptoms follow by themselves.
EXPLAINS: dict[str, tuple[str, ...]] = {
    "blank_images": ("split_shift", "mirrored", "label_conflict", "shuffled_labels", "prediction_collapse", "plateau"),
    "not_finite_data": ("not_finite", "plateau"),
    "label_range": ("not_finite",),
    "channels_last": ("split_shift", "shuffled_labels"),
    "shuffled_labels": ("prediction_collapse", "plateau", "overfit"),
    "class_imbalance": ("prediction_collapse",),
    "softmax_twice": (
        "vanishing_gradient",
        "plateau",
        "constant_output",
        "loss_at_start",
        "cannot_overfit",
        "slow_start",
    ),
    "sum_for_mean": (*_TOO_LARGE, "loss_at_start"),
    "missing_zero_grad": _TOO_LARGE,
    "clip_dropped": _TOO_LARGE,
    "untrained_parameter": ("plateau", "cannot_overfit"),
    "head_width": ("loss_at_start",),
    "gain_budget_low": (*_NO_SIGNAL, "dead_units", "update_ratio", "activation_scale", "input_scale", "prediction_collapse"),
    "gain_budget_high": (*_TOO_LARGE, "loss_at_start", "activation_scale", "input_scale", "plateau", "saturation"),
    "slow_start": ("plateau", "vanishing_gradient", "cannot_overfit", "update_ratio", "underflow"),
    "exploding_gradient": ("not_finite", "oscillation", "loss_cliff", "clipping", "update_ratio", "loss_at_start"),
    "saturation": ("vanishing_gradient", "plateau", "activation_scale"),
    "dead_units": ("constant_output", "plateau", "vanishing_gradient"),
    "vanishing_gradient": ("plateau", "underflow", "update_ratio", "cannot_overfit"),
    "not_finite": ("loss_cliff", "plateau", "exploding_gradient"),
    "oscillation": ("plateau", "loss_cliff", "clipping"),
    "plateau": ("prediction_collapse", "constant_output", "clipping", "update_ratio"),
    "wrong_mode": ("overfit",),
}

# What an error of a rule says about the run.
_VERDICTS: dict[str, Verdict] = {
    "blind": "cannot tell",
    "metric_wrong": "broken metric",
    **dict.fromkeys(("label_range", "channels_last", "not_finite_data", "blank_images"), "broken data"),
    **dict.fromkeys(("softmax_twice", "gain_budget_low", "slow_start", "plateau", "vanishing_gradient", "dead_units"), "dead"),
    **dict.fromkeys(
        ("gain_budget_high", "missing_zero_grad", "clip_dropped", "exploding_gradient", "not_finite", "oscillation"),
        "unstable",
    ),
    "loss_cliff": "unstable",
    "lr_schedule": "is training",
}


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
            found.extend(rule(evidence))
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
    for cause, symptoms in EXPLAINS.items():
        if cause not in present:
            continue
        weight = SEVERITIES.index(present[cause].severity)
        explained[cause] = {
            symptom
            for symptom in symptoms
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
    precedence = ("broken data", "broken metric", "unstable", "dead", "cannot tell")
    errors = [f for f in causes if f.severity == "error"]
    for wanted in precedence:
        for finding in errors:
            if _VERDICTS.get(finding.rule) == wanted:
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
    inside = total is not None and BUDGET_LOW <= total <= BUDGET_HIGH
    if inside and plateau is not None:
        return (
            "will train",
            f"gain budget {total:+.1f}, loss predicted to leave chance within {plateau:.0f} steps",
            None,
        )
    if inside:
        return "will train", f"gain budget {total:+.1f} is inside the band that trains", None
    finite = math.isfinite(probe.loss) and math.isfinite(probe.gradient_norm)
    if probe.structure in ("normalised", "residual") and finite and probe.gradient_norm > 0:
        return (
            "will train",
            f"the net is {probe.structure}, signal and gradient reach every layer that was measured",
            None,
        )
    return "cannot tell", "the closed form could not follow this model, and nothing else speaks for or against it", None


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
