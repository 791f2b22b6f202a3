"""What is known of one layer: what the closed form predicts, and what was measured. Data only; no torch."""

from __future__ import annotations

from dataclasses import dataclass


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
        name: as `named_modules()` gives it; of a layer's further weights the parameter's full name.
        kind: "conv", "linear", "conv_transpose", "norm", "embedding", "recurrent", "attention", "other" (another module with a
            weight of its own) or "parameter" (a bare one: a position table, a class token).
        fan_in: inputs per output unit; of a recurrent weight its columns. None for normalisation.
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
        unmoved_fraction: of a weight in float16 or bfloat16, share of the elements with a gradient that the step left as they
            were, bit for bit; None of other formats, or where no step was seen.
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
    unmoved_fraction: float | None = None
    weight_histogram: LogHistogram | None = None
    gradient_histogram: LogHistogram | None = None
    activation_histogram: LogHistogram | None = None
