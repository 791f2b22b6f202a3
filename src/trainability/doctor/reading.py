"""Readings of the evidence that several rules share: chance level, windows of the loss, whether anything was learned."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from trainability.doctor.evidence import Evaluation, Evidence, ProbeResult
from trainability.doctor.facts import Facts
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.layer_table import field_of, number_of
from trainability.doctor.readings import FEWEST_LENGTHS

LEARNED = 0.9  # share of ln C under which a loss is no longer at chance; the level that the plateau formula was fitted to
_NO_LOSS = 1e-6
WINDOW_STEPS = 20
_TOLD = 1e-3  # rms of targets, below which what a gradient tells of them may be rounding
BLOWN_UP = 2.0  # mean of the first five losses over the first: more than batches differ by themselves
EMPTIED = 1e-3  # output of a normalisation over its scale: below, nothing was left of what it was given
# Fewest images per class at which the correction for a gradient's noise was measured (128 of 400 classes).
PLATEAU_IMAGES_PER_CLASS = 0.3


def facts(evidence: Evidence) -> Facts:
    """Return what is certain; nothing where nobody looked. Of targets that nobody looked at, what Monitor's first step told."""
    known = evidence.facts or Facts()
    first = evidence.samples[0] if evidence.samples and evidence.samples[0].step == 1 else None
    if first is None or first.target_rms is None or first.target_rms < _TOLD or known.target_rms is not None:
        return known
    if known.graph is not None and known.graph.takes not in ("distance", None):
        return known  # these are the targets of a squared error, and the graph shows another loss
    return replace(
        known,
        task_loss=known.task_loss or first.task_loss,
        target_rms=first.target_rms,
        target_below_zero=first.target_below_zero,
        target_outside_unit=first.target_outside_unit,
        cut_at_zero=first.cut_at_zero,
        cut_to_unit=first.cut_to_unit,
        output_rms=known.output_rms if known.output_rms is not None else first.output_rms,
    )


def num_classes(evidence: Evidence) -> int | None:
    """Classes of the task, from whoever knows."""
    if evidence.num_classes is not None:
        return evidence.num_classes
    if evidence.data is not None and evidence.data.num_classes is not None:
        return evidence.data.num_classes
    return evidence.probe.num_logits if evidence.probe is not None else None


def chance_loss(evidence: Evidence) -> float | None:
    """Loss of a net that knows nothing and says so, ln C. None if this is no classification.

    What chance costs in other kinds of task (sequences, several labels, regression) is in `doctor/tasks.py`: `Kind.chance`.
    Of losses against each other none is told: there it is where the game rests, not where it began.
    """
    if is_opposed(evidence):
        return None
    if evidence.probe is not None and evidence.probe.cross_entropy is not None:
        classes = num_classes(evidence)
    else:
        classes = (num_classes(evidence) if evidence.probe is None else None) or _classes_of_the_loss(evidence)
    return math.log(classes) if classes is not None and classes > 1 else None


def _classes_of_the_loss(evidence: Evidence) -> int | None:
    """Width of the log-softmax that the loss is made of, where the loss is the mean cross-entropy, and nothing else.

    So it is where it was computed anew from outputs and targets; or where the first loss watched is about the width's
    logarithm: near ln C at the start nothing is divided, summed or added to.
    """
    graph = evidence.facts.graph if evidence.facts is not None else None
    if graph is None or graph.num_outputs is None or graph.num_outputs < 2 or "log_softmax" not in (graph.takes, graph.made_by):
        return None
    if evidence.facts is not None and evidence.facts.task_loss == "cross_entropy":
        return graph.num_outputs
    first = evidence.steps[0].loss if started_at_zero(evidence) else evidence.facts.loss if evidence.facts is not None else None
    chance = math.log(graph.num_outputs)
    return graph.num_outputs if first is not None and 0.85 * chance <= first <= 1.5 * chance else None


def num_steps(evidence: Evidence) -> int:
    """Steps from the first to the last that was watched; of a long run not all of them are kept."""
    return evidence.steps[-1].step - evidence.steps[0].step + 1 if evidence.steps else 0


def rows_are_steps(evidence: Evidence) -> bool:
    """Whether each batch is one sequence, of its own length, whose steps are the rows that the model is given."""
    found = facts(evidence).readings
    lengths = {sample.batch_size for sample in evidence.samples if sample.batch_size is not None}
    return found.one_sequence and (found.lengths_differ or len(lengths) >= FEWEST_LENGTHS)


def is_summed(probe: ProbeResult) -> bool:
    """Whether the loss is as many times the mean cross-entropy as the batch has examples, to 1 %."""
    if not probe.cross_entropy or probe.batch_size < 2:
        return False
    return math.isclose(probe.loss / probe.cross_entropy, probe.batch_size, rel_tol=0.01)


def loss_divisor(evidence: Evidence) -> int:
    """By what the logged losses are divided: the micro-batches of a step, where the losses' level gives them away; else 1.

    `loss / k` is what accumulation passes to backward, and is then often logged. It shows in a first loss that is a k-th of
    the probe's, within a tenth (dropout, another batch), or in losses that rest at ln C / k to a hundredth, where a net that
    really had got that far would have losses that differ from batch to batch.
    """
    steps, chance = evidence.finite_steps, chance_loss(evidence)
    factor = evidence.micro_batches
    if factor < 2 or chance is None:
        return 1
    probe, first = evidence.probe, steps[0].loss
    known = probe.cross_entropy if probe is not None and probe.at_start and started_at_zero(evidence) else None
    if known is not None and first > 0 and abs(known / (factor * first) - 1) < 0.1:
        return factor
    recent = [factor * s.loss for s in steps[-WINDOW_STEPS:]]
    rests = len(recent) == WINDOW_STEPS and statistics.pstdev(recent) < 0.01 * chance
    return factor if rests and abs(statistics.fmean(recent) / chance - 1) < 0.01 else 1


def recent_loss(evidence: Evidence) -> float | None:
    """Mean loss of the last `WINDOW_STEPS` steps, a division by the micro-batches taken back; None with fewer than that."""
    steps = evidence.finite_steps
    if len(steps) < WINDOW_STEPS:
        return None
    return loss_divisor(evidence) * statistics.fmean(s.loss for s in steps[-WINDOW_STEPS:])


def chance_as_summed(evidence: Evidence) -> float | None:
    """Chance in the size of the loop's loss: of a sum over the batch it is as many times that of one example."""
    chance, probe = chance_loss(evidence), evidence.probe
    return chance * probe.batch_size if chance is not None and probe is not None and is_summed(probe) else chance


def chance_as_logged(evidence: Evidence) -> float | None:
    """Chance in the size of the losses as the loop logs them: summed over the batch, or divided by the micro-batches."""
    chance = chance_as_summed(evidence)
    return None if chance is None else chance / loss_divisor(evidence)


def is_opposed(evidence: Evidence) -> bool:
    """Whether the loss and another network's work against each other: a fall is no gain then, and a rise no loss."""
    rehearsed = evidence.rehearsal is not None and evidence.rehearsal.opposed
    return rehearsed or (evidence.facts is not None and (evidence.facts.opposed or evidence.facts.takes_turns))


def has_no_loss(evidence: Evidence, first: int | None = None) -> bool:
    """Whether the losses of a run's steps, or of its first ones, are zero: their gradients are then zero, too."""
    losses = [step.loss for step in evidence.steps[:first]]
    return bool(losses) and all(loss is not None and abs(loss) <= _NO_LOSS for loss in losses)


def makes_goals(evidence: Evidence) -> bool:
    """Whether a run's squared or absolute loss is of goals that the model, or one of its kind, makes in the same step.

    Seen at half of the sampled steps and at two of them: an evaluation between steps makes no goals.
    """
    graph, asked = facts(evidence).graph, sum(sample.asks_itself for sample in evidence.samples)
    return graph is not None and graph.takes == "distance" and asked >= 2 and 2 * asked >= len(evidence.samples)


def swings_around_zero(evidence: Evidence) -> bool:
    """Whether a quarter of the first losses and of the last are on either side of zero: there is no level to fall from."""
    losses = [step.loss for step in evidence.finite_steps]
    if len(losses) < 2 * WINDOW_STEPS:
        return False
    below = [statistics.fmean(loss < 0 for loss in part) for part in (losses[:WINDOW_STEPS], losses[-WINDOW_STEPS:])]
    return all(0.25 <= share <= 0.75 for share in below)


def has_learned(evidence: Evidence) -> bool:
    """Whether the loss is now below chance, or, without classes, clearly below its first steps.

    A run that was watched from its first step must be below that, too: a loss that is logged divided starts below chance.
    """
    recent = recent_loss(evidence)
    steps = evidence.finite_steps
    if recent is None or len(steps) < 2 * WINDOW_STEPS:
        return False
    first = loss_divisor(evidence) * statistics.fmean(s.loss for s in steps[:5])
    if started_at_zero(evidence) and first > BLOWN_UP * abs(steps[0].loss):
        first = loss_divisor(evidence) * steps[0].loss  # coming back from where the first steps threw it is no learning
    chance = chance_as_summed(evidence)
    if chance is None:
        return recent < LEARNED * first
    # A run watched from its middle starts below chance; one that starts far above it has learned only below chance.
    return recent < LEARNED * (min(first, chance) if started_at_zero(evidence) else chance)


def stays_above_half(evidence: Evidence) -> bool:
    """Whether 50 rehearsed steps or more, or the watched run after them, leave the loss above half of what a constant costs."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or len(rehearsal.steps) < 50:
        return False
    chance = rehearsal.constant_loss if rehearsal.task.chance is None else rehearsal.task.chance
    now = recent_loss(evidence) or (rehearsal.reference[-1].loss if rehearsal.reference else None)
    return now is not None and chance is not None and now > 0.5 * chance


def diverged(evidence: Evidence) -> bool:
    """Whether a loss was finite at the first step, of the run or else of the rehearsal, and is not at a later one."""
    seen = evidence.steps or (evidence.rehearsal.steps if evidence.rehearsal is not None else ())
    losses = [s.loss for s in seen if s.loss is not None and not getattr(s, "skipped", False)]
    return bool(losses) and math.isfinite(losses[0]) and not all(map(math.isfinite, losses))


def stands_still(evidence: Evidence) -> bool:
    """Whether 50 rehearsed steps and more leave nine tenths of the first loss, and the run, if there was one, eight tenths."""
    looks = evidence.rehearsal.reference if evidence.rehearsal is not None else ()
    if len(looks) < 2 or looks[-1].step < 50 or looks[-1].loss <= 0.9 * looks[0].loss:
        return False
    return (recent_loss(evidence) or looks[-1].loss) > 0.8 * looks[0].loss


def carries_over(evidence: Evidence) -> bool:
    """Whether what was learned answers held-out examples better than one constant does, by three standard errors."""
    for seen in evidence.evaluations:
        count = seen.num_examples or 0
        if seen.split != "validation" or not count:
            continue
        if seen.r_squared is not None and seen.r_squared > 3 / math.sqrt(count):
            return True
        if seen.counted_error is not None and seen.largest_label_fraction is not None:
            cost = 1 - seen.largest_label_fraction
            if seen.counted_error < cost - 3 * math.sqrt(cost * (1 - cost) / count):
                return True
    return False


def predictions_collapsed(evidence: Evidence) -> Evaluation | None:
    """The last evaluation after step 100 or later, where the predicted classes have less than half of the labels' entropy."""
    seen = [e for e in evidence.evaluations if e.predicted_class_entropy is not None and e.label_entropy and e.step >= 100]
    last = seen[-1] if seen else None
    return last if last is not None and (last.predicted_class_entropy or 0.0) < 0.5 * (last.label_entropy or 1.0) else None


def trend(evidence: Evidence) -> Literal["falling", "flat", "rising"] | None:
    """Where the loss goes: the last fifth of the watched steps against the fifth before; None with too few steps.

    Rising: above the lowest fifth by more than a tenth of the whole fall and three standard errors. Flat: what the last fifth
    differs from the one before is within two standard errors, and below a hundredth of the fall.
    """
    losses = [step.loss for step in evidence.finite_steps]
    window = max(WINDOW_STEPS, len(losses) // 5)
    if len(losses) < 2 * window:
        return None
    parts = [losses[end - window : end] for end in range(len(losses), window - 1, -window)]
    means = [statistics.fmean(part) for part in parts]
    error = math.sqrt(sum(statistics.pvariance(part) / window for part in parts[:2]))
    fall = abs(statistics.fmean(losses[:5]) - min(means))
    if means[0] > min(means) + 3 * error + 0.1 * fall:
        return "rising"
    change = abs(means[1] - means[0])
    return "flat" if change < 2 * error and change < 0.01 * fall else "falling"


def clipped_to_nothing(evidence: Evidence) -> bool:
    """Whether clipping leaves less than a hundredth of the typical gradient of the last 200 steps."""
    ratios = [s.clip_ratio for s in evidence.steps[-200:] if s.clip_ratio is not None]
    return bool(ratios) and statistics.median(ratios) < 0.01


def probe_at_start(evidence: Evidence) -> ProbeResult | None:
    """The probe, if it looked at initialised weights and nothing was learned since."""
    probe = evidence.probe
    return probe if probe is not None and probe.at_start and not has_learned(evidence) else None


def started_at_zero(evidence: Evidence) -> bool:
    """Whether the watched steps begin with the first step of training."""
    return bool(evidence.steps) and evidence.steps[0].step == 1


def latest_layers(evidence: Evidence) -> tuple[LayerStats, ...]:
    """Layers of the last sampled step that saw any, else of the probe."""
    for sample in reversed(evidence.samples):
        if sample.layers and not sample.blind:
            return sample.layers
    return evidence.probe.layers if evidence.probe is not None else ()


def latest_batch_size(evidence: Evidence) -> int | None:
    """Examples behind `latest_layers`."""
    for sample in reversed(evidence.samples):
        if sample.layers and not sample.blind:
            return sample.batch_size
    return evidence.probe.batch_size if evidence.probe is not None else None


def is_matrix(layer: LayerStats) -> bool:
    """Not a scale, position table or class token: those are often zero at the start, and pass no gradient to other layers."""
    return layer.kind not in ("norm", "parameter")


def emptied_norms(evidence: Evidence) -> list[LayerStats]:
    """Normalisations that put out next to nothing at the first step, though their scale is not zero: 1 is what they are for.

    In eval mode a batch norm only multiplies by what it has kept. One that is emptied at the first of several calls alone, as
    of a state that begins at zero, has a gradient from the others.
    """
    probe = evidence.probe
    first = evidence.samples[0] if evidence.samples and evidence.samples[0].step == 1 else None
    if first is not None and first.training is False:
        return []
    layers = first.layers if first is not None else probe.layers if probe is not None and probe.at_start else ()
    largest = max((s.gradient_rms or 0.0 for s in layers), default=0.0)
    return [
        s
        for s in layers
        if s.kind == "norm"
        and s.weight_rms
        and s.activation_rms is not None
        and s.activation_rms < EMPTIED * s.weight_rms
        and (s.gradient_rms or 0.0) <= EMPTIED * largest
    ]


def planned_steps(evidence: Evidence) -> int | None:
    """Length of the run in optimizer steps, from whoever was told."""
    settings = evidence.optimizer or (evidence.probe.optimizer if evidence.probe is not None else None)
    known = evidence.rehearsal.planned_steps if evidence.rehearsal is not None else None
    return known if known is not None else settings.planned_steps if settings is not None else None


def optimizer_name(evidence: Evidence) -> str | None:
    """Class name of the optimizer; None if unknown."""
    settings = evidence.optimizer or (evidence.probe.optimizer if evidence.probe else None)
    return settings.name if settings is not None else None


def is_adaptive(evidence: Evidence) -> bool:
    """Whether the optimizer divides by the gradient's own size, as Adam does, and so does not mind its scale."""
    return optimizer_name(evidence) not in (None, "SGD")


def is_searched(evidence: Evidence) -> bool:
    """Whether a step is up to 20 updates that look for a minimum, as one of LBFGS, and the loss has not risen.

    Such a step goes as far as the curvature says: it may replace a weight, and its length says nothing of the learning rate.
    """
    return optimizer_name(evidence) == "LBFGS" and has_risen(evidence) is False


def has_risen(evidence: Evidence) -> bool | None:
    """Whether the loss of the run, or of the rehearsal, has risen, or is not finite; None where none is known."""
    rehearsal = evidence.rehearsal
    if evidence.steps:
        losses = [step.loss for step in evidence.steps if not step.skipped]
    elif rehearsal is not None and rehearsal.ended_by == "not finite":
        return True
    else:
        losses = [seen.loss for seen in rehearsal.reference] if rehearsal is not None else []
    if not losses:
        return None
    return not all(map(math.isfinite, losses)) or statistics.median(losses[-5:]) > losses[0]


_CLASSES = {"linear": "Linear", "conv": "Conv", "conv_transpose": "ConvTranspose", "norm": "norm", "embedding": "Embedding"}


def called(layer: LayerStats) -> str:
    """A layer's name as a sentence says it: what is only a number, as in a `Sequential`, with the kind of layer."""
    return f"{layer.name} ({_CLASSES.get(layer.kind, layer.kind)})" if _is_number(layer) else layer.name


def called_in_short(layer: LayerStats) -> str:
    """The same beside a number, such as "gain of layer 18"."""
    return f"layer {layer.name}" if _is_number(layer) else layer.name


def _is_number(layer: LayerStats) -> bool:
    return layer.name.replace(".", "").isdigit()


def names(layers: list[LayerStats]) -> tuple[str, ...]:
    """Names of layers."""
    return tuple(layer.name for layer in layers)


def total_budget(probe: ProbeResult | Mapping[str, Any]) -> float | None:
    """Gain budget of the weights plus log10 of the input's mean square; `None` where either is unknown.

    Args:
        probe: the object, or its plain form in a run's `evidence.json`.
    """
    weights, square = number_of(field_of(probe, "log10_gain")), number_of(field_of(probe, "input_mean_square"))
    return None if weights is None or square is None or square <= 0 else weights + math.log10(square)


def plateau_ends(probe: ProbeResult) -> float | None:
    """Predicted steps at chance, where the end may be believed; None where it may not, or there is no prediction.

    A few images of many classes show a gradient that is nearly all noise. Noise looks like growth, so that what is predicted
    from them is only the least that it takes: an endless plateau is still one, an end is not.
    """
    steps = probe.plateau_steps
    few = probe.num_logits is not None and probe.batch_size < PLATEAU_IMAGES_PER_CLASS * probe.num_logits
    return steps if steps is not None and math.isfinite(steps) and not few else None
