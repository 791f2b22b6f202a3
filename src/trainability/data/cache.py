"""The packs that this machine keeps: which one a configuration means, made when it is missing, opened when it is there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from trainability.config import SOURCES, DataConfig
from trainability.data.layouts import catalog_of
from trainability.data.origin import is_up_to_date
from trainability.data.packed import Pack, Progress, is_pack
from trainability.data.packing import PackResult, pack_catalog

LARGEST_RAW_SIZE = 64
MOST_IMAGES_UNASKED = 100_000
"""A larger set is packed only by its own command: it takes an hour, not a minute."""


def pack(config: DataConfig, *, num_workers: int | None = None, progress: Progress | None = None) -> PackResult:
    """Pack the data set that a configuration names, or verify the pack that is there.

    Args:
        config: with `size` filled in (`RunConfig.completed`).
        num_workers: processes; `None` for one per core.
        progress: told how far it is.

    Raises:
        ValueError: the set reads no files, is not where it should be, or has too many broken images.
    """
    if not SOURCES[config.name].layouts:
        accepted = ", ".join(name for name, source in SOURCES.items() if source.layouts)
        raise ValueError(f"data.name {config.name} needs no packing; accepted: {accepted}")
    if config.path is not None and is_pack(config.path):
        raise ValueError(f"data.path {config.path} is a pack already")
    assert config.size is not None
    return pack_catalog(
        catalog_of(config),
        pack_folder(config),
        source=config.name,
        size=config.size,
        encoding=encoding_of(config),
        num_workers=num_workers,
        progress=progress,
    )


def encoding_of(config: DataConfig) -> str:
    """Say how a configuration's pack stores images: small ones raw, since they take little space and JPEG would blur them."""
    assert config.size is not None
    return config.encoding or ("raw" if config.size <= LARGEST_RAW_SIZE else "jpeg")


def cache_folder(config: DataConfig) -> Path:
    """Name the folder of all packs: `data.cache`, else $TRAINABILITY_CACHE, else where the system keeps a user's caches."""
    set_by_user = config.cache or os.environ.get("TRAINABILITY_CACHE")
    return Path(set_by_user) if set_by_user else platformdirs.user_cache_path("trainability", appauthor=False)


def pack_folder(config: DataConfig) -> Path:
    """Name the folder of a configuration's pack, one per source, place, size and encoding."""
    hub = SOURCES[config.name].hub
    where = str(config.path.resolve()) if config.path is not None else hub.repo if hub is not None else ""
    mark = hashlib.sha256(where.encode()).hexdigest()[:8]
    return cache_folder(config) / f"{config.name}-{config.size}-{encoding_of(config)}-{mark}"


def opened(config: DataConfig, progress: Progress | None = None) -> Pack:
    """Open the pack of a configuration, made first if it is missing or its source has changed, and the set is not large.

    Raises:
        ValueError: the set is large and not packed yet, the pack at `data.path` is of another source or size, or packing
            failed.
    """
    if config.path is not None and is_pack(config.path):
        found = Pack(config.path)
        if (found.info.source, found.info.size) != (config.name, config.size):
            raise ValueError(
                f"data.path {config.path} is a pack of {found.info.source} at {found.info.size} pixels; data.name is"
                f" {config.name} and data.size {config.size}"
            )
        return found
    folder = pack_folder(config)
    if not is_pack(folder) or not is_up_to_date(folder):
        hub = SOURCES[config.name].hub
        if config.path is None and hub is not None and hub.is_large:
            raise ValueError(
                f"{_not_packed(config, folder)}; {hub.how_to_get_access}, or give --data.path with a copy that you have"
            )
        num_images = len(catalog_of(config).labels)
        if num_images > MOST_IMAGES_UNASKED:
            raise ValueError(f"{_not_packed(config, folder)} (once, for {num_images:,} images)")
        pack(config, progress=progress)
    return Pack(folder)


def _not_packed(config: DataConfig, folder: Path) -> str:
    """Say that a set must be packed first, and by which command."""
    why = (
        "has changed since it was packed, or was packed by an older version"
        if is_pack(folder)
        else f"is not packed at {config.size} pixels yet"
    )
    flags = f"--data.name {config.name} --data.size {config.size}"
    flags += "".join(
        f" --data.{name} {value}"
        for name, value in (("path", config.path), ("cache", config.cache), ("encoding", config.encoding))
        if value is not None
    )
    return f"{config.name} {why}: run `trainability pack {flags}` first"
