"""Where each packed data set comes from: the layouts that `data.path` may have, or the Hub."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from trainability.config import DataConfig
from trainability.data.catalog import Catalog
from trainability.data.folders import caltech256, class_folders, is_kaggle_imagenet, kaggle_imagenet
from trainability.data.hub import HUB, hub_catalog
from trainability.data.tables import cifar, cifar_folder, idx, idx_folder, parquet, parquet_files


def catalog_of(config: DataConfig) -> Catalog:
    """List the images of the data set that a configuration names.

    Raises:
        ValueError: there is no such place, it has no layout that is known, or the Hub does not give the set.
    """
    name, path = config.name, config.path
    if path is None:
        if name in HUB:
            return hub_catalog(name)
        raise ValueError(f"data.name {name} needs --data.path: {ACCEPTED[name]}")
    if not path.exists():
        raise ValueError(f"data.path {path} does not exist; accepted for {name}: {ACCEPTED[name]}")
    try:
        catalog = LAYOUTS[name](path)
    except OSError as error:
        raise ValueError(f"data.path {path}: {error.filename or path} cannot be read ({error.strerror or error})") from None
    if not len(catalog.labels):
        raise ValueError(f"data.path {path} holds no images; accepted for {name}: {ACCEPTED[name]}")
    return catalog


def _folder(path: Path, image: str | None = None, label: str | None = None) -> Catalog:
    """List class folders or Parquet files."""
    if parquet_files(path):
        return parquet(path, image=image, label=label)
    if path.is_dir():
        return class_folders(path)
    raise ValueError(f"data.path {path} is neither a folder nor a .parquet file")


def _imagenet(path: Path) -> Catalog:
    return kaggle_imagenet(path) if is_kaggle_imagenet(path) else _folder(path)


def _mnist(path: Path) -> Catalog:
    found = idx_folder(path)
    return idx(found) if found is not None else _folder(path)


def _cifar(num_classes: int, path: Path) -> Catalog:
    found = cifar_folder(path)
    return cifar(found, num_classes=num_classes) if found is not None else _folder(path)


LAYOUTS: dict[str, Callable[[Path], Catalog]] = {
    "mnist": _mnist,
    "cifar10": functools.partial(_cifar, 10),
    "cifar100": functools.partial(_cifar, 100),
    "caltech256": caltech256,
    "imagenet": _imagenet,
    "folder": _folder,
}

_GENERAL = "class folders (train/CLASS/ and val/CLASS/, or CLASS/), Parquet files, or a pack"
ACCEPTED: dict[str, str] = {
    "mnist": f"the four idx files, {_GENERAL}",
    "cifar10": f"cifar-10-batches-py or -bin, {_GENERAL}",
    "cifar100": f"cifar-100-python or -binary, {_GENERAL}",
    "caltech256": "256_ObjectCategories (the folder or the tar), or a pack",
    "imagenet": f"the Kaggle layout, {_GENERAL}",
    "folder": _GENERAL,
}
