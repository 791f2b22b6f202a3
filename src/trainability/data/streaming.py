"""Batches from a pack that is not held in memory: worker processes decode only the windows that the network needs.

The crop of an image is drawn here, from the example's key, and sent to the worker, so that the workers have no state and their
number does not change the result. They write pixels into memory shared with this process; flips, rescaling, colour shifts and
normalisation follow on the device.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainability import keyed
from trainability.config import DataConfig, OptimConfig
from trainability.data import augment
from trainability.data.augment import Axis, Cut
from trainability.data.dataset import DataSet, OnDemandImages
from trainability.data.loader import (
    InputTransform,
    Loader,
    MicroBatch,
    ResidentLoader,
    Share,
    check_batch_size,
    epoch_order,
    num_steps,
    shares,
    val_parts,
    val_scale,
)
from trainability.data.on_demand import OnDemandLoader
from trainability.data.packed import PackedImages
from trainability.data.workers import Ticket, Workers, num_cpus

BATCHES_AHEAD = 2
"""Batches decoded ahead of the one in use. More than one, because images differ in cost and workers would idle at its end."""
NUM_SLOTS = 4 * (BATCHES_AHEAD + 1)
"""Slots for batches in shared memory, enough for four simultaneous passes over the data. The system allocates a page when it
is first written, so one pass costs three batches."""
IMAGES_PER_REQUEST = 16
"""Images per request to a worker: few enough that all workers share a batch, many against the pipe's cost of 0.1 ms."""
MOST_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The images of one batch, and the window of each.

    Attributes:
        images: of the split.
        index: (batch,) int64 in the split.
        tops: (batch,) int64, first row of each window.
        lefts: (batch,) int64, first column.
        side: of the windows in pixels.
        weight: 1, or 0 for a filler.
        keys: (batch,) int32, of training examples.
        cut: how to rescale the windows; `None` if the windows are the crops.
        is_last: whether it is the last of its step.
    """

    images: PackedImages
    index: Tensor
    tops: Tensor
    lefts: Tensor
    side: int
    weight: float
    keys: Tensor | None = None
    cut: Cut | None = None
    is_last: bool = True


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to a worker: windows of images of the pack, to be written into a slot."""

    slot: int
    first: int
    side: int
    positions: np.ndarray
    tops: np.ndarray
    lefts: np.ndarray


def make_loader(
    data: DataSet,
    config: DataConfig,
    optim: OptimConfig,
    *,
    seed: int,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
) -> Loader:
    """Make the loader for a set that is in memory, read on demand, or streamed. Arguments and errors are the loader's."""
    kinds = ((OnDemandImages, OnDemandLoader), (PackedImages, StreamingLoader), (Tensor, ResidentLoader))
    kind = next(loader for images, loader in kinds if isinstance(data.train.images, images))
    return kind(data, config, optim, seed=seed, device=device, rank=rank, world_size=world_size)


class StreamingLoader:
    """A packed data set that worker processes decode during training."""

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
        """Start the workers.

        Args:
            data: the set, packed.
            config: completed; decides crop, flip, jitter, colours, input scale and number of workers.
            optim: decides batch and micro-batch size.
            seed: decides the order and all random draws.
            device: device of the batches.
            rank: this process.
            world_size: number of processes.

        Raises:
            ValueError: the batch is larger than the training set.
        """
        check_batch_size(optim, data)
        assert config.crop is not None
        assert config.size is not None
        assert config.flip is not None
        assert isinstance(data.train.images, PackedImages)
        assert isinstance(data.val.images, PackedImages)
        self.crop, self.size, self.flip = config.crop, config.size, config.flip
        self.jitter, self.val_scale = config.jitter, val_scale(config)
        self.batch_size, self.micro_batch_size = optim.batch_size, optim.micro_batch_size
        self.seed, self.device, self.rank, self.world_size = seed, device, rank, world_size
        self.train_images, self.train_labels = data.train.images, data.train.labels
        self.val_images, self.val_labels = data.val.images, data.val.labels
        self.transform = InputTransform(data, config, device)
        self.num_classes = len(data.class_names)
        self.slot_images = min(self.batch_size, self.micro_batch_size or math.ceil(self.batch_size / world_size))
        one, size = torch.zeros(1, dtype=torch.int32), torch.tensor([self.size])
        cuts = (self._train_cut(one, size, size), self._val_cut(size, size))
        largest = max(self.crop if cut is None else cut.extent for cut in cuts)
        num_bytes = self.slot_images * largest**2 * 3
        # Anonymous memory, shared by the fork: it leaves no file to clean up, and does not use /dev/shm, which is small in
        # containers.
        self.slots = [np.frombuffer(mmap.mmap(-1, num_bytes), dtype=np.uint8) for _ in range(NUM_SLOTS)]
        self.free = list(range(NUM_SLOTS))
        pack, slots = self.train_images.pack, self.slots

        def decode(request: Request) -> None:
            num = len(request.positions)
            shape = (num, request.side, request.side, 3)
            start = request.first * request.side**2 * 3
            windows = slots[request.slot][start : start + math.prod(shape)].reshape(shape)
            places = zip(request.positions.tolist(), request.tops.tolist(), request.lefts.tolist(), strict=True)
            for number, (position, top, left) in enumerate(places):
                pack.read_window(position, top, left, windows[number])

        self.workers = Workers(decode, config.workers or default_num_workers())

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps of an epoch."""
        return num_steps(len(self.train_labels), self.batch_size)

    def num_examples(self, step_in_epoch: int) -> int:
        """Count the examples of a step over all processes; only the last of an epoch has fewer than a batch."""
        return min(self.batch_size, len(self.train_labels) - step_in_epoch * self.batch_size)

    def steps(self, epoch: int, first: int = 0, *, draws_of: int | None = None) -> Iterator[Iterator[MicroBatch]]:
        """Yield the steps of an epoch, beginning with `first`, as `ResidentLoader.steps` does."""
        batches = self._decoded(self._train_plans(epoch, first, epoch if draws_of is None else draws_of))
        for _ in range(first, self.steps_per_epoch):
            step = self._step(batches)
            yield step
            for _ in step:
                pass  # skip the micro-batches of this step that the caller did not use

    def _step(self, batches: Iterator[tuple[Plan, Tensor]]) -> Iterator[MicroBatch]:
        for plan, pixels in batches:
            assert plan.keys is not None
            keys = plan.keys.to(self.device)
            if self.flip:
                pixels = augment.mirrored(pixels, augment.is_mirrored(keys))
            yield MicroBatch(
                images=self.transform.training(pixels, keys),
                labels=self.train_labels[plan.index].to(self.device),
                weights=torch.full((len(keys),), plan.weight, device=self.device),
                keys=keys,
                is_last=plan.is_last,
            )
            if plan.is_last:
                return

    def validation(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield this process's part of the validation set: every example exactly once over all processes.

        Args:
            batch_size: most images per batch; at most a training batch, which is what the shared memory holds.

        Yields:
            Centre crops, (batch, 3, crop, crop) float32, labels, (batch,) int64, and weights, (batch,) float32. All
            processes yield the same number of batches.
        """
        for plan, pixels in self._decoded(self._val_plans(min(batch_size, self.slot_images))):
            weights = torch.full((len(plan.index),), plan.weight, device=self.device)
            yield self.transform.validation(pixels), self.val_labels[plan.index].to(self.device), weights

    def _train_plans(self, epoch: int, first: int, draws_of: int) -> Iterator[Plan]:
        """Plan this process's micro-batches of an epoch, beginning with a step."""
        order = epoch_order(self.seed, epoch, len(self.train_labels))
        for step in range(first, self.steps_per_epoch):
            start = step * self.batch_size
            mine = shares(
                start,
                start + self.num_examples(step),
                micro_batch_size=self.micro_batch_size,
                rank=self.rank,
                world_size=self.world_size,
            )
            for number, share in enumerate(mine):
                yield self._train_plan(draws_of, share, order, is_last=number == len(mine) - 1)

    def _train_plan(self, epoch: int, share: Share, order: Tensor, *, is_last: bool) -> Plan:
        keys = keyed.example_keys(self.seed, epoch, torch.arange(share.start, share.stop))
        index = order[share.start : share.stop]
        heights, widths = (torch.from_numpy(sides) for sides in self.train_images.shapes(index.numpy()))
        cut = self._train_cut(keys, heights, widths)
        places = augment.crop_origins(keys, heights, widths, crop=self.crop) if cut is None else window_places(cut)
        return Plan(
            images=self.train_images,
            index=index,
            tops=places[0],
            lefts=places[1],
            side=self.crop if cut is None else cut.extent,
            weight=0.0 if share.is_filler else 1.0,
            keys=keys,
            cut=cut,
            is_last=is_last,
        )

    def _val_plans(self, batch_size: int) -> Iterator[Plan]:
        for index, weight in val_parts(len(self.val_labels), batch_size, rank=self.rank, world_size=self.world_size):
            heights, widths = (torch.from_numpy(sides) for sides in self.val_images.shapes(index.numpy()))
            cut = self._val_cut(heights, widths)
            centres = ((heights - self.crop) // 2, (widths - self.crop) // 2) if cut is None else window_places(cut)
            yield Plan(
                images=self.val_images,
                index=index,
                tops=centres[0],
                lefts=centres[1],
                side=self.crop if cut is None else cut.extent,
                weight=weight,
                cut=cut,
            )

    def _train_cut(self, keys: Tensor, heights: Tensor, widths: Tensor) -> Cut | None:
        if self.jitter is None:
            return None
        return augment.jittered_cuts(keys, heights, widths, size=self.size, crop=self.crop, jitter=self.jitter)

    def _val_cut(self, heights: Tensor, widths: Tensor) -> Cut | None:
        if self.val_scale is None or self.val_scale == self.size:
            return None
        return augment.centre_cuts(heights, widths, size=self.size, scale=self.val_scale, crop=self.crop)

    def _decoded(self, plans: Iterator[Plan]) -> Iterator[tuple[Plan, Tensor]]:
        """Let workers decode batches ahead, and yield the crops of each on the device, valid until the next is yielded."""
        waiting: deque[tuple[Plan, int, list[Ticket]]] = deque()
        taken: list[int] = []
        try:
            while True:
                while len(waiting) <= BATCHES_AHEAD and (plan := next(plans, None)) is not None:
                    if not self.free:
                        raise RuntimeError(f"more than {NUM_SLOTS // (BATCHES_AHEAD + 1)} passes over a streamed set at once")
                    slot = self.free.pop()
                    taken.append(slot)
                    waiting.append((plan, slot, self._submit(plan, slot)))
                if not waiting:
                    return
                plan, slot, tickets = waiting[0]
                while tickets:
                    self.workers.result(tickets.pop(0))
                waiting.popleft()
                pixels = self._on_device(plan, slot)
                yield plan, pixels if plan.cut is None else augment.resampled(pixels, cut_on(plan.cut, self.device))
                taken.remove(slot)
                self.free.append(slot)
        finally:
            for ticket in (ticket for _, _, tickets in waiting for ticket in tickets):
                self.workers.discard(ticket)  # wait until it is decoded, before its slot is used again
            self.free += taken

    def _submit(self, plan: Plan, slot: int) -> list[Ticket]:
        """Divide a batch among the workers."""
        positions = plan.images.positions[plan.index.numpy()]
        tops, lefts = plan.tops.numpy(), plan.lefts.numpy()
        parts = (slice(start, start + IMAGES_PER_REQUEST) for start in range(0, len(positions), IMAGES_PER_REQUEST))
        return [
            self.workers.submit(
                Request(
                    slot=slot, first=part.start, side=plan.side, positions=positions[part], tops=tops[part], lefts=lefts[part]
                )
            )
            for part in parts
        ]

    def _on_device(self, plan: Plan, slot: int) -> Tensor:
        """Copy a slot's windows to the device: (batch, side, side, 3) uint8."""
        shape = (len(plan.index), plan.side, plan.side, 3)
        windows = torch.from_numpy(self.slots[slot][: math.prod(shape)].reshape(shape))
        if self.device.type != "cuda":
            return windows.to(self.device)
        # Through pinned memory, so that neither this process nor running kernels wait for the copy: 10 ms of memcpy for 256
        # crops of 224 pixels, while the device computes the previous step.
        return windows.pin_memory().to(self.device, non_blocking=True)


def window_places(cut: Cut) -> tuple[Tensor, Tensor]:
    """Return the first row and column of the windows of stored pixels that a cut needs, (batch,) int64 each."""
    return cut.rows.start, cut.columns.start


def cut_on(cut: Cut, device: torch.device) -> Cut:
    """Move a batch of cuts to a device."""

    def moved(axis: Axis) -> Axis:
        return Axis(
            stored=axis.stored.to(device),
            rescaled=axis.rescaled.to(device),
            offset=axis.offset.to(device),
            start=axis.start.to(device),
        )

    return dataclasses.replace(cut, rows=moved(cut.rows), columns=moved(cut.columns))


def default_num_workers() -> int:
    """Return the number of workers that leaves one core to every training process on this machine."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, num_cpus() // here - 1))
