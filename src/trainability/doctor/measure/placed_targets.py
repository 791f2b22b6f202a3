"""Whether targets go by where something is in an image or a series, or by what is there, which pooling over places keeps."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.batches import tensors

_FEWEST, _MOST = 200, 480  # examples
_SECONDS = 8.0  # for reading
_MOST_PLACES, _MOST_CHANNELS = {1: 256, 2: 64}, 8  # finer ones are averaged
_BLURS = (1, 3, 7, 15)
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the features' variance, which is 1
_SHARED, _SHARED_BESIDE = 0.05, 0.02  # of a channel's variance, in the mean of all; where the other dimension has more
_LEAST, _MOST_FREE = 0.5, 1 / 3  # explained by places; by what is there, over that
_FILTERS, _WIDTHS = 48, (5, 9)
_QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def told_by_places(batches: Iterable[Any], given: str, target: str, dims: tuple[int, ...]) -> dict[str, Any] | None:
    """Hold the targets against where the inputs stand out, and against what pooled features tell of them.

    Args:
        batches: the training loader; some hundred examples of it are read.
        given: place of the inputs in a batch.
        target: place of the targets, a few numbers for each example.
        dims: one or two dimensions of the inputs, along which places lie.

    Returns:
        `dims` along which examples share nothing that tells places apart, `examples` that were compared, the `column` of the
        targets that places tell the most of, the share of its variance that they explain in held-out examples (`placed`), and
        the share that quantiles, spectra and pooled responses of filters explain (`free`). None where places do not tell much,
        or what is there tells a third as much or more.
    """
    read = _read(batches, given, target, dims) if 0 < len(dims) <= 2 else None
    if read is None:
        return None
    maps, wanted = read
    free = _without_ground(maps)
    if not free:
        return None
    if len(free) < len(dims):  # rows that examples share do not tell columns apart
        maps, dims = _as_maps(maps, tuple(2 + k for k in free)), tuple(dims[k] for k in free)
    maps = (maps - maps.mean()) / maps.std().clamp(min=1e-30)
    features = standardised(_positions(_with_differences(maps)))
    columns = standardised(wanted)
    if not features.shape[1] or not columns.shape[1]:
        return None
    placed = explained([features], columns)
    if not bool((placed >= _LEAST).any()):
        return None
    others = [standardised(each) for each in (*_amounts(_with_differences(maps)), _responses(maps))]
    pooled = explained([*others, torch.cat(others, dim=1)], columns, bent=True).clamp(min=0)
    told = torch.where((placed >= _LEAST) & (pooled <= _MOST_FREE * placed), placed, -1.0)
    column = int(told.argmax())
    if not float(told[column]) > 0:
        return None
    kept = _varying(wanted).nonzero().flatten()
    return {
        "examples": len(maps),
        "column": int(kept[column]),
        "placed": float(placed[column]),
        "free": float(pooled[column]),
        "dims": dims,
    }


def _read(batches: Iterable[Any], given: str, target: str, dims: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
    """Inputs (examples, channels, places) or (examples, channels, places, places), and targets (examples, numbers)."""
    began, count = time.perf_counter(), 0
    maps, wanted = list[Tensor](), list[Tensor]()
    for batch in batches:
        parts = dict(tensors(batch))
        x, y = parts.get(given), parts.get(target)
        if x is None or y is None or len(x) != len(y) or x.dim() <= max(dims):
            return None
        maps.append(_as_maps(x.detach().float().cpu(), dims))
        wanted.append(y.detach().double().cpu().reshape(len(y), -1))
        count += len(x)
        if count >= _MOST or time.perf_counter() - began > _SECONDS:
            break
    if count < _FEWEST or len({(m.shape[1:], w.shape[1]) for m, w in zip(maps, wanted, strict=True)}) != 1:
        return None
    rows, numbers = torch.cat(maps)[:_MOST], torch.cat(wanted)[:_MOST]
    fine = bool(rows.isfinite().all()) and bool(numbers.isfinite().all()) and len(numbers.unique()) > 8
    return (rows, numbers) if fine else None


def _as_maps(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    rest = [d for d in range(1, x.dim()) if d not in dims]
    x = x.permute(0, *rest, *dims)
    sizes = x.shape[1 + len(rest) :]
    x = x.reshape(len(x), -1, *sizes)
    if x.shape[1] > _MOST_CHANNELS:
        x = F.adaptive_avg_pool1d(x.flatten(2).transpose(1, 2), _MOST_CHANNELS).transpose(1, 2).reshape(len(x), -1, *sizes)
    most = [min(size, _MOST_PLACES[len(dims)]) for size in sizes]
    return F.adaptive_avg_pool2d(x, (most[0], most[1])) if len(dims) == 2 else F.adaptive_avg_pool1d(x, most[0])


def _without_ground(maps: Tensor) -> list[int]:
    """Dimensions along which examples share nothing that tells places apart: coordinates, a fixed background, a trend."""
    whole = maps.transpose(0, 1).flatten(1).var(dim=1, correction=0).clamp(min=1e-30)
    shares = []
    for k in range(maps.dim() - 2):
        lines = maps.mean(dim=0).movedim(1 + k, -1).reshape(maps.shape[1], -1, maps.shape[2 + k])
        shares.append(float((lines.var(dim=2, correction=0).mean(dim=1) / whole).amax()))
    most = _SHARED if max(shares) <= _SHARED else _SHARED_BESIDE
    return [k for k, share in enumerate(shares) if share <= most]


def _with_differences(maps: Tensor) -> Tensor:
    """Channels, and their differences, as of colours."""
    count = maps.shape[1]
    pairs = [maps[:, i] - maps[:, j] for i in range(count) for j in range(i)] if count <= 4 else []
    return torch.cat([maps, torch.stack(pairs, dim=1)], dim=1) if pairs else maps


def _positions(maps: Tensor) -> Tensor:
    """Where each example is largest, smallest and most uneven, at several widths, and the centres of what stands out."""
    return torch.cat([*_peaks(maps), *_centres(maps)], dim=1).double()


def _peaks(maps: Tensor) -> Iterator[Tensor]:
    steep = _slopes(maps)
    for width in _BLURS:
        if width > min(maps.shape[2:]) // 3:
            break
        blurred = _blurred(maps, width)
        uneven = (_blurred(maps.square(), width) - blurred.square()) if width > 1 else None
        for each in (blurred, -blurred, _blurred(steep, width), uneven, _slopes(blurred)):
            if each is not None:
                yield _places(each.flatten(2).argmax(dim=2), maps.shape[2:])


def _places(index: Tensor, sizes: torch.Size) -> Tensor:
    """Row and column of flat indices, from -1 to 1: (examples, channels * dimensions)."""
    found = [index % sizes[-1]] if len(sizes) == 1 else [index // sizes[-1], index % sizes[-1]]
    return torch.cat([2 * each.float() / max(size - 1, 1) - 1 for each, size in zip(found, sizes, strict=True)], dim=1)


def _centres(maps: Tensor) -> Iterator[Tensor]:
    middle = maps.flatten(2).median(dim=2).values.reshape(*maps.shape[:2], *(1,) * (maps.dim() - 2))
    apart, steep = (maps - middle).abs(), _slopes(maps)
    lowest = maps.flatten(2).amin(dim=2).reshape(middle.shape)
    for weight in (maps - lowest, apart, apart.square(), apart.pow(4), steep, steep.square()):
        total = weight.flatten(2).sum(dim=2).clamp(min=1e-12)
        for k, size in enumerate(maps.shape[2:]):
            line = weight.sum(dim=5 - k - 2) if maps.dim() == 4 else weight
            yield (line * torch.linspace(-1, 1, size)).sum(dim=2) / total


def _slopes(maps: Tensor) -> Tensor:
    return sum(((maps.roll(1, d) - maps).abs() for d in range(2, maps.dim())), torch.zeros(()))


def _blurred(maps: Tensor, width: int) -> Tensor:
    """Means of windows, over the edge from the other side."""
    for d in range(2, maps.dim()) if width > 1 else ():
        maps = torch.stack([maps.roll(k - width // 2, d) for k in range(width)]).mean(dim=0)
    return maps


def _amounts(maps: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of an example wherever its places are moved to: quantiles and means, and the power of its waves."""
    found, levels = list[Tensor](), torch.tensor(_QUANTILES)
    for width in _BLURS[:3]:
        blurred = _blurred(maps, width)
        slopes = [(blurred.roll(1, d) - blurred).abs() for d in range(2, maps.dim())]
        for each in (blurred, *slopes):
            flat = each.flatten(2)
            found += [*flat.quantile(levels, dim=2), flat.mean(dim=2), flat.std(dim=2), flat.amax(dim=2), flat.amin(dim=2)]
    waves = torch.fft.rfft(maps) if maps.dim() == 3 else torch.fft.rfft2(maps)
    power = waves.abs().square()
    if maps.dim() == 3:
        edges = [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 28, 36, 48, 64, 90, 128, 200]
        bands = [power[..., a:b].mean(dim=2) for a, b in itertools.pairwise(edges) if a < power.shape[2]]
    else:
        half = min(6, power.shape[2] // 3, power.shape[3] - 2)
        bands = [power[:, :, i, j] for i in range(-half, half + 1) for j in range(min(half + 1, power.shape[3]))]
        bands += [power[:, :, half + 1 : -half].mean(dim=(2, 3)), power[..., half + 1 :].mean(dim=(2, 3))]
    return torch.cat(found, dim=1).double(), (torch.cat(bands, dim=1) + 1e-6).log().double()


def _responses(maps: Tensor) -> Tensor:
    """Means and maxima over all places of how like windows are to some that stand out in examples, at several scales."""
    draws, found = torch.Generator().manual_seed(0), list[Tensor]()
    flat = maps.dim() == 3
    for scale in (1, 2, 4):
        scaled = maps if scale == 1 else (F.avg_pool1d if flat else F.avg_pool2d)(maps, scale)
        for width in _WIDTHS if scale == 1 else _WIDTHS[:1]:
            if min(scaled.shape[2:]) < 2 * width:
                continue
            filters = _windows(scaled, width, draws)
            pad = [width // 2] * (2 if flat else 4)
            padded = F.pad(scaled, pad, mode="circular")
            for rows in padded.split(64):
                answer = (F.conv1d if flat else F.conv2d)(rows, filters).flatten(2)
                top = answer.amax(dim=2)
                found.append(torch.cat([top, answer.relu().mean(dim=2), answer.relu().square().mean(dim=2).sqrt()], dim=1))
    parts = -(-len(maps) // 64)
    return torch.cat([torch.cat(found[k : k + parts]) for k in range(0, len(found), parts)], dim=1).double()


def _windows(maps: Tensor, width: int, draws: torch.Generator) -> Tensor:
    """Some windows of the examples, around where they are steep, each of mean zero and length one."""
    steep, sizes, made = _slopes(maps).sum(dim=1), maps.shape[2:], list[Tensor]()
    for row in torch.randperm(len(maps), generator=draws)[:_FILTERS].tolist():
        weight = steep[row].flatten() ** 2 + 1e-9
        place = int(torch.multinomial(weight, 1, generator=draws))
        window = maps[row]
        for d, at in enumerate((place,) if len(sizes) == 1 else (place // sizes[-1], place % sizes[-1])):
            first = min(max(at - width // 2, 0), sizes[d] - width)
            window = window.narrow(d + 1, first, width)
        window = window - window.mean()
        made.append(window / window.norm().clamp(min=1e-6))
    return torch.stack(made)


def explained(groups: list[Tensor], columns: Tensor, *, bent: bool = False) -> Tensor:
    """Share of each column's variance in held-out examples: of the best group of features, of lines and of smooth curves.

    Args:
        groups: features, each (examples, numbers), standardised.
        columns: of the targets, (examples, numbers), standardised.
        bent: whether curves are tried beside lines.
    """
    best = torch.full((columns.shape[1],), -1.0, dtype=torch.double)
    for features in groups:
        kernels = [features @ features.T / max(features.shape[1], 1)] if features.shape[1] else []
        if kernels and bent:
            apart = torch.cdist(features, features).square() / features.shape[1]
            kernels += [(-apart / 2).exp(), (-apart / 0.5).exp()]
        for kernel in kernels:
            best = torch.maximum(best, _held_out(kernel, columns))
    return best


def _held_out(kernel: Tensor, columns: Tensor) -> Tensor:
    """Share of the variance of each half that the other half tells, by the ridge that is best among its own."""
    left = torch.zeros_like(columns)
    for part in (0, 1):
        own, rest = torch.arange(part, len(columns), 2), torch.arange(1 - part, len(columns), 2)
        mean = columns[own].mean(dim=0)
        values, vectors = torch.linalg.eigh(kernel[own][:, own])
        turned = vectors.T @ (columns[own] - mean)
        errors, fits = list[Tensor](), list[Tensor]()
        for ridge in _RIDGES:
            weights = vectors @ (turned / (values + ridge * len(own) * 0.1)[:, None])
            # What is left of an example that is left out: its weight over the diagonal of the inverse.
            inverse = vectors.square() @ (1 / (values + ridge * len(own) * 0.1))
            errors.append((weights / inverse[:, None]).square().mean(dim=0))
            fits.append(mean + kernel[rest][:, own] @ weights)
        chosen = torch.stack(errors).argmin(dim=0)
        fitted = torch.stack(fits)[chosen, :, torch.arange(columns.shape[1])].T
        left[rest] = columns[rest] - fitted
    return 1 - left.square().mean(dim=0) / columns.var(dim=0, correction=0).clamp(min=1e-12)


def _varying(columns: Tensor) -> Tensor:
    return columns.std(dim=0, correction=0) > 1e-6 * columns.abs().amax().clamp(min=1e-12)


def standardised(columns: Tensor) -> Tensor:
    """Columns with mean 0 and standard deviation 1, without those of one number.

    Args:
        columns: (examples, numbers).
    """
    columns = columns[:, _varying(columns)]
    if not columns.shape[1]:  # PyTorch warns of a deviation of none
        return columns
    return (columns - columns.mean(dim=0)) / columns.std(dim=0, correction=0)
