"""How one operation changes the second moments of a signal and of its gradient. Derivations: docs/theory.md."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainability.doctor.theory.fans import fan_in_and_out
from trainability.doctor.theory.trace import Op

# Correlations are stored at these distances in pixels, and last between two different examples.
DISTANCES = (1, 2, 4, 8, 16, 32, 64)
# Correlations in photographs, normalised to mean 0: neighbouring pixels are nearly equal. They matter only for pooling,
# which raises the mean square of a rough signal and does not change a smooth one.
PHOTOGRAPH = (0.95, 0.9, 0.8, 0.65, 0.45, 0.3, 0.2, 0.0)

_GRID = torch.linspace(-6.0, 6.0, 96, dtype=torch.float64)  # even: no node on the kink of a ReLU
_DENSITY = torch.exp(-0.5 * _GRID**2)
_DENSITY = _DENSITY / _DENSITY.sum()


@dataclass(frozen=True, kw_only=True)
class SignalMoments:
    """Second moments of a signal, over examples, positions, channels and random weights.

    Attributes:
        mean_square: E[x²].
        correlations: E[x x'] / E[x²], not centred, at `DISTANCES` and then between different examples.
        mean: E[x]; 0 after a layer with zero-mean weights.
        nonnegative: whether x >= 0 everywhere.
        log_variance: variance of ln E[x²] over draws of the weights; it grows with depth over width.
        before: moments of z where x = phi(z), and phi: max pooling needs them.
    """

    mean_square: float
    correlations: tuple[float, ...] = PHOTOGRAPH
    mean: float = 0.0
    nonnegative: bool = False
    log_variance: float = 0.0
    before: "tuple[SignalMoments, Callable[[Tensor], Tensor]] | None" = None

    @property
    def typical_rms(self) -> float:
        """Median rms over draws of the weights: a log-normal's median lies exp(variance / 2) below its mean."""
        return math.sqrt(self.mean_square) * math.exp(-self.log_variance / 4)

    @property
    def between_examples(self) -> float:
        """Uncentred correlation of one unit between two different examples."""
        return self.correlations[-1]

    def correlation(self, distance: float) -> float:
        """Uncentred correlation at a distance in pixels: linear between 0 and 1, then linear in the logarithm."""
        table = self.correlations
        if distance <= 1:
            return 1.0 + (table[0] - 1.0) * distance
        place = min(math.log2(distance), len(DISTANCES) - 1.0)
        low = min(int(place), len(DISTANCES) - 2)
        return table[low] + (table[low + 1] - table[low]) * (place - low)


@dataclass(frozen=True, kw_only=True)
class WeightMoments:
    """Second moments of a layer's parameters.

    Attributes:
        shape: of the weight.
        variance: of the weight (of a normalisation layer: mean square of its scale).
        bias_mean_square: 0 without a bias.
    """

    shape: tuple[int, ...]
    variance: float
    bias_mean_square: float = 0.0


def per_dimension(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """One number or a sequence, as one number per spatial dimension."""
    return (value,) * count if isinstance(value, int) else tuple(value)[:count]


def _axis_padding(op: Op, axis: int, kernel: int) -> int:
    padding = op.options["padding"]
    if isinstance(padding, str):
        return (kernel - 1) // 2 if padding == "same" else 0
    return per_dimension(padding, axis + 1)[axis]


@functools.lru_cache(maxsize=512)
def _shared_taps(size: int, outputs: int, kernel: int, stride: int, padding: int, distance: int) -> float:
    """Mean fraction of a kernel's taps that lie inside the map both at an output position and at one `distance` further.

    At distance 0 this is the fraction of taps inside the map.
    """
    pairs = max(outputs - distance, 1)
    hits = 0
    for out in range(pairs):
        first = out * stride - padding
        second = min(out + distance, outputs - 1) * stride - padding
        hits += sum(0 <= first + k < size and 0 <= second + k < size for k in range(kernel))
    return hits / (pairs * kernel)


def shared_taps(op: Op, shape: Sequence[int], axis: int, distance: int) -> float:
    """`_shared_taps` of one axis of a convolution; 1 for anything else."""
    spatial = len(shape) - 2
    if op.kind != "conv" or spatial < 1:
        return 1.0
    size, outputs = op.input_shape[axis - spatial], op.output_shape[axis - spatial]
    stride = per_dimension(op.options["stride"], spatial)[axis]
    return _shared_taps(size, outputs, shape[2 + axis], stride, _axis_padding(op, axis, shape[2 + axis]), distance)


def effective_fan_in(op: Op, shape: Sequence[int]) -> float:
    """Fan-in without the taps that fall on zero padding, averaged over output positions.

    A 3x3 kernel with padding 1 on a 2x2 map has 4 of its 9 taps inside: its gain is 4/9 of that of the full fan-in.
    """
    fan_in, _ = fan_in_and_out(op.kind, shape, op.options["groups"])
    if op.kind == "conv_transpose":  # each output sums what the inputs spread to it
        spread = math.prod(op.output_shape[2:]) / max(1, math.prod(op.input_shape[2:]))
        return fan_in / spread
    return fan_in * math.prod(shared_taps(op, shape, axis, 0) for axis in range(len(shape) - 2))


def weighted(op: Op, x: SignalMoments, weight: WeightMoments) -> SignalMoments:
    """Convolution or linear layer: mean square times fan_in Var(w).

    The weights are shared between positions, so correlations do not change, except for taps that one position uses and its
    neighbour does not.
    """
    if op.kind == "embedding":
        flat = (0.0,) * (len(DISTANCES) + 1)
        return SignalMoments(mean_square=weight.variance, correlations=flat)
    factor = effective_fan_in(op, weight.shape) * weight.variance
    stride = per_dimension(op.options["stride"], 1)[0] if op.kind == "conv" else 1
    mean_square = factor * x.mean_square + weight.bias_mean_square
    if mean_square == 0:
        return SignalMoments(mean_square=0.0, correlations=x.correlations)
    share = factor * x.mean_square / mean_square
    taps = max(shared_taps(op, weight.shape, 0, 0), 1e-9)
    common = [shared_taps(op, weight.shape, 0, d) / taps for d in DISTANCES]
    far = share * x.between_examples + 1 - share  # the bias is common to all positions and examples
    near = tuple(share * c * x.correlation(d * stride) + 1 - share for c, d in zip(common, DISTANCES, strict=True))
    return SignalMoments(mean_square=mean_square, correlations=(*near, far), log_variance=x.log_variance)


def _centred(x: SignalMoments) -> tuple[float, Tensor]:
    """Standard deviation of x and its centred correlations."""
    variance = max(x.mean_square - x.mean**2, 1e-300)
    # With mean 0 nothing is subtracted, and the table is bitwise identical at any scale.
    centred = [(c * x.mean_square - x.mean**2) / variance for c in x.correlations] if x.mean else x.correlations
    return math.sqrt(variance), torch.tensor(centred, dtype=torch.float64).clamp(0.0, 1.0)


def relu(x: SignalMoments) -> SignalMoments:
    """ReLU of a zero-mean Gaussian: half the mean square; correlations follow the arc-cosine kernel.

    Source: Cho and Saul, Kernel Methods for Deep Learning, NIPS 2009, eq. (6); He et al., ICCV 2015, section 2.2.
    """
    rho = torch.tensor(x.correlations, dtype=torch.float64).clamp(-1.0, 1.0)
    angle = torch.arccos(rho)
    table = (torch.sin(angle) + (math.pi - angle) * rho) / math.pi
    return SignalMoments(
        mean_square=x.mean_square / 2,
        correlations=tuple(table.tolist()),
        mean=math.sqrt(x.mean_square / (2 * math.pi)),
        nonnegative=True,
        log_variance=x.log_variance,
        before=(x, torch.relu),
    )


def activation(op: Op, x: SignalMoments) -> SignalMoments:
    """Any elementwise function of a Gaussian, by quadrature in one and two dimensions."""
    if op.function == "relu" and x.nonnegative:
        return x
    if op.function == "relu" and x.mean == 0:
        return relu(x)
    apply: Callable[[Tensor], Tensor] = op.options["apply"]
    deviation, rho = _centred(x)
    one = apply(x.mean + deviation * _GRID)
    mean_square = float((one**2 * _DENSITY).sum())
    other = rho[:, None, None] * _GRID[:, None] + torch.sqrt(1 - rho**2)[:, None, None] * _GRID
    two = apply(x.mean + deviation * other) @ _DENSITY  # E[phi(x') | x], for each correlation
    products = (two * one * _DENSITY).sum(dim=1)
    mean = float((one * _DENSITY).sum())
    return SignalMoments(
        mean_square=mean_square,
        correlations=tuple((products / max(mean_square, 1e-300)).clamp(-1.0, 1.0).tolist()),
        mean=mean if abs(mean) > 1e-9 * deviation else 0.0,
        nonnegative=bool((one >= 0).all()),
        log_variance=x.log_variance,
        before=(x, apply),
    )


def activation_slope(op: Op, x: SignalMoments) -> float:
    """E[phi'(x)²]: the factor on a gradient's mean square."""
    if op.function == "relu" and (x.nonnegative or x.mean == 0):
        return 1.0 if x.nonnegative else 0.5
    deviation, _ = _centred(x)
    return float((_slope(op.options["apply"], x.mean + deviation * _GRID) ** 2 * _DENSITY).sum())


def _slope(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        (slope,) = torch.autograd.grad(function(points).sum(), points)
    return slope


def width_noise(op: Op, x: SignalMoments, num_units: int) -> float:
    """Variance that averaging phi(z)² over finitely many units adds to ln E[x²]: (E phi⁴ / (E phi²)² - 1) / units.

    5 / units for ReLU and one example. The average also runs over examples, whose squares share the square of their
    correlation.

    Source: Hanin and Rolnick, How to Start Training, NeurIPS 2018, theorem 2 (sum of inverse widths).
    """
    if x.nonnegative:
        return 0.0
    deviation, _ = _centred(x)
    values = op.options["apply"](x.mean + deviation * _GRID) ** 2
    square = float((values * _DENSITY).sum())
    if square < 1e-150:  # no signal, whose square does not vary either
        return 0.0
    return (float((values**2 * _DENSITY).sum()) / square**2 - 1) / num_units * x.between_examples**2


def pool_window(op: Op) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Window and stride of a pooling operation per spatial dimension; None if they are unknown."""
    if "dims" in op.options:
        dims = op.options["dims"]
        dims = (dims,) if isinstance(dims, int) else tuple(dims)
        if len(op.input_shape) != 4 or sorted(d % 4 for d in dims) != [2, 3]:
            return None
        return op.input_shape[2:], op.input_shape[2:]
    spatial = len(op.input_shape) - 2
    if spatial < 1 or len(op.output_shape) != len(op.input_shape):
        return None
    if op.options["adaptive"]:
        pairs = zip(op.input_shape[2:], op.output_shape[2:], strict=True)
        window = tuple(max(1, round(size / out)) for size, out in pairs)
        return window, window
    window = per_dimension(op.options["window"], spatial)
    return window, per_dimension(op.options["stride"] or window, spatial)


def _window_correlation(x: SignalMoments, window: Sequence[int], shift: float, distinct: bool) -> float:
    """Mean correlation over pairs of pixels, one in a window, one in the window `shift` pixels further."""
    height, width = (1, window[0]) if len(window) == 1 else (window[-2], window[-1])
    total, pairs = 0.0, 0
    for dy in range(-height + 1, height):
        for dx in range(-width + 1, width):
            if distinct and dx == dy == 0:
                continue
            count = (height - abs(dy)) * (width - abs(dx))
            total += count * x.correlation(math.hypot(dy, dx + shift))
            pairs += count
    return total / pairs if pairs else 1.0


def average_pool(op: Op, x: SignalMoments) -> SignalMoments | None:
    """Average over a window: E of the average's square is the mean of all pairs' products."""
    if (shape := pool_window(op)) is None:
        return None
    window, stride = shape
    square = _window_correlation(x, window, 0.0, distinct=False)
    if square <= 0:  # of correlations that are interpolated between distances; no mean square is: as of independent pixels
        square = 1 / math.prod(window)
    near = [_window_correlation(x, window, float(d * stride[-1]), distinct=False) for d in DISTANCES]
    table = tuple(min(c / square, 1.0) for c in (*near, x.between_examples))
    return replace(x, mean_square=x.mean_square * square, correlations=table, before=None)


def max_pool(op: Op, x: SignalMoments) -> tuple[SignalMoments, float] | None:
    """Maximum over a window of correlated Gaussians, with correlations taken as equal among a window's pixels.

    With z_i = sqrt(b) g + sqrt(w - b) h + sqrt(1 - w) e_i, w the correlation inside a window, b that between two
    windows, the maximum is sqrt(b) g + sqrt(w - b) h + sqrt(1 - w) max e_i.

    Returns:
        Moments of the maximum; and E[phi'(max)²] / E[phi'(z)²], by which the chosen pixels pass more gradient through
        the activation before the pool than the average pixel does. None if the window is unknown.
    """
    if (shape := pool_window(op)) is None:
        return None
    window, stride = shape
    under, function = x.before or (x, None)  # an increasing function and a maximum commute
    deviation, table = _centred(under)
    centred = replace(under, mean_square=1.0, mean=0.0, correlations=tuple(table.tolist()))
    inside = min(max(_window_correlation(centred, window, 0.0, distinct=True), 0.0), 1.0)
    shifts = [_window_correlation(centred, window, float(d * stride[-1]), distinct=False) for d in DISTANCES]
    between = torch.tensor([0.0, *shifts, centred.between_examples], dtype=torch.float64).clamp(0.0, inside)
    # ReLU and no function at all scale with their input: their integral is the same for every plan and need not be done anew.
    scale = deviation if function in (None, torch.relu) else 1.0
    largest = _largest_of_window(
        math.prod(window),
        inside=inside,
        between=tuple(between.tolist()),
        mean=under.mean / scale,
        deviation=deviation / scale,
        function=function or (torch.relu if x.nonnegative else None),
        is_chosen=function is not None,
    )
    mean_square, mean, products, chosen = largest
    pooled = replace(x, mean_square=scale**2 * mean_square, correlations=products, mean=scale * mean, before=None)
    return pooled, chosen


@functools.lru_cache(maxsize=256)
def _largest_of_window(
    num_pixels: int,
    *,
    inside: float,
    between: tuple[float, ...],
    mean: float,
    deviation: float,
    function: Callable[[Tensor], Tensor] | None,
    is_chosen: bool,
) -> tuple[float, float, tuple[float, ...], float]:
    """Mean square, mean, correlations and share of chosen slope of phi(max); see `max_pool`."""
    coarse, weights = _GRID[::3], _DENSITY[::3] / _DENSITY[::3].sum()  # 32 nodes: three nested integrals
    level = (torch.arange(32, dtype=torch.float64) + 0.5) / 32
    largest = torch.special.ndtri(level ** (1 / num_pixels))  # quantiles of the maximum of independent ones
    shared = torch.tensor(between, dtype=torch.float64)
    common = torch.sqrt(shared)[:, None, None, None] * coarse[:, None, None]
    own = torch.sqrt(inside - shared)[:, None, None, None] * coarse[:, None]
    maximum = mean + deviation * (common + own + math.sqrt(1 - inside) * largest)
    chosen = 1.0
    if function is not None and is_chosen:
        average = float((_slope(function, mean + deviation * _GRID) ** 2 * _DENSITY).sum())
        slopes = (_slope(function, maximum[0, 0]) ** 2).mean(dim=1) @ weights
        chosen = float(slopes) / max(average, 1e-300)
    if function is not None:
        maximum = function(maximum)
    given_common = (maximum.mean(dim=3) * weights).sum(dim=2)  # E[max | g]
    first = (maximum[0] ** 2).mean(dim=2) @ weights
    mean_square = float((first * weights).sum())
    products = (given_common[1:] ** 2 * weights).sum(dim=1) / max(mean_square, 1e-300)
    return mean_square, float((given_common[0] * weights).sum()), tuple(products.tolist()), chosen


def normalise(op: Op, x: SignalMoments | None, weight: WeightMoments | None) -> tuple[SignalMoments, float | None]:
    """Normalisation resets the scale, for any input.

    Returns:
        Moments of the output, and the variance it divided by (None if the input's moments are unknown).
    """
    scale = weight.variance if weight else 1.0
    shift = weight.bias_mean_square if weight else 0.0
    if x is None:
        flat = (0.0,) * (len(DISTANCES) + 1)
        return SignalMoments(mean_square=scale + shift, correlations=flat), None
    # Batch norm subtracts each channel's mean over examples and positions; layer norm the mean over features.
    common = x.between_examples if op.function in ("batch_norm", "instance_norm") else 0.0
    if op.function in ("layer_norm", "group_norm"):
        common = min(x.mean**2 / max(x.mean_square, 1e-300), 1.0)
    rest = max(1.0 - common, 1e-6)
    square = scale + shift
    table = tuple((scale * (c - common) / rest + shift) / max(square, 1e-300) for c in x.correlations)
    return SignalMoments(mean_square=square, correlations=table), max(x.mean_square * rest, 1e-300)


def local_response_factor(op: Op, x: SignalMoments) -> float:
    """Factor of local response normalisation on the mean square, (k + alpha E[x²])^-2beta.

    Each value is divided by (k + alpha mean x²)^beta; the mean over a few channels is taken for the expectation. A small
    signal is divided by k^beta and not normalised: this is a gain and does not reset the scale.
    """
    return (op.options["k"] + op.options["alpha"] * x.mean_square) ** (-2 * op.options["beta"])


def scaled(x: SignalMoments, factor: float) -> SignalMoments:
    """A signal times a positive number; what a ReLU was applied to is scaled with it."""
    before = None
    if x.before is not None and x.before[1] is torch.relu:
        before = (scaled(x.before[0], factor), torch.relu)
    return replace(x, mean_square=x.mean_square * factor**2, mean=x.mean * factor, before=before)


def add(terms: Sequence[SignalMoments]) -> SignalMoments:
    """Sum of values that random weights make uncorrelated, apart from their means."""
    mean = sum(t.mean for t in terms)
    crossed = mean**2 - sum(t.mean**2 for t in terms)
    square = sum(t.mean_square for t in terms) + crossed
    columns = zip(*[[c * t.mean_square for c in t.correlations] for t in terms], strict=True)
    table = tuple((sum(column) + crossed) / max(square, 1e-300) for column in columns)
    return SignalMoments(
        mean_square=square,
        correlations=table,
        mean=mean,
        nonnegative=all(t.nonnegative for t in terms),
        log_variance=max(t.log_variance for t in terms),
    )
