"""From evidence to diagnosis: run every rule, list symptoms under their causes, and give a verdict."""

import math
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.best_constant import in_tense_of
from trainability.doctor.diagnosis import Diagnosis, Verdict
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evidence, Part, ProbeResult
from trainability.doctor.finding import SEVERITIES, Finding
from trainability.doctor.odds import odds_of
from trainability.doctor.outlook import Outlook, judge_rehearsal
from trainability.doctor.outlook_limits import (
    CANNOT_TELL,
    CAPPED,
    DEAD,
    HAS_LEARNED,
    SMALL_MULTIPLE,
    STALLED,
    TOO_SLOW,
    UNSTABLE,
    WILL_TRAIN,
)
from trainability.doctor.outlook_text import sentence_beside
from trainability.doctor.rules.advice import advised
from trainability.doctor.rules.catalogue import RULES
from trainability.doctor.rules.during import fall, falls_below_a_constant, verdict_during
from trainability.doctor.rules.no_plateau import why_no_plateau
from trainability.doctor.tested import with_confirmations, with_outcomes
from trainability.doctor.theory.band import (
    BUDGET_HIGH,
    BUDGET_LOW,
    DEFAULT_ADAM_TRAINED,
    DEFAULT_SGD_STUCK,
    DEFAULT_SGD_TRAINED,
    PILOT_DEPTH,
)
from trainability.doctor.tried_verdict import tried_verdict

# Of several errors, the verdict is that of the first kind here.
PRECEDENCE: tuple[Verdict, ...] = (
    "broken data",
    "broken metric",
    "broken loss",
    "capped",
    "unstable",
    "dead",
    "stalled",
    "cannot tell",
)
NO_OPTIMIZER = "some steps of the loop: no optimizer was given (optimizer=)"
"""A problem of the evidence of a check without an optimizer."""
# These say why parameters are in no optimizer.
_OF_OPTIMIZERS = ("foreign_optimizer", "unregistered_layers", "unreached_parameter", "weights_redrawn", "unusable_setting")
# Warnings of these mean that a part of the model is not trained, or all of it no longer, whatever the loss does.
_UNTRAINED = ("unmoved_parameter", "untrained_parameter", "unreached_parameter", "rate_dies")
# These predict what happens between the examples, which the training loss does not show.
_BETWEEN = ("activation_scale.third_sine",)
# These are measured, and hold though the rehearsed loss falls.
_MEASURED = ("underflow.unmoved",)
# Warnings of these mean that the loss falls towards something unwanted.
# Of examples that influence each other only one sign: a model may compare them on purpose.
_ASTRAY = ("wrong_sign", "misread_logits", "shuffled_labels", "batch_leakage.sequences", "masked_targets")
_ASTRAY += ("sees_future.unshifted", "sees_future.present", "sees_future.given", "sees_future.itself")
_ASTRAY += ("sum_for_mean.beside_each",)
_ASTRAY += ("unreachable_target.relu", "unreachable_target.one_sided")  # that no weights reach
_ASTRAY += ("class_imbalance.one_class", "overwritten_data", "mirrored.apart", "misread_edges", "misread_heads")
_ASTRAY += ("flat_derivative.residual", "flat_derivative.mean")
_ASTRAY += ("update_ratio.peak",)  # and comes back to where it began
# Warnings of these explain why a constant output is as good, so that a longer run is not needed.
_GIVEN_UP = ("sum_for_mean.beside_mean", "sum_for_mean.beside_means")
# Comes before all else: what was known before the loop says nothing of a loop that was not watched.
_UNHEARD = "blind.uncalled"
# These predictions do not hold while the loss falls.
_PREDICTED = ("unstable", "dead", "stalled")
# Factor between a predicted and a measured plateau (docs/theory.md).
PLATEAU_FACTOR = 2.0
# These keep a program from reaching its cap. A program that starts slowly under a cap is still capped.
_FAILS = (UNSTABLE, DEAD, STALLED)
_FAILS_TO_LEARN = (UNSTABLE, DEAD, TOO_SLOW)
_LEARNS = (WILL_TRAIN, HAS_LEARNED, CAPPED)


def diagnose(*parts: Part) -> Diagnosis:
    """Run every rule, report symptoms under their cause, and give a verdict.

    Args:
        parts: from a probe, audits, a rehearsal or a monitor (`monitor.evidence()`), in any combination; `Evidence.of` joins
            them.

    Returns:
        Findings, worst first. A rule that fails is listed in `not_checked` and stops nothing.

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
            failed.append(f"{name}: the rule itself failed ({error_line(error)})")
    outlook = _outlook(evidence)
    standing = _weighed(found, outlook)
    causes = _under_causes(standing)
    order = list(RULES)
    causes.sort(key=lambda f: (f.code != _UNHEARD, -SEVERITIES.index(f.severity), order.index(f.rule)))
    experiments = evidence.experiments if not evidence.steps else None
    predictions = [name for name, rule in RULES.items() if rule.predicts]
    if experiments is not None:
        causes = with_outcomes(causes, experiments, predictions)
        causes = advised(causes, evidence)
    elif evidence.experiments is not None:
        causes = with_confirmations(causes, evidence.experiments, predictions)
    verdict, reason, remaining = _verdict(evidence, [*causes, *_worse_than_their_causes(standing, causes)], outlook)
    if experiments is not None:
        is_clear = outlook is not None and outlook.verdict == CANNOT_TELL and all(f.severity == "hint" for f in causes)
        before, (verdict, reason) = verdict, tried_verdict(verdict, reason, experiments, is_clear=is_clear)
        remaining = remaining if verdict == before else None
    return Diagnosis(
        verdict=in_tense_of(evidence, verdict),  # type: ignore[arg-type]
        reason=reason,
        findings=tuple(causes),
        evidence=evidence,
        not_checked=(*_not_checked(evidence), *failed, *evidence.problems),
        remaining_steps=remaining,
    )


def _outlook(evidence: Evidence) -> Outlook | None:
    """What the rehearsal predicts; for a run, only until it has got further than the rehearsal.

    That a program is dead holds as long as the run confirms it, as each step that does not lower the loss does.
    """
    rehearsal = evidence.rehearsal
    if rehearsal is None or not rehearsal.steps:
        return None
    outlook = judge_rehearsal(rehearsal)
    if outlook.cause == "uphill" and reading.facts(evidence).asks_itself:
        return None  # see `wrong_sign`: the targets move too
    if not evidence.steps:
        return outlook
    early = reading.num_steps(evidence) <= len(rehearsal.steps) or (outlook.verdict == DEAD and reading.stands_still(evidence))
    stands = early and reading.started_at_zero(evidence) and not reading.has_learned(evidence)
    return outlook if stands and outlook.verdict in _FAILS_TO_LEARN else None


def _under_causes(found: list[Finding]) -> list[Finding]:
    """Remove findings that another one explains; a cause must be at least a warning, or as severe as its symptom.

    A rule's `explains` holds for all of its findings; those that a finding adds take precedence.
    """
    present = {f.rule: f for f in found}
    explained: dict[str, set[str]] = {}
    absorbed: set[str] = set()
    for cause, rule in RULES.items():
        if cause not in present:
            continue
        weight = SEVERITIES.index(present[cause].severity)
        explained[cause] = {
            symptom
            for symptom in {*rule.explains, *(s for f in found if f.rule == cause for s in f.explains)}
            if symptom in present
            and (weight > 0 or present[symptom].severity == "hint")
            and cause not in present[symptom].explains  # what a finding's own numbers explain is its symptom
            and not (_stands_alone(present[symptom]) and cause not in _OF_OPTIMIZERS)
            and cause
            not in explained.get(symptom, set())  # of two findings that could be each other's cause, the first is the cause
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


def _stands_alone(finding: Finding) -> bool:
    """Whether a finding is a mistake of its own, whatever else is wrong: no rate or gradient explains a forgotten parameter."""
    return finding.code == "untrained_parameter.unmanaged" and finding.severity != "hint"


def _worse_than_their_causes(found: list[Finding], causes: list[Finding]) -> list[Finding]:
    """Errors that only warnings explain: they are not listed, but they count in the verdict."""
    by_errors = {symptom for cause in causes if cause.severity == "error" for symptom in cause.explains}
    return [f for f in found if f.severity == "error" and f not in causes and f.rule not in by_errors]


def _weighed(found: list[Finding], outlook: Outlook | None) -> list[Finding]:
    """Weight predictions by the rehearsal: hints where its loss falls, errors where it went as predicted."""
    if outlook is None:
        return found
    if outlook.verdict in _LEARNS:
        return [replace(f, severity="hint") if _is_overruled(f) else f for f in found]
    borne_out = {name for name, rule in RULES.items() if rule.predicts and rule.verdict == outlook.verdict}
    return [replace(f, severity="error") if f.severity == "warning" and f.rule in borne_out else f for f in found]


def _is_overruled(finding: Finding) -> bool:
    return RULES[finding.rule].predicts and finding.code not in (*_BETWEEN, *_MEASURED)


def _verdict(evidence: Evidence, causes: list[Finding], outlook: Outlook | None) -> tuple[Verdict, str, float | None]:
    """Certain facts, then experiments, then measurements, then theory: the first with a result decides."""
    errors = [f for f in causes if f.severity == "error"]
    if (unheard := next((f.seen for f in errors if f.code == _UNHEARD), None)) is not None:
        return "cannot tell", unheard, None
    certain = [f for f in errors if evidence.steps or not RULES[f.rule].predicts]
    predicted = [f for f in errors if f not in certain]
    if (found := _worst(certain)) is not None:
        verdict, reason, remaining = _reconciled(evidence, found, outlook)
        since = next((step.step for step in evidence.steps if not step.skipped and not math.isfinite(step.loss)), None)
        is_said = since is None or reason in {f.seen for f in causes if f.rule == "not_finite"}
        return verdict, reason if is_said else f"the loss is not finite since step {since}; {reason}", remaining
    in_doubt = {*_UNTRAINED, *_MEASURED, *_ASTRAY}
    untrained = next((f.seen for f in causes if in_doubt & {f.rule, f.code} and f.severity != "hint"), None)
    if evidence.steps and outlook is None:
        return verdict_during(evidence, untrained)
    if outlook is not None and outlook.verdict != CANNOT_TELL:
        assert evidence.rehearsal is not None
        if outlook.verdict in (WILL_TRAIN, HAS_LEARNED) and untrained is not None:
            return "cannot tell", f"the loss falls, but {untrained}", None
        # A loss that hardly moves is too slow or dead: if no other rate was tried, theory may decide which.
        found = _worst(predicted) if outlook.verdict == TOO_SLOW and outlook.cause == "pace" else None
        if found is not None and found[0] == "dead":
            return found
        reason = sentence_beside(evidence, outlook)
        if outlook.cause == "no_rate" and outlook.verdict == DEAD and not evidence.steps and not _is_explained(causes):
            return "cannot tell", f"{reason}; nothing was found that would explain it, and a slow start looks alike", None
        if (done := reading.num_steps(evidence)) > len(evidence.rehearsal.steps):
            seen = fall(evidence)
            reason += f"; in the run {seen}" if seen else f"; after {done:,} steps the run's loss has not fallen either"
        return outlook.verdict, reason, None  # type: ignore[return-value]
    if (found := _worst(predicted)) is not None:
        return found
    given_up = next((f.cause for f in causes if f.code in _GIVEN_UP and f.severity != "hint"), None)
    if outlook is not None and evidence.rehearsal is not None and given_up is not None:
        return "cannot tell", sentence_beside(evidence, outlook, explained=given_up), None
    return _verdict_before(evidence, outlook, untrained)


def _is_explained(causes: list[Finding]) -> bool:
    return any(found.severity != "hint" for found in causes)


def _reconciled(evidence: Evidence, found: tuple[Verdict, str, None], outlook: Outlook | None) -> tuple[Verdict, str, None]:
    """A certain fact's prediction against what was tried: the fact is certain, its consequence is not."""
    if found[0] in ("dead", "stalled") and falls_below_a_constant(evidence):
        return "cannot tell", f"{fall(evidence)}; however, {found[1]}", None
    if outlook is None or evidence.rehearsal is None:
        return found
    if found[0] in _PREDICTED and outlook.verdict in (WILL_TRAIN, HAS_LEARNED):
        return "cannot tell", f"the loss falls, but {found[1]}", None
    if (found[0] == "unstable" and outlook.verdict == TOO_SLOW) or (found[0] == "capped" and outlook.verdict in _FAILS):
        return outlook.verdict, sentence_beside(evidence, outlook), None  # type: ignore[return-value]
    overshoots = outlook.multiple is not None and outlook.multiple < SMALL_MULTIPLE
    if found[0] == "capped" and outlook.verdict == CANNOT_TELL and overshoots:
        return "cannot tell", f"{sentence_beside(evidence, outlook)}; under a cap: {found[1]}", None
    return found


def _worst(errors: list[Finding]) -> tuple[Verdict, str, None] | None:
    for wanted in PRECEDENCE:
        for finding in errors:
            if RULES[finding.rule].verdict == wanted:
                return wanted, finding.seen, None
    return None


def _verdict_before(evidence: Evidence, outlook: Outlook | None, untrained: str | None) -> tuple[Verdict, str, float | None]:
    """Without a conclusive rehearsal, only the plateau formula predicts anything, where it was fitted."""
    probe = evidence.probe
    tried = sentence_beside(evidence, outlook) if evidence.rehearsal is not None and outlook is not None else None
    if probe is None:
        return "cannot tell", tried or "neither a probe nor a running loop was examined", None
    plateau = reading.plateau_ends(probe) if probe.at_start and probe.plateau_steps is not None else None
    if plateau is not None and plateau > 100:
        return "slow start", f"the loss will stay at chance for about {plateau:,.0f} steps, then fall", plateau
    # A rehearsal that ends inside the predicted plateau is no evidence about it. One that ends after it withholds it:
    # of seven VGGs on MNIST and CIFAR-10 predicted to leave within 60 steps and still at chance after 60 to 100 rehearsed ones,
    # six had not left after 400 (benchmarks/real_sets.py).
    steps = len(evidence.rehearsal.steps) if evidence.rehearsal is not None else 0
    is_early = outlook is not None and outlook.cause == "no_fall" and plateau is not None and steps < plateau
    if tried is not None and not is_early:
        return "cannot tell", tried, None
    planned = reading.planned_steps(evidence)
    if plateau is not None and planned is not None and PLATEAU_FACTOR * plateau > planned:
        seen = f"the loss is predicted to leave chance within {plateau:,.0f} steps, give or take a factor 2"
        return "cannot tell", f"{seen}, and {planned:,} are planned; a longer plan would tell", None
    total = reading.total_budget(probe)
    outside = total is not None and not BUDGET_LOW <= total <= BUDGET_HIGH
    said = _outside_the_band(evidence, probe, total, plateau) if total is not None and outside else None
    if NO_OPTIMIZER in evidence.problems:
        untried = "no optimizer was given, so no step of the loop was tried; give the loop's (optimizer=)"
        return "cannot tell", f"{untried}; {said}" if said else untried, None
    if said is not None:
        return "cannot tell", said, None
    alive = math.isfinite(probe.loss) and math.isfinite(probe.gradient_norm) and probe.gradient_norm > 0
    if total is not None and plateau is not None and alive and untrained is None:
        odds = odds_of(probe, evidence.rehearsal)
        if odds is not None and odds.doubt is not None:  # the closed form does not cover steps that are too long
            seen = f"{plateau:.0f} steps at chance are predicted, but most runs with such measurements stay there"
            return "cannot tell", f"{seen} ({odds.doubt}); a longer rehearsal would tell", None
        return (
            "will train",
            f"gain budget with the input {total:+.1f}, loss predicted to leave chance within {plateau:.0f} steps"
            + (f"; {steps} rehearsed steps say nothing against it" if is_early else ""),
            None,
        )
    return "cannot tell", tried or "nothing contradicts this, but no step of the loop was tried; a rehearsal would tell", None


def _outside_the_band(evidence: Evidence, probe: ProbeResult, total: float, plateau: float | None) -> str:
    """Why a budget outside the band decides nothing here: how this net differs from those that the band was found on."""
    depth = sum(layer.gain is not None for layer in probe.layers)
    adaptive = reading.is_adaptive(evidence)
    differs = [
        f"{depth} weight layers" if depth < PILOT_DEPTH else "",
        "biases that start away from zero" if probe.biased else "",
        str(reading.optimizer_name(evidence)) if adaptive else "",
    ]
    reason = f"gain budget with the input {total:+.1f} is outside the band of {BUDGET_LOW:g} to {BUDGET_HIGH:g}"
    if here := ", ".join(word for word in differs if word):
        reason += f" that was found with {PILOT_DEPTH} or more weight layers, zero biases and SGD; this program has {here}"
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

    def add(topic: str, why: str) -> None:
        if not any(problem.startswith(topic) for problem in evidence.problems):  # which says why it could not be
            missing.append(f"{topic}: {why}")

    if evidence.probe is None:
        add("the start", "not looked at; Monitor(..., before=check(...)) takes it from a check before training")
    else:
        missing.extend(evidence.probe.notes)
        if evidence.probe.plateau_steps is None:
            missing.append(f"how long the loss stays at chance: {why_no_plateau(evidence.probe)}")
        if evidence.probe.overfit_loss is None and evidence.rehearsal is None and not evidence.steps:
            add("whether one batch can be memorised", "trainability.probe(..., overfit_steps=100) tries it")
    if evidence.facts is not None:
        missing.extend(evidence.facts.notes)
    if evidence.rehearsal is not None:
        missing.extend(evidence.rehearsal.notes)
    if not evidence.steps:
        add("training steps", "none watched (Monitor)")
    if evidence.data is None:
        add("data", "not looked at; check(model, train_loader, ..., val_loader=...) does")
    else:
        if evidence.data.validation is None:
            add("validation data", "none given (val_loader=)")
        missing.extend(evidence.data.notes)
    if evidence.metric is None:
        add("metric", "none given (check(..., metric=...))")
    if (others := evidence.processes) is not None:
        if others.missing:
            ranks = ", ".join(map(str, others.missing))
            add(f"processes {ranks}", "they reported no step (use a Monitor in every process, with the same every)")
        if others.lost is not None:
            add("other processes", f"the comparison ended ({others.lost})")
    if evidence.steps and not evidence.evaluations:
        own = "some of the loop's own were" if reading.facts(evidence).held_out else "the loop's own are not"
        add("evaluations", f"none recorded (Monitor.record_evaluation); {own} looked at")
    return tuple(missing)
