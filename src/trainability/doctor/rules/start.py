"""Rules on the probe: what one forward and backward pass shows before training."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence, LayerStats, ProbeResult
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.theory.signal import BUDGET_HIGH, BUDGET_LOW

BIASED_BUDGET_LOW = -7.0
PILOT_SOURCE = "own pilot of 175 runs of VGG-A to E; gain: He et al., ICCV 2015, eq. (7)-(10)"
PLATEAU_SOURCE = "own fit of 105 runs, within a factor 2 in 95 %; docs/theory.md, section 7"
PILOT_DEPTH = 8  # weight layers of the shallowest nets that the band speaks of, with a margin


def _start(evidence: Evidence) -> ProbeResult | None:
    """The probe, if it looked at initialised weights and nothing was learned since."""
    probe = evidence.probe
    return probe if probe is not None and probe.at_start and not reading.has_learned(evidence) else None


def _budget_finding(evidence: Evidence, high: bool) -> list[Finding]:
    probe = _start(evidence)
    total = reading.total_budget(probe) if probe is not None else None
    if probe is None or total is None or not (total > BUDGET_HIGH if high else total < BUDGET_LOW):
        return []
    gained = [layer for layer in probe.layers if layer.gain is not None]
    limit = BUDGET_HIGH if high else BUDGET_LOW
    blamed = [s for s in gained if s.gain is not None and (s.gain > 1.25 if high else s.gain < 0.8)]
    from_input = math.log10(probe.input_mean_square)
    repaired = sum(0.0 if s in blamed else math.log10(s.gain) for s in gained if s.gain) + from_input
    input_alone = abs(from_input) > abs(total) / 2 and BUDGET_LOW <= total - from_input <= BUDGET_HIGH
    plateau = probe.plateau_steps
    planned = probe.optimizer.planned_steps if probe.optimizer is not None else None
    end = reading.plateau_ends(probe)
    ends = end is not None and end <= (planned or 1000)
    worst = sorted(blamed, key=lambda s: s.gain or 0.0, reverse=high)[:3]
    measurements = [
        Measurement(name="gain budget with input", value=total, unit="log10", threshold=limit),
        Measurement(name="gain budget of the weights", value=probe.log10_gain or 0.0, unit="log10"),
        Measurement(name="mean square of the input", value=probe.input_mean_square),
        *(Measurement(name=f"gain of {s.name}", value=s.gain or 0.0, threshold=1.0) for s in worst),
    ]
    if plateau is not None:
        least = "least predicted steps at chance" if end is None and math.isfinite(plateau) else "predicted steps at chance"
        measurements.append(Measurement(name=least, value=plateau, unit="steps", threshold=planned))
    verb = "multiply the signal's mean square by" if high else "shrink the signal's mean square to"
    shown = ", ".join(s.name for s in blamed) or "every layer"
    remedy = (
        f"initialise {shown} with std sqrt(2 / fan_in) (`torch.nn.init.kaiming_normal_(layer.weight)`, zero bias; "
        f"`--init.plan he`): the budget becomes {repaired:+.1f}"
    )
    if input_alone:
        remedy = (
            f"normalise the input to mean 0 and std 1 (`--data.input standard`): the budget becomes {total - from_input:+.1f}"
        )
    rule = "gain_budget_high" if high else "gain_budget_low"
    return [
        Finding(
            rule=rule,
            code=f"{rule}.input" if input_alone else rule,
            severity=_budget_severity(evidence, probe, total, depth=len(gained), ends=ends),
            seen=f"{len(gained)} layers and the input {verb} 10^{total:.1f}; nets outside "
            f"[{BUDGET_LOW:g}, {BUDGET_HIGH:g}] did not train",
            measurements=tuple(measurements),
            cause="the scale of the input" if input_alone else "initialisation: the layers' gains multiply to a wrong scale",
            remedy=remedy,
            source=PILOT_SOURCE,
            layers=reading.names(blamed),
        )
    ]


def _budget_severity(evidence: Evidence, probe: ProbeResult, total: float, *, depth: int, ends: bool) -> Severity:
    """How far the pilot's band speaks for this net: plain SGD, zero biases, eight and more layers.

    Adam does not mind the gradient's scale: with PyTorch's default initialisation (gain 1/6 a layer, biases) it trained
    nets of 8, 11 and 13 layers, budgets -6 to -10, within 90 steps. SGD trained the one of 8 layers (-6.2) and left
    those of 11 and 13 at chance for as long as was looked.
    """
    if depth < PILOT_DEPTH:
        return "hint"
    if total > BUDGET_HIGH:
        return "error"
    if ends or reading.is_adaptive(evidence):
        return "hint"
    if probe.biased:
        return "warning" if total < BIASED_BUDGET_LOW else "hint"
    return "error"


def gain_budget_low(evidence: Evidence) -> list[Finding]:
    """The gains multiply to almost nothing: the dead start.

    Fires below -5 on plain nets, before anything was learned. Only a hint in shallow ones, where the plateau formula
    sees an end within the run, and under Adam and its kin. Biases that start away from zero carry a signal that is the
    same for every input, and a gradient of their own; then it is a warning, below -7. Normalisation and residual sums
    have no budget, and no finding.
    """
    return _budget_finding(evidence, high=False)


def gain_budget_high(evidence: Evidence) -> list[Finding]:
    """The gains multiply to too much: logits of tens or thousands, and steps that overshoot. Fires above 2.7."""
    return _budget_finding(evidence, high=True)


def slow_start(evidence: Evidence) -> list[Finding]:
    """The predicted stay at chance is longer than the run, or endless.

    Fires when the formula says never, or more steps than planned (2000 where the plan is unknown: an hour on one GPU for
    VGG; a plan of fewer than 100 steps is a trial, shorter than any start). Fooled by a batch too small to show the
    gradient over its noise: then the stay is longer than predicted.
    """
    probe = _start(evidence)
    if probe is None or probe.plateau_steps is None:
        return []
    settings = probe.optimizer
    planned = settings.planned_steps if settings is not None else None
    steps, limit = probe.plateau_steps, max(planned or 2000, 100)
    if steps <= limit:
        return []
    never = math.isinf(steps)
    blamed = [s for s in probe.layers if s.gain is not None and s.gain < 0.8]
    measurements = [Measurement(name="predicted steps at chance", value=steps, unit="steps", threshold=float(limit))]
    if settings is not None:
        measurements.append(Measurement(name="learning rate", value=settings.lr))
        measurements.append(Measurement(name="weight decay", value=settings.weight_decay or 0.0))
    return [
        Finding(
            rule="slow_start",
            severity="error" if never or planned is not None else "warning",
            seen="weight decay shrinks the weights faster than the gradient grows them: the loss never leaves chance"
            if never
            else f"the net will sit at chance for about {steps:,.0f} steps, more than {limit:,}",
            measurements=tuple(measurements),
            cause="layers share a signal that starts too small, and grow together too slowly",
            remedy="initialise the layers with gain below 1 by std sqrt(2 / fan_in) (`--init.plan he`); or raise the "
            f"learning rate (`--optim.lr`){' or drop weight decay until the loss falls' if never else ''}",
            source=PLATEAU_SOURCE,
            layers=reading.names(blamed),
        )
    ]


def loss_at_start(evidence: Evidence) -> list[Finding]:
    """The first loss is far above ln C, or far from what the logit scale predicts.

    Only ever a hint: a good He-initialised VGG starts at 8.9 for ln C = 2.3.
    """
    probe, chance = _start(evidence), reading.chance_loss(evidence)
    if probe is None or chance is None or probe.cross_entropy is None or not math.isfinite(probe.cross_entropy):
        return []
    expected = probe.predicted_loss
    excess = probe.cross_entropy - chance
    surprise = expected is not None and probe.cross_entropy > 2 * expected + 1
    if excess < chance and not surprise:
        return []
    measurements = [Measurement(name="loss at the start", value=probe.cross_entropy, unit="nats", threshold=2 * chance)]
    if expected is not None:
        measurements.append(Measurement(name="loss predicted from weights", value=expected, unit="nats"))
    return [
        Finding(
            rule="loss_at_start",
            severity="hint",
            seen=f"the loss starts at {probe.cross_entropy:.2f}; knowing nothing costs ln C = {chance:.2f}",
            measurements=tuple(measurements),
            cause="logits are large at the start, so the first steps unlearn confident guesses",
            remedy="divide the last layer's initial weights by 10; or leave it, if the loss falls within the first steps",
            source="docs/theory.md, section 5",
        )
    ]


def activation_scale(evidence: Evidence) -> list[Finding]:
    """A layer's output is off its predicted scale by more than a factor 4.

    The prediction holds within a factor 2 for 95 % of random nets, so 4 is far in the tail. A hint: weights that are
    not random (pretrained, orthogonal with gain, tied) differ from it without being wrong.
    """
    probe = _start(evidence)
    for layer in probe.layers if probe is not None else ():
        predicted, measured = layer.predicted_activation_rms, layer.activation_rms
        if not predicted or not measured or not math.isfinite(measured) or 0.25 <= measured / predicted <= 4:
            continue
        return [
            Finding(
                rule="activation_scale",
                severity="hint",
                seen=f"the output of {layer.name} has rms {measured:.3g}, random weights would give {predicted:.3g}",
                measurements=(
                    Measurement(name="measured over predicted", value=measured / predicted, threshold=4.0),
                    Measurement(name="predicted rms", value=predicted),
                ),
                cause="weights that are not independent of each other or of the input, or an operation that is not seen",
                remedy=f"look at the initialisation of {layer.name} and at what is applied to its input",
                source="docs/theory.md, section 2",
                layers=(layer.name,),
            )
        ]
    return []


def softmax_twice(evidence: Evidence) -> list[Finding]:
    """The model ends in softmax and the loss applies it again.

    Fires when every output row lies in [0, 1] and sums to 1, and the loss equals the cross-entropy of the outputs taken
    as logits. Silent for probabilities under a loss that takes probabilities.
    """
    probe = evidence.probe
    if probe is None or not probe.outputs_are_probabilities or probe.cross_entropy is None or not probe.num_logits:
        return []
    if abs(probe.loss - probe.cross_entropy) > 1e-3 * (1 + abs(probe.loss)):
        return []
    floor = math.log(math.e + probe.num_logits - 1) - 1
    return [
        Finding(
            rule="softmax_twice",
            severity="error",
            seen=f"the outputs are probabilities, and the loss takes them for logits: it cannot fall below {floor:.2f}",
            measurements=(
                Measurement(name="loss", value=probe.loss, unit="nats"),
                Measurement(name="lowest possible loss", value=floor, unit="nats", threshold=0.0),
            ),
            cause="softmax is applied in the model and again in the loss",
            remedy="remove the softmax at the end of the model; cross_entropy takes logits",
            source="ln(e + C - 1) - 1: docs/theory.md, section 5; UMLAUT, CHI 2021",
        )
    ]


def sum_for_mean(evidence: Evidence) -> list[Finding]:
    """The loss is the batch's sum: it doubles when the batch is doubled, and so does every step."""
    probe = evidence.probe
    if probe is None or not probe.cross_entropy or probe.batch_size < 2:
        return []
    ratio = probe.loss / probe.cross_entropy
    if not math.isclose(ratio, probe.batch_size, rel_tol=0.01):
        return []
    return [
        Finding(
            rule="sum_for_mean",
            severity="warning",
            seen=f"the loss is {ratio:.0f} times the mean cross-entropy, as many as the batch has examples",
            measurements=(Measurement(name="loss over mean cross-entropy", value=ratio, threshold=1.0),),
            cause="the loss sums over the batch",
            remedy="use reduction='mean', or divide the learning rate by the batch size",
            source="TheDeepChecker, TOSEM 2022",
        )
    ]


def _factor_of(larger: float, smaller: float, tolerance: float) -> int | None:
    """The whole number from 2 to 64 that one is of the other; None if none is near."""
    if not smaller > 0 or not math.isfinite(larger / smaller):
        return None
    factor = round(larger / smaller)
    return factor if 2 <= factor <= 64 and abs(larger / smaller / factor - 1) < tolerance else None


def loss_divided(evidence: Evidence) -> list[Finding]:
    """The loss that is logged is a whole fraction of the cross-entropy.

    Compares the probe's loss with the cross-entropy recomputed from logits, the first logged step with the probe's
    cross-entropy, and, without a probe, the first logged step with ln C, below which no untrained net starts. Fooled
    by a loss that is meant to be weighted by 1/k.
    """
    probe, chance = evidence.probe, reading.chance_loss(evidence)
    seen: tuple[float, float, int] | None = None
    if probe is not None and probe.cross_entropy and (factor := _factor_of(probe.cross_entropy, probe.loss, 0.005)):
        seen = (probe.cross_entropy, probe.loss, factor)
    if seen is None and reading.started_at_zero(evidence) and math.isfinite(evidence.steps[0].loss):
        first = evidence.steps[0].loss
        if probe is not None and probe.at_start and probe.cross_entropy:
            # Another batch and dropout shift the first loss by a few percent.
            factor = _factor_of(probe.cross_entropy, first, 0.05)
            if factor is None and chance is not None and first < 0.9 * chance and probe.cross_entropy > 0.95 * chance:
                # No untrained net is below chance; dropout, which the probe has off, hides the exact factor.
                factor = max(2, round(probe.cross_entropy / first))
            seen = (probe.cross_entropy, first, factor) if factor else None
        elif chance is not None and first < chance and (factor := _factor_of(chance, first, 0.02)):
            seen = (chance, first, factor)
    if seen is None:
        return []
    expected, logged, factor = seen
    return [
        Finding(
            rule="loss_divided",
            severity="warning",
            seen=f"the loss is {logged:.3f} where the cross-entropy is {expected:.3f}: divided by {factor}",
            measurements=(
                Measurement(name="cross-entropy over loss", value=expected / logged, threshold=1.0),
                Measurement(name="loss", value=logged, unit="nats"),
            ),
            cause="the loss is divided by the number of accumulation steps, then averaged as if it were not",
            remedy=f"log loss * {factor} (divide by the accumulation steps for backward only)",
            source="own; the seed's trials caltech-1 to -4 start at ln(1000) / 2",
        )
    ]


def head_width(evidence: Evidence) -> list[Finding]:
    """The head has more outputs than the data has classes.

    Fires when the number of classes is known from the caller or the data and the logits are wider.
    """
    probe = evidence.probe
    known = evidence.num_classes or (evidence.data.num_classes if evidence.data is not None else None)
    if probe is None or probe.num_logits is None or known is None or probe.num_logits <= known:
        return []
    return [
        Finding(
            rule="head_width",
            severity="warning",
            seen=f"the head has {probe.num_logits} outputs for {known} classes",
            measurements=(
                Measurement(name="outputs", value=float(probe.num_logits), threshold=float(known)),
                Measurement(name="extra loss at the start", value=math.log(probe.num_logits / known), unit="nats"),
            ),
            cause="the head was built for another data set",
            remedy=f"build the head with {known} outputs",
            source="own; the seed's trials caltech-1 to -3: ln 1000 against ln 257",
        )
    ]


def underflow(evidence: Evidence) -> list[Finding]:
    """More than half of a layer's non-zero gradients become zero in the precision they will be kept in."""
    probe = evidence.probe
    lost = [s for s in (probe.layers if probe is not None else ()) if (s.underflow_fraction or 0.0) > 0.5]
    if probe is None or not lost:
        return []
    worst = max(lost, key=lambda s: s.underflow_fraction or 0.0)
    return [
        Finding(
            rule="underflow",
            severity="warning",
            seen=f"{probe.precision} rounds {worst.underflow_fraction:.0%} of the gradient of {worst.name} to zero",
            measurements=(
                Measurement(name=f"share lost in {worst.name}", value=worst.underflow_fraction or 0.0, threshold=0.5),
            ),
            cause=f"gradients are smaller than the smallest {probe.precision} number",
            remedy="use bfloat16, or scale the loss (torch.amp.GradScaler)",
            source="Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2",
            layers=reading.names(lost),
        )
    ]


def cannot_overfit(evidence: Evidence) -> list[Finding]:
    """One batch cannot be learned by heart.

    Fires after 50 or more steps if the loss is still above half of what it was, or at nine tenths and more of the
    labels' own entropy: that is what a net learns that is shown zeros in place of the images. Fooled by contradictory labels.
    """
    probe = evidence.probe
    if probe is None or probe.overfit_loss is None or (probe.overfit_steps or 0) < 50:
        return []
    # A loss that is no cross-entropy (halved, summed) has another floor.
    is_plain = probe.cross_entropy is not None and math.isclose(probe.loss, probe.cross_entropy, rel_tol=0.01)
    blind = 0.9 * probe.label_entropy if is_plain and probe.label_entropy else 0.0
    if probe.overfit_loss <= 0.5 * probe.loss and not (blind and probe.overfit_loss >= blind):
        return []
    return [
        Finding(
            rule="cannot_overfit",
            severity="warning",
            seen=f"after {probe.overfit_steps} steps on one batch the loss is {probe.overfit_loss:.3f}, from {probe.loss:.3f}",
            measurements=(
                Measurement(name="loss after overfitting", value=probe.overfit_loss, unit="nats", threshold=0.5 * probe.loss),
                Measurement(name="loss of a net that sees no image", value=probe.label_entropy or math.nan, unit="nats"),
            ),
            cause="no learnable path from input to loss, or labels that contradict each other",
            remedy="look at the findings above; if there is none, check that loss_fn uses the model's output and labels",
            source="TheDeepChecker, TOSEM 2022",
        )
    ]


def constant_output(evidence: Evidence) -> list[Finding]:
    """Every example gets the same logits: the output does not depend on the input.

    Threshold 1e-3 of the logits' rms: a deep healthy ReLU net still shows 1e-1.
    """
    probe = evidence.probe
    if probe is None or probe.logit_spread is None or not probe.logit_rms or probe.batch_size < 2:
        return []
    share = probe.logit_spread / probe.logit_rms
    if not share < 1e-3:
        return []
    return [
        Finding(
            rule="constant_output",
            severity="hint" if reading.is_adaptive(evidence) else "warning",
            seen=f"logits differ between examples by {share:.1e} of their size",
            measurements=(Measurement(name="spread over examples / rms", value=share, threshold=1e-3),),
            cause="biases drown a signal that the layers have shrunk, or the input is constant",
            remedy="initialise biases with zero and weights with std sqrt(2 / fan_in)",
            source="DeepDiagnosis, ICSE 2022; own threshold",
        )
    ]


def batch_leakage(evidence: Evidence) -> list[Finding]:
    """An example's output changes with its neighbours in the batch, in eval mode."""
    probe = evidence.probe
    if probe is None or probe.leakage is None or not probe.leakage > 1e-3:
        return []
    return [
        Finding(
            rule="batch_leakage",
            severity="warning",
            seen="one example's output changes when another example of the batch is exchanged",
            measurements=(Measurement(name="change over rms of the output", value=probe.leakage, threshold=1e-3),),
            cause="an operation mixes the batch dimension (a wrong reshape, transpose or softmax dimension)",
            remedy="check every view, permute and dim= in the model's forward",
            source="torchtest 2; own threshold",
        )
    ]


def padded_pointwise(evidence: Evidence) -> list[Finding]:
    """A 1x1 convolution with padding: it only frames the map with bias, and the map grows."""
    layers: tuple[LayerStats, ...] = evidence.probe.layers if evidence.probe is not None else ()
    padded = [s for s in layers if s.kernel and all(k == 1 for k in s.kernel) and any(p > 0 for p in s.padding)]
    if not padded:
        return []
    return [
        Finding(
            rule="padded_pointwise",
            severity="warning",
            seen=f"{len(padded)} convolutions with a 1x1 kernel are padded by {max(padded[0].padding)}",
            measurements=(Measurement(name="padding of a 1x1 kernel", value=float(max(padded[0].padding)), threshold=0.0),),
            cause="padding was copied from the 3x3 convolutions",
            remedy=f"padding=0 in {', '.join(s.name for s in padded)}; then the map keeps its size",
            source="own; the seed's configuration C: 8x8 final map instead of 7x7",
            layers=reading.names(padded),
        )
    ]
