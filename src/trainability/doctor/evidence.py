"""What the doctor sees: probe, steps, samples, evaluations, audits. Data only; no torch."""

from dataclasses import dataclass
from typing import Any

from trainability.doctor.serial import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class LogHistogram:
    """Shares of a tensor's elements by magnitude, on bins that are the same for every tensor and step.

    Attributes:
        zero_fraction: share of elements that are exactly zero, in [0, 1].
        lowest_exponent: bin i holds 2**(lowest_exponent + i) <= abs(x) < 2**(lowest_exponent + i + 1); the first and
            last bin also hold what lies outside.
        fractions: share of elements per bin; they and `zero_fraction` sum to 1 where every element is finite.
    """

    zero_fraction: float
    lowest_exponent: int
    fractions: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LayerStats:
    """One layer with weights, in forward order: what the closed form predicts and what was measured.

    Activations and output gradients are those of the layer's own output, before its activation function.

    Attributes:
        name: as `named_modules()` gives it.
        kind: "conv", "linear", "conv_transpose", "norm" or "embedding".
        fan_in: inputs per output unit. None for normalisation.
        fan_out: outputs that each input unit feeds. None for normalisation.
        kernel: spatial size of the kernel; () for a linear layer.
        padding: spatial padding; () for a linear layer.
        activation: the elementwise function that follows ("relu", "tanh", ...); None if none does, or unknown.
        num_units: output channels or features.
        gain: predicted factor on the signal's mean square, fan_in * Var(w) * (factor of the activation).
        weight_rms: root mean square of the weight.
        weight_std: standard deviation of the weight.
        predicted_activation_rms: rms of the output by the closed form; None where the theory cannot tell.
        activation_rms: measured rms of the output.
        activation_nonfinite: whether the output holds NaN or infinity.
        zero_fraction: share of outputs that the following ReLU sets to zero; None unless one follows.
        dead_fraction: share of units that the following ReLU sets to zero on every example of the batch.
        saturated_fraction: share of outputs where the following tanh or sigmoid is beyond 85 % of its range.
        predicted_output_gradient_rms: rms of d loss / d output by the closed form.
        output_gradient_rms: the same, measured.
        gradient_rms: rms of d loss / d weight.
        gradient_min: smallest element of d loss / d weight.
        gradient_max: largest element of d loss / d weight.
        gradient_nonfinite: whether d loss / d weight holds NaN or infinity.
        underflow_fraction: share of non-zero elements of d loss / d weight that the target precision rounds to zero.
        relative_growth: largest singular value of d loss / d weight over that of the weight; 1/(lr units).
        update_ratio: rms of one optimizer step over rms of the weight; predicted from the lr by the probe, measured
            by the monitor.
        weight_histogram: magnitudes of the weight.
        gradient_histogram: magnitudes of d loss / d weight.
        activation_histogram: magnitudes of the output.
    """

    name: str
    kind: str
    fan_in: int | None = None
    fan_out: int | None = None
    kernel: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    activation: str | None = None
    num_units: int | None = None
    gain: float | None = None
    weight_rms: float | None = None
    weight_std: float | None = None
    predicted_activation_rms: float | None = None
    activation_rms: float | None = None
    activation_nonfinite: bool = False
    zero_fraction: float | None = None
    dead_fraction: float | None = None
    saturated_fraction: float | None = None
    predicted_output_gradient_rms: float | None = None
    output_gradient_rms: float | None = None
    gradient_rms: float | None = None
    gradient_min: float | None = None
    gradient_max: float | None = None
    gradient_nonfinite: bool = False
    underflow_fraction: float | None = None
    relative_growth: float | None = None
    update_ratio: float | None = None
    weight_histogram: LogHistogram | None = None
    gradient_histogram: LogHistogram | None = None
    activation_histogram: LogHistogram | None = None


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How weights will be moved.

    Attributes:
        name: class name of the optimizer, "SGD".
        lr: largest learning rate of its groups.
        momentum: of the group with that rate; None if the optimizer has none.
        weight_decay: largest of its groups; None if it has none.
        clip: gradient-norm threshold, where the caller said so; None for no clipping or unknown.
        planned_steps: length of the run in optimizer steps, where known.
        unmanaged: trainable parameters in no group of the optimizer.
        frozen: parameters that do not require a gradient.
    """

    name: str
    lr: float
    momentum: float | None = None
    weight_decay: float | None = None
    clip: float | None = None
    planned_steps: int | None = None
    unmanaged: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """One forward and backward pass on one batch.

    Attributes:
        layers: weight layers in forward order.
        batch_size: examples in the batch.
        input_shape: shape of the batch.
        input_mean: mean over the batch.
        input_mean_square: mean square over the batch.
        input_channel_means: mean per channel (dimension 1) of the batch.
        num_logits: width of the output; None if the output is not (batch, classes).
        log10_gain: the gain budget P, sum of log10 gain over weight layers; None where gains do not multiply
            (normalisation or residual sums), or where a layer could not be followed.
        structure: what the net is made of: "plain", "normalised", "residual", or "unknown" (could not be traced).
        biased: whether biases carry a signal of their own, more than 1 % of some layer's mean square; the budget and the
            plateau formula are those of zero biases.
        notes: what could not be predicted, and why.
        loss: value of the loss function.
        cross_entropy: mean cross-entropy of the logits against the labels, computed anew; None if not a classifier.
        predicted_loss: expected cross-entropy at the predicted logit scale.
        predicted_logit_rms: rms of the logits by the closed form.
        logit_rms: measured.
        logit_spread: rms over classes of the logits' standard deviation across examples.
        outputs_are_probabilities: whether every output row lies in [0, 1] and sums to 1.
        label_min: smallest label.
        label_max: largest label.
        predicted_class_entropy: entropy in nats of the arg-max classes over the batch.
        label_entropy: entropy in nats of the labels of the batch.
        gradient_norm: norm over all parameters.
        precision: name of the number format gradients will have, "float32".
        plateau_steps: predicted steps at chance, with the optimizer settings given; infinite if weight decay wins;
            None where the formula does not apply.
        leakage: largest change of one example's output in eval mode when its neighbours change, over the rms of
            the output; None if not checked.
        overfit_loss: loss after overfitting this batch on a copy; None if not asked for.
        overfit_accuracy: accuracy on this batch after that.
        overfit_steps: steps taken for it.
        at_start: whether the weights are as initialised, as the caller says.
    """

    layers: tuple[LayerStats, ...]
    batch_size: int
    input_shape: tuple[int, ...]
    input_mean: float
    input_mean_square: float
    input_channel_means: tuple[float, ...] = ()
    num_logits: int | None = None
    log10_gain: float | None = None
    structure: str = "unknown"
    biased: bool = False
    notes: tuple[str, ...] = ()
    loss: float
    cross_entropy: float | None = None
    predicted_loss: float | None = None
    predicted_logit_rms: float | None = None
    logit_rms: float | None = None
    logit_spread: float | None = None
    outputs_are_probabilities: bool = False
    label_min: int | None = None
    label_max: int | None = None
    predicted_class_entropy: float | None = None
    label_entropy: float | None = None
    gradient_norm: float
    precision: str = "float32"
    plateau_steps: float | None = None
    leakage: float | None = None
    overfit_loss: float | None = None
    overfit_accuracy: float | None = None
    overfit_steps: int | None = None
    at_start: bool = True
    optimizer: OptimizerSettings | None = None


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One optimizer step as the loop saw it.

    Attributes:
        step: counts from 0.
        loss: mean over the step's micro-batches of what the loop handed over.
        gradient_norm: over all parameters, before clipping.
        clip_ratio: gradient after clipping over before, in [0, 1]; None if the optimizer was not watched.
        lr: largest learning rate of the optimizer's groups at this step.
        expected_lr: what the schedule gives for this step, where the loop says so (after a resume).
        micro_batches: backward passes that fed this step.
        skipped: the optimizer did not step (a loss scaler found an overflow).
    """

    step: int
    loss: float
    gradient_norm: float | None = None
    clip_ratio: float | None = None
    lr: float | None = None
    expected_lr: float | None = None
    micro_batches: int = 1
    skipped: bool = False


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one sampled step showed inside the net.

    Attributes:
        step: counts from 0.
        layers: watched layers in forward order.
        batch_size: examples in the (micro-)batch that was seen; None if it was not.
        training: `model.training` during the forward pass; None if it was not seen.
        gradient_norm_before_backward: norm of a parameter's gradient when backward began; 0 if there was none.
        blind: hooks saw no layer; statistics of activations are missing and nothing may be concluded from that.
    """

    step: int
    layers: tuple[LayerStats, ...]
    batch_size: int | None = None
    training: bool | None = None
    gradient_norm_before_backward: float | None = None
    blind: bool = False


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation on a split.

    Attributes:
        step: optimizer steps taken before it.
        split: "train" or "validation".
        loss: mean cross-entropy; None if not measured.
        top1_error: in [0, 1].
        model_training: `model.training` while evaluating; None if unknown.
        predicted_class_entropy: nats, over the split's arg-max classes.
        label_entropy: nats, over the split's labels.
        most_predicted_class: the class predicted most often.
        most_predicted_fraction: the share of examples predicted as that class.
    """

    step: int
    split: str
    loss: float | None = None
    top1_error: float | None = None
    model_training: bool | None = None
    predicted_class_entropy: float | None = None
    label_entropy: float | None = None
    most_predicted_class: int | None = None
    most_predicted_fraction: float | None = None


@dataclass(frozen=True, kw_only=True)
class SplitAudit:
    """What one split of the data looks like, exactly as the loop sees it (after augmentation and normalisation).

    Attributes:
        name: "train" or "validation".
        num_images: images looked at.
        shapes: distinct image shapes (channels, height, width).
        channel_means: per channel.
        channel_stds: per channel.
        minimum: smallest value seen.
        maximum: largest value seen.
        clipped_fraction: share of values that sit exactly at the split's minimum or maximum.
        blank_fraction: share of images that hold one single value.
        constant_channel_fraction: share of (image, channel) pairs that hold one single value.
        nonfinite_fraction: share of images with NaN or infinity.
        label_min: smallest label.
        label_max: largest label.
        labels_are_integers: whether labels have an integer type.
        label_counts: images per class, 0 .. label_max; () if labels are not class indices.
        mirror_asymmetry: how far the left half of the images is from the mirrored right half, in standard deviations
            over images, at the place and channel where it is furthest; None with fewer than 200 images.
    """

    name: str
    num_images: int
    shapes: tuple[tuple[int, ...], ...]
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    minimum: float
    maximum: float
    clipped_fraction: float
    blank_fraction: float
    constant_channel_fraction: float
    nonfinite_fraction: float
    label_min: int | None = None
    label_max: int | None = None
    labels_are_integers: bool = True
    label_counts: tuple[int, ...] = ()
    mirror_asymmetry: float | None = None


@dataclass(frozen=True, kw_only=True)
class DataAudit:
    """Training data, and validation data beside it.

    Attributes:
        train: the training split.
        validation: the validation split; None if there is none.
        num_classes: classes that the data is said to have; None if unknown.
        overlap_fraction: share of validation images that occur, value for value, among the training images seen.
        label_conflict_fraction: share of repeated training images that carry different labels.
        shared_dataset: both loaders draw from one and the same data set object.
        repeated_fraction: share of training images that come out the same, value for value, when drawn again; None if
            they were not drawn again.
        class_signal_z: standard scores above chance of a linear probe of simple features; None if too few images.
        class_signal_accuracy: held-out accuracy of that probe.
    """

    train: SplitAudit
    validation: SplitAudit | None = None
    num_classes: int | None = None
    overlap_fraction: float | None = None
    label_conflict_fraction: float | None = None
    shared_dataset: bool = False
    repeated_fraction: float | None = None
    class_signal_z: float | None = None
    class_signal_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class MetricCase:
    """One known answer put to the metric.

    Attributes:
        name: what was asked.
        expected: the right value.
        got: what the metric said; NaN if it raised.
        error: the exception's text, if it raised.
    """

    name: str
    expected: float
    got: float
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class MetricAudit:
    """What the metric says to logits whose right value is known.

    Attributes:
        cases: every question, answer and right answer.
        is_error: the metric counts what is wrong (an error) rather than what is right (an accuracy); it was found out
            from its answers.
        constant_score: what a predictor that always names the most common class scores.
    """

    cases: tuple[MetricCase, ...]
    is_error: bool = False
    constant_score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything a rule may look at. Absent parts are None or empty; a rule that needs them stays silent.

    Attributes:
        probe: one pass on one batch.
        steps: every step of the watched loop.
        samples: the sampled ones.
        evaluations: in order of step.
        data: the data audit.
        metric: the metric audit.
        num_classes: classes of the task.
        optimizer: settings of the optimizer.
        problems: what went wrong inside the doctor itself, each named once.
    """

    probe: ProbeResult | None = None
    steps: tuple[StepRecord, ...] = ()
    samples: tuple[Sample, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    data: DataAudit | None = None
    metric: MetricAudit | None = None
    num_classes: int | None = None
    optimizer: OptimizerSettings | None = None
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Strict-JSON form; `from_dict` reads it back to an equal object (NaN apart, which equals nothing)."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Evidence":
        """Reads what `to_dict` wrote.

        Raises:
            ValueError: naming the field that does not fit.
        """
        return from_plain(cls, value)
