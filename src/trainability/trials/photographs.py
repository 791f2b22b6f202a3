"""Probe a start of the book on photographs, as the log's nets saw them, if some are available."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from trainability.config import DataConfig, RunConfig
from trainability.data.colour_statistics import colour_statistics, pixel_sums
from trainability.data.dataset import DataSet, Split
from trainability.data.images import decode, rescale
from trainability.data.layouts import catalog_of
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.rules.verdict import diagnose
from trainability.training import engine as engines
from trainability.training.parts import assemble
from trainability.training.precheck import evidence_before
from trainability.trials.scales import PHOTOGRAPHS

NUM_PHOTOGRAPHS = 160
SCALED_TO = 256
"""Smaller side before the crop, as in the paper."""


def photographs_among(places: Mapping[str, Path]) -> Path | None:
    """Return the folder of photographs, if there is one: a few of each class, or all of ImageNet."""
    return places.get(PHOTOGRAPHS, places.get("imagenet"))


def load_photographs(folder: Path, *, crop: int) -> DataSet:
    """Read some photographs, rescaled and cropped to their centres: four fifths for training, the rest for validation.

    Args:
        folder: in any layout that `--data.path` takes for imagenet.
        crop: side in pixels.

    Raises:
        ValueError: there are none, or they cannot be read.
    """
    catalog = catalog_of(DataConfig(name="imagenet", path=folder))
    chosen = np.linspace(0, len(catalog.labels) - 1, min(NUM_PHOTOGRAPHS, len(catalog.labels))).astype(int)
    images = torch.stack([_centre(catalog.images.read(int(number)), crop) for number in chosen])
    labels = torch.from_numpy(catalog.labels[chosen].astype(np.int64))
    held_out = torch.arange(len(chosen)) % 5 == 4
    measured = colour_statistics(pixel_sums(images[~held_out].numpy()))
    return DataSet(
        name="photographs",
        class_names=catalog.class_names,
        train=Split(images=images[~held_out], labels=labels[~held_out]),
        val=Split(images=images[held_out], labels=labels[held_out]),
        mean=measured.mean,
        std=measured.std,
        covariance=measured.covariance,
    )


def _centre(image: bytes | np.ndarray, crop: int) -> torch.Tensor:
    pixels = rescale(decode(image) if isinstance(image, bytes) else image, SCALED_TO)
    top, left = ((side - crop) // 2 for side in pixels.shape[:2])
    return torch.from_numpy(np.ascontiguousarray(pixels[top : top + crop, left : left + crop]))


def probed_on_photographs(config: RunConfig, folder: Path) -> Diagnosis:
    """Diagnose the start of a run whose images are photographs.

    Args:
        config: complete; its own data are not looked at.
        folder: as for `load_photographs`.

    Raises:
        ValueError: they cannot be read.
    """
    assert config.data.crop is not None
    data = load_photographs(folder, crop=config.data.crop)
    with engines.start(config.run) as engine:
        parts = assemble(config, engine, data=data)
        return diagnose(
            evidence_before(parts, config, engine, planned_steps=parts.loader.steps_per_epoch * config.optim.epochs)
        )
