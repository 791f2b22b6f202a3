"""Images in Parquet tables, in MNIST's idx files, and in CIFAR's binary and Python files."""

from __future__ import annotations

import bisect
import contextlib
import gzip
import io
import json
import math
import pickle
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainability.config import MOST_OUTPUTS
from trainability.data.catalog import TRAIN, UNSPLIT, VAL, ArrayImages, Catalog, Images, joined
from trainability.disk import regular

LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")
MOST_BYTES = 2**29
"""Largest accepted size of a file of MNIST or CIFAR, several times that of the largest real file."""
_SPLIT_NAME = re.compile(r"(?:^|[^a-z])(train|val|valid|validation|test)(?:[^a-z]|$)")


class ParquetImages:
    """A column of image files in several Parquet files, read a row group at a time."""

    def __init__(self, paths: Sequence[Path], column: str) -> None:
        """Read only the files' footers, which give the number of rows in each group."""
        import pyarrow.parquet as pq

        self.paths, self.column = list(paths), column
        groups = []
        for number, path in enumerate(self.paths):
            if not path.is_file():
                raise ValueError(f"{path} is not a file")
            metadata = pq.read_metadata(path)
            groups += [(number, group, metadata.row_group(group).num_rows) for group in range(metadata.num_row_groups)]
        self.groups = groups
        self.starts = np.cumsum([0, *(rows for _, _, rows in groups)]).tolist()
        per_file = [sum(rows for of, _, rows in groups if of == number) for number in range(len(self.paths))]
        self.file_starts = np.cumsum([0, *per_file])
        self.held: tuple[int, Any] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return self.starts[-1]

    def read(self, position: int) -> bytes:
        """Return an image file. Reading positions in ascending order reads every row group once."""
        number = bisect.bisect_right(self.starts, position) - 1
        if self.held is None or self.held[0] != number:
            self.held = (number, None)
            with _named(self.paths[self.groups[number][0]]):
                self.held = (number, self._group(number))
        if self.held[1] is None:
            raise OSError("its row group cannot be read")
        try:
            data = self.held[1][position - self.starts[number]].as_py()
        except IndexError:
            raise OSError("its row group is cut off") from None
        if not isinstance(data, bytes):
            raise OSError("the row holds no image bytes")
        return data

    def _group(self, number: int) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        file, group, _ = self.groups[number]
        # No threads: they do not survive the fork into worker processes.
        with pq.ParquetFile(self.paths[file], pre_buffer=False) as table:
            column = table.read_row_group(group, columns=[self.column], use_threads=False).column(0)
        return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column  # type: ignore[attr-defined]

    def name(self, position: int) -> str:
        """Return the file and the row in it."""
        file = int(np.searchsorted(self.file_starts, position, side="right")) - 1
        return f"{self.paths[file].name} row {position - int(self.file_starts[file])}"


def parquet_files(path: Path) -> list[Path]:
    """List one Parquet file, or all Parquet files in a folder, at any depth."""
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path] * (path.suffix == ".parquet")


def parquet(path: Path, *, image: str | None = None, label: str | None = None) -> Catalog:
    """List the images of Parquet files with an image and a label column; a file's name gives its split (train, val, test).

    Args:
        path: a file, or a folder of files.
        image: name of the column of image files; `None` finds it if there is only one.
        label: name of the column of classes, whole numbers or text; `None` tries the accepted names.

    Raises:
        ValueError: there are no such columns, or more than one candidate.
    """
    import pyarrow.parquet as pq

    files = parquet_files(path)
    by_split: dict[str, list[Path]] = {}
    for file in files:
        found = _SPLIT_NAME.search(file.stem.lower()) or _SPLIT_NAME.search(file.parent.name.lower())
        by_split.setdefault("val" if found and found[1].startswith("val") else found[1] if found else "train", []).append(file)
    if "train" not in by_split:
        raise ValueError(f"data.path {path}: no Parquet file is of the training set: {', '.join(file.name for file in files)}")
    held_out = next((name for name in ("val", "test") if name in by_split), None)
    with _named(path):
        if not by_split["train"][0].is_file():
            raise ValueError(f"{by_split['train'][0]} is not a file")
        schema = pq.read_schema(by_split["train"][0])
        image = image or _image_column(path, schema)
        label = label or _label_column(path, schema)
        parts, values = [], []
        for split, name in ((TRAIN if held_out else UNSPLIT, "train"), *([(VAL, held_out)] if held_out else [])):
            images = ParquetImages(by_split[name], image)
            columns = [pq.read_table(file, columns=[label]).column(0).to_numpy() for file in by_split[name]]
            parts.append((split, images))
            values.append(np.concatenate(columns))
    class_names, labels = _classes(path, label, values, _declared_names(schema, label))
    return joined(
        class_names,
        [(split, images, numbers) for (split, images), numbers in zip(parts, labels, strict=True)],
        [*files, *([path] if path.is_dir() else [])],
    )


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn the many errors that pyarrow raises for a damaged file into one line that names the file."""
    try:
        yield
    except ValueError as error:
        if type(error) is ValueError:
            raise  # an error of our own
        raise ValueError(f"data.path {path}: {_first_line(error)}") from None
    except Exception as error:
        raise ValueError(f"data.path {path}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _image_column(path: Path, schema: Any) -> str:
    """Find the column of image files: binary, or a struct with `bytes`, as `datasets` writes it."""
    import pyarrow as pa

    def holds_images(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(number).name == "bytes" for number in range(kind.num_fields))
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    found = [field.name for field in schema if holds_images(field.type)]
    if len(found) != 1:
        raise ValueError(
            f"data.path {path}: needs exactly one column of image files (binary, or a struct with bytes), has"
            f" {', '.join(found) or 'none'} among {', '.join(schema.names)}"
        )
    return found[0]


def _label_column(path: Path, schema: Any) -> str:
    for name in LABEL_COLUMNS:
        if name in schema.names:
            return name
    raise ValueError(
        f"data.path {path}: no label column among {', '.join(schema.names)}; accepted names: {', '.join(LABEL_COLUMNS)}"
    )


def _declared_names(schema: Any, label: str) -> list[str] | None:
    """Read the class names from a file's metadata, where `datasets` stores them."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
        return list(names) if names and all(isinstance(name, str) for name in names) else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _classes(
    path: Path, column: str, values: list[np.ndarray], declared: list[str] | None
) -> tuple[list[str], list[np.ndarray]]:
    """Number the classes of a label column: whole numbers are kept, text is numbered in sorted order."""
    together = np.concatenate(values)
    if not len(together):
        raise ValueError(f"data.path {path}: no rows")
    if together.dtype.kind in "iu":
        low, high = int(together.min()), int(together.max())
        most = MOST_OUTPUTS if declared is None else len(declared)
        if low < 0 or high >= most:
            raise ValueError(f"data.path {path}: {column} runs from {low} to {high}; accepted: classes 0 to {most - 1}")
        return declared or [str(number) for number in range(high + 1)], values
    if not all(isinstance(value, str) for value in together):
        raise ValueError(f"data.path {path}: {column} must hold only whole numbers or only text")
    class_names, numbers = np.unique(together.astype(str), return_inverse=True)
    return class_names.tolist(), np.split(numbers, np.cumsum([len(part) for part in values])[:-1])


def idx_folder(path: Path) -> Path | None:
    """Find the folder of MNIST's idx files in or below a path; `None` if there is none."""
    for folder in (path, path / "raw", path / "MNIST" / "raw"):
        if any(folder.glob("train-images*idx3-ubyte*")):
            return folder
    return None


def idx(folder: Path) -> Catalog:
    """List MNIST in its original format: four idx files, gzipped or not.

    Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
    """
    parts: list[tuple[int, Images, np.ndarray]] = []
    used = []
    for split, stem in ((TRAIN, "train"), (VAL, "t10k")):
        arrays = []
        for kind, rank in (("images", 3), ("labels", 1)):
            found = sorted(folder.glob(f"{stem}-{kind}*idx{rank}-ubyte*"))
            if not found:
                raise ValueError(f"data.path {folder}: {stem}-{kind}-idx{rank}-ubyte (or .gz) is missing")
            arrays.append(read_idx(found[0], rank=rank))
            used.append(found[0])
        if len(arrays[0]) != len(arrays[1]) or (len(arrays[1]) and arrays[1].max() > 9):
            raise ValueError(
                f"{used[-1]}: {len(arrays[1])} labels up to {arrays[1].max(initial=0)}, of {len(arrays[0])} images;"
                " accepted: one from 0 to 9 for each image"
            )
        parts.append((split, ArrayImages(arrays[0], stem), arrays[1]))
    return joined([str(digit) for digit in range(10)], parts, used)


def read_idx(path: Path, *, rank: int) -> np.ndarray:
    """Read an idx file of unsigned bytes.

    Args:
        path: of the file, gzipped if its name ends in .gz.
        rank: number of dimensions that it must have.

    Raises:
        ValueError: it is not an idx file, or it is truncated.
    """
    data, start = regular.read(path, most_bytes=MOST_BYTES), 4 + 4 * rank
    file = gzip.GzipFile(fileobj=io.BytesIO(data)) if path.suffix == ".gz" else io.BytesIO(data)
    try:
        head = file.read(start)
        if head[:4] != bytes((0, 0, 8, rank)) or len(head) < start:
            raise ValueError(f"{path}: not an idx file of unsigned bytes with {rank} dimensions")
        shape = tuple(int(side) for side in np.frombuffer(head[4:], dtype=">u4"))
        if math.prod(shape) > MOST_BYTES or 0 in shape[1:]:
            raise ValueError(f"{path}: its header claims the shape {shape}")
        body = file.read(math.prod(shape) + 1)  # a limit, whatever size the gzip file would unpack to
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: damaged ({error})") from None
    if len(body) != math.prod(shape):
        raise ValueError(f"{path}: truncated or damaged: its header claims the shape {shape}, and {len(body):,} bytes follow")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def cifar_folder(path: Path) -> Path | None:
    """Find the folder of CIFAR's own files in or below a path; `None` if there is none."""
    names = ("", "cifar-10-batches-bin", "cifar-10-batches-py", "cifar-100-binary", "cifar-100-python")
    for folder in (path / name for name in names):
        if any((folder / file).is_file() for file in ("data_batch_1", "data_batch_1.bin", "train", "train.bin")):
            return folder
    return None


def cifar(folder: Path, *, num_classes: int) -> Catalog:
    """List CIFAR-10 or CIFAR-100 (its 100 fine classes) in its original format, the binary or the Python version.

    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """
    ending = ".bin" if any(folder.glob("*.bin")) else ""
    batches = [f"data_batch_{number}" for number in range(1, 6)] if num_classes == 10 else ["train"]
    held_out = "test_batch" if num_classes == 10 else "test"
    parts: list[tuple[int, Images, np.ndarray]] = []
    used = [folder / f"{name}{ending}" for name in (*batches, held_out)]
    for path in used:
        if not path.is_file():
            raise ValueError(f"data.path {folder}: {path.name} is missing")
        pixels, labels = _cifar_binary(path, num_classes) if ending else _cifar_pickle(path)
        if len(pixels) != len(labels) or not len(labels) or not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(
                f"{path}: not a file of CIFAR-{num_classes}: labels must be 0 to {num_classes - 1}, one for each image"
            )
        pixels = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        parts.append((VAL if path.stem == held_out else TRAIN, ArrayImages(pixels, path.stem), labels))
    return joined(_cifar_names(folder, num_classes, is_binary=bool(ending)), parts, used)


def _cifar_binary(path: Path, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    num_labels = 1 if num_classes == 10 else 2  # CIFAR-100: coarse, then fine
    data = np.frombuffer(regular.read(path, most_bytes=MOST_BYTES), dtype=np.uint8)
    if len(data) % (3072 + num_labels):
        raise ValueError(f"{path}: truncated, or not a file of CIFAR-{num_classes}")
    rows = data.reshape(-1, 3072 + num_labels)
    return rows[:, num_labels:], rows[:, num_labels - 1].astype(int)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numbers, text and arrays, and refuses everything else, because a pickle can run any code."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Allow only what arrays need."""
        allowed = {"_reconstruct": np.zeros(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
        if module_name.split(".")[0] == "numpy" and global_name in allowed:
            return allowed[global_name]
        raise pickle.UnpicklingError(f"holds {module_name}.{global_name}")


def _unpickled(path: Path) -> dict[bytes, Any]:
    data = regular.read(path, most_bytes=MOST_BYTES)
    try:
        values = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # damaged bytes are also opcodes and can raise anything
        raise ValueError(f"{path}: not a file of CIFAR's Python version, or damaged ({_first_line(error)})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: not a file of CIFAR's Python version: it holds no dictionary")
    return values


def _cifar_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    batch = _unpickled(path)
    pixels, labels = batch.get(b"data"), batch.get(b"fine_labels", batch.get(b"labels"))
    is_plain = isinstance(labels, list) and all(type(label) is int and 0 <= label < 2**31 for label in labels)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3072,) or not is_plain:
        raise ValueError(f"{path}: not a file of CIFAR's Python version: it needs data of 3,072 bytes a row, and labels")
    return pixels, np.array(labels, dtype=int)


def _cifar_names(folder: Path, num_classes: int, *, is_binary: bool) -> list[str]:
    """Read the names of the classes; numbers if no names can be read."""
    names: Any = []
    if is_binary:
        path = folder / ("batches.meta.txt" if num_classes == 10 else "fine_label_names.txt")
        if path.is_file():
            names = regular.read(path, most_bytes=MOST_BYTES).decode("utf-8", errors="replace").split()
    else:
        path = folder / ("batches.meta" if num_classes == 10 else "meta")
        meta = _unpickled(path) if path.is_file() else {}
        names = meta.get(b"label_names" if num_classes == 10 else b"fine_label_names", [])
        is_text = isinstance(names, list) and all(isinstance(name, bytes) for name in names)
        names = [name.decode("utf-8", errors="replace") for name in names] if is_text else []
    return names if len(names) == num_classes else [str(number) for number in range(num_classes)]
