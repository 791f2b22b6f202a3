"""Load a data set of `config.SOURCES`: uint8 images with labels, split into training and validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainability import keyed
from trainability.config import SOURCES, DataConfig
from trainability.data import cache
from trainability.data.catalog import TRAIN, UNSPLIT, VAL
from trainability.data.colour_statistics import ColourStatistics, colour_statistics, pixel_sums
from trainability.data.layouts import function_of
from trainability.data.packed import Pack, PackedImages, Progress


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with their labels.

    Attributes:
        images: (num, height, width, 3) uint8 in memory, or a pack's images, which may differ in shape; for both,
            `images[number]` is (height, width, 3).
        labels: (num,) int64 in [0, number of classes).
    """

    images: Tensor | PackedImages
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set, in memory or packed.

    Attributes:
        name: of the source.
        class_names: one per class; there are as many logits.
        train: training images.
        val: validation images.
        mean: (3,) float32, per channel over the pixels of the training images, on 0-255.
        std: (3,) float32, over the same pixels.
        covariance: (3, 3) float32, between the channels, over the same pixels; its eigenvectors are the principal colours.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    mean: Tensor
    std: Tensor
    covariance: Tensor


class OnDemandImages(PackedImages):
    """Images of one shape that fit in memory; a loader reads each into memory when a batch first contains it."""


def load(config: DataConfig, *, seed: int, progress: Progress | None = None) -> DataSet:
    """Load the data set of a completed configuration.

    Args:
        config: with `size` filled in (`RunConfig.completed`).
        seed: decides the split if the set has none of its own, and the generated images.
        progress: called with the progress of packing, if the set has to be packed first.

    Raises:
        ValueError: the set is not found, is large and not packed yet, or cannot be split as configured.
    """
    make = SOURCES[config.name].make
    return _packed(config, seed, progress) if make is None else _builtin(make, config, seed)


def _builtin(make: str, config: DataConfig, seed: int) -> DataSet:
    """Generate a data set in memory and split it."""
    if config.path is not None:
        raise ValueError(f"data.path is {config.path}, but data.name {config.name} reads no files; for your own: folder")
    images, labels, class_names = function_of(make)(config, seed)
    train, val = split_by_seed(labels, config, seed=seed)
    return _data_set(
        config,
        class_names,
        Split(images=images[train], labels=labels[train]),
        Split(images=images[val], labels=labels[val]),
        colour_statistics(pixel_sums(images[train].numpy())),
    )


def _packed(config: DataConfig, seed: int, progress: Progress | None, *, on_demand: bool = False) -> DataSet:
    """Open a pack (making it first if necessary) and split it. Load it into memory if it fits, or let the loader do so."""
    pack = cache.opened(config, progress)
    splits, labels = pack.index["split"], torch.from_numpy(pack.index["label"].astype(np.int64))
    if (splits == UNSPLIT).any():
        train, val = (positions.numpy() for positions in split_by_seed(labels, config, seed=seed))
    else:
        train, val = np.flatnonzero(splits == TRAIN), np.flatnonzero(splits == VAL)
    return _data_set(
        config,
        pack.info.class_names,
        _split(pack, train, labels, config, on_demand=on_demand),
        _split(pack, val, labels, config, on_demand=on_demand),
        colour_statistics(pack.sums[train].sum(0)),
    )


def _split(pack: Pack, positions: np.ndarray, labels: Tensor, config: DataConfig, *, on_demand: bool) -> Split:
    images: Tensor | PackedImages = PackedImages(pack, positions)
    if fits_in_memory(pack, config.resident_gib):
        images = OnDemandImages(pack, positions) if on_demand else images.stacked()
    return Split(images=images, labels=labels[torch.from_numpy(positions)])


def fits_in_memory(pack: Pack, limit_gib: float | None) -> bool:
    """Whether all images of a pack have one shape and fit into the given memory; never for `None`."""
    shape = PackedImages(pack, np.arange(len(pack))).common_shape()
    return limit_gib is not None and shape is not None and len(pack) * 3 * shape[0] * shape[1] <= limit_gib * 2**30


def _data_set(
    config: DataConfig, class_names: tuple[str, ...], train: Split, val: Split, measured: ColourStatistics
) -> DataSet:
    return DataSet(
        name=config.name,
        class_names=class_names,
        train=train,
        val=val,
        mean=measured.mean,
        std=measured.std,
        covariance=measured.covariance,
    )


def split_by_seed(labels: Tensor, config: DataConfig, *, seed: int) -> tuple[Tensor, Tensor]:
    """Hold out `val_fraction` of the images of every class for validation.

    Args:
        labels: (num,) int64.
        config: has the fraction.
        seed: decides which.

    Returns:
        Positions for training and for validation, each ascending.

    Raises:
        ValueError: one of them is empty.
    """
    train, val = stratified_split(labels, config.val_fraction, seed=seed)
    if not len(train) or not len(val):
        raise ValueError(
            f"data.val-fraction {config.val_fraction:g} of {len(labels)} images leaves {len(train)} for training and"
            f" {len(val)} for validation; both need at least one"
        )
    return train, val


def sample(
    config: DataConfig, *, seed: int, num_train: int, num_val: int, reads_all: bool = False, progress: Progress | None = None
) -> tuple[DataSet, int]:
    """Load as much of a data set as a check needs.

    Of a generated set, only these images are generated; of a packed one, an image is read when a batch first contains it.

    Args:
        config: completed.
        seed: of the run.
        num_train: most training images, spread over the classes.
        num_val: most validation images, spread over the classes.
        reads_all: read all images of a packed set that fits in memory at once.
        progress: as for `load`.

    Returns:
        The subset, with all class names, and the number of training images in the whole set.
    """
    source = SOURCES[config.name]
    if source.make is None:
        data = _packed(config, seed, progress, on_demand=not reads_all)
        return data, len(data.train)
    if source.labels is None:
        data = load(config, seed=seed, progress=progress)
        return data, len(data.train)
    labels = function_of(source.labels)(config)
    train, val = stratified_split(labels, config.val_fraction, seed=seed)
    chosen = [labels[split[_spread(len(split), num)]] for split, num in ((train, num_train), (val, num_val))]
    images, _, class_names = function_of(source.make)(config, seed, torch.cat(chosen))
    first, second = images.split([len(part) for part in chosen])
    part, held_out = Split(images=first, labels=chosen[0]), Split(images=second, labels=chosen[1])
    data = _data_set(config, class_names, part, held_out, colour_statistics(pixel_sums(first.numpy())))
    return data, len(train)


def _spread(total: int, num: int) -> Tensor:
    """Choose up to `num` of `total` positions, evenly spaced."""
    return torch.arange(total) if num >= total else torch.arange(num) * total // num


def stratified_split(labels: Tensor, val_fraction: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Split positions class by class.

    Args:
        labels: (num,) int64.
        val_fraction: fraction of every class for validation, rounded to whole images; every class keeps at least one image
            for training.
        seed: decides which.

    Returns:
        Positions for training and for validation, each ascending.
    """
    val = []
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().squeeze(1)
        take = min(round(len(members) * val_fraction), len(members) - 1)
        shuffled = members[torch.randperm(len(members), generator=keyed.generator(seed, label))]
        val.append(shuffled[:take])
    positions = torch.cat(val).sort().values
    is_train = torch.ones(len(labels), dtype=torch.bool)
    is_train[positions] = False
    return is_train.nonzero().squeeze(1), positions
