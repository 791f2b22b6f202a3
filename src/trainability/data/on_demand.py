"""A packed set that fits in memory; a check reads only the images that it looks at."""

from __future__ import annotations

import dataclasses
import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainability.config import DataConfig, OptimConfig
from trainability.data.dataset import DataSet, OnDemandImages, Split
from trainability.data.loader import MicroBatch, ResidentLoader, val_parts


@dataclass(frozen=True)
class _Store:
    """The images of a split on the device, black until they are read."""

    source: OnDemandImages
    images: Tensor
    is_read: np.ndarray

    def read(self, index: Tensor) -> None:
        """Read the images at these positions of the split that have not been read yet."""
        wanted = np.unique(index.cpu().numpy())
        missing = wanted[~self.is_read[wanted]]
        if len(missing):
            part = dataclasses.replace(self.source, positions=self.source.positions[missing])
            self.images[torch.from_numpy(missing).to(self.images.device)] = part.stacked().to(self.images.device)
            self.is_read[missing] = True


def _store_of(split: Split, device: torch.device) -> _Store:
    assert isinstance(split.images, OnDemandImages)
    shape = (len(split), *(split.images.common_shape() or (0, 0)), 3)
    images = _black(shape) if device.type == "cpu" else torch.zeros(shape, dtype=torch.uint8, device=device)
    return _Store(source=split.images, images=images, is_read=np.zeros(len(split), dtype=bool))


def _black(shape: tuple[int, ...]) -> Tensor:
    """Return zeros that take no memory and no time until they are written."""
    memory = mmap.mmap(-1, math.prod(shape))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # otherwise each scattered image would take a page of two megabytes
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.from_numpy(np.frombuffer(memory, dtype=np.uint8).reshape(shape))


class OnDemandLoader(ResidentLoader):
    """The batches of `ResidentLoader`; an image is read from the pack when a batch first contains it."""

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
        """Read nothing yet. Arguments and errors are those of `ResidentLoader`."""
        self.train_store, self.val_store = _store_of(data.train, device), _store_of(data.val, device)
        train, val = (
            Split(images=store.images, labels=split.labels)
            for store, split in ((self.train_store, data.train), (self.val_store, data.val))
        )
        unread = dataclasses.replace(data, train=train, val=val)
        super().__init__(unread, config, optim, seed=seed, device=device, rank=rank, world_size=world_size)

    def _micro_batches(
        self, step: int, order: Tensor, keys_of_epoch: Tensor, draws_of_epoch: Tensor | None
    ) -> Iterator[MicroBatch]:
        start = step * self.batch_size
        self.train_store.read(order[start : start + self.num_examples(step)])
        yield from super()._micro_batches(step, order, keys_of_epoch, draws_of_epoch)

    def validation(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield what `ResidentLoader.validation` does."""
        parts = val_parts(len(self.val_labels), batch_size, rank=self.rank, world_size=self.world_size)
        batches = super().validation(batch_size)
        for index, _ in parts:
            self.val_store.read(index)
            yield next(batches)
