"""The data of an overfit test: a few batches, used repeatedly for both training and validation."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from trainability.data.dataset import DataSet, Split
from trainability.data.loader import epoch_order


def first_batches(data: DataSet, num_images: int, *, seed: int) -> DataSet:
    """Take the images that a run's first steps train on, for training and for validation.

    Args:
        data: the whole set; its mean and standard deviation are kept, so the network sees the same input.
        num_images: most images; fewer if the set has fewer.
        seed: of the run, which decides the order of the images.

    Source: Karpathy, A Recipe for Training Neural Networks, 2019: "overfit one batch".
    """
    chosen = epoch_order(seed, 0, len(data.train))[:num_images].sort().values
    images = data.train.images
    is_whole = isinstance(images, Tensor)
    kept = images[chosen] if is_whole else dataclasses.replace(images, positions=images.positions[chosen.numpy()])
    part = Split(images=kept, labels=data.train.labels[chosen])
    return dataclasses.replace(data, train=part, val=part)
