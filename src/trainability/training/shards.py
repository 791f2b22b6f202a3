"""Checkpoints of a sharded network: a folder into which each process writes its shard.

torch describes such a folder in `.metadata`, a pickle that torch's reader executes. This module never reads it:
`checkpoint.json` gives the location of each tensor as plain JSON, with the SHA-256 of every file and of itself. Values other
than tensors are read with `weights_only=True`, so that code in a checkpoint from elsewhere is never run.
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
    """Keeps the tensor descriptions of torch's writer, in the main process."""

    index: dict[str, Any]

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write torch's description too, for its tools, and keep a copy."""
        super().finish(metadata, results)
        self.index = _index_of(metadata)


def save(folder: Path, state: dict[str, Any], facts: dict[str, Any], engine: Engine) -> None:
    """Write the shards of a checkpoint and its description; every process calls this.

    Args:
        folder: new; the caller renames it when it is complete.
        state: of `get_state_dict`.
        facts: the other contents of the checkpoint, in plain containers; those of the main process are written.
        engine: the processes.

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
    """Read `checkpoint.json`: "facts" (as passed to `save`), "files" and "index".

    Raises:
        ValueError: it is missing, changed or damaged.
    """
    try:
        return stamped.read(folder / FILE)
    except FileNotFoundError:
        raise ValueError(f"it has no {FILE}: it is incomplete, or of an older version") from None
    except OSError as error:
        raise ValueError(f"{FILE} cannot be read ({error.strerror})") from None


def check_files(folder: Path, values: dict[str, Any], engine: Engine | None = None) -> None:
    """Verify the checksum of every file of a checkpoint; several processes divide the work.

    Raises:
        ValueError: one is missing or damaged; raised in every process.
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
    """Load a verified checkpoint into a state of `get_state_dict`, in place; every process calls this.

    Raises:
        ValueError: it lacks values of the state; raised in every process.
    """
    _load(folder, state, values)


def weights(folder: Path, values: dict[str, Any], *, only: str | None = None) -> dict[str, torch.Tensor]:
    """Load the full weights of a verified checkpoint in one process, on the CPU.

    Args:
        folder: of the checkpoint.
        values: from `read`.
        only: name of the only tensor to load; `None` loads all.

    Raises:
        ValueError: they do not match the description.
    """
    state: dict[str, Any] = {"model": {}}
    for key, entry in _metadata_of(values).state_dict_metadata.items():
        if only is not None and key != f"model.{only}":
            continue
        if key.startswith("model.") and isinstance(entry, TensorStorageMetadata):
            state["model"][key.removeprefix("model.")] = torch.empty(entry.size, dtype=entry.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as intended: this runs in one process
        _load(folder, state, values, no_dist=True)
    return state["model"]


def _load(folder: Path, state: dict[str, Any], values: dict[str, Any], *, no_dist: bool = False) -> None:
    try:
        load_shards(state, storage_reader=_Reader(folder, values), planner=_Planner(), no_dist=no_dist)
    except CheckpointException as error:  # a BaseException with the errors of each process
        failed, _ = next(iter(error.failures.values()))
        raise ValueError(str(failed).partition("\n")[0] or type(failed).__name__) from None


class _Reader(FileSystemReader):
    """Reads shards with the given description of the tensors."""

    def __init__(self, folder: Path, values: dict[str, Any]) -> None:
        super().__init__(folder)
        self.values = values

    def read_metadata(self) -> Metadata:
        """Return the given description; torch's is a pickle."""
        return _metadata_of(self.values)


class _Planner(DefaultLoadPlanner):
    """Reads values other than tensors without running code from them."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Load a value such as a learning rate; torch's method unpickles anything."""
        plain = torch.load(value, weights_only=True)
        set_element(self.original_state_dict, self.mappings[read_item.dest_index.fqn], plain)


def _index_of(metadata: Metadata) -> dict[str, Any]:
    """Convert torch's description to plain containers."""
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
    """Convert a description back; refuse one that points outside the folder or claims more than its files hold.

    Raises:
        ValueError: it is refused or incomplete.
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
    """Check that a file name lies in the folder itself, and return it."""
    if Path(name).name != name:
        raise ValueError(f"{FILE} lists {name}, which is not in its folder")
    return name
