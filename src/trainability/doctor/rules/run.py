"""Rules on a running loop: losses, norms and rates of its steps, and evaluations."""

import math
import statistics
from collections import Counter

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.reading import WINDOW_STEPS


def not_finite(evidence: Evidence) -> list[Finding]:
    """NaN or infinity: names the step, the first layer, and whether forward or backward.

    Steps that a loss scaler skipped are its normal business and silent.
    """
    step = next(
        (s for s in evidence.steps if not s.skipped and not (math.isfinite(s.loss) and math.isfinite(s.gradient_norm or 0.0))),
        None,
    )
    probe = evidence.probe
    at_probe = probe is not None and not (math.isfinite(probe.loss) and math.isfinite(probe.gradient_norm))
    if step is None and not at_probe:
        return []
    layers = reading.latest_layers(evidence)
    forward = next((s.name for s in layers if s.activation_nonfinite), None)
    backward = next((s.name for s in reversed(layers) if s.gradient_nonfinite), None)
    where = f"in the output of {forward}" if forward else (f"in the gradient of {backward}" if backward else "in the loss")
    number = step.step if step is not None else 0
    clipped = any((s.clip_ratio or 1.0) < 0.999 for s in evidence.steps)
    return [
        Finding(
            rule="not_finite",
            severity="error",
            seen=f"NaN or infinity at step {number}, first {where}",
            measurements=(
                Measurement(name="step", value=float(number)),
                Measurement(name="loss", value=step.loss if step is not None else (probe.loss if probe else math.nan)),
            ),
            cause="the steps are too large, or a value overflowed" if not clipped else "overflow in spite of clipping",
            remedy="start again from the last checkpoint with a tenth of the learning rate and `--optim.clip 1`",
            source="big_vision stops a run likewise; own layer search",
            layers=(forward or backward,) if (forward or backward) else (),  # type: ignore[arg-type]
        )
    ]


def _windows(evidence: Evidence) -> list[float]:
    losses = [s.loss for s in reading.finite_steps(evidence)]
    return [statistics.fmean(losses[i : i + WINDOW_STEPS]) for i in range(0, len(losses) - WINDOW_STEPS + 1, WINDOW_STEPS)]


def loss_cliff(evidence: Evidence) -> list[Finding]:
    """The loss had fallen and jumped back.

    Windows of 20 steps: one was below 0.8 of the level before learning, a later one is more than twice the best and back
    above 0.9. A spike in the first steps of a run with a large learning rate is none, since nothing had fallen. If it
    falls again, it is a hint.
    """
    windows = _windows(evidence)
    chance = reading.chance_loss(evidence)
    if len(windows) < 3:
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
    before = min(windows[:at])
    return [
        Finding(
            rule="loss_cliff",
            severity="hint" if recovered else "error",
            seen=f"near step {reading.finite_steps(evidence)[at * WINDOW_STEPS].step} the loss jumped from {before:.2f} to "
            f"{worst:.2f}{' and fell again' if recovered else ''}",
            measurements=(
                Measurement(name="loss after over before", value=worst / before, threshold=2.0),
                Measurement(name="loss after", value=worst, unit="nats", threshold=0.9 * level),
            ),
            cause="one step was too large for where it was taken",
            remedy=_clip_remedy(evidence),
            source="the seed's imagenet-D-fail; Lightning's factor 2",
        )
    ]


def _clip_remedy(evidence: Evidence) -> str:
    """A clip threshold from the run's own distribution of gradient norms."""
    norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
    if len(norms) < WINDOW_STEPS:
        return "clip the gradient norm, or lower the learning rate"
    return f"clip the gradient norm at {statistics.median(norms):.2g}, this run's median (`--optim.clip`), or lower the lr"


def oscillation(evidence: Evidence) -> list[Finding]:
    """The loss swings from the start, above chance, and never falls.

    Fires after 50 steps if the later half has a mean above 1.2 ln C with a spread above a tenth of it. Small batches
    swing too, but at or below chance; a start above chance that comes down is silent.
    """
    chance = reading.chance_loss(evidence)
    losses = [s.loss for s in reading.finite_steps(evidence)]
    if chance is None or len(losses) < 50 or reading.has_learned(evidence):
        return []
    later = losses[len(losses) // 2 :]
    mean, spread = statistics.fmean(later), statistics.pstdev(later)
    falling = statistics.fmean(later[-WINDOW_STEPS:]) < 0.8 * statistics.fmean(losses[:WINDOW_STEPS])
    if mean < 1.2 * chance or spread < 0.1 * mean or falling:
        return []
    return [
        Finding(
            rule="oscillation",
            severity="error",
            seen=f"the loss swings by {spread:.2g} around {mean:.2g}, above chance ({chance:.2f}), and does not fall",
            measurements=(
                Measurement(name="mean loss of the later half", value=mean, unit="nats", threshold=1.2 * chance),
                Measurement(name="standard deviation over mean", value=spread / mean, threshold=0.1),
            ),
            cause="steps overshoot: the learning rate is too large for these gradients",
            remedy=_clip_remedy(evidence),
            source="AutoTrainer, ICSE 2021; own condition on the level",
        )
    ]


def plateau(evidence: Evidence) -> list[Finding]:
    """The loss does not fall. Where it stands, and whether the gradient grows, tell a slow start from a dead net.

    Fires after 100 steps with the recent loss above 0.95 of chance and less than 5 % below its first. While all layers
    of a ReLU net grow together, so does their gradient; one that is not a half larger than at the start is not on its
    way. Within the steps that the probe predicted, the plateau is no finding at all.
    """
    chance, recent = reading.chance_loss(evidence), reading.recent_loss(evidence)
    steps, num_steps = reading.finite_steps(evidence), reading.num_steps(evidence)
    if chance is None or recent is None or num_steps < 100 or recent < 0.95 * chance or reading.has_learned(evidence):
        return []
    first = statistics.fmean(s.loss for s in steps[:WINDOW_STEPS])
    expected = evidence.probe.plateau_steps if evidence.probe is not None else None
    if recent < 0.95 * first or (expected is not None and math.isfinite(expected) and num_steps < 2 * expected):
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
    state = "the gradient is growing: a slow start" if growing else "the gradient does not grow: nothing is on its way"
    return [
        Finding(
            rule="plateau",
            severity="warning" if growing or num_steps < 300 else "error",
            seen=f"after {num_steps} steps the loss is {recent:.3f}, chance is {chance:.3f}; {state}"
            if at_chance
            else f"after {num_steps} steps the loss is stuck at {recent:.3f}, above chance ({chance:.3f})",
            measurements=tuple(measurements),
            cause="a signal or a learning rate too small to leave chance" if at_chance else "steps too large or too small",
            remedy="probe the model at its start: the gain budget and the predicted plateau name the layers",
            source="own; docs/theory.md, section 7",
        )
    ]


def _growth(norms: list[float]) -> float | None:
    if len(norms) < 2 * WINDOW_STEPS:
        return None
    before, now = statistics.median(norms[:WINDOW_STEPS]), statistics.median(norms[-WINDOW_STEPS:])
    return now / before if before > 0 else None


def clipping(evidence: Evidence) -> list[Finding]:
    """Almost every step is clipped, so the clip threshold sets the step size. A hint: some recipes mean it."""
    ratios = [s.clip_ratio for s in evidence.steps[-200:] if s.clip_ratio is not None]
    if len(ratios) < 50:
        return []
    share = sum(r < 0.999 for r in ratios) / len(ratios)
    if share < 0.95:
        return []
    return [
        Finding(
            rule="clipping",
            severity="hint",
            seen=f"{share:.0%} of the last {len(ratios)} steps were clipped, to {statistics.median(ratios):.2g} of their size",
            measurements=(Measurement(name="share of clipped steps", value=share, threshold=0.95),),
            cause="the clip threshold is below the usual gradient norm",
            remedy=_clip_remedy(evidence) + "; or keep it and read the lr as lr times the clip threshold",
            source="Pascanu et al., ICML 2013",
        )
    ]


def clip_dropped(evidence: Evidence) -> list[Finding]:
    """Clipping was active and is no longer applied, though norms still exceed its threshold.

    The threshold is read off the clipped steps (norm times ratio). Fires when at least 5 steps in a row, up to the end,
    have a larger norm and were not clipped. At chance level it is an error: the clip went before it had done its work.
    """
    steps = [s for s in evidence.steps if s.clip_ratio is not None and s.gradient_norm is not None]
    clipped = [i for i, s in enumerate(steps) if (s.clip_ratio or 1.0) < 0.999]
    if len(clipped) < 3:
        return []
    limits = [(steps[i].gradient_norm or 0.0) * (steps[i].clip_ratio or 1.0) for i in clipped]
    limit = statistics.median(limits)
    after = steps[clipped[-1] + 1 :]
    over = [s for s in after if not (s.gradient_norm or 0.0) <= 1.05 * limit]
    if len(over) < 5:
        return []
    chance = reading.chance_loss(evidence)
    at_chance = chance is not None and after[0].loss > 0.95 * chance
    return [
        Finding(
            rule="clip_dropped",
            severity="error" if at_chance else "warning",
            seen=f"clipping at {limit:.3g} stopped after step {steps[clipped[-1]].step}; {len(over)} steps since were larger"
            + (", and the loss was still at chance" if at_chance else ""),
            measurements=(
                Measurement(name="unclipped steps over the threshold", value=float(len(over)), threshold=5.0),
                Measurement(name="threshold until then", value=limit),
                Measurement(name="loss when it stopped", value=after[0].loss, unit="nats", threshold=chance),
            ),
            cause="clipping is tied to a level of the loss that chance already meets",
            remedy="keep the clip on for the whole run (`--optim.clip`)",
            source="own; the seed's code dropped it below a loss of 7.0, and ln 1000 is 6.9",
        )
    ]


def lr_schedule(evidence: Evidence) -> list[Finding]:
    """The learning rate is not what the schedule gives, as after a resume that forgot it."""
    off = [
        s
        for s in evidence.steps
        if s.lr is not None and s.expected_lr is not None and not math.isclose(s.lr, s.expected_lr, rel_tol=1e-3)
    ]
    if not off:
        return []
    first = off[0]
    return [
        Finding(
            rule="lr_schedule",
            severity="error",
            seen=f"from step {first.step} the learning rate is {first.lr:.3g}, the schedule gives {first.expected_lr:.3g}",
            measurements=(
                Measurement(name="learning rate", value=first.lr or 0.0, threshold=first.expected_lr),
                Measurement(name="steps off schedule", value=float(len(off)), unit="steps", threshold=0.0),
            ),
            cause="the schedule's state was not restored",
            remedy="save and load the scheduler's state_dict with the optimizer's",
            source="own; the seed's resume",
        )
    ]


def accumulation(evidence: Evidence) -> list[Finding]:
    """Some steps collect more micro-batches than the others.

    Fewer is normal at the end of an epoch; more is a counter that does not start at zero.
    """
    counts = Counter(s.micro_batches for s in evidence.steps)
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    odd = [s for s in evidence.steps if s.micro_batches > usual]
    if not odd:
        return []
    return [
        Finding(
            rule="accumulation",
            severity="warning",
            seen=f"step {odd[0].step} took {odd[0].micro_batches} micro-batches, most take {usual}",
            measurements=(
                Measurement(name="micro-batches", value=float(odd[0].micro_batches), threshold=float(usual)),
                Measurement(name="such steps", value=float(len(odd)), unit="steps", threshold=0.0),
            ),
            cause="the accumulation counter is off by one at the start of an epoch",
            remedy=f"step when (i + 1) % {usual} == 0, with i counted from 0 in every epoch",
            source="own; the seed's accumulation took 3 for 2",
        )
    ]


def overfit(evidence: Evidence) -> list[Finding]:
    """Training accuracy runs ahead of validation's: gap of 0.1 or more, and growing. A warning from 0.3."""
    gaps = []
    for held_out in (e for e in evidence.evaluations if e.split == "validation" and e.top1_error is not None):
        same = [e for e in evidence.evaluations if e.split == "train" and e.step == held_out.step and e.top1_error is not None]
        if same:
            gaps.append((held_out.top1_error or 0.0) - (same[0].top1_error or 0.0))
    if len(gaps) < 3 or gaps[-1] < 0.1 or not gaps[-1] > gaps[len(gaps) // 2] > gaps[0]:
        return []
    return [
        Finding(
            rule="overfit",
            severity="warning" if gaps[-1] >= 0.3 else "hint",
            seen=f"training accuracy is {gaps[-1]:.1%} ahead of validation accuracy, and the gap grows",
            measurements=(Measurement(name="accuracy gap", value=gaps[-1], threshold=0.1),),
            cause="the net learns its training images by heart",
            remedy="more augmentation, weight decay or dropout; or stop at the best validation step",
            source="AutoTrainer, ICSE 2021",
        )
    ]


def prediction_collapse(evidence: Evidence) -> list[Finding]:
    """Almost all images are given to few classes: arg-max entropy under half of the labels'.

    Only on evaluations, and after 100 steps: an untrained deep net names one class for nearly everything.
    """
    seen = [e for e in evidence.evaluations if e.predicted_class_entropy is not None and e.label_entropy and e.step >= 100]
    if not seen:
        return []
    last = seen[-1]
    share = (last.predicted_class_entropy or 0.0) / (last.label_entropy or 1.0)
    if share >= 0.5:
        return []
    most = ""
    if last.most_predicted_fraction is not None:
        most = f", {last.most_predicted_fraction:.0%} of them class {last.most_predicted_class}"
    return [
        Finding(
            rule="prediction_collapse",
            severity="warning",
            seen=f"predictions use {math.exp(last.predicted_class_entropy or 0.0):.1f} classes of "
            f"{math.exp(last.label_entropy or 0.0):.1f}{most}",
            measurements=(Measurement(name="entropy of predictions over labels", value=share, threshold=0.5),),
            cause="not learned yet, imbalanced labels, or labels that do not belong to their images",
            remedy="check labels against images (audit_data), then the learning rate",
            source="own; the seed's trials caltech-1 to -4",
        )
    ]
