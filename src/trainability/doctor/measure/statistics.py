"""One tensor to a few numbers, on its own device: nothing here waits for the device or copies to the host."""

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]

from trainability.doctor.layer_stats import LogHistogram

# 85 % of the range, where DeepChecker calls a unit saturated (TOSEM'22): tanh(1.256) = 0.85, 2 sigmoid(2.512) - 1 = 0.85.
TANH_SATURATION = math.atanh(0.85)
SIGMOID_SATURATION = 2 * TANH_SATURATION

ACTIVATION_FIELDS = ("rms", "min", "max", "nonpositive", "tanh_saturated", "sigmoid_saturated")
GRADIENT_FIELDS = ("rms", "min", "max")

LOWEST_EXPONENT = -40
NUM_BINS = 60  # 2**-40 .. 2**20: from under the smallest fp16 number to far above its largest
THIN_SIZE = 1 << 12  # elements of a thinned tensor; a share of them has standard error 0.8 % or less
_MOST_DENSE = 1 << 24  # elements of a sparse gradient that is written out with its zeros
_HISTOGRAM_SIZE = 1 << 10  # a bin's share has standard error 1.6 % or less: finer than a figure shows


def input_stats(x: Tensor) -> Tensor:
    """Standard deviation and mean of an input; of a table also its largest column mean, which, least and largest deviation."""
    stats = torch.std_mean(x)
    if x.dim() != 2 or len(x) < 2:
        return torch.stack(stats)
    stds, means = torch.std_mean(x, dim=0)
    place = means.abs().argmax()
    return torch.stack([*stats, means[place], place.to(x.dtype), *stds.aminmax()])


def is_readable(x: Tensor) -> bool:
    """Whether a tensor holds real numbers of its own: not one of torch.func's wrappers, of a tracer, sparse or complex."""
    return x.is_floating_point() and has_values(x)


def has_values(x: Tensor) -> bool:
    """Whether a tensor holds numbers of its own, one for each element."""
    return x.layout == torch.strided and not x.is_meta and not is_functorch_wrapped_tensor(x) and "Fake" not in type(x).__name__


def local(x: Tensor) -> Tensor:
    """The numbers of a tensor, as real ones: this process's own shard of a sharded tensor (fully_shard), the values that a
    sparse tensor stores, both parts of complex numbers; any other tensor as it is.
    """
    x = x.detach()
    to_local = getattr(x, "to_local", None)
    x = x if to_local is None else to_local()
    if x.layout == torch.sparse_coo:
        x = x.coalesce().values()
    return torch.view_as_real(x) if x.is_complex() else x


def spread(x: Tensor) -> Tensor | None:
    """As `local`, with the zeros of a sparse tensor; None where it has too many of them."""
    if x.layout == torch.strided:
        return local(x)
    return local(x.detach().to_dense()) if x.numel() <= _MOST_DENSE else None


def rms(x: Tensor) -> Tensor:
    """Root mean square as a 0-d float32 tensor, without a temporary of x's size."""
    norm = torch.linalg.vector_norm(x, dtype=torch.float32 if x.dtype.itemsize < 4 else None)
    return (norm / math.sqrt(max(x.numel(), 1))).float()


@functools.lru_cache(maxsize=1024)
def _places(numel: int, size: int, device: torch.device) -> Tensor:
    """One place drawn from each of `size` equal stretches: even cover, in line with no shape; the same at every call."""
    # On the host by name: somebody's default device may be another.
    draws = torch.rand(size, generator=torch.Generator("cpu").manual_seed(0), dtype=torch.float64, device="cpu")
    return ((torch.arange(size, device="cpu") + draws) * (numel / size)).long().clamp(max=numel - 1).to(device)


@functools.lru_cache(maxsize=1024)
def _indices(shape: torch.Size, size: int, device: torch.device) -> tuple[Tensor, ...]:
    """The places of `_places` in a tensor of a shape, an index for each dimension."""
    return torch.unravel_index(_places(shape.numel(), size, device), shape)


def thin(x: Tensor, size: int = THIN_SIZE) -> Tensor:
    """A flat copy of exactly `size` elements, evenly spread; of all where there are no more."""
    if x.numel() <= size:
        return x.reshape(-1).clone()
    if x.is_contiguous():
        return x.view(-1)[_places(x.numel(), size, x.device)]
    return x[_indices(x.shape, size, x.device)]  # flattened first, channels-last images would be copied whole


def in_rows(reduce: Callable[[Tensor], Tensor], parts: Sequence[Tensor]) -> Tensor:
    """A reduction of rows, on flat tensors of any lengths: those of equal length are reduced together.

    A sampled step of a deep net costs what its many small operations cost, so layers share them.

    Args:
        reduce: (rows, elements) -> (rows, ...).
        parts: at least one flat tensor.

    Returns:
        (parts, ...), in the order of `parts`.
    """
    places: dict[int, list[int]] = {}
    for i, part in enumerate(parts):
        places.setdefault(part.numel(), []).append(i)
    reduced = [reduce(torch.stack([parts[i] for i in group])) for group in places.values()]
    if len(reduced) == 1:
        return reduced[0]
    row_of = {i: row for group, rows in zip(places.values(), reduced, strict=True) for i, row in zip(group, rows, strict=True)}
    return torch.stack([row_of[i] for i in range(len(parts))])


def row_rms(rows: Tensor) -> Tensor:
    """Root mean square of every row as float32."""
    norm = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32 if rows.dtype.itemsize < 4 else None)
    return (norm / math.sqrt(max(rows.shape[1], 1))).float()


def extremes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest element along the last dimension. On a CPU, `aminmax` along a dimension takes five times as long."""
    return rows.amin(-1), rows.amax(-1)


def dead_fraction(z: Tensor) -> Tensor:
    """Share of a layer's units that are nowhere above zero. One pass over everything: one example wakes a unit.

    Args:
        z: (batch, channels, ...) or (batch, ..., features).
    """
    if z.dim() < 2:
        return torch.zeros((), device=z.device)
    if z.dim() == 4 and z.is_contiguous(memory_format=torch.channels_last):
        z = z.permute(0, 2, 3, 1)  # its order in memory, in which each step of the reduction reads neighbours
        return (z.flatten(0, 2).amax(dim=0) <= 0).float().mean()
    # Over examples first: reducing all dimensions at once is up to ten times slower on small maps.
    units = z.amax(dim=0).flatten(1).amax(dim=1) if z.dim() >= 4 else z.flatten(0, -2).amax(dim=0)
    return (units <= 0).float().mean()


def activation_stats(rows: Tensor) -> Tensor:
    """Statistics of layers' outputs before their activation functions.

    Args:
        rows: (layers, elements).

    Returns:
        (layers, 6) float32 in the order of `ACTIVATION_FIELDS`.
    """
    low, high = extremes(rows)
    sizes = rows.abs()  # tanh and sigmoid are flat on both sides
    beyond = (rows <= 0, sizes > TANH_SATURATION, sizes > SIGMOID_SATURATION)
    # A CPU sums to int32 five times as fast as it counts along a dimension.
    whole = torch.int32 if rows.shape[1] < 2**31 else torch.int64
    shares = [where.sum(1, dtype=whole) / max(rows.shape[1], 1) for where in beyond]
    return torch.stack([row_rms(rows), low.float(), high.float(), *shares], dim=1)


def gradient_stats(rows: Tensor) -> Tensor:
    """Statistics of gradients.

    Args:
        rows: (layers, elements).

    Returns:
        (layers, 3) float32 in the order of `GRADIENT_FIELDS`.
    """
    low, high = extremes(rows)
    return torch.stack([row_rms(rows), low.float(), high.float()], dim=1)


def underflow_fraction(gradient: Tensor, precision: torch.dtype) -> Tensor:
    """Share of a gradient's non-zero elements that a number format rounds to zero: those under half its smallest number."""
    if precision == torch.float32 or not precision.is_floating_point:
        return torch.zeros((), device=gradient.device)
    flat = thin(gradient, 1 << 18)
    smallest = torch.finfo(precision).smallest_normal * torch.finfo(precision).eps
    nonzero = torch.count_nonzero(flat)
    kept = torch.count_nonzero(flat.abs() > smallest / 2)
    return (nonzero - kept) / nonzero.clamp(min=1)


def unmoved_fraction(before: Tensor, now: Tensor, gradient: Tensor) -> Tensor:
    """Share of the elements with a gradient that a step left as they were, bit for bit; 0 where none has one."""
    has_gradient = gradient != 0
    return torch.count_nonzero((before == now) & has_gradient) / torch.count_nonzero(has_gradient).clamp(min=1)


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


@functools.lru_cache(maxsize=64)
def _bin_places(lengths: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """What one element weighs in its tensor's shares, and where that tensor's bins begin; the same at every sampled step."""
    counts = torch.tensor(lengths, device="cpu")
    weight = (1.0 / counts.clamp(min=1)).repeat_interleave(counts)
    first = (torch.arange(len(lengths), device="cpu") * (1 + NUM_BINS)).repeat_interleave(counts)
    return weight.to(device), first.to(device)


def log_histograms(parts: Sequence[Tensor]) -> Tensor:
    """Shares of magnitudes of several tensors at once, on the fixed bins of `LogHistogram`.

    Args:
        parts: flat tensors on one device, of any lengths; of a long one only some elements are counted.

    Returns:
        (tensors, 1 + NUM_BINS) float32: share of zeros, then of each bin.
    """
    parts = [part[:: max(1, part.numel() // _HISTOGRAM_SIZE)] for part in parts]
    flat = torch.cat(parts).float()
    # One vector for all tensors, each with bins of its own: a row per tensor would need padding.
    weight, first = _bin_places(tuple(part.numel() for part in parts), flat.device)
    exponent = torch.frexp(flat).exponent - LOWEST_EXPONENT  # frexp: |x| = m * 2**e with 0.5 <= m < 1; bin 1 is lowest
    column = exponent.clamp_(1, NUM_BINS).mul_(flat != 0)
    shares = torch.zeros(len(parts) * (1 + NUM_BINS), device=flat.device)
    shares.scatter_add_(0, first + column, weight * torch.isfinite(flat))  # what is not finite is in no bin
    return shares.view(len(parts), 1 + NUM_BINS)


def as_histogram(shares: list[float]) -> LogHistogram:
    """A row of `log_histograms`, on the host."""
    return LogHistogram(zero_fraction=shares[0], lowest_exponent=LOWEST_EXPONENT, fractions=tuple(shares[1:]))
