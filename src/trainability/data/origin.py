"""What a pack was made from, so that a change of the source is noticed without listing a million files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from trainability.data.catalog import Catalog
from trainability.data.packed import FORMAT
from trainability.disk import regular

SOURCE = "source.json"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a pack is made of, kept beside it as `source.json`; where this differs, the pack is made anew.

    Attributes:
        format: version of the layout.
        source: name of the data set.
        size: smaller side of the rescaled images.
        encoding: "jpeg" or "raw".
        class_names: one per class.
        num_images: in the catalog.
        images: SHA-256 over their names, labels and splits.
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
    """Say what a pack of a catalog would be made of. Arguments as `packing.pack_catalog` has them."""
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
    """Note when each file or folder that holds images changed last, and a file's size."""
    stamps = {}
    for path in containers:
        status = path.stat()
        stamps[str(path)] = [status.st_mtime_ns, status.st_size if path.is_file() else 0]
    return stamps


def is_up_to_date(folder: Path) -> bool:
    """Whether a pack is of this version's format, and the files and folders that it was made from are as they were."""
    origin = json_or_none(folder / SOURCE)
    if not isinstance(origin, dict) or origin.get("format") != FORMAT or not isinstance(origin.get("containers"), dict):
        return False
    containers = origin["containers"]
    try:
        return container_stamps(tuple(Path(path) for path in containers)) == containers
    except (OSError, ValueError):
        return False


def json_or_none(path: Path) -> object:
    """Read a JSON file; `None` where there is none, or a torn one."""
    try:
        return json.loads(regular.read(path))
    except (OSError, ValueError, RecursionError):
        return None
