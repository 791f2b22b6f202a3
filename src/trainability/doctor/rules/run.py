"""The losses of a run: whether they are finite, fall, oscillate or stay constant."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.outlook_limits import WARMING
from trainability.doctor.rate_choice import own_rate, settings_of
from trainability.doctor.reading import WINDOW_STEPS
from trainability.doctor.rules.finite import breaks_by_itself, made_finite, of_zeros
from trainability.doctor.rules.opposed import growth_of_outputs
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.smaller_steps import USUAL_RATIO, larger_steps, last_updates, raised_clip, smaller_steps
from trainability.doctor.rules.where_to_look import ONE_BATCH

_ONE_BATCH = (
    "no step was too large: something in this batch gives NaN or infinity, such as a fully masked example, a mean of nothing, "
    "or log, sqrt or a division at 0"
)
_SLOPE = "the gradient of the last finite loss is not: a division by zero, sqrt or log at 0"
_LARGE = "the steps are too large, or a value overflowed"
LEFT_CHANCE = 0.93  # of ln C: below, something was learned
_RISING_STEPS = 200  # a schedule whose rate rises so long may come down again


@rule(severities=("error",), verdict="unstable", explains=("loss_cliff", "plateau", "prediction_collapse"))
def not_finite(evidence: Evidence) -> list[Finding]:
    """The loss or the gradient is NaN or infinite.

    Fires: at any step, in the probe or in the rehearsal. The finding gives the step; and, where that step was sampled, the
        first layer, in the forward or the backward pass. Code `zeros`: before a run, where a function of the program is given a
        tensor of the batch and is not finite at its zeros. Codes `first_step`: before any step; `clipped`: though gradients are
        clipped.
    Why: no weight recovers from a NaN. Steps skipped by a loss scaler are normal and do not count.
    What fools it: a loop that skips such steps itself without reporting it to Monitor.
    Fix: what the finding names: the function that produces NaN or infinity from finite numbers, with its line, and how to keep
        it finite; or the learning rate, where large steps come first. Normalise inputs or targets where they are large.
    Source: IEEE 754 arithmetic; big_vision stops a run in the same way; own search for the layer.
    """
    step = next(
        (s for s in evidence.steps if not s.skipped and not (math.isfinite(s.loss) and math.isfinite(s.gradient_norm or 0.0))),
        None,
    )
    probe = evidence.probe
    at_probe = probe is not None and not (math.isfinite(probe.loss) and math.isfinite(probe.gradient_norm))
    if step is None and not at_probe:
        return _in_rehearsal(evidence)
    layers = _layers_at(evidence, step.step if step is not None else None)
    forward = next((s.name for s in layers if s.activation_nonfinite), None)
    backward = next((s.name for s in reversed(layers) if s.gradient_nonfinite), None)
    in_backward = step is not None and math.isfinite(step.loss)
    where = f", first in the output of {forward}" if forward else f", first in the gradient of {backward}" if backward else ""
    where = where or (": the loss is finite, the gradient is not" if in_backward else "")
    number = step.step if step is not None else 0
    when = f"at step {number}" if step is not None else "before the first step"
    clipped = any((s.clip_ratio or 1.0) < 0.999 for s in evidence.steps)
    at_once, alone = step is None or step.step == 1, breaks_by_itself(evidence)
    code = "not_finite.first_step" if at_once else "not_finite.clipped" if clipped else "not_finite"
    code = "not_finite.zeros" if of_zeros(evidence) and step is None else code
    cause = {
        "not_finite.zeros": of_zeros(evidence) or "",
        "not_finite.first_step": "no step was made yet: an input, the initial weights or the loss itself overflows",
        "not_finite.clipped": "overflow in spite of clipping",
        "not_finite": _SLOPE if in_backward else _ONE_BATCH if alone else _LARGE,
    }[code]
    return [
        Finding(
            rule="not_finite",
            code=code,
            severity="error",
            seen=f"NaN or infinity {when}{where}",
            measurements=(
                Measurement(name="step", value=float(number)),
                Measurement(name="loss", value=step.loss if step is not None else (probe.loss if probe else math.nan)),
            ),
            cause=cause,
            remedy=made_finite(evidence, at_once or in_backward or alone),
            source="big_vision also stops a run; own layer search",
            layers=(forward or backward,) if (forward or backward) else (),  # type: ignore[arg-type]
        )
    ]


def _in_rehearsal(evidence: Evidence) -> list[Finding]:
    """A loss, or the first step's gradient, that is not finite in the rehearsal, if no step of a run was watched."""
    rehearsal = evidence.rehearsal if not evidence.steps else None
    steps = rehearsal.steps if rehearsal is not None else ()
    in_backward = bool(steps) and steps[0].gradient_norm is not None and not math.isfinite(steps[0].gradient_norm)
    step = next((s for s in steps if (s.loss is not None and not math.isfinite(s.loss)) or (in_backward and s.step == 1)), None)
    if step is None or step.loss is None:
        return []
    at_once, in_backward, alone = step.step == 1, math.isfinite(step.loss), breaks_by_itself(evidence)
    if at_once:
        usual = "no step was made yet: an input, the initial weights or the loss itself overflows, or is a mean of nothing"
    else:
        usual = (_SLOPE if in_backward else _ONE_BATCH) if alone else _LARGE
    return [
        Finding(
            rule="not_finite",
            code="not_finite.zeros" if of_zeros(evidence) else "not_finite.first_step" if at_once else "not_finite",
            severity="error",
            seen="the gradient of the first rehearsed step is not finite, though the loss is"
            if in_backward
            else f"the loss is {step.loss} at step {step.step} of the rehearsal",
            measurements=(Measurement(name="step", value=float(step.step)), Measurement(name="loss", value=step.loss)),
            cause=of_zeros(evidence) or usual,
            remedy=made_finite(evidence, at_once or alone),
            source="own; seen in the rehearsal",
        )
    ]


def _layers_at(evidence: Evidence, step: int | None) -> tuple[LayerStats, ...]:
    """Layers at that step, or in the probe; an earlier sample does not show where it arose."""
    if step is None:
        return evidence.probe.layers if evidence.probe is not None else ()
    return next((sample.layers for sample in evidence.samples if sample.step == step), ())


@rule(severities=("error", "hint"), verdict="unstable", explains=("plateau", "loss_cliff", "prediction_collapse"))
def oscillation(evidence: Evidence) -> list[Finding]:
    """The loss oscillates above chance from the start, and does not fall.

    Fires: after 50 steps, if the later half has a mean above 1.2 ln C and a standard deviation above a tenth of its mean, and
        the last 20 losses are above 0.8 of the first 20. A hint while the learning rate is at half as much again as at first or
        more, as in a warm-up or at the height of a cycle, before step 200.
    Why: steps that overshoot throw the net from one confident wrong answer to another, which costs more than chance level.
        Small batches make the loss vary too, but at or below chance.
    What fools it: a very noisy loss of a net that starts far above chance and improves slowly.
    Fix: the lower learning rate in the finding. Under SGD, where the rate is too large by a factor of ten at most, clipping the
        gradient norm at the run's median also helps.
    Source: Zhang et al., AutoTrainer, ICSE 2021; own condition on the level.
    """
    chance = reading.chance_loss(evidence)
    losses = [s.loss for s in evidence.finite_steps]
    if chance is None or len(losses) < 50 or reading.has_learned(evidence):
        return []
    later = losses[len(losses) // 2 :]
    mean, spread = statistics.fmean(later), statistics.pstdev(later)
    falling = statistics.fmean(later[-WINDOW_STEPS:]) < 0.8 * statistics.fmean(losses[:WINDOW_STEPS])
    if mean < 1.2 * chance or spread < 0.1 * mean or falling:
        return []
    rates = [s.lr for s in evidence.finite_steps if s.lr is not None]
    is_risen = bool(rates) and rates[-1] > WARMING * rates[0] and reading.num_steps(evidence) < _RISING_STEPS
    return [
        Finding(
            rule="oscillation",
            severity="hint" if is_risen else "error",
            seen=f"the loss varies by {spread:.2g} around {mean:.2g}, above chance (ln C, {chance:.2f}), and does not fall",
            measurements=(
                Measurement(name="mean loss of the later half", value=mean, unit="nats", threshold=1.2 * chance),
                Measurement(name="standard deviation over mean", value=spread / mean, threshold=0.1),
            ),
            cause="steps overshoot: the learning rate is too large for these gradients",
            remedy=smaller_steps(evidence),
            source="AutoTrainer, ICSE 2021; own condition on the level",
        )
    ]


@rule(severities=("error", "hint"), verdict="unstable")
def loss_cliff(evidence: Evidence) -> list[Finding]:
    """The loss had fallen, and jumped back.

    Fires: in windows of 20 steps, one was below 0.8 of the level before learning, and a later one is more than twice the best
        and above 0.9 of that level. A hint where the loss has fallen again since, and where chance is not known, unless it is
        ten times its initial level.
    Why: 20 steps average the noise of single batches. A spike in the first steps does not count, because nothing had fallen
        yet.
    What fools it: data that changes during the run (a curriculum, another task), and a loss that is restarted. Silent on losses
        that go below zero, such as a policy's, which have no known floor, and on losses of networks against each other. A hint
        with code `goals` where the model, or one like it, makes its own targets.
    Fix: the lower learning rate in the finding; under SGD, clipping the gradient norm at the run's median also helps.
    Source: own; the log's trial imagenet-D-fail. The factor 2 is that of PyTorch Lightning's spike detection.
    """
    windows = _windows(evidence)
    chance = reading.chance_loss(evidence)
    if len(windows) < 3 or min(windows) <= 0 or reading.is_opposed(evidence):
        return []
    level = chance if chance is not None else windows[0]
    best, worst, at = math.inf, 0.0, 0
    for i, window in enumerate(windows):
        if best < 0.8 * level and window > max(2 * best, 0.9 * level) and window > worst:
            worst, at = window, i
        best = min(best, window)
    if worst == 0.0:
        return []
    recovered = windows[-1] < 0.8 * level
    unsure = recovered or (chance is None and worst < 10 * level)
    before = min(windows[:at])
    own = reading.makes_goals(evidence)
    return [
        Finding(
            rule="loss_cliff",
            code="loss_cliff.goals" if own else "loss_cliff",
            severity="hint" if unsure or own else "error",
            seen=f"near step {evidence.finite_steps[at * WINDOW_STEPS].step} the loss jumped from {before:.2f} to "
            f"{worst:.2f}{' and fell again' if recovered else ''}" + (growth_of_outputs(evidence) if own else ""),
            measurements=(
                Measurement(name="loss after over before", value=worst / before, threshold=2.0),
                Measurement(name="loss after", value=worst, unit="nats", threshold=0.9 * level),
            ),
            cause="the model, or a copy of it, makes its own targets (bootstrapping), which move, and so does the loss"
            if own
            else "one step was too large at that point",
            remedy="judge by the reward; where outputs exceed the sum of rewards, add nothing after the end of an episode "
            "(reward + gamma * (1 - done) * next), and update the target network more slowly"
            if own
            else smaller_steps(evidence),
            source="the log's imagenet-D-fail; Lightning's factor 2",
        )
    ]


def _windows(evidence: Evidence) -> list[float]:
    losses = [s.loss for s in evidence.finite_steps]
    return [statistics.fmean(losses[i : i + WINDOW_STEPS]) for i in range(0, len(losses) - WINDOW_STEPS + 1, WINDOW_STEPS)]


@rule(
    severities=("error", "warning"),
    verdict="dead",
    explains=("prediction_collapse",),
)
def plateau(evidence: Evidence) -> list[Finding]:
    """The loss does not fall; the gradient's growth tells a slow start from a dead net.

    Fires: after 100 steps, if the mean of the last 20 losses is above 0.95 ln C and less than 5 % below the first 20. A warning
        before step 300 and where the gradient has grown by half since the start; else an error. Silent within twice the stay
        that the probe predicted, and where 20 losses in a row were below 0.93 ln C on average. Codes: `at_chance`, or the
        reason that was found, `clipped` or `small_steps`.
    Why: while all layers of a ReLU net grow together, so does their gradient; if it has not grown by half since the start, the
        loss is not about to fall.
    What fools it: a learning-rate warm-up longer than the watched part, and tasks that stay at chance for hundreds of steps
        before they are learned.
    Fix: what the finding names: a learning rate or clip threshold that makes steps too small or too large; otherwise train on a
        single batch, which separates model and loss from data, run `trainability check` before the first step, and try other
        learning rates.
    Source: own; docs/theory.md, section 7.
    """
    chance, recent = reading.chance_loss(evidence), reading.recent_loss(evidence)
    steps, num_steps = evidence.finite_steps, reading.num_steps(evidence)
    if chance is None or recent is None or num_steps < 100 or recent < 0.95 * chance or reading.has_learned(evidence):
        return []
    first = reading.loss_divisor(evidence) * statistics.fmean(s.loss for s in steps[:WINDOW_STEPS])
    expected = evidence.probe.plateau_steps if evidence.probe is not None else None
    # A loss that came back from below chance is held there, as in an adversarial net.
    came_back = min(_windows(evidence)) < LEFT_CHANCE * chance
    if recent < 0.95 * first or came_back or (expected is not None and math.isfinite(expected) and num_steps < 2 * expected):
        return []
    norms = [s.gradient_norm for s in steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
    growth = _growth(norms)
    at_chance = recent < 1.05 * chance
    growing = growth is not None and growth > 1.5
    measurements = [
        Measurement(name="recent loss", value=recent, unit="nats", threshold=0.95 * chance),
        Measurement(name="steps", value=float(num_steps), unit="steps"),
    ]
    if growth is not None:
        measurements.append(Measurement(name="gradient now over at the start", value=growth, threshold=1.5))
    word, cause, remedy = _why_flat(evidence, at_chance)
    state = (
        "the gradient is growing: a slow start" if growing else ("the gradient does not grow: the loss is not about to fall")
    )
    return [
        Finding(
            rule="plateau",
            code=f"plateau.{word}",
            severity="warning" if growing or num_steps < 300 else "error",
            seen=f"after {num_steps} steps the loss is {recent:.3f}, chance (ln C) is {chance:.3f}; {state}"
            if at_chance
            else f"after {num_steps} steps the loss is stuck at {recent:.3f}, above chance (ln C, {chance:.3f})",
            measurements=tuple(measurements),
            cause=cause,
            remedy=remedy,
            source="own; docs/theory.md, section 7",
        )
    ]


def _why_flat(evidence: Evidence, at_chance: bool) -> tuple[str, str, str]:
    """A word, cause and remedy, by the steps' size relative to the weights, and by clipping."""
    # Frozen layers do not move.
    moved = [s.update_ratio for s in reading.latest_layers(evidence) if s.update_ratio and s.kind != "norm"]
    ratio = statistics.median(moved) if moved and evidence.samples else None
    if ratio is not None and 0 < ratio < 1e-4:
        if (clip := raised_clip(evidence)) is not None:
            return "clipped", "the clip threshold leaves almost nothing of the gradient", clip
        if ratio < 1e-5:
            return "small_steps", "steps are too small for the weights", larger_steps(evidence, ratio)
    if ratio is not None and ratio > 0.1:
        return (
            "large_steps",
            "steps are too large for the weights",
            smaller_steps(evidence, ratio / USUAL_RATIO, last_updates(evidence)),
        )
    usual = "" if ratio is None else f"; its steps change the weights by {ratio:.1g} of their size"
    return (
        "at_chance" if at_chance else "above_chance",
        "the run does not tell: outputs do not depend on inputs (a mask, a layer, the loss), or inputs and their targets "
        f"(labels, pairs, places) do not belong together, or the learning rate does not fit{usual}",
        _other_rates(evidence),
    )


def _other_rates(evidence: Evidence) -> str:
    """What to try where it is not known which way the rate is off; where other rates did no better, what else."""
    rehearsal, own, settings = evidence.rehearsal, own_rate(evidence), settings_of(evidence)
    if rehearsal is not None and len(rehearsal.other_rates) > 1:
        return "index inputs and targets with the same order: other rates were tried, and do no better"
    if reading.facts(evidence).maybe_steps_first:
        return (
            "run trainability check first: it tests whether layers without batch_first take the examples of a batch as "
            "steps, which a run cannot show; batch_first=True where they do"
        )
    rates = "a tenth and ten times the learning rate"
    if own is not None and settings is not None:
        rates = f"{settings.name}(..., lr={own / 10:.1g}) and {settings.name}(..., lr={own * 10:.1g})"
    return f"{ONE_BATCH}; then {rates}, for a hundred steps each"


def _growth(norms: list[float]) -> float | None:
    if len(norms) < 2 * WINDOW_STEPS:
        return None
    before, now = statistics.median(norms[:WINDOW_STEPS]), statistics.median(norms[-WINDOW_STEPS:])
    return now / before if before > 0 else None
