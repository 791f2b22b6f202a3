"""Every draw against its distribution, and the batched pixels against the slow per-image version."""

import math

import pytest
import torch
from torch.nn import functional as F

from trainability import keyed
from trainability.config import DataConfig
from trainability.data import augment


def keys(num: int, *, epoch: int = 0) -> torch.Tensor:
    return keyed.example_keys(3, epoch, torch.arange(num))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=keyed.generator(seed))


def is_uniform(values: torch.Tensor, low: int, high: int) -> bool:
    """Chi-squared of the counts against equal shares, below mean + 5 standard deviations (a chance of about 1e-6)."""
    assert values.min() >= low
    assert values.max() <= high
    counts = torch.bincount(values - low, minlength=high - low + 1).double()
    expected = len(values) / len(counts)
    degrees = len(counts) - 1
    return ((counts - expected) ** 2 / expected).sum().item() < degrees + 5 * math.sqrt(2 * degrees)


def rescaled_then_cropped(image: torch.Tensor, side: int, top: int, left: int, crop: int) -> torch.Tensor:
    """The slow version: rescale the whole image as a library does it, then cut."""
    height, width = image.shape[:2]
    smaller = min(height, width)
    size = [math.floor(stored * side / smaller + 0.5) for stored in (height, width)]
    whole = F.interpolate(image.permute(2, 0, 1)[None].float(), size=size, mode="bilinear", antialias=True)[0]
    return whole.permute(1, 2, 0)[top : top + crop, left : left + crop]


@pytest.mark.parametrize("flip", [False, True])
def test_random_crops_equal_the_per_image_version(flip: bool) -> None:
    store, drawn = noise(5, 40, 48, 3), keys(12)
    index = torch.tensor([0, 4, 1, 1, 3, 2, 0, 0, 4, 2, 3, 1])
    crops = augment.random_crops(store, index, drawn, crop=32, flip=flip)
    top, left = augment.crop_origins(drawn, 40, 48, crop=32)
    for i in range(len(index)):
        image = store[index[i], top[i] : top[i] + 32, left[i] : left[i] + 32]
        assert torch.equal(crops[i], image.flip(1) if flip and augment.is_mirrored(drawn)[i] else image)
    pixels = augment.random_crops(store, index, drawn, crop=32, flip=False)
    assert torch.equal(crops, augment.mirrored(pixels, augment.is_mirrored(drawn)) if flip else pixels)


def test_crops_and_mirror_images_are_uniform_and_independent() -> None:
    drawn = keys(40_000)
    top, left = augment.crop_origins(drawn, 40, 36, crop=32)
    mirrored = augment.is_mirrored(drawn)
    assert is_uniform(top, 0, 8)
    assert is_uniform(left, 0, 4)
    assert is_uniform(mirrored.long(), 0, 1)
    assert is_uniform(top * 10 + left * 2 + mirrored, 0, 89)


@pytest.mark.parametrize(
    ("size", "jitter"), [((40, 40), (32, 64)), ((64, 90), (32, 64)), ((70, 48), (48, 96)), ((48, 131), (34, 40))]
)
def test_scale_jitter_equals_rescaling_the_whole_image(size: tuple[int, int], jitter: tuple[int, int]) -> None:
    store, drawn = noise(4, *size, 3), keys(32)
    index = torch.arange(32) % 4
    crops = augment.random_crops(store, index, drawn, crop=32, flip=False, jitter=jitter)
    assert crops.shape == (32, 32, 32, 3)
    assert crops.dtype == torch.uint8
    heights, widths = torch.full((32,), size[0]), torch.full((32,), size[1])
    cut = augment.jittered_cuts(drawn, heights, widths, size=min(size), crop=32, jitter=jitter)
    sides = torch.minimum(cut.rows.rescaled, cut.columns.rescaled)
    assert sides.unique().numel() > 5
    for i in range(32):
        place = int(cut.rows.offset[i]), int(cut.columns.offset[i])
        slow = rescaled_then_cropped(store[index[i]], int(sides[i]), *place, 32)
        # Rounded to whole pixels: half a level, and the rounding of float32.
        assert (crops[i].float() - slow).abs().max() < 0.501
    flipped = augment.random_crops(store, index, drawn, crop=32, flip=True, jitter=jitter)
    assert torch.equal(flipped, augment.mirrored(crops, augment.is_mirrored(drawn)))


def test_scale_jitter_of_images_of_different_shapes_reads_windows_that_stack() -> None:
    images = [noise(48, 48, 3), noise(48, 80, 3, seed=1), noise(61, 48, 3, seed=2)] * 10
    heights, widths = (torch.tensor([image.shape[axis] for image in images]) for axis in (0, 1))
    cut = augment.jittered_cuts(keys(30), heights, widths, size=48, crop=32, jitter=(32, 64))
    windows = torch.full((30, cut.extent, cut.extent, 3), 255, dtype=torch.uint8)
    for window, image, top, left in zip(windows, images, cut.rows.start, cut.columns.start, strict=True):
        part = image[top : top + cut.extent, left : left + cut.extent]
        window[: part.shape[0], : part.shape[1]] = part
    crops = augment.resampled(windows, cut)
    for i, image in enumerate(images):
        side = int(torch.minimum(cut.rows.rescaled, cut.columns.rescaled)[i])
        slow = rescaled_then_cropped(image, side, int(cut.rows.offset[i]), int(cut.columns.offset[i]), 32)
        assert (crops[i].float() - slow).abs().max() < 0.501


def test_scale_jitter_draws_side_and_place_uniformly() -> None:
    drawn = keys(60_000)
    sizes = torch.full((60_000,), 48), torch.full((60_000,), 60)
    cut = augment.jittered_cuts(drawn, *sizes, size=48, crop=32, jitter=(34, 45))
    sides = cut.rows.rescaled
    assert is_uniform(sides, 34, 45)
    for side in (34, 45):
        chosen = sides == side
        assert is_uniform(cut.rows.offset[chosen], 0, side - 32)
        assert is_uniform(cut.columns.offset[chosen], 0, int(cut.columns.rescaled[chosen][0]) - 32)


def test_jitter_to_the_stored_size_is_the_plain_crop() -> None:
    store, drawn = noise(3, 40, 40, 3), keys(3)
    same = augment.random_crops(store, torch.arange(3), drawn, crop=32, flip=True, jitter=(40, 40))
    assert torch.equal(same, augment.random_crops(store, torch.arange(3), drawn, crop=32, flip=True))


def test_draws_do_not_depend_on_how_the_batch_is_split() -> None:
    store, index = noise(8, 40, 40, 3), torch.arange(8)
    axes = augment.colour_axes(torch.tensor([[9.0, 2, 1], [2, 8, 3], [1, 3, 7]]))
    whole = augment.random_crops(store, index, keys(8), crop=32, flip=True, jitter=(32, 64))
    parts = [
        augment.random_crops(store, index[part], keys(8)[part], crop=32, flip=True, jitter=(32, 64))
        for part in (slice(0, 3), slice(3, 8))
    ]
    assert torch.equal(whole, torch.cat(parts))
    shifts = torch.cat([augment.colour_shifts(keys(8)[part], axes) for part in (slice(0, 3), slice(3, 8))])
    torch.testing.assert_close(augment.colour_shifts(keys(8), axes), shifts, rtol=1e-6, atol=1e-6)
    assert not torch.equal(augment.colour_shifts(keys(8, epoch=1), axes), shifts)


def test_normals_are_standard_and_independent() -> None:
    drawn = augment.normals(keys(100_000), 3).double()
    assert drawn.mean(0).abs().max() < 5 / math.sqrt(100_000)
    correlation = drawn.T @ drawn / 100_000
    assert (correlation - torch.eye(3)).abs().max() < 5 * math.sqrt(2 / 100_000)
    quantiles = torch.tensor([-1.959964, -0.674490, 0.0, 0.674490, 1.959964])
    below = (drawn[:, :, None] < quantiles).double().mean(0)
    expected = torch.tensor([0.025, 0.25, 0.5, 0.75, 0.975])
    assert (below - expected).abs().max() < 5 * math.sqrt(0.25 / 100_000)


def test_colour_shift_has_a_hundredth_of_the_covariance_of_the_pixels() -> None:
    mixing = torch.tensor([[50.0, 5, 1], [48, -2, 3], [45, -4, -6]])
    covariance = mixing @ mixing.T
    axes = augment.colour_axes(covariance)
    torch.testing.assert_close(axes @ axes.T, covariance, rtol=1e-4, atol=1e-2)
    shifts = augment.colour_shifts(keys(100_000), axes).double()
    measured = shifts.T @ shifts / 100_000
    # alpha ~ N(0, 0.1) along each axis: 0.01 of the covariance, known to 5 sqrt(2 / n).
    assert (measured - 0.01 * covariance).abs().max() < 5 * math.sqrt(2 / 100_000) * 0.01 * covariance.max()


def test_colour_shift_is_added_on_0_255_before_normalisation_and_not_clipped() -> None:
    pixels, mean, std = noise(4, 6, 6, 3), torch.tensor([120.0, 110, 100]), torch.tensor([60.0, 58, 57])
    shifts = torch.tensor([[5.0, -300, 2], [0, 0, 0], [1, 2, 3], [-4, 400, 9]])
    for scale in (None, std):
        images = augment.normalised(pixels, mean, scale, shifts)
        for i in range(4):
            slow = (pixels[i].float() + shifts[i] - mean) / (1 if scale is None else scale)
            torch.testing.assert_close(images[i], slow.permute(2, 0, 1), rtol=0, atol=1e-4)
    assert torch.equal(augment.normalised(pixels, mean, std, torch.zeros(4, 3)), augment.normalised(pixels, mean, std))


def test_jitter_below_the_crop_or_reversed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.jitter\D*32\D*64"):
        DataConfig(crop=64, jitter=(32, 128))
    with pytest.raises(ValueError, match=r"data\.jitter\D*90\D.*\b80"):
        DataConfig(crop=64, jitter=(90, 80))
