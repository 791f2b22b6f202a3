"""List the images of a data set before it is packed: from one of the layouts of `data.path`, or from the Hub."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainability.config import SOURCES, DataConfig
from trainability.data import folders, tables
from trainability.data.catalog import Catalog
from trainability.data.hub import hub_catalog


def function_of(reference: str) -> Callable[..., Any]:
    """Look up a function given as "module:function" in a record of `SOURCES`, relative to this package."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(f"trainability.data.{module}"), name)


def catalog_of(config: DataConfig) -> Catalog:
    """List the images of the data set of a configuration.

    Raises:
        ValueError: the path does not exist, it has no known layout, or the Hub does not provide the set.
    """
    name, path, source = config.name, config.path, SOURCES[config.name]
    if path is None:
        if source.hub is None:
            raise ValueError(f"data.name {name} needs --data.path: {source.accepted}")
        return hub_catalog(name, source.hub)
    if not path.exists():
        raise ValueError(f"data.path {path} does not exist; accepted for {name}: {source.accepted}")
    try:
        catalogs = (function_of(layout.reader)(path) for layout in source.layouts)
        catalog = next((catalog for catalog in catalogs if catalog is not None), None)
    except OSError as error:
        raise ValueError(f"data.path {path}: {error.filename or path} cannot be read ({error.strerror or error})") from None
    if catalog is None:
        raise ValueError(f"data.path {path} has no known layout; accepted for {name}: {source.accepted}")
    if not len(catalog.labels):
        raise ValueError(f"data.path {path} holds no images; accepted for {name}: {source.accepted}")
    return catalog


def parquet_files(path: Path) -> Catalog | None:
    """List a Parquet file, or a folder of them."""
    return tables.parquet(path) if tables.parquet_files(path) else None


def folders_of_classes(path: Path) -> Catalog | None:
    """List class folders."""
    return folders.class_folders(path) if path.is_dir() else None


def mnist_idx(path: Path) -> Catalog | None:
    """List MNIST's idx files."""
    found = tables.idx_folder(path)
    return None if found is None else tables.idx(found)


def cifar10(path: Path) -> Catalog | None:
    """List CIFAR-10's own files."""
    return _cifar(path, 10)


def cifar100(path: Path) -> Catalog | None:
    """List CIFAR-100's own files."""
    return _cifar(path, 100)


def _cifar(path: Path, num_classes: int) -> Catalog | None:
    found = tables.cifar_folder(path)
    return None if found is None else tables.cifar(found, num_classes=num_classes)


def imagenet_of_kaggle(path: Path) -> Catalog | None:
    """List ImageNet in the layout of its Kaggle competition."""
    return folders.kaggle_imagenet(path) if folders.is_kaggle_imagenet(path) else None
