"""One tensor to a few numbers, on its own device: nothing here waits for the device or copies to the host."""

import math

import torch
from torch import Tensor

from .finding import LogHistogram

# 85 % of the range, where DeepChecker calls a unit saturated (TOSEM'22): tanh(1.256) = 0.85, 2 sigmoid(2.512) - 1 = 0.85.
TANH_SATURATION = math.atanh(0.85)
SIGMOID_SATURATION = 2 * TANH_SATURATION

ACTIVATION_FIELDS = ("rms", "min", "max", "nonpositive", "dead", "tanh_saturated", "sigmoid_saturated")
GRADIENT_FIELDS = ("rms", "min", "max", "underflow")

LOWEST_EXPONENT = -40
NUM_BINS = 60  # 2**-40 .. 2**20: from under the smallest fp16 number to far above its largest
THIN_SIZE = 1 << 12  # elements of a thinned tensor; a share of them has standard error 0.8 % or less
HISTOGRAM_SIZE = 1 << 10  # a bin's share has standard error 1.6 % or less: finer than a figure shows


def local(x: Tensor) -> Tensor:
    """This process's own shard of a sharded tensor (fully_shard); any other tensor as it is."""
    x = x.detach()
    to_local = getattr(x, "to_local", None)
    return x if to_local is None else to_local()


def rms(x: Tensor) -> Tensor:
    """Root mean square as a 0-d float32 tensor, without a temporary of x's size."""
    norm = torch.linalg.vector_norm(x, dtype=torch.float32 if x.dtype.itemsize < 4 else None)
    return (norm / math.sqrt(max(x.numel(), 1))).float()


def thin(x: Tensor, size: int = THIN_SIZE) -> Tensor:
    """At most about `size` elements, evenly spread; the odd step does not fall in line with power-of-two shapes."""
    flat = x.reshape(-1) if x.is_contiguous() else x.flatten()
    return flat[:: max(1, flat.numel() // size) | 1] if flat.numel() > size else flat


def activation_stats(z: Tensor, exact: bool) -> Tensor:
    """Statistics of a layer's output before its activation function.

    Args:
        z: (batch, channels, ...) or (batch, ..., features).
        exact: over every element; else shares and extremes from a thinned copy, rms and dead units still exact enough
            to be one pass each.

    Returns:
        (7,) float32 in the order of `ACTIVATION_FIELDS`. A unit is dead if it is nowhere above zero.
    """
    part = z.reshape(-1) if exact else thin(z)
    low, high = torch.aminmax(part)
    others = [d for d in range(z.dim()) if d != (1 if z.dim() >= 4 else z.dim() - 1)]
    # One pass over everything also when thinned: a unit is dead only if no example wakes it.
    dead = (torch.amax(z, dim=others) <= 0).float().mean() if others else torch.zeros((), device=z.device)
    size = max(part.numel(), 1)
    size_of = part.abs()  # tanh and sigmoid are flat on both sides
    beyond = [torch.count_nonzero(size_of > c) for c in (TANH_SATURATION, SIGMOID_SATURATION)]
    nonpositive = torch.count_nonzero(part <= 0) / size
    return torch.stack([rms(part), low.float(), high.float(), nonpositive, dead, beyond[0] / size, beyond[1] / size])


def gradient_stats(g: Tensor, precision: torch.dtype, exact: bool) -> Tensor:
    """Statistics of a gradient.

    Args:
        g: any shape.
        precision: number format it will be kept in; elements under half its smallest number become zero there.
        exact: over every element.

    Returns:
        (4,) float32 in the order of `GRADIENT_FIELDS`; underflow is the share of non-zero elements lost.
    """
    part = g if exact else thin(g)
    low, high = torch.aminmax(part)
    lost = torch.zeros((), device=g.device)
    if precision != torch.float32 and precision.is_floating_point:
        flat = thin(g, 1 << 18)
        smallest = torch.finfo(precision).smallest_normal * torch.finfo(precision).eps
        nonzero = torch.count_nonzero(flat)
        kept = torch.count_nonzero(flat.abs() > smallest / 2)
        lost = (nonzero - kept) / nonzero.clamp(min=1)
    return torch.stack([rms(part), low.float(), high.float(), lost.float()])


def spectral_norm(matrix: Tensor) -> Tensor:
    """Largest singular value by power iteration, from below: within 1 % for a gradient, which few directions dominate,
    within 10 % for a random matrix, 20 % for one of more than ten million elements.

    Args:
        matrix: (rows, columns).
    """
    # Two passes over the matrix each: reading fc6 of VGG sixteen times takes as long as a training step.
    iterations = 8 if matrix.numel() < 10_000_000 else 3
    generator = torch.Generator(device=matrix.device).manual_seed(0)  # its own: the global state stays as it is
    matrix = matrix.float()
    right = torch.randn(matrix.shape[1], generator=generator, device=matrix.device)
    left = matrix @ right
    for _ in range(iterations):
        # Normalise with a floor: a zero matrix has the answer 0, not NaN.
        left = left / torch.linalg.vector_norm(left).clamp(min=1e-30)
        right = matrix.mT @ left
        right = right / torch.linalg.vector_norm(right).clamp(min=1e-30)
        left = matrix @ right
    return torch.linalg.vector_norm(left)


def log_histograms(parts: list[Tensor]) -> Tensor:
    """Shares of magnitudes of several tensors at once, on the fixed bins of `LogHistogram`.

    Args:
        parts: flat tensors on one device, of any lengths.

    Returns:
        (tensors, 1 + NUM_BINS) float32: share of zeros, then of each bin.
    """
    device, width = parts[0].device, 1 + NUM_BINS
    flat = torch.cat(parts)
    lengths = [part.numel() for part in parts]
    # One vector for all tensors, each with bins of its own: a row per tensor would need padding.
    weight = torch.cat([torch.full((n,), 1.0 / max(n, 1), device=device) for n in lengths])
    first = torch.cat([torch.full((n,), i * width, dtype=torch.int64, device=device) for i, n in enumerate(lengths)])
    exponent = torch.frexp(flat).exponent - LOWEST_EXPONENT  # frexp: |x| = m * 2**e with 0.5 <= m < 1; bin 1 is lowest
    column = exponent.clamp_(1, NUM_BINS).mul_(flat != 0)
    weight *= torch.isfinite(flat)  # what is not finite is in no bin
    shares = torch.zeros(len(parts) * width, device=device).scatter_add_(0, first + column, weight)
    return shares.view(len(parts), width)


def as_histogram(shares: list[float]) -> LogHistogram:
    """A row of `log_histograms`, on the host."""
    return LogHistogram(zero_fraction=shares[0], lowest_exponent=LOWEST_EXPONENT, fractions=tuple(shares[1:]))
