"""Checkpoints of a sharded network: a folder, of which each process writes its share.

torch describes such a folder in `.metadata`, a pickle that its own reader executes. Ours is never read: `checkpoint.json` says
where each tensor lies, in plain JSON, with the SHA-256 of every file and of itself. Values that are no tensors are read with
`weights_only=True`, so no code in a folder from elsewhere is ever run.
"""

from __future__ import annotations

import dataclasses
import io
import math
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint._traverse import set_element
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict_loader import load as load_shards
from torch.distributed.checkpoint.state_dict_saver import save as save_shards
from torch.distributed.checkpoint.storage import WriteResult

from trainability.disk import stamped
from trainability.training.engine import Engine

FILE = "checkpoint.json"
_TORCH_S_OWN = ".metadata"  # for its tools
_DTYPES = {str(dtype): dtype for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64)}


class _Writer(FileSystemWriter):
    """Keeps what torch's writer knows of the tensors, in the main process."""

    index: dict[str, Any]

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write torch's own description too, for its tools, and keep ours."""
        super().finish(metadata, results)
        self.index = _index_of(metadata)


def save(folder: Path, state: dict[str, Any], facts: dict[str, Any], engine: Engine) -> None:
    """Write a checkpoint's shares, and what it is; every process calls it.

    Args:
        folder: new; the caller renames it when it is whole.
        state: of `get_state_dict`.
        facts: what else a checkpoint holds, in plain containers; what the main process gives counts.
        engine: whose share is whose.

    Raises:
        OSError: it cannot be written.
    """
    writer = _Writer(folder)
    save_shards(state, storage_writer=writer)
    names = sorted(path.name for path in folder.glob(f"__{engine.rank}_*"))
    own = {name: stamped.stamp(folder / name) for name in [*names, *([_TORCH_S_OWN] if engine.is_main else [])]}
    files = {name: stamp for share in engine.gathered(own) for name, stamp in share.items()}
    if engine.is_main:
        values = {"facts": facts, "files": files, "index": writer.index}
        stamped.write(folder / FILE, values)


def read(folder: Path) -> dict[str, Any]:
    """Read `checkpoint.json`: "facts", as `save` was given them, "files" and "index".

    Raises:
        ValueError: there is none, or it was changed or damaged.
    """
    try:
        return stamped.read(folder / FILE)
    except FileNotFoundError:
        raise ValueError(f"it has no {FILE}: it is cut off, or of an older version") from None
    except OSError as error:
        raise ValueError(f"{FILE} cannot be read ({error.strerror})") from None


def check_files(folder: Path, values: dict[str, Any], engine: Engine | None = None) -> None:
    """Read every file of a checkpoint, and compare it with its checksum; several processes share the work.

    Raises:
        ValueError: one is missing or damaged; in every process.
    """
    rank, world_size = (engine.rank, engine.world_size) if engine else (0, 1)
    problem = None
    for name in sorted(values["files"])[rank::world_size]:
        try:
            if stamped.stamp(folder / _plain(name)) != values["files"][name]:
                problem = f"the checksum of {name} is wrong"
        except OSError as error:
            problem = f"{name} cannot be read ({error.strerror})"
    problems = [line for line in (engine.gathered(problem) if engine else [problem]) if line]
    if problems:
        raise ValueError(problems[0])


def load(folder: Path, state: dict[str, Any], values: dict[str, Any]) -> None:
    """Load a checkpoint whose files were checked into a state of `get_state_dict`, in place; every process calls it.

    Raises:
        ValueError: it does not hold what the state asks for; in every process.
    """
    _load(folder, state, values)


def weights(folder: Path, values: dict[str, Any], *, only: str | None = None) -> dict[str, torch.Tensor]:
    """Load the weights of a checkpoint whose files were checked, whole, in one process on the CPU.

    Args:
        folder: of the checkpoint.
        values: of `read`.
        only: name of the one that is wanted; `None` loads all.

    Raises:
        ValueError: they are not as the description says.
    """
    state: dict[str, Any] = {"model": {}}
    for key, entry in _metadata_of(values).state_dict_metadata.items():
        if only is not None and key != f"model.{only}":
            continue
        if key.startswith("model.") and isinstance(entry, TensorStorageMetadata):
            state["model"][key.removeprefix("model.")] = torch.empty(entry.size, dtype=entry.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # it is: this is for one process
        _load(folder, state, values, no_dist=True)
    return state["model"]


def _load(folder: Path, state: dict[str, Any], values: dict[str, Any], *, no_dist: bool = False) -> None:
    try:
        load_shards(state, storage_reader=_Reader(folder, values), planner=_Planner(), no_dist=no_dist)
    except CheckpointException as error:  # a BaseException, of what went wrong in each process
        failed, _ = next(iter(error.failures.values()))
        raise ValueError(str(failed).partition("\n")[0] or type(failed).__name__) from None


class _Reader(FileSystemReader):
    """Takes the description of the tensors from us."""

    def __init__(self, folder: Path, values: dict[str, Any]) -> None:
        super().__init__(folder)
        self.values = values

    def read_metadata(self) -> Metadata:
        """Return the description; torch's own is a pickle."""
        return _metadata_of(self.values)


class _Planner(DefaultLoadPlanner):
    """Reads values that are no tensors without running code from them."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Load a learning rate and the like; torch's own unpickles whatever is there."""
        plain = torch.load(value, weights_only=True)
        set_element(self.original_state_dict, self.mappings[read_item.dest_index.fqn], plain)


def _index_of(metadata: Metadata) -> dict[str, Any]:
    """Turn torch's description into plain containers."""
    entries: dict[str, Any] = {}
    for key, entry in metadata.state_dict_metadata.items():
        if isinstance(entry, TensorStorageMetadata):
            chunks = [[list(chunk.offsets), list(chunk.sizes)] for chunk in entry.chunks]
            entries[key] = {"size": list(entry.size), "dtype": str(entry.properties.dtype), "chunks": chunks}
        else:
            entries[key] = None
    places = [
        {**dataclasses.asdict(where), "name": index.fqn, "start": None if index.offset is None else list(index.offset)}
        for index, where in metadata.storage_data.items()
    ]
    return {"entries": entries, "places": places}


def _metadata_of(values: dict[str, Any]) -> Metadata:
    """Turn a description back, and refuse one that points out of the folder, or claims more than its files hold.

    Raises:
        ValueError: likewise, or it lacks something.
    """
    try:
        entries: dict[str, Any] = {}
        for key, entry in values["index"]["entries"].items():
            if entry is None:
                entries[key] = BytesStorageMetadata()
                continue
            chunks = [
                ChunkStorageMetadata(offsets=torch.Size(offsets), sizes=torch.Size(sizes)) for offsets, sizes in entry["chunks"]
            ]
            properties = TensorProperties(dtype=_DTYPES[entry["dtype"]])
            entries[key] = TensorStorageMetadata(properties=properties, size=torch.Size(entry["size"]), chunks=chunks)
        places = {
            MetadataIndex(place["name"], place["start"]): _StorageInfo(
                relative_path=_plain(place["relative_path"]), offset=int(place["offset"]), length=int(place["length"])
            )
            for place in values["index"]["places"]
        }
        claimed = sum(math.prod(entry.size) for entry in entries.values() if isinstance(entry, TensorStorageMetadata))
        if claimed > sum(num_bytes for num_bytes, _ in values["files"].values()):
            raise ValueError("claims more than its files hold")
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{FILE} is not a checkpoint's ({type(error).__name__}: {error})") from None
    return Metadata(state_dict_metadata=entries, storage_data=places, storage_meta=StorageMeta())


def _plain(name: str) -> str:
    """Return the name of a file in the folder itself."""
    if Path(name).name != name:
        raise ValueError(f"{FILE} names {name}, which is not in its folder")
    return name
