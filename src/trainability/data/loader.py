"""Which images belong to which step and process, and the loader for a data set that is resident on the device.

The order is a function of (seed, epoch), a step is a range of positions in that order, and a process's micro-batches are parts
of the range. Nothing has state, so any number of processes can reproduce any step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trainability import keyed
from trainability.config import DataConfig, OptimConfig
from trainability.data import augment
from trainability.data.dataset import DataSet


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """The examples of one forward pass of one process.

    Attributes:
        images: (batch, 3, crop, crop) float32, channels-last.
        labels: (batch,) int64.
        weights: (batch,) float32, 1 for examples that count, 0 for fillers.
        keys: (batch,) int32, the examples' keys of this epoch.
        is_last: whether it is the step's last, after which the gradients are complete.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    keys: Tensor
    is_last: bool


@dataclass(frozen=True, kw_only=True)
class Share:
    """The positions of one micro-batch of one process: [start, stop) of the epoch's order."""

    start: int
    stop: int
    is_filler: bool


def epoch_order(seed: int, epoch: int, num_images: int) -> Tensor:
    """Shuffle the training set for an epoch. Returns (num_images,) int64 on the CPU."""
    return torch.randperm(num_images, generator=keyed.generator(seed, epoch))


def num_steps(num_images: int, batch_size: int) -> int:
    """Count the steps of an epoch, the last of which may be smaller than a batch."""
    return math.ceil(num_images / batch_size)


def shares(start: int, stop: int, *, micro_batch_size: int | None, rank: int, world_size: int) -> list[Share]:
    """Divide a step's positions among the processes.

    Every process gets the same number of micro-batches, because collective operations need it; if there are too few examples, a
    process repeats one as a filler with weight 0.

    Args:
        start: first position of the step.
        stop: one past the last position.
        micro_batch_size: most examples per process and forward pass; `None` for no limit.
        rank: of this process.
        world_size: number of processes.

    Returns:
        This process's micro-batches.
    """
    num_parts = world_size
    if micro_batch_size is not None:
        num_parts *= math.ceil((stop - start) / (micro_batch_size * world_size))
    # Divided evenly, so that no process waits long for another.
    cuts = [start + (stop - start) * part // num_parts for part in range(num_parts + 1)]
    mine = range(rank, num_parts, world_size)
    return [
        Share(start=cuts[part], stop=cuts[part + 1], is_filler=False)
        if cuts[part] < cuts[part + 1]
        else Share(start=start, stop=start + 1, is_filler=True)
        for part in mine
    ]


def val_parts(num_images: int, batch_size: int, *, rank: int, world_size: int) -> Iterator[tuple[Tensor, float]]:
    """Divide the validation set among the processes: every example belongs to exactly one of them.

    All processes get the same number of batches, because a sharded network needs it; a process with fewer examples ends with
    one of weight 0.

    Args:
        num_images: in the validation set.
        batch_size: most images per batch.
        rank: of this process.
        world_size: number of processes.

    Yields:
        Positions in the validation set, (batch,) int64, and their weights.
    """
    mine = torch.arange(rank, num_images, world_size)
    for start in range(0, math.ceil(num_images / world_size), batch_size):
        index = mine[start : start + batch_size]
        yield (index, 1.0) if len(index) else (torch.zeros(1, dtype=torch.long), 0.0)


def val_scale(config: DataConfig) -> int | None:
    """Return the size of the images that are centre-cropped for validation: after scale jitter, the middle of its range.

    Returns:
        Smaller side in pixels; `None` for the size of the stored images.

    Source: Simonyan & Zisserman 2014, section 4.1.
    """
    return None if config.jitter is None else sum(config.jitter) // 2


class Loader(Protocol):
    """What the training loop and the evaluation need; `ResidentLoader` and `StreamingLoader` give the same batches."""

    num_classes: int
    train_labels: Tensor
    val_labels: Tensor

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in an epoch."""
        ...

    def num_examples(self, step_in_epoch: int) -> int:
        """Count the examples of a step over all processes; only an epoch's last step may have fewer than a batch."""
        ...

    def steps(self, epoch: int, first: int = 0, *, draws_of: int | None = None) -> Iterator[Iterator[MicroBatch]]:
        """Yield the steps of an epoch, beginning with `first`, each as this process's micro-batches."""
        ...

    def validation(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield this process's part of the validation set: centre crops, labels and weights."""
        ...


def check_batch_size(optim: OptimConfig, data: DataSet) -> None:
    """Raise a `ValueError` if the batch is larger than the training set."""
    if optim.batch_size > len(data.train):
        raise ValueError(
            f"optim.batch-size is {optim.batch_size}; the training set of {data.name} has {len(data.train)} images"
        )


class InputTransform:
    """The last part of preprocessing, on the device: flips, colour shifts, normalisation."""

    def __init__(self, data: DataSet, config: DataConfig, device: torch.device) -> None:
        """Move the set's moments to the device.

        Args:
            data: the set.
            config: completed; decides colour shift and input scale.
            device: of the batches.
        """
        self.mean = data.mean.to(device)
        self.scale = data.std.to(device) if config.input == "standard" else None
        self.axes = augment.colour_axes(data.covariance).to(device) if config.colour_shift else None

    def training(self, pixels: Tensor, keys: Tensor) -> Tensor:
        """Convert crops of training images to input.

        Args:
            pixels: (batch, crop, crop, 3) uint8.
            keys: (batch,) int32, the examples' keys.

        Returns:
            (batch, 3, crop, crop) float32, channels-last.
        """
        shifts = None if self.axes is None else augment.colour_shifts(keys, self.axes)
        return augment.normalised(pixels, self.mean, self.scale, shifts)

    def validation(self, pixels: Tensor) -> Tensor:
        """Convert crops of validation images to input; nothing is random."""
        return augment.normalised(pixels, self.mean, self.scale)


class ResidentLoader:
    """A data set held on the device as uint8; batches are selected, cropped and normalised there."""

    def __init__(
        self,
        data: DataSet,
        config: DataConfig,
        optim: OptimConfig,
        *,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Move the data set to the device.

        Args:
            data: the set.
            config: completed; decides crop, flip and input scale.
            optim: decides batch and micro-batch size.
            seed: decides order, crops and flips.
            device: of the batches.
            rank: of this process.
            world_size: number of processes.

        Raises:
            ValueError: the batch is larger than the training set.
        """
        check_batch_size(optim, data)
        assert config.crop is not None
        assert config.flip is not None
        assert isinstance(data.train.images, Tensor)
        assert isinstance(data.val.images, Tensor)
        self.crop, self.flip, self.jitter, self.val_scale = config.crop, config.flip, config.jitter, val_scale(config)
        self.batch_size, self.micro_batch_size = optim.batch_size, optim.micro_batch_size
        self.seed, self.device, self.rank, self.world_size = seed, device, rank, world_size
        self.train_images, self.train_labels = data.train.images.to(device), data.train.labels.to(device)
        self.val_images, self.val_labels = data.val.images.to(device), data.val.labels.to(device)
        self.transform = InputTransform(data, config, device)
        self.num_classes = len(data.class_names)

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in an epoch."""
        return num_steps(len(self.train_labels), self.batch_size)

    def num_examples(self, step_in_epoch: int) -> int:
        """Count the examples of a step over all processes; only an epoch's last step may have fewer than a batch."""
        return min(self.batch_size, len(self.train_labels) - step_in_epoch * self.batch_size)

    def steps(self, epoch: int, first: int = 0, *, draws_of: int | None = None) -> Iterator[Iterator[MicroBatch]]:
        """Yield the steps of an epoch, beginning with `first`, each as this process's micro-batches.

        Args:
            epoch: decides the order.
            first: number of the first step, counted within the epoch.
            draws_of: epoch whose random draws augment the images. Default: the same epoch. Another epoch gives the same images
                in the same order, augmented differently.
        """
        num = len(self.train_labels)
        order = epoch_order(self.seed, epoch, num).to(self.device)
        # Drawn for a whole epoch at once: drawing step by step would take a tenth of the time of a small network's step.
        keys = keyed.example_keys(self.seed, epoch if draws_of is None else draws_of, torch.arange(num, device=self.device))
        draws = None
        if self.jitter is None:
            height, width = self.train_images.shape[1:3]
            draws = augment.crop_draws(keys, height, width, crop=self.crop)
        for step in range(first, self.steps_per_epoch):
            yield self._micro_batches(step, order, keys, draws)

    def _micro_batches(
        self, step: int, order: Tensor, keys_of_epoch: Tensor, draws_of_epoch: Tensor | None
    ) -> Iterator[MicroBatch]:
        start = step * self.batch_size
        mine = shares(
            start,
            start + self.num_examples(step),
            micro_batch_size=self.micro_batch_size,
            rank=self.rank,
            world_size=self.world_size,
        )
        for number, share in enumerate(mine):
            keys = keys_of_epoch[share.start : share.stop]
            index = order[share.start : share.stop]
            draws = None if draws_of_epoch is None else draws_of_epoch[:, share.start : share.stop]
            pixels = augment.random_crops(
                self.train_images, index, keys, crop=self.crop, flip=self.flip, jitter=self.jitter, draws=draws
            )
            yield MicroBatch(
                images=self.transform.training(pixels, keys),
                labels=self.train_labels[index],
                weights=torch.full((len(keys),), 0.0 if share.is_filler else 1.0, device=self.device),
                keys=keys,
                is_last=number == len(mine) - 1,
            )

    def validation(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield this process's part of the validation set; over all processes, every example comes exactly once.

        Args:
            batch_size: most images per batch.

        Yields:
            Centre crops, (batch, 3, crop, crop) float32, labels, (batch,) int64, and weights, (batch,) float32. All processes
            yield the same number of batches, because a sharded network needs it; a process with fewer examples ends with one of
            weight 0.
        """
        parts = val_parts(len(self.val_labels), batch_size, rank=self.rank, world_size=self.world_size)
        for index, weight in parts:
            index = index.to(self.device)
            pixels = augment.centre_crops(self.val_images.index_select(0, index), self.crop, scale=self.val_scale)
            weights = torch.full((len(index),), weight, device=self.device)
            yield self.transform.validation(pixels), self.val_labels[index], weights
