"""Layers: their units, the scale of their outputs, and their shape."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.best_constant import comes_to_nothing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rules.decay import costs, is_emptied, is_strong, of_a_penalty, outpulled, smaller_decay
from trainability.doctor.rules.drawing import SIGMOIDS, drawn_for_signal
from trainability.doctor.rules.gradients import faded_at_start
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.smaller_steps import smaller_steps
from trainability.doctor.rules.start import began_saturated

# Images and waves, each by half of its points, PyTorch's draw, w of 20 to 30: of the 12 nets of three sines, whose third goes
# this far, none tells the other half (0.5 or more of its variance is left); some of two sines do, as of a wave.
TURNS_OF_THREE = 8.0
TURNS = 10.0  # radians: two deviations either way wrap round six times; the weights that sines need keep it at 1
MANY_SIGMOIDS = 3  # slopes of 1/4 at most: three leave a sixty-fourth of the gradient


@rule(severities=("warning", "hint"), explains=("vanishing_gradient", "plateau", "activation_scale"), predicts=True)
def saturation(evidence: Evidence) -> list[Finding]:
    """Most of a layer's tanh or sigmoid outputs are where the slope is almost zero.

    Fires: more than 50 % of a layer's outputs are beyond 85 % of the range. A hint once the loss is below chance, unless in
        three layers or more, most of those with such an activation, 80 % were so before the first step, and half of the first
        loss is left; a hint also after the last layer alone, where a probability near 0 or 1 is an answer, like black and white
        in an image. In a watched run alone a hint, with the same exception, unless after 100 steps the loss is at chance, or at
        the best constant answer's cost. Code `attention`: before the first step, in 40 % or more of the rows of each attention
        that is written by hand, one of four keys or more has 0.99 of the weight; a hint where half of the layers look as if
        they had been trained before.
    Why: at 85 % of tanh's range the slope is 0.28, and each saturated layer multiplies the gradient by less than that.
    What fools it: gates and attention-like units that are open or shut on purpose. A net that has learned gives confident
        outputs, hence the hint.
    Fix: initialise with std sqrt(1 / fan_in) (`torch.nn.init.xavier_normal_`), and normalise the input. With three or more
        sigmoid layers, whose slope is at most 1/4: use ReLU.
    Source: Glorot and Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks, AISTATS 2010;
        threshold: TheDeepChecker, TOSEM 2022.
    """
    readings = reading.facts(evidence).readings
    if readings.sharp_attention is not None and not evidence.steps:
        return [_sharp(*readings.sharp_attention, is_tuned=bool(readings.is_fine_tuned))]
    layers = reading.latest_layers(evidence)
    full = [s for s in layers if (s.saturated_fraction or 0.0) > 0.5]
    if not full:
        return []
    is_answer = full == [layers[-1]]
    # For a copy of a trained network with few steps, or a policy's loss, this only says that units are at a limit.
    is_open = bool(evidence.steps) and evidence.probe is None and not comes_to_nothing(evidence)
    is_open |= reading.has_learned(evidence)
    worst = max(full, key=lambda s: s.saturated_fraction or 0.0)
    return [
        Finding(
            rule="saturation",
            severity="hint" if is_answer or (is_open and not began_saturated(evidence)) else "warning",
            seen=f"{100 * (worst.saturated_fraction or 0.0):.0f} % of the {worst.activation} outputs after "
            f"{reading.called(worst)} are "
            "saturated",
            measurements=(
                Measurement(name="share of saturated outputs", value=worst.saturated_fraction or 0.0, threshold=0.5),
            ),
            cause="weights or inputs are too large for the activation",
            remedy=_unsaturated(evidence, worst, layers),
            source="Glorot and Bengio, AISTATS 2010; threshold: TheDeepChecker, TOSEM 2022",
            layers=reading.names(full),
        )
    ]


def _sharp(shape: tuple[int, ...], share: float, *, is_tuned: bool) -> Finding:
    """Attention whose softmax is where its slope is almost zero."""
    return Finding(
        rule="saturation",
        code="saturation.attention",
        severity="hint" if is_tuned else "warning",
        seen=f"before the first step, attention {shape} gives one key 0.99 of the weight in {100 * share:.0f} % of its rows",
        measurements=(Measurement(name="share of rows with one key", value=share, threshold=0.4),),
        cause="the scores of queries and keys are too large: the softmax picks one key, and passes no gradient to the others",
        remedy="divide the scores by the root of the width of a head: q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]) (not "
        "times it); or normalise what queries and keys are computed from (nn.LayerNorm)",
        source="Vaswani et al., Attention Is All You Need, 2017, section 3.2.1; own: weights looked at",
    )


def _unsaturated(evidence: Evidence, worst: LayerStats, layers: tuple[LayerStats, ...]) -> str:
    """Weights that keep the signal where the slope is large; with many sigmoids in a row no scale helps."""
    same = [s for s in layers if s.activation == worst.activation]
    if worst.activation in SIGMOIDS and len(same) >= MANY_SIGMOIDS:
        return drawn_for_signal(evidence, tuple(same))
    return "initialise with std sqrt(1 / fan_in) (`torch.nn.init.xavier_normal_`) and normalise the input"


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=(
        "constant_output",
        "plateau",
        "vanishing_gradient",
        "prediction_collapse",
        "zero_gradient",
        "flat_loss",
        "unmoved_parameter",
        "untrained_parameter",
        "update_ratio",
    ),
    predicts=True,
)
def dead_units(evidence: Evidence) -> list[Finding]:
    """ReLU units are zero for every example of the batch.

    Fires: the share of such units in a layer is above 0.5 + 1.5 / sqrt(units), at most 0.95, over 16 or more examples. An error
        where all units of a layer are dead, because nothing passes; a hint once the loss is below chance. Silent on units that
        died during training if, before the first step, the first layer's gradient was below 1e-4 and below 1e-3 of the last
        layer's: a layer that no signal reached was not killed by a step. Codes `start`: at step 0; `bias`: by biases below
        zero; `scale`: by a normalisation whose weights start at zero; `large_step`: after a step that was too large.
    Why: without biases, when all examples look alike, a unit is dead with probability one half, so half is normal at the start;
        the rest are three binomial standard errors for the layer's width. A published limit of 50 % raises false alarms on
        small healthy layers.
    What fools it: units that respond to one class only, in a batch without it, and spare units of a net that has learned.
    Fix: lower the learning rate; where units were dead from the start, draw weights with std sqrt(2 / fan_in) and start biases
        at zero. Of a residual block, only the last normalisation before the sum may start at zero.
    Source: TheDeepChecker, TOSEM 2022; own threshold by width.
    """
    if (reading.latest_batch_size(evidence) or 0) < 16:
        return []
    dead = []
    for layer in reading.latest_layers(evidence):
        share = layer.dead_fraction
        limit = min(0.5 + 1.5 / math.sqrt(layer.num_units or 16), 0.95)
        if share is not None and share > limit:
            dead.append((share, limit, layer))
    if not dead:
        return []
    share, limit, worst = max(dead, key=lambda row: row[0])
    word, cause, remedy = _why_dead(evidence, worst, limit)
    if word == "large_step" and faded_at_start(evidence):
        return []
    return [
        Finding(
            rule="dead_units",
            code=f"dead_units.{word}",
            severity="hint" if reading.has_learned(evidence) else ("error" if share >= 1.0 else "warning"),
            seen=f"{100 * share:.0f} % of the units of {reading.called(worst)} are zero on every example",
            measurements=(Measurement(name=f"dead share of {reading.called_in_short(worst)}", value=share, threshold=limit),),
            cause=cause,
            remedy=remedy,
            source="TheDeepChecker, TOSEM 2022; own threshold by width",
            layers=tuple(layer.name for _, _, layer in dead),
        )
    ]


def _why_dead(evidence: Evidence, layer: LayerStats, limit: float) -> tuple[str, str, str]:
    """A word, cause and remedy; a layer that was dead before the first step was not killed by a step."""
    biased = evidence.facts is not None and layer.name in evidence.facts.biases_dead
    first = evidence.samples[0].layers if evidence.samples and evidence.samples[0].step == 1 else ()
    probed = evidence.probe.layers if evidence.probe is not None and evidence.probe.at_start else ()
    at_start = [s for s in (*first, *probed) if s.name == layer.name and (s.dead_fraction or 0.0) > limit]
    if any(s.kind == "norm" and s.weight_rms == 0.0 for s in at_start):
        return (
            "scale",
            "normalisations start with weights of zero, and return zeros whatever they are given",
            f"torch.nn.init.ones_({layer.name}.weight), and of every other normalisation but the last of each residual branch",
        )
    if biased:
        return "bias", "its biases start so far below zero that no signal passes", f"start the bias of {layer.name} at zero"
    if at_start:
        return (
            "start",
            "the units were dead before the first step: the weights or the layer's input are the cause",
            "draw weights with std sqrt(2 / fan_in), start biases at zero, and look at the scale and sign of the input",
        )
    return (
        "large_step",
        "a step that was too large pushed biases far below zero, or the layer's input is dead",
        smaller_steps(evidence),
    )


@rule(
    severities=("warning",),
    explains=(
        "vanishing_gradient",
        "plateau",
        "constant_output",
        "update_ratio",
        "dead_units",
        "prediction_collapse",
        "activation_scale",
    ),
)
def weights_decayed(evidence: Evidence) -> list[Finding]:
    """Weight decay has shrunk the weights to a small part of their initial size.

    Fires: under weight decay, the typical layer's weight is below a twentieth of its size at the first sampled step, and the
        loss is not below chance; or below a hundredth with a decay of 0.05 or more, or below a thousandth with any, that is
        part of the gradient of an optimizer that divides by the gradient's size, and the loss stands still above three tenths
        of its first value. Code `outpulled`: a decay of 0.05 or more pulls on the typical weight three times as hard as the
        first gradient, and either the rehearsed loss falls by less than a tenth, or stands still in the same way over the
        second half of 50 steps or more, or comes back by a fifth of its fall where decay, in the same way, pulls as hard as
        the first gradient, or else nothing is learned in 50 steps of a run. Code `penalty`: a term that goes by
        the weights alone, and pulls them to zero, is half of the first loss or more, and its gradient for the typical weight is
        three times that of the rest of the loss or more. Code `held_out`, in a check: decay takes a hundredth of half of the
        weights or more at every step, and after two to ten times as many steps as take such a weight to 1 / e, the loss on
        examples that are not trained on is above a tenth of the best constant answer's, and without decay half of it or less.
    Why: decay shrinks each weight by lr times decay per step, whatever the gradient is. At a twentieth of its size, a weight
        shrinks the signal of its layer by that factor, and with it all gradients, so that vanishing gradients follow. Adam
        divides the sum of gradient and decay by its size, so that the larger of the two sets the direction of the whole step.
    What fools it: nets whose layers are normalised do not depend on the scale of their weights; those that learn are silent.
    Fix: a tenth of the weight decay, or less: as much as removes at most a third of a weight in the whole run.
    Source: own; Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019, for what decay does.
    """
    if (penalty := reading.facts(evidence).readings.weight_penalty) is not None and is_strong(*penalty):
        return [of_a_penalty(*penalty)]
    settings = evidence.optimizer or (evidence.probe.optimizer if evidence.probe is not None else None)
    if settings is None or not settings.weight_decay:
        return []
    if len(evidence.samples) < 2:
        return outpulled(evidence, settings) or costs(evidence, settings)
    first = {s.name: s.weight_rms for s in evidence.samples[0].layers if s.kind != "norm"}
    shrunk = [
        (s.weight_rms or 0.0) / before
        for s in evidence.samples[-1].layers
        if s.weight_rms is not None and (before := first.get(s.name))
    ]
    if not shrunk or statistics.median(shrunk) >= 0.05:
        return outpulled(evidence, settings)
    if reading.has_learned(evidence) and not is_emptied(evidence, settings, statistics.median(shrunk)):
        return []
    return [
        Finding(
            rule="weights_decayed",
            severity="warning",
            seen=f"the typical weight has {100 * statistics.median(shrunk):.1f} % of its size at step "
            f"{evidence.samples[0].step}",
            measurements=(
                Measurement(name="weight now over initial weight", value=statistics.median(shrunk), threshold=0.05),
                Measurement(name="weight decay", value=settings.weight_decay),
            ),
            cause="weight decay pulls faster than the gradient pushes",
            remedy=f"{settings.name}(..., weight_decay={smaller_decay(evidence, settings):.1g}) in place of "
            f"{settings.weight_decay:g}",
            source="own; Decoupled Weight Decay Regularization, ICLR 2019",
        )
    ]


@rule(severities=("warning", "hint"), predicts=True)
def activation_scale(evidence: Evidence) -> list[Finding]:
    """A layer's output is far from its predicted scale.

    Fires: before anything is learned, the measured rms of a layer's output differs from the predicted one by more than a factor
        4; the first such layer is reported. Code `sine`: the argument of a sine, computed by layers with weights from another
        sine with only sums and factors between, has an rms above 10. Code `third_sine`: the same for a third sine after two,
        and an rms above 8; a warning, whatever the training loss does.
    Why: on random nets the prediction holds within a factor 2 in 95 % of cases, so a factor 4 is far in the tail.
    What fools it: weights that are not independent draws (pretrained, orthogonal, tied). They differ from the prediction and
        are not wrong; hence a hint.
    Fix: check the initialisation of the layer in the finding, and the operations on its input.
    Source: docs/theory.md, sections 1 to 3, and the test on 200 random nets there.
    """
    probe = reading.probe_at_start(evidence)
    if (turns := reading.facts(evidence).third_sine_of or 0.0) > TURNS_OF_THREE:
        return [_wound_up(turns, "third_sine")]
    if (turns := reading.facts(evidence).sine_of or 0.0) > TURNS:
        return [_wound_up(turns, "sine")]
    for layer in probe.layers if probe is not None else ():
        predicted, measured = layer.predicted_activation_rms, layer.activation_rms
        if not predicted or not measured or not math.isfinite(measured) or 0.25 <= measured / predicted <= 4:
            continue
        return [
            Finding(
                rule="activation_scale",
                severity="hint",
                seen=f"the output of {reading.called(layer)} has rms {measured:.3g}; random weights would give {predicted:.3g}",
                measurements=(
                    Measurement(name="measured over predicted", value=measured / predicted, threshold=4.0),
                    Measurement(name="predicted rms", value=predicted),
                ),
                cause="weights that are not independent of each other or of the input, or an operation that was not seen",
                remedy=f"check the initialisation of {layer.name} and the operations on its input",
                source="docs/theory.md, section 2",
                layers=(layer.name,),
            )
        ]
    return []


def _wound_up(size: float, code: str) -> Finding:
    return Finding(
        rule="activation_scale",
        code=f"activation_scale.{code}",
        severity="warning",
        seen=f"a sine's argument, computed from other sines and weights, has rms {size:.3g}: it wraps round several times",
        measurements=(
            Measurement(
                name="rms of a sine's argument", value=size, threshold=TURNS_OF_THREE if code == "third_sine" else TURNS
            ),
        ),
        cause="default weights, or too large a factor, in a net of sines: between the examples its outputs are noise",
        remedy="sin(w x) with a w of 20 to 30, hidden weights drawn uniformly within sqrt(6 / fan_in) / w of zero, those of "
        "the first layer within 1 / fan_in",
        source="Sitzmann et al., Implicit Neural Representations with Periodic Activation Functions, NeurIPS 2020, section 3.2",
    )


@rule(severities=("warning",))
def padded_pointwise(evidence: Evidence) -> list[Finding]:
    """A 1x1 convolution has padding.

    Fires: a convolution whose kernel size is 1 in every dimension has nonzero padding.
    Why: the padding surrounds the map with the bias alone, and the map grows by two rows and columns per layer.
    What fools it: a net that is padded this way on purpose, to load weights published for it.
    Fix: padding=0 in the layers of the finding; the map then keeps its size.
    Source: own; the log's configuration C ended in a map of 8x8 where the paper has 7x7.
    """
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
            source="own; the log's configuration C: 8x8 final map instead of 7x7",
            layers=reading.names(padded),
        )
    ]
