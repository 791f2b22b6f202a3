"""The packs on this machine: find the pack of a configuration, make it if it is missing, open it."""

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
"""A larger data set is packed only by `trainability pack`: it takes an hour, not a minute."""


def pack(config: DataConfig, *, num_workers: int | None = None, progress: Progress | None = None) -> PackResult:
    """Pack the data set of a configuration, or verify its existing pack.

    Args:
        config: with `size` filled in (`RunConfig.completed`).
        num_workers: processes; `None` for one per core.
        progress: called with the progress.

    Raises:
        ValueError: the data set reads no files, is not found, or has too many broken images.
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
    """Return how a configuration's pack stores images: small ones raw, because they take little space and JPEG blurs them."""
    assert config.size is not None
    return config.encoding or ("raw" if config.size <= LARGEST_RAW_SIZE else "jpeg")


def cache_folder(config: DataConfig) -> Path:
    """Return the folder of all packs: `data.cache`, else $TRAINABILITY_CACHE, else in the system's folder for user caches."""
    set_by_user = config.cache or os.environ.get("TRAINABILITY_CACHE")
    return Path(set_by_user) if set_by_user else platformdirs.user_cache_path("trainability", appauthor=False)


def pack_folder(config: DataConfig) -> Path:
    """Return the folder of a configuration's pack: one per source, location, size and encoding."""
    hub = SOURCES[config.name].hub
    where = str(config.path.resolve()) if config.path is not None else hub.repo if hub is not None else ""
    mark = hashlib.sha256(where.encode()).hexdigest()[:8]
    return cache_folder(config) / f"{config.name}-{config.size}-{encoding_of(config)}-{mark}"


def opened(config: DataConfig, progress: Progress | None = None) -> Pack:
    """Open the pack of a configuration. If it is missing or its source has changed, make it first, unless the set is large.

    Raises:
        ValueError: the set is large and not packed yet, the pack at `data.path` has another source or size, or packing
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
    """Write the message that a set must be packed first, with the command that does it."""
    changed = "has changed since it was packed, or was packed by an older version"
    why = changed if is_pack(folder) else f"is not packed at {config.size} pixels yet"
    flags = f"--data.name {config.name} --data.size {config.size}"
    flags += "".join(
        f" --data.{name} {value}"
        for name, value in (("path", config.path), ("cache", config.cache), ("encoding", config.encoding))
        if value is not None
    )
    return f"{config.name} {why}: run `trainability pack {flags}` first"
