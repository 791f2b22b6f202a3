"""Propagate second moments forward through a traced net, and the gradient's backward: the predicted scale of every layer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from trainability.doctor.theory import moments
from trainability.doctor.theory.fans import fan_in_and_out
from trainability.doctor.theory.moments import DISTANCES, SignalMoments, WeightMoments
from trainability.doctor.theory.signal import log10
from trainability.doctor.theory.trace import ACTIVATIONS, Op, Trace


@dataclass(frozen=True, kw_only=True)
class LayerPrediction:
    """Prediction for one layer.

    Attributes:
        name: as `named_modules()` gives it.
        kind: of the operation, "conv".
        weight: full name of the weight parameter.
        fan_in: inputs per output unit.
        fan_out: outputs per input unit.
        num_units: output channels or features.
        kernel: spatial kernel size.
        padding: spatial padding.
        activation: function that follows; None if there is none.
        gain: fan_in * Var(w) * (the activation's factor on the mean square); None for normalisation.
        activation_rms: typical rms of the output; None if unknown.
        gradient_ratio: rms of d loss / d output over rms of d loss / d logits; None if unknown.
    """

    name: str
    kind: str
    weight: str
    fan_in: int
    fan_out: int
    num_units: int
    kernel: tuple[int, ...]
    padding: tuple[int, ...]
    activation: str | None
    gain: float | None
    activation_rms: float | None
    gradient_ratio: float | None


_SHAPE_ONLY = frozenset({"rand_like", "randn_like", "randint_like", "zeros_like", "ones_like", "full_like", "empty_like"})


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction for a net before training.

    Attributes:
        layers: in forward order.
        structure: "plain", "normalised", "residual", "branched" or "unknown", as of `ProbeResult`.
        log10_gain: gain budget P over weight layers; None unless the net is plain, since otherwise gains do not
            multiply.
        log10_input: log10 of the input's mean square, the other term of the budget.
        logit_rms: typical rms of the output; None if unknown.
        biased: whether the bias contributes more than 1 % of the mean square of some layer's output.
        hidden_biased: the same of the layers before the last.
        notes: what is unknown, and why.
    """

    layers: tuple[LayerPrediction, ...]
    structure: str
    log10_gain: float | None
    log10_input: float
    logit_rms: float | None
    biased: bool = False
    hidden_biased: bool = False
    notes: tuple[str, ...] = ()


def input_moments(images: Tensor) -> SignalMoments:
    """Mean square and correlations of a batch, at the distances that pooling needs.

    Args:
        images: (batch, ...) float; the last two dimensions are taken as positions if there are four.
    """
    x = images.detach().double() if images.device.type == "cpu" else images.detach().float()
    square = float(x.square().mean())
    if square == 0:
        return SignalMoments(mean_square=0.0)
    near = []
    for distance in DISTANCES:
        terms = []
        for axis in (2, 3) if x.dim() == 4 else ():
            size = x.shape[axis]
            if distance < size:
                pair = x.narrow(axis, 0, size - distance) * x.narrow(axis, distance, size - distance)
                terms.append(float(pair.mean()))
        near.append(sum(terms) / len(terms) / square if terms else None)
    batch = x.shape[0]
    summed = float(x.sum(dim=0).square().sum())
    each = float(x.square().sum())
    far = (summed - each) / (batch * (batch - 1)) / (each / batch) if batch > 1 else 0.0
    filled: list[float] = []
    for value in near:  # distances beyond the image's edge are not used; repeat the last value
        filled.append(value if value is not None else (filled[-1] if filled else max(far, 0.0)))
    return SignalMoments(mean_square=square, correlations=(*filled, far))


_WITHOUT_SIGNAL = frozenset(
    {"eq", "ne", "gt", "ge", "lt", "le", "isnan", "isinf", "isfinite", "logical_not", "logical_and", "logical_or", "any", "all"}
    | {"argmax", "argmin", "argsort", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like"}
)  # of what is compared, counted or drawn: the size of the input does not go on


def predict(trace: Trace, weights: Mapping[str, WeightMoments], images: SignalMoments | None = None) -> Prediction:
    """Propagate second moments forward through the traced operations, and the gradient's backward.

    Args:
        trace: of the model in its intended mode (train or eval).
        weights: from `weight_moments`, or from an initialisation plan.
        images: moments of the input; None for photographs of mean square 1.

    Returns:
        Scales before training; None after an operation that the theory does not cover.
    """
    images = images or SignalMoments(mean_square=1.0)
    weights = {**weights, **_as_matrices(trace, weights)}
    values: dict[int, SignalMoments | None] = {0: images}
    shapes: dict[int, tuple[int, ...]] = {0: trace.ops[0].input_shape if trace.ops else ()}
    back: dict[int, float | None] = {}
    unknown: dict[str, None] = {}
    masks: set[int] = set()  # answers to a question and what is made of them alone carry no signal
    for op in trace.ops:
        values[op.output], back[op.output] = _forward(op, values, shapes, weights)
        shapes[op.output] = op.output_shape
        if op.function in _WITHOUT_SIGNAL or (op.inputs and masks.issuperset(op.inputs)):
            masks.add(op.output)
        elif values[op.output] is None and all(values.get(i) is not None or i in masks for i in op.inputs):
            unknown[op.function] = None
    gradients = _backward(trace, back)
    structure = _structure(trace)
    layers = tuple(
        _layer(trace, op, values, gradients, weights)
        for op in trace.ops
        if op.weight in weights and op.kind in ("conv", "linear", "conv_transpose", "embedding", "norm")
    )
    gains = [layer.gain for layer in layers if layer.kind != "norm"]
    multiply = structure == "plain" and gains and not any(g is None for g in gains)
    # Local response normalisation has no weights, but is a factor of the budget too.
    divided = [op for op in trace.ops if op.kind == "local_response_norm"]
    factors = [moments.local_response_factor(op, x) for op in divided if (x := values[op.inputs[0]]) is not None]
    output = values.get(trace.output) if trace.output is not None else None
    shares = [_bias_share(op, values, weights) for op in trace.ops if op.weight in weights]
    return Prediction(
        layers=layers,
        structure=structure,
        log10_gain=sum(log10(g) for g in (*gains, *factors) if g is not None) if multiply else None,
        log10_input=log10(images.mean_square),
        logit_rms=output.typical_rms if output is not None else None,
        biased=any(share > 0.01 for share in shares),
        hidden_biased=any(share > 0.01 for share in shares[:-1]),
        notes=tuple(f"the size of the signal behind {name}(): no formula is known, so it is not predicted" for name in unknown),
    )


def _as_matrices(trace: Trace, weights: Mapping[str, WeightMoments]) -> dict[str, WeightMoments]:
    """Convolution weights that the forward pass uses as matrices, in that shape."""
    names = {op.weight for op in trace.ops if op.kind == "linear" and op.weight is not None and op.weight in weights}
    return {name: replace(w, shape=(w.shape[0], math.prod(w.shape[1:]))) for name in names if (w := weights[name])}


def _bias_share(op: Op, values: Mapping[int, SignalMoments | None], weights: Mapping[str, WeightMoments]) -> float:
    """Fraction of the mean square of a convolution's or linear layer's output that comes from its bias."""
    out, weight = values[op.output], weights.get(op.weight or "")
    if op.kind not in ("conv", "linear", "conv_transpose") or weight is None or out is None:
        return 0.0
    return weight.bias_mean_square / out.mean_square if out.mean_square > 0 else 0.0


def _structure(trace: Trace) -> str:
    kinds = {op.kind for op in trace.ops}
    if "norm" in kinds:
        return "normalised"
    # A weight that is made of a parameter, as the transposed one of a tied decoder, is a factor that nothing is known of.
    made = any(op.kind in ("conv", "linear", "conv_transpose") and op.weight is None for op in trace.ops)
    return _joined(trace) or ("unknown" if made or "unknown" in kinds or not kinds else "plain")


def _joined(trace: Trace) -> str | None:
    """How branches meet again: "residual" where a value is added to, or stands beside, what was made of it; else "branched".

    Two branches of one value are not residual: the mean of a sample and its scaled noise, the layers of an Inception block.
    What knows a value's shape only, such as noise that is added to it, is no branch.
    """
    made_of: dict[int, int] = {0: 1}  # sets of values as bits, itself among them: nets that are unrolled in time have thousands
    own = {0: 1}  # the bit of a value; of a reshaped one, that of what was reshaped
    found = None
    for op in trace.ops:
        branches = [i for i in op.inputs if made_of[i]]
        if op.kind in ("sum", "concat") and len(branches) > 1:
            if any(i != j and own[i] != own[j] and made_of[i] & own[j] for i in branches for j in branches):
                return "residual"
            found = "branched"
        keeps = op.kind in ("reshape", "dropout") and len(op.inputs) == 1
        own[op.output] = own[op.inputs[0]] if keeps else 1 << op.output
        made_of[op.output] = 0
        if op.function not in _SHAPE_ONLY and branches:
            made_of[op.output] = own[op.output]
            for i in branches:
                made_of[op.output] |= made_of[i]
    return found


def _forward(
    op: Op,
    values: Mapping[int, SignalMoments | None],
    shapes: Mapping[int, tuple[int, ...]],
    weights: Mapping[str, WeightMoments],
) -> tuple[SignalMoments | None, float | None]:
    """Moments of an operation's output, and its factor on the gradient's mean square from output to input."""
    inputs = [values[i] for i in op.inputs]
    x = inputs[0] if inputs else None
    weight = weights.get(op.weight) if op.weight else None
    if op.kind == "norm":
        y, variance = moments.normalise(op, x, weight)
        return y, (weight.variance if weight else 1.0) / variance if variance else None
    if op.kind == "embedding":
        return (moments.weighted(op, SignalMoments(mean_square=1.0), weight), None) if weight else (None, None)
    if x is None or any(term is None for term in inputs):
        return None, None
    outputs_per_input = math.prod(op.output_shape) / max(1, math.prod(op.input_shape))
    match op.kind:
        case "conv" | "linear" | "conv_transpose" if weight:
            factor = moments.effective_fan_in(op, weight.shape) * weight.variance * outputs_per_input
            return moments.weighted(op, x, weight), factor
        case "activation":
            noise = moments.width_noise(op, x, _units(op))
            y = moments.activation(op, x)
            return replace(y, log_variance=y.log_variance + noise), moments.activation_slope(op, x)
        case "max_pool":
            pooled = moments.max_pool(op, x)
            if pooled is None:
                return None, None
            return pooled[0], outputs_per_input * pooled[1]
        case "avg_pool":
            y = moments.average_pool(op, x)
            window = moments.pool_window(op)
            return y, outputs_per_input / math.prod(window[0]) if window else None
        case "dropout":
            keep = 1.0 - op.options["p"]
            if keep == 0:
                return None, None
            table = tuple(c * keep for c in x.correlations)
            return replace(x, mean_square=x.mean_square / keep, correlations=table, before=None), 1.0 / keep
        case "reshape":
            return x, 1.0
        case "scale":
            f = op.options["factor"]
            y = replace(x, mean_square=x.mean_square * f * f, mean=x.mean * f, before=None)
            return replace(y, nonnegative=x.nonnegative and f > 0), f * f
        case "local_response_norm":
            square = moments.local_response_factor(op, x)
            return moments.scaled(x, math.sqrt(square)), square
        case "sum":
            return moments.add([term for term in inputs if term is not None]), 1.0
        case "concat":
            sizes = [math.prod(shapes[i]) for i in op.inputs]
            return _concatenate([term for term in inputs if term is not None], sizes), 1.0
        case _:
            return None, None


def _units(op: Op) -> int:
    shape = op.output_shape
    return shape[1] if len(shape) in (2, 4, 5) else shape[-1]


def _concatenate(terms: Sequence[SignalMoments], sizes: Sequence[int]) -> SignalMoments:
    total = sum(sizes)
    square = sum(t.mean_square * n for t, n in zip(terms, sizes, strict=True)) / total
    columns = zip(*[[c * t.mean_square * n for c in t.correlations] for t, n in zip(terms, sizes, strict=True)], strict=True)
    return SignalMoments(
        mean_square=square,
        correlations=tuple(sum(column) / total / max(square, 1e-300) for column in columns),
        mean=sum(t.mean * n for t, n in zip(terms, sizes, strict=True)) / total,
        nonnegative=all(t.nonnegative for t in terms),
        log_variance=max(t.log_variance for t in terms),
    )


def _backward(trace: Trace, factors: Mapping[int, float | None]) -> dict[int, float | None]:
    """Mean square of d loss / d value over that of d loss / d output, for every value; None where unknown."""
    gradients: dict[int, float | None] = {}
    if trace.output is not None:
        gradients[trace.output] = 1.0
    for op in reversed(trace.ops):
        if op.output not in gradients:
            continue  # its value does not reach the output
        above, factor = gradients[op.output], factors[op.output]
        for value in op.inputs:
            known = above is not None and factor is not None
            before = gradients.get(value, 0.0)
            gradients[value] = before + above * factor if known and before is not None else None  # type: ignore[operator]
    return gradients


def _layer(
    trace: Trace,
    op: Op,
    values: Mapping[int, SignalMoments | None],
    gradients: Mapping[int, float | None],
    weights: Mapping[str, WeightMoments],
) -> LayerPrediction:
    assert op.weight is not None
    weight = weights[op.weight]
    out, ratio = values[op.output], gradients.get(op.output)
    is_norm = op.kind == "norm"
    groups = op.options.get("groups", 1)
    num_units = weight.shape[-1 if op.kind == "embedding" else 0]
    if op.kind == "conv_transpose":
        num_units = weight.shape[1] * groups
    fan_in, fan_out = (0, 0) if is_norm else fan_in_and_out(op.kind, weight.shape, groups)
    spatial = len(weight.shape) - 2
    padding = op.options.get("padding", 0)
    own = trace.activation_after(op)
    gain = None
    if op.kind in ("conv", "linear", "conv_transpose"):
        # The head has no activation; the net's is used, so that variance 2 / fan_in has gain 1 in every layer.
        named = own or next((a for o in reversed(trace.ops) if (a := trace.activation_after(o))), None)
        gain = fan_in * weight.variance * _activation_factor(trace, named, values)
    # Finite widths above this layer make its gradient vary; those below make its output vary.
    output = values.get(trace.output) if trace.output is not None else None
    scatter = max((output.log_variance if output else 0.0) - (out.log_variance if out else 0.0), 0.0)
    return LayerPrediction(
        name=op.name or "",
        kind=op.kind,
        weight=op.weight,
        fan_in=fan_in,
        fan_out=fan_out,
        num_units=num_units,
        kernel=tuple(weight.shape[2:]),
        padding=moments.per_dimension(padding, spatial) if spatial > 0 and not isinstance(padding, str) else (),
        activation=own,
        gain=gain,
        activation_rms=out.typical_rms if out is not None else None,
        gradient_ratio=math.sqrt(ratio) * math.exp(-scatter / 4) if ratio is not None else None,
    )


def _activation_factor(trace: Trace, function: str | None, values: Mapping[int, SignalMoments | None]) -> float:
    """Factor of an activation on the mean square: 1/2 for ReLU at any scale, otherwise at its first occurrence's signal."""
    if function is None or function not in ACTIVATIONS:
        return 1.0
    if function == "relu":
        return 0.5
    for op in trace.ops:
        if op.kind == "activation" and op.function == function:
            before, after = values[op.inputs[0]], values[op.output]
            if before is not None and after is not None and before.mean_square > 0:
                return after.mean_square / before.mean_square
    return 1.0
