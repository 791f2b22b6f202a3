"""The evaluations of a run: recorded against counted errors, training against validation, and both against a constant."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.best_constant import frequency_cost, standing, still_falls
from trainability.doctor.evidence import Evaluation, Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.reading import WINDOW_STEPS
from trainability.doctor.rules.beyond_a_constant import beyond_a_constant, rare_classes
from trainability.doctor.rules.constant_solution import solved_by_constant
from trainability.doctor.rules.memorised import memorised, sure_and_wrong
from trainability.doctor.rules.rehearsed_constant import Found, rehearsal_at_constant
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.running_statistics import of_other_statistics
from trainability.doctor.rules.watched_validation import contradicted

_FEWEST_STEPS = 300  # with fewer, a constant loss may be a slow start
_TASK_LOSSES = ("cross_entropy", "nll_loss")


@rule(severities=("error", "warning", "hint"), verdict="broken metric", explains=("overfit", "evaluation_path"))
def evaluation_told(evidence: Evidence) -> list[Finding]:
    """An evaluation's error contradicts the predictions, labels or loss recorded with it.

    Fires: the error passed to `record_evaluation` differs from the one counted from its predictions and labels. An error (code
        `count`) above 0.01 and four standard errors of a sample of that size, else a hint; code `accuracy` where the recorded
        number is 1 minus the counted error. A warning where the recorded error is above 1 (code `percent`), and where it is
        more than the loss allows (code `loss`).
    Why: a wrong answer costs ln 2 or more, because the right class then has a probability of at most a half. So an error is at
        most the mean cross-entropy over ln 2; an error of 0.99 with a loss of 0.3 is impossible. Four standard errors allow for
        predictions of a part of the split.
    What fools it: predictions of other examples than those of the error, and a loss weighted by class.
    Fix: count right answers and examples over the whole split, and divide once.
    Source: own; the log's metric showed 0.9925 where 0.90 was true.
    """
    for seen in reversed(evidence.evaluations):
        told, counted = seen.top1_error, seen.counted_error
        if told is None or not math.isfinite(told):
            continue
        if told > 1:
            word, right, severity = "percent", told / 100, "warning"
        elif counted is not None and abs(told - counted) > 1e-6 and seen.num_examples:
            error = math.sqrt(max(counted * (1 - counted), 1 / seen.num_examples) / seen.num_examples)
            far = abs(told - counted) > 0.01 + 4 * error
            word = "accuracy" if far and abs(1 - told - counted) < 1e-3 else "count"
            if abs(told - counted) < 0.5 / seen.num_examples + 1e-4:  # rounded to a few digits
                continue
            right, severity = counted, "error" if far else "hint"
        elif _is_impossible(evidence, seen):
            word, right, severity = "loss", (seen.loss or 0.0) / math.log(2), "warning"
        else:
            continue
        return [
            Finding(
                rule="evaluation_told",
                code=f"evaluation_told.{word}",
                severity=severity,
                seen=f"the {seen.split} error recorded at step {seen.step} is {told:.4g}; "
                + {"loss": f"with a loss of {seen.loss or 0.0:.3g} it is at most {right:.3g}"}.get(
                    word,
                    f"{'as a fraction it is' if word == 'percent' else 'counted from predictions and labels it is'} "
                    f"{right:.4g}",
                ),
                measurements=(
                    Measurement(name="recorded error", value=told, threshold=right),
                    Measurement(name="examples counted", value=float(seen.num_examples or 0)),
                ),
                cause={
                    "percent": "errors are expected as a fraction, in [0, 1]",
                    "accuracy": "an accuracy is recorded where an error is expected",
                    "count": "the metric divides by another number of examples than it counts, or counts other answers",
                    "loss": "the metric and the loss are computed from different answers",
                }[word],
                remedy="top1_error=error / 100"
                if word == "percent"
                else "top1_error=1 - accuracy"
                if word == "accuracy"
                else "count right answers and examples over the whole split, and divide once",
                source="own; the log's metric",
            )
        ]
    return []


def _is_impossible(evidence: Evidence, seen: Evaluation) -> bool:
    """Whether the error is more than the loss allows: only where each example is known to have one label."""
    if seen.loss is None or seen.top1_error is None or not _one_label(evidence):
        return False
    return seen.top1_error * math.log(2) > 1.2 * seen.loss + 0.02


def _one_label(evidence: Evidence) -> bool:
    """Whether the loss is known to be plain cross-entropy with one label per example."""
    if evidence.rehearsal is not None and evidence.rehearsal.task.kind == "classification":
        return evidence.rehearsal.task.loss in _TASK_LOSSES
    facts, probe = evidence.facts, evidence.probe
    if facts is not None and facts.task_loss is not None:
        return facts.task_loss in _TASK_LOSSES and len(facts.output_shape) == 2 and facts.output_shape[:1] == facts.target_shape
    return (
        probe is not None and bool(probe.cross_entropy) and math.isclose(probe.loss, probe.cross_entropy or 0.0, rel_tol=0.01)
    )


@rule(severities=("warning", "hint"), explains=("overfit", "constant_as_good", "prediction_collapse"))
def evaluation_path(evidence: Evidence) -> list[Finding]:
    """The training loss is low, but the evaluation does not show it.

    Fires: the watched loss is below a quarter of the cost of the class frequencies, and the last two evaluations contradict it:
        the error on training examples is more than twice what that loss allows, plus 0.1 (code `train_error`), or their loss is
        three times the watched one or more (code `train_loss`); or the error on validation examples is within three standard
        errors of always predicting the most frequent class (code `validation`). Code `statistics`: more than half of the
        running statistics of a batch norm is still their initial value, after all planned steps or, if that number is not
        known, at the last evaluation (then a hint, unless its error is more than twice what the loss allows, plus 0.1, or a run
        that has learned predicts few classes). Code `last_batch`: a batch norm's momentum is so large, and the loader's last
        batch so small, that the running statistics are as uncertain as those of 6 examples or fewer; a hint where the momentum
        is 0.9 or more, below 1, and the last batch is not known, and a warning where an evaluation contradicts. Code
        `shared_norm`: one batch norm is called at several places of a pass, and with the shared statistics the mean square of
        its output at one of them is off by a quarter or more; a hint, unless the same holds in an evaluation and in the next.
        Code `batch_statistics`: after 10 rehearsed steps or more, with the weights fixed and the running statistics up to date,
        the loss on the loop's own batches is twice as large when batch norm uses running statistics as when it uses each
        batch's own, and half or more (three tenths with fewer than 8 examples a batch) of what the steps took off the loss are
        lost. Code `never_written`: likewise, by modules of the user's that read tensors in evaluation mode alone, which no pass
        in training mode writes; asked on a copy, where these tensors are changed. Code
        `average`: the body moves a copy of trained weights, which the loss asks in evaluation mode, or the model where it
        evaluates; its batch norms have the statistics of their start, and by those of its twin, the mean square of what one of
        them normalises is 2 or more, or half or less. Code `no_statistics`: a batch norm keeps no
        running statistics; a warning where a batch of validation has a quarter of the examples of one of training or fewer, or
        an evaluation contradicts, else a hint.
    Why: a loss of 0.1 allows an error of at most 0.1 / ln 2. On training examples only the evaluation itself can lose that:
        other preprocessing, other weights, batch norm's statistics, or the metric. On validation examples alone, it is the
        labels or the preprocessing of that split, or a net that has memorised pairs unrelated to the labels.
    What fools it: batch norm early in a run at a large learning rate, hence two evaluations; for `never_written` and `average`,
        a function of the loop that fills the statistics after an epoch. A weighted or divided loss is not compared with the
        error.
    Fix: evaluate ten training examples by hand: the same weights, the same transform, model.eval(), and count.
    Source: own; the log's metric said 0.9925 whatever the net had learned.
    """
    last = evidence.evaluations[-1] if evidence.evaluations else None
    contradicts = last is not None and _against_watched(evidence, last, "train_error") is not None
    contradicts |= reading.has_learned(evidence) and reading.predictions_collapsed(evidence) is not None
    contradicts |= contradicted(evidence) is not None
    if found := of_other_statistics(evidence, contradicts=contradicts):
        return found
    for word, split in (("train_error", "train"), ("train_loss", "train"), ("validation", "validation")):
        seen = [e for e in evidence.evaluations if e.split == split][-2:]
        told = [_against_watched(evidence, e, word) for e in seen]
        if len(told) < 2 or None in told:
            continue
        value, limit, watched = told[-1]  # type: ignore[misc]
        what = "loss" if word == "train_loss" else "error"
        return [
            Finding(
                rule="evaluation_path",
                code=f"evaluation_path.{word}",
                severity="warning",
                seen=f"the training loss is down to {watched:.3g}, and the {what} on the {split} split is {value:.3g}",
                measurements=(
                    Measurement(name=f"{what} evaluated", value=value, threshold=limit),
                    Measurement(name="watched training loss", value=watched),
                ),
                cause="validation has other labels or another preprocessing, or what the net memorised does not generalise"
                if word == "validation"
                else "the evaluation uses other weights, inputs or batch statistics than training, or the metric is wrong",
                remedy="evaluate ten training examples by hand: the same weights and transform, model.eval(), and count",
                source="own; the log's metric",
            )
        ]
    return []


def _against_watched(evidence: Evidence, seen: Evaluation, word: str) -> tuple[float, float, float] | None:
    """The evaluated number, its limit, and the loss watched before it; None where they agree or cannot be compared."""
    before = [s.loss for s in evidence.finite_steps if seen.step - 2 * WINDOW_STEPS < s.step <= seen.step]
    constant = frequency_cost(evidence) or seen.label_entropy or reading.chance_loss(evidence)
    if len(before) < WINDOW_STEPS or not constant:
        return None
    watched = reading.loss_divisor(evidence) * statistics.fmean(before)
    if not 0 < watched < 0.25 * constant:
        return None
    if word == "train_loss":
        limit = 3 * watched + 0.2 * constant
        return (seen.loss, limit, watched) if seen.loss is not None and seen.loss > limit else None
    error = seen.counted_error if seen.counted_error is not None else seen.top1_error
    if error is None or not 0 <= error <= 1 or not _one_label(evidence):
        return None
    limit = 2 * watched / math.log(2) + 0.1
    if word == "validation":
        classes = reading.num_classes(evidence)
        share = seen.largest_label_fraction or (1 / classes if classes else None)
        if share is None:
            return None
        spread = math.sqrt(share * (1 - share) / seen.num_examples) if seen.num_examples else 0.003
        limit = max(limit, 1 - share - 3 * spread)
    return (error, limit, watched) if error > limit else None


@rule(severities=("warning",))
def prediction_collapse(evidence: Evidence) -> list[Finding]:
    """Almost all images are assigned to few classes.

    Fires: in the last evaluation after step 100 or later, the entropy of the predicted classes is below half of the labels'.
    Why: with ten balanced classes, that is about three classes in use. Earlier it means nothing: an untrained deep net predicts
        one class for almost every image.
    What fools it: an evaluation on a subset with another mix of classes, and a net that is still learning (some classes come
        first).
    Fix: check labels against inputs (`trainability.audit_data`), then the learning rate.
    Source: own; the log's trials caltech-1 to -4.
    """
    last = reading.predictions_collapsed(evidence)
    if last is None:
        return []
    share = (last.predicted_class_entropy or 0.0) / (last.label_entropy or 1.0)
    most = ""
    if last.most_predicted_fraction is not None:
        most = f", {100 * last.most_predicted_fraction:.0f} % of them class {last.most_predicted_class}"
    return [
        Finding(
            rule="prediction_collapse",
            severity="warning",
            seen=f"predictions use {math.exp(last.predicted_class_entropy or 0.0):.1f} classes of "
            f"{math.exp(last.label_entropy or 0.0):.1f}{most}",
            measurements=(Measurement(name="entropy of predictions over labels", value=share, threshold=0.5),),
            cause="not learned yet, imbalanced labels, or labels that do not belong to their inputs",
            remedy="check labels against inputs (trainability.audit_data), then the learning rate",
            source="own; the log's trials caltech-1 to -4",
        )
    ]


@rule(severities=("warning", "hint"))
def overfit(evidence: Evidence) -> list[Finding]:
    """Training gets ahead of validation, and the gap grows.

    Fires: three or more evaluations of both splits, with a gap of 0.1 or more in accuracy at the last, larger than at the
        middle one, which is larger than at the first; a warning from 0.3. Code `loss`: three or more validation losses, the
        last above chance and at least 1.25 times the lowest, while the training loss is below a quarter of chance; a warning
        where the validation error is at least 0.9 of chance. Code `memorised`: in a watched script, after ten passes over the
        training data or more, cross-entropy is a tenth of the best constant answer's cost or less, while in the last evaluation
        pass it is above that cost, and in the last two, after different steps and of examples as they are loaded, the error is
        0.3 of such an answer's or more; a warning from half of it.
    Why: a gap alone is normal; a gap that grows means that what is learned no longer generalises.
    What fools it: splits of a few hundred images, where the gap is noise, and training errors measured with dropout on, which
        hide it. A few validation examples with confident wrong answers raise the validation loss while the error still falls.
    Fix: compare the two splits (`trainability check` with the validation loader); then more augmentation, weight decay or
        dropout, or stop at the best validation step.
    Source: Zhang et al., AutoTrainer, ICSE 2021; own thresholds.
    """
    gaps = []
    for held_out in (e for e in evidence.evaluations if e.split == "validation" and e.top1_error is not None):
        same = [e for e in evidence.evaluations if e.split == "train" and e.step == held_out.step and e.top1_error is not None]
        if same:
            gaps.append((held_out.top1_error or 0.0) - (same[0].top1_error or 0.0))
    if len(gaps) < 3 or gaps[-1] < 0.1 or not gaps[-1] > gaps[len(gaps) // 2] > gaps[0]:
        return sure_and_wrong(evidence) or memorised(evidence)
    return [
        Finding(
            rule="overfit",
            severity="warning" if gaps[-1] >= 0.3 else "hint",
            seen=f"training accuracy is {100 * gaps[-1]:.1f} % ahead of validation accuracy, and the gap grows",
            measurements=(Measurement(name="accuracy gap", value=gaps[-1], threshold=0.1),),
            cause="the net memorises its training examples",
            remedy="more augmentation, weight decay or dropout; or stop at the best validation step",
            source="AutoTrainer, ICSE 2021",
        )
    ]


@rule(severities=("warning", "hint"))
def constant_as_good(evidence: Evidence) -> list[Finding]:
    """The outputs cost as much as one constant output for every example.

    Fires: the loss no longer falls and is at least 0.95 of the cost of the best constant answer, the same output for every
        example. In a run, after 100 steps: a warning from 300 steps or at the end of its plan, unless the gradient grows. The
        cost is known for the usual losses; for any other loss it is searched for before the run; Monitor alone reads it off the
        gradient of the outputs, batch by batch. Code `rehearsed`: in a rehearsal of 20 steps or more the loss came within 2 %
        of that cost and stays there, a hint; for an unknown loss, after 50 steps it is between 0.95 and 1.1 of that cost, while
        outputs differ less between examples than at the start. Code `evaluation`: the last two evaluations after step 300 are
        no better than the constant, in error or squared error, and the watched loss, if there is one, is not below 0.9 of its
        cost. A warning with code `solved`: a loss of the model's own outputs, of their derivatives or of targets made from
        them, is zero for a thousand examples of the data if every output is one particular number, and is not for another
        number; and a bias moves all outputs alike. Codes `regression`, of targets that are numbers, `frequencies`, of classes
        and shares, and `rare` of these, where the constant costs less than 0.4 of what even shares cost.
    Why: the mean of the targets, the mean image or the class frequencies need no input. A loss at exactly their cost has
        learned them and nothing else, however far it fell.
    What fools it: targets that nothing in the input predicts; few examples, whose variance differs from that of all; a slow
        start.
    Fix: train on a single batch, which separates the model and loss from the data: either outputs do not depend on inputs, or
        labels do not belong to them (`trainability check`); then try learning rate and initialisation.
    Source: own; ZeroR, the baseline that any model has to beat.
    """
    if (solved := reading.facts(evidence).solved_by) is not None:
        return [solved_by_constant(solved, differentiates=reading.facts(evidence).differentiates)]
    found = _run_at_constant(evidence) or _evaluations_at_constant(evidence)
    if found is None and not evidence.steps:
        found = rehearsal_at_constant(evidence)
    if found is None:
        return []
    code, severity, name, value, cost = found
    rare = rare_classes(evidence) if code == "frequencies" else None
    return [
        Finding(
            rule="constant_as_good",
            code=f"constant_as_good.{'rare' if rare else code}",
            severity=severity,
            seen=f"{'the error' if code == 'evaluation' else 'the loss'} is {value:.4g}; {name}, whatever the input, "
            f"{'has' if code == 'evaluation' else 'costs'} {cost:.4g}",
            measurements=(
                Measurement(name="loss or error", value=value, threshold=0.95 * cost),
                Measurement(name=f"of {name}", value=cost),
            ),
            cause="the outputs differ less between examples than at the start: so far one answer for all examples was learned"
            if code == "rehearsed"
            else "almost all targets are of one class, so that one answer for all examples costs next to nothing"
            if rare
            else "the outputs do not depend on the inputs, or nothing in the inputs predicts the targets",
            remedy=rare or beyond_a_constant(evidence),
            source="own",
        )
    ]


def _run_at_constant(evidence: Evidence) -> Found | None:
    seen = standing(evidence)
    if seen is None or not seen.is_no_better or still_falls(evidence):
        return None
    norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
    growing = len(norms) >= 2 * WINDOW_STEPS and statistics.median(norms[-WINDOW_STEPS:]) > 1.5 * statistics.median(
        norms[:WINDOW_STEPS]
    )
    done, planned = reading.num_steps(evidence), reading.planned_steps(evidence)
    is_over = planned is not None and done >= planned
    severity = "hint" if growing or (done < _FEWEST_STEPS and not is_over) else "warning"
    return seen.code, severity, seen.name, seen.loss, seen.cost


def _evaluations_at_constant(evidence: Evidence) -> Found | None:
    seen = [e for e in evidence.evaluations if e.split == "validation" and e.step >= _FEWEST_STEPS and e.num_examples][-2:]
    if len(seen) < 2:
        return None
    recent = reading.recent_loss(evidence)
    costs = frequency_cost(evidence) or seen[-1].label_entropy or seen[-1].target_variance
    has_learned = recent is not None and costs is not None and recent < 0.9 * costs
    found = [_at_constant(e) for e in seen]
    if None in found:
        return None
    name, value, cost = found[-1]  # type: ignore[misc]
    return "evaluation", "hint" if has_learned else "warning", name, value, cost


def _at_constant(seen: Evaluation) -> tuple[str, float, float] | None:
    """Name, value and cost of the constant, where the evaluation is not better by two standard errors."""
    count = seen.num_examples or 0
    if seen.r_squared is not None and seen.target_variance is not None:
        at = seen.r_squared < 2 / math.sqrt(count)
        return ("the mean of the targets", (1 - seen.r_squared) * seen.target_variance, seen.target_variance) if at else None
    if seen.counted_error is None or seen.largest_label_fraction is None or seen.largest_label_fraction > 0.99:
        return None
    cost = 1 - seen.largest_label_fraction
    if seen.counted_error < cost - 2 * math.sqrt(cost * (1 - cost) / count):
        return None
    return f"always predicting class {seen.largest_label}", seen.counted_error, cost
