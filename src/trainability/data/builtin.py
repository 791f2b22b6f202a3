"""Data sets that need no file: the handwritten digits inside the package, and generated images."""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainability import keyed
from trainability.config import DataConfig
from trainability.data.memory import check_fits


def load_digits(config: DataConfig, seed: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Load the 1,797 handwritten digits inside the package, 8x8 grey, enlarged to `size` and repeated to three channels.

    Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (CC BY 4.0).
    """
    with resources.files("trainability.data").joinpath("digits.npz").open("rb") as file:
        archive = np.load(file)
        grey, labels = torch.from_numpy(archive["images"]), torch.from_numpy(archive["labels"]).long()
    assert config.size is not None
    # Enlarged in float32; then as bytes, whole and in the two splits.
    check_fits(len(grey) * config.size**2 * 10, f"{len(grey):,} images of data.size {config.size}")
    scaled = grey[:, None].float() * (255 / 16)  # the file counts ink from 0 to 16
    enlarged = F.interpolate(scaled, size=(config.size, config.size), mode="bicubic", align_corners=False)
    images = enlarged.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).contiguous()
    return images, labels, tuple(str(digit) for digit in range(10))


# Fraction of an image's variance that its class's pattern contributes. At a quarter, a small net learns the classes in a few
# epochs, and no single pixel reveals the class.
_PATTERN_SHARE = 0.25
_PATTERN_SIDE = 8
# With groups: fraction of a pattern's variance that its group shares; most of it, and the classes remain distinguishable.
_GROUP_SHARE = 0.7
# A deep net with zero biases preserves contrast while it makes different patterns more and more alike. So it learns contrast
# first, as it learns the few strong directions of real data sets first.
_CONTRASTS = (0.3, 1.3)
# Photographs: channels correlate at about 0.9; a mean of about 120 and a standard deviation of about 60 cover 0-255.
_GREY_SHARE, _MEAN, _STD = 0.9, 120.0, 60.0
_CHUNK = 64


def labels_of(config: DataConfig) -> Tensor:
    """List the labels of all images that a configuration generates, (num,) int64, sorted by class.

    Raises:
        ValueError: they do not fit into the memory of this machine, or there are too few.
    """
    check_fits(config.num_images * 16, f"data.num-images {config.num_images:,}")
    return imbalanced_labels(config.num_images, config.num_classes, config.imbalance)


def generate(config: DataConfig, seed: int, labels: Tensor | None = None) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Generate learnable images with the spectrum of photographs: amplitude 1/f, correlated channels.

    Every image is the smooth pattern of its class plus its own noise with that spectrum.

    Args:
        config: completed.
        seed: decides the classes' patterns and the noise.
        labels: (num,) int64, one image is drawn for each; `None` takes those of `labels_of`.

    Returns:
        Images (num, size, size, 3) uint8, labels (num,) int64 and the names of the classes.

    Raises:
        ValueError: no machine like this one can hold them.

    Source: Field 1987, "Relations between the statistics of natural images and the response properties of cortical cells".
    """
    labels = labels_of(config) if labels is None else labels
    assert config.size is not None
    # The images, and their copies in the two splits.
    check_fits(6 * len(labels) * config.size**2, f"data.num-images {len(labels):,} of data.size {config.size}")
    return _draw(config, seed, labels), labels, tuple(f"class {label}" for label in range(config.num_classes))


def _draw(config: DataConfig, seed: int, labels: Tensor) -> Tensor:
    """Generate an image for every label. Returns (num, size, size, 3) uint8."""
    assert config.size is not None
    size = config.size
    patterns = _patterns(config.num_classes, seed, 0)
    contrasts = torch.ones(config.num_classes)
    if config.groups is not None:
        group = torch.arange(config.num_classes) % config.groups
        patterns = (1 - _GROUP_SHARE) ** 0.5 * patterns + _GROUP_SHARE**0.5 * _patterns(config.groups, seed, 2)[group]
        patterns = standardised(patterns)
        contrasts = torch.linspace(*_CONTRASTS, config.groups)[group]
    images = torch.empty(len(labels), size, size, 3, dtype=torch.uint8)
    for start in range(0, len(labels), _CHUNK):
        chunk = labels[start : start + _CHUNK]
        noise = standardised(_correlate(pink_noise(len(chunk), size, keyed.generator(seed, 1, start))))
        pattern = F.interpolate(patterns[chunk], size=(size, size), mode="bicubic", align_corners=False)
        mixed = (1 - _PATTERN_SHARE) ** 0.5 * noise + _PATTERN_SHARE**0.5 * standardised(pattern)
        pixels = (_MEAN + _STD * contrasts[chunk, None, None, None] * mixed).clamp(0, 255).round().to(torch.uint8)
        images[start : start + _CHUNK] = pixels.permute(0, 2, 3, 1)
    return images


def _patterns(num: int, seed: int, stream: int) -> Tensor:
    """Draw smooth patterns. Returns (num, 3, 8, 8), each channel with mean 0 and standard deviation 1."""
    drawn = torch.randn(num, 3, _PATTERN_SIDE, _PATTERN_SIDE, generator=keyed.generator(seed, stream))
    return standardised(_correlate(drawn))


def imbalanced_labels(num_images: int, num_classes: int, imbalance: float) -> Tensor:
    """Make labels whose class counts form a geometric progression, at least two per class, sorted by class.

    Args:
        num_images: total.
        num_classes: of them.
        imbalance: ratio of the first class's count to the last class's, at least 1.

    Returns:
        (num_images,) int64.

    Raises:
        ValueError: fewer than two images per class, one for training and one for validation.
    """
    if num_images < 2 * num_classes:
        raise ValueError(
            f"data.num-images is {num_images}; {num_classes} classes need at least {2 * num_classes}, two per class"
        )
    weights = imbalance ** (-torch.arange(num_classes, dtype=torch.float64) / max(1, num_classes - 1))
    spare = num_images - 2 * num_classes
    # Cumulative counts are rounded, so that the counts add up exactly and differ from the progression by less than one image.
    edges = (weights.cumsum(0) / weights.sum() * spare).round().long()
    counts = 2 + torch.diff(edges, prepend=torch.zeros(1, dtype=torch.long))
    return torch.repeat_interleave(torch.arange(num_classes), counts)


def pink_noise(num: int, size: int, generator: torch.Generator) -> Tensor:
    """Generate noise whose amplitude falls as 1/f.

    Returns:
        (num, 3, size, size) float32, mean zero.
    """
    spectrum = torch.fft.rfft2(torch.randn(num, 3, size, size, generator=generator))
    down, across = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None, :]
    frequency = (down**2 + across**2).sqrt()
    frequency[0, 0] = 1.0
    spectrum = spectrum / frequency
    spectrum[..., 0, 0] = 0
    return torch.fft.irfft2(spectrum, s=(size, size))


def _correlate(images: Tensor) -> Tensor:
    """Mix the channels so that they correlate as in photographs."""
    grey = images.mean(1, keepdim=True) * 3**0.5
    return _GREY_SHARE**0.5 * grey + (1 - _GREY_SHARE) ** 0.5 * images


def standardised(images: Tensor) -> Tensor:
    """Give each image mean 0 and mean square 1 over its channels and pixels."""
    centred = images - images.mean((1, 2, 3), keepdim=True)
    return centred / centred.square().mean((1, 2, 3), keepdim=True).sqrt()
