"""Crops, horizontal flips, scale jitter and colour shifts of whole batches, with separate random draws for every image.

Every draw is a function of the example's key (`keyed`). The resident loader draws on the device; a worker process draws only
to know which window of the stored image to decode. Both give the network the same pixels.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainability import keyed

# One number per purpose: streams of the same key are independent. The classifier's dropout layers have 0 and 1.
TOP_STREAM, LEFT_STREAM, FLIP_STREAM, SCALE_STREAM, COLOUR_STREAM = 16, 17, 18, 19, 20

COLOUR_STD = 0.1
"""Standard deviation of the colour shift, in standard deviations of the training pixels along each principal axis."""


def random_crops(
    store: Tensor,
    index: Tensor,
    keys: Tensor,
    *,
    crop: int,
    flip: bool,
    jitter: tuple[int, int] | None = None,
    draws: Tensor | None = None,
) -> Tensor:
    """Cut a random crop out of every image, and flip half of them horizontally.

    Args:
        store: (num, height, width, 3) uint8, images of which `index` picks a batch.
        index: (batch,) int64.
        keys: (batch,) int32 from `keyed.example_keys`; decide scale, position, and which images are flipped.
        crop: side in pixels.
        flip: whether half of the images are flipped left to right.
        jitter: smallest and largest side that an image is rescaled to before the crop; `None` leaves it as stored.
        draws: (3, batch) int64 from `crop_draws`, if they have been drawn already; not for jitter.

    Returns:
        (batch, crop, crop, 3) uint8.
    """
    height, width = store.shape[1:3]
    if jitter is not None:
        sizes = torch.full_like(index, height), torch.full_like(index, width)
        cut = jittered_cuts(keys, *sizes, size=min(height, width), crop=crop, jitter=jitter)
        pixels = resampled(_windows(store, index, cut), cut)
        return mirrored(pixels, is_mirrored(keys)) if flip else pixels
    if (height, width) == (crop, crop) and not flip:
        return store.index_select(0, index)
    top, left, flips = crop_draws(keys, height, width, crop=crop) if draws is None else draws
    # A view of every window of every image, so that whole rows are copied: with an index for every pixel a CPU takes seven
    # times as long.
    strides = store.stride()
    places = (len(store), height - crop + 1, width - crop + 1)
    windows = store.as_strided((*places, crop, crop, 3), (*strides[:3], *strides[1:]))
    if store.device.type == "cpu":
        return _crops_on_cpu(windows, index, top, left, flips if flip else None)
    pixels = windows[index, top, left]
    return mirrored(pixels, flips.bool()) if flip else pixels


def _crops_on_cpu(windows: Tensor, index: Tensor, top: Tensor, left: Tensor, flips: Tensor | None) -> Tensor:
    """Copy windows with numpy, which copies whole rows while torch copies bytes (ten times as fast); then flip some of them."""
    pixels = windows.numpy()[index.numpy(), top.numpy(), left.numpy()]
    if flips is not None:
        flipped = np.flatnonzero(flips.numpy())
        pixels[flipped] = torch.from_numpy(pixels[flipped]).flip(2).numpy()
    return torch.from_numpy(pixels)


def crop_draws(keys: Tensor, height: int, width: int, *, crop: int) -> Tensor:
    """Draw position and flip of every crop at once: `crop_origins` and `is_mirrored` of images of one shape.

    Args:
        keys: (batch,) int32.
        height: of the images in pixels.
        width: of the images in pixels.
        crop: side in pixels, at most that of the image.

    Returns:
        (3, batch) int64: top and left pixel of the crop, and 1 where it is flipped.
    """
    highs = _highs(height - crop + 1, width - crop + 1, 2, keys.device)
    return keyed.integers(keyed.streams(keys, (TOP_STREAM, LEFT_STREAM, FLIP_STREAM)), highs)


@functools.cache
def _highs(down: int, across: int, ways: int, device: torch.device) -> Tensor:
    """Return the number of possible values of three draws, (3, 1) int64; cached, because a copy to the device waits for it."""
    return torch.tensor([[down], [across], [ways]], device=device)


def _windows(store: Tensor, index: Tensor, cut: Cut) -> Tensor:
    """Read from images in memory the windows that a cut needs."""
    span = torch.arange(cut.extent, device=store.device)
    # Beyond the image's edge any pixel will do: `resampled` gives it weight 0.
    rows = (cut.rows.start[:, None] + span).clamp(max=store.shape[1] - 1)
    columns = (cut.columns.start[:, None] + span).clamp(max=store.shape[2] - 1)
    return store[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def crop_origins(keys: Tensor, height: Tensor | int, width: Tensor | int, *, crop: int) -> tuple[Tensor, Tensor]:
    """Draw the position of every crop, uniformly over all positions.

    Args:
        keys: (batch,) int32.
        height: of the images in pixels, one number for all or (batch,) int64.
        width: of the images in pixels, one number for all or (batch,) int64.
        crop: side in pixels, at most that of the image.

    Returns:
        Top and left pixel of the crop, (batch,) int64 each.
    """
    top, left = keyed.streams(keys, (TOP_STREAM, LEFT_STREAM))
    return keyed.integers(top, height - crop + 1), keyed.integers(left, width - crop + 1)


def is_mirrored(keys: Tensor) -> Tensor:
    """Draw which examples are flipped, each with probability 1/2. Returns (batch,) bool."""
    return keyed.integers(keyed.stream(keys, FLIP_STREAM), 2).bool()


def mirrored(pixels: Tensor, flips: Tensor) -> Tensor:
    """Flip examples left to right.

    Args:
        pixels: (batch, height, width, 3).
        flips: (batch,) bool, from `is_mirrored`: which.
    """
    shape, batch = pixels.shape, len(pixels)
    rows, flipped = pixels.reshape(batch, -1), pixels.flip(2).reshape(batch, -1)
    if rows.dtype == torch.uint8 and rows.shape[1] % 8 == 0 and rows.storage_offset() % 8 == 0:
        # Eight bytes at a time, which a CPU selects several times as fast.
        rows, flipped = rows.view(torch.int64), flipped.view(torch.int64)
    return torch.where(flips[:, None], flipped, rows).view(pixels.dtype).view(shape)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where the crops lie along one axis of their images.

    Attributes:
        stored: (batch,) int64, pixels of the stored image.
        rescaled: (batch,) int64, pixels that the rescaled image would have.
        offset: (batch,) int64, first pixel of the crop in the rescaled image.
        start: (batch,) int64, first pixel of the stored image that is needed.
    """

    stored: Tensor
    rescaled: Tensor
    offset: Tensor
    start: Tensor


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A batch of square crops of rescaled images: which stored pixels to read, and how to resample them.

    Attributes:
        rows: along the height.
        columns: along the width.
        crop: side of the crops in pixels.
        extent: side of the window to read, starting at (rows.start, columns.start), the same for all images. Pixels of the
            window that lie beyond the image may have any value.
    """

    rows: Axis
    columns: Axis
    crop: int
    extent: int


def jittered_cuts(keys: Tensor, heights: Tensor, widths: Tensor, *, size: int, crop: int, jitter: tuple[int, int]) -> Cut:
    """Draw a scale and a crop position for every image.

    Each image's smaller side becomes S, a whole number drawn uniformly from the range (both ends included); the aspect ratio is
    kept, and the crop position is uniform over the rescaled image.

    Args:
        keys: (batch,) int32.
        heights: (batch,) int64, of the stored images in pixels.
        widths: (batch,) int64, likewise.
        size: the smaller side of every stored image.
        crop: side in pixels, at most the range's lower end.
        jitter: smallest and largest S.

    Returns:
        The cuts. Their extent depends only on size, crop and range, so that the windows of different images can be stacked.

    Source: Simonyan & Zisserman 2014, section 3.1, "multi-scale training": S from [256; 512].
    """
    low, high = jitter
    side = low + keyed.integers(keyed.stream(keys, SCALE_STREAM), high - low + 1)
    # Rounded half up in integer arithmetic, so that every device computes the same size.
    height, width = ((2 * stored * side + size) // (2 * size) for stored in (heights, widths))
    top, left = crop_origins(keys, height, width, crop=crop)
    extent = _extent(crop, size / low)
    return Cut(rows=_axis(heights, height, top, extent), columns=_axis(widths, width, left, extent), crop=crop, extent=extent)


def _extent(crop: int, ratio: float) -> int:
    """Count the stored pixels that a crop can need along an axis; `ratio` is the largest of stored to rescaled size."""
    # Rounding the longer side changes its ratio by less than half a pixel in the smaller side; hence the extra pixels.
    return math.ceil(ratio * crop + 2 * max(1.0, ratio)) + 2


def _axis(stored: Tensor, rescaled: Tensor, offset: Tensor, extent: int) -> Axis:
    ratio = stored.double() / rescaled.double()
    first = ((offset + 0.5) * ratio - ratio.clamp(min=1)).floor().long()
    return Axis(stored=stored, rescaled=rescaled, offset=offset, start=torch.minimum(first, stored - extent).clamp(min=0))


def resampled(windows: Tensor, cut: Cut) -> Tensor:
    """Resample windows of stored images to the crops.

    The result equals rescaling the whole image (bilinear, antialiased when shrinking, as image libraries do) and then cropping
    it, up to float32 rounding, for a fraction of the work. Two matrix products per image: for a crop of 224 from 512 pixels
    about 1 GFLOP, against 93 for training VGG-D on the crop.

    Args:
        windows: (batch, extent, extent, 3) uint8, the stored pixels starting at (rows.start, columns.start).
        cut: of the batch, on the same device.

    Returns:
        (batch, crop, crop, 3) uint8.
    """
    down, across = _weights(cut.rows, cut), _weights(cut.columns, cut)
    batch, side = windows.shape[:2]
    # (batch, crop, side) @ (batch, side, side * 3), then the columns of each row.
    rows = torch.bmm(down, windows.float().reshape(batch, side, side * 3)).reshape(batch, cut.crop, side, 3)
    pixels = torch.einsum("bqw,brwc->brqc", across, rows)
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _weights(axis: Axis, cut: Cut) -> Tensor:
    """Compute the weight of every stored pixel in every pixel of the crop: a triangle filter, widened when the image shrinks.

    Returns:
        (batch, crop, extent) float32, rows that sum to 1.
    """
    device = axis.stored.device
    ratio = axis.stored.double() / axis.rescaled.double()
    centre = (axis.offset[:, None] + torch.arange(cut.crop, device=device) + 0.5) * ratio[:, None]
    pixels = axis.start[:, None] + torch.arange(cut.extent, device=device)
    distance = (pixels[:, None, :] + 0.5 - centre[:, :, None]).abs() / ratio.clamp(min=1)[:, None, None]
    weights = (1 - distance).clamp(min=0) * (pixels < axis.stored[:, None])[:, None, :]
    return (weights / weights.sum(2, keepdim=True)).float()


def centre_cuts(heights: Tensor, widths: Tensor, *, size: int, scale: int, crop: int) -> Cut:
    """Place the centre crop of every image rescaled so that its smaller side is `scale`; nothing is random.

    Networks trained with scale jitter are validated at the middle of their range, not at the size of the stored images.

    Args:
        heights: (batch,) int64, of the stored images in pixels.
        widths: (batch,) int64, likewise.
        size: the smaller side of every stored image.
        scale: smaller side in pixels, at least the crop.
        crop: side in pixels.
    """
    height, width = ((2 * stored * scale + size) // (2 * size) for stored in (heights, widths))
    extent = _extent(crop, size / scale)
    return Cut(
        rows=_axis(heights, height, (height - crop) // 2, extent),
        columns=_axis(widths, width, (width - crop) // 2, extent),
        crop=crop,
        extent=extent,
    )


def centre_crops(images: Tensor, crop: int, *, scale: int | None = None) -> Tensor:
    """Cut the centre out of every image.

    Args:
        images: (batch, height, width, 3) uint8.
        crop: side in pixels.
        scale: smaller side in pixels to which the images are first rescaled; `None` leaves them as stored.

    Returns:
        (batch, crop, crop, 3).
    """
    size = min(images.shape[1:3])
    if scale is not None and scale != size:
        heights, widths = (torch.full((len(images),), side, device=images.device) for side in images.shape[1:3])
        cut = centre_cuts(heights, widths, size=size, scale=scale, crop=crop)
        return resampled(_windows(images, torch.arange(len(images), device=images.device), cut), cut)
    top, left = (images.shape[1] - crop) // 2, (images.shape[2] - crop) // 2
    return images[:, top : top + crop, left : left + crop]


def normals(keys: Tensor, number: int) -> Tensor:
    """Draw standard normal numbers from the examples' keys (Box & Muller 1958).

    Args:
        keys: (batch,) int32.
        number: how many per example.

    Returns:
        (batch, number) float32.
    """
    # Two uniform numbers for each, in (0, 1): centres of 2**32 equal intervals, so that the logarithm is finite.
    lanes = keyed.unit_codes(2 * number, keys.device)
    codes = keyed.mix(keys[:, None] ^ lanes).to(torch.int64) & 0xFFFFFFFF
    uniform = (codes.double() + 0.5) / 2**32
    radius, angle = uniform[:, :number], uniform[:, number:]
    return ((-2 * radius.log()).sqrt() * (2 * math.pi * angle).cos()).float()


def colour_axes(covariance: Tensor) -> Tensor:
    """Find the directions in which the colours of the training pixels vary.

    Args:
        covariance: (3, 3) float, of the training pixels' RGB on 0-255.

    Returns:
        (3, 3) float32: each column is a principal axis; its length is the standard deviation along it on 0-255.

    Source: Krizhevsky et al. 2012, section 4.1.
    """
    variances, axes = torch.linalg.eigh(covariance.double())
    # The sign of an eigenvector is arbitrary; the shift is symmetric, so the sign only has to be the same on every machine.
    axes = axes * torch.where(axes.sum(0) < 0, -1.0, 1.0)
    # Paper: times the eigenvalues. They are variances, so that the shift depends on the unit of the pixels: about 1,000 grey
    # levels for photographs on 0-255. Here: times their square roots, as the author's cuda-convnet2 does (`color_stdevs`).
    return (axes * variances.clamp(min=0).sqrt()).float()


def colour_shifts(keys: Tensor, axes: Tensor) -> Tensor:
    """Draw the colour shift of every image, added to all of its pixels: N(0, 0.1) along each principal axis.

    Args:
        keys: (batch,) int32.
        axes: (3, 3) float32 from `colour_axes`, on the device of the keys.

    Returns:
        (batch, 3) float32 on 0-255.
    """
    return (COLOUR_STD * normals(keyed.stream(keys, COLOUR_STREAM), 3)) @ axes.T


def normalised(pixels: Tensor, mean: Tensor, scale: Tensor | None, shifts: Tensor | None = None) -> Tensor:
    """Turn pixels into the network's input.

    Args:
        pixels: (batch, height, width, 3) uint8.
        mean: (3,) float32 on 0-255, subtracted.
        scale: (3,) float32, divides the result; `None` keeps the range of 255 levels, as in the paper.
        shifts: (batch, 3) float32 on 0-255 from `colour_shifts`, added first and not clipped, as in the paper: clipping
            would erase detail in bright and dark regions.

    Returns:
        (batch, 3, height, width) float32 in channels-last memory.
    """
    width = pixels.shape[2]
    offset = mean.repeat(width) if shifts is None else (mean - shifts).repeat(1, width)[:, None]
    # By rows of width * 3 numbers: with an innermost dimension of three a CPU is several times as slow.
    rows = pixels.flatten(2)
    rows = rows.float().sub_(offset) if rows.dtype == torch.uint8 else rows - offset
    if scale is not None:
        rows = rows.div_(scale.repeat(width))
    return rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2)
