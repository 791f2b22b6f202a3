"""Record what a pack was made from, so that a changed source is noticed without listing a million files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from trainability.data.catalog import Catalog
from trainability.data.packed import FORMAT, READABLE
from trainability.disk import regular

SOURCE = "source.json"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The source of a pack, stored in it as `source.json`; if the source differs, the pack is made again.

    Attributes:
        format: version of the layout.
        source: name of the data set.
        size: smaller side of the rescaled images.
        encoding: "jpeg" or "raw".
        class_names: one per class.
        num_images: in the catalog.
        images: SHA-256 of the images' names, labels and splits.
        containers: see `container_stamps`.
    """

    format: int
    source: str
    size: int
    encoding: str
    class_names: list[str]
    num_images: int
    images: str
    containers: dict[str, list[int]]


def origin_of(catalog: Catalog, *, source: str, size: int, encoding: str) -> Origin:
    """Return the origin of a pack of this catalog. Takes the arguments of `packing.pack_catalog`."""
    digest = hashlib.sha256(catalog.labels.astype("<i4").tobytes() + catalog.splits.tobytes())
    for position in range(len(catalog.images)):
        digest.update(catalog.images.name(position).encode(errors="surrogateescape") + b"\0")
    return Origin(
        format=FORMAT,
        source=source,
        size=size,
        encoding=encoding,
        class_names=list(catalog.class_names),
        num_images=len(catalog.labels),
        images=digest.hexdigest(),
        containers=container_stamps(catalog.containers),
    )


def container_stamps(containers: tuple[Path, ...]) -> dict[str, list[int]]:
    """Return when each file or folder that holds images was last modified, and the size of files."""
    stamps = {}
    for path in containers:
        status = path.stat()
        stamps[str(path)] = [status.st_mtime_ns, status.st_size if path.is_file() else 0]
    return stamps


def is_up_to_date(folder: Path) -> bool:
    """Whether this version reads a pack, and the files and folders that it was made from are unchanged."""
    origin = json_or_none(folder / SOURCE)
    if not isinstance(origin, dict) or origin.get("format") not in READABLE or not isinstance(origin.get("containers"), dict):
        return False
    containers = origin["containers"]
    try:
        return container_stamps(tuple(Path(path) for path in containers)) == containers
    except (OSError, ValueError):
        return False


def json_or_none(path: Path) -> object:
    """Read a JSON file; `None` if it is missing or incomplete."""
    try:
        return json.loads(regular.read(path))
    except (OSError, ValueError, RecursionError):
        return None
