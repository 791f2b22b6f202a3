"""Writes small data sets as their publishers do: the same folders, file names, headers and columns."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def pixels_of(label: int, number: int, shape: tuple[int, int] = (48, 60)) -> np.ndarray:
    """Make an image whose class can be told from its mean colour."""
    generator = np.random.default_rng([label, number])
    colour = np.array([(40 * label) % 200, (90 * label + 30) % 200, (150 * label + 60) % 200])
    return (colour + generator.integers(0, 50, (*shape, 3))).astype(np.uint8)


def jpeg(label: int, number: int, shape: tuple[int, int] = (48, 60)) -> bytes:
    """Encode such an image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels_of(label, number, shape)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def png(label: int, number: int, shape: tuple[int, int]) -> bytes:
    """Encode such an image without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels_of(label, number, shape)).save(buffer, "PNG")
    return buffer.getvalue()


def put(path: Path, data: bytes) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def class_folders(root: Path, *, num_classes: int = 3, per_class: int = 10) -> Path:
    """One folder per class, shapes differing."""
    for label in range(num_classes):
        for number in range(per_class):
            put(root / f"class-{label}" / f"{number:03d}.jpg", jpeg(label, number, (40 + number, 64 - 2 * number)))
    return root


def split_folders(root: Path, val: str = "val") -> Path:
    """The layout `train/<class>` and `val/<class>`, with some nested folders and other files, as people have them."""
    class_folders(root / "train")
    class_folders(root / val, per_class=4)
    put(root / "train" / "class-0" / "more" / "nested.JPEG", jpeg(0, 99))
    put(root / "train" / "class-0" / "notes.txt", b"not an image")
    put(root / "train" / "class-0" / ".hidden.jpg", b"not an image")
    put(root / "README.md", b"# data")
    return root


def mnist_idx(root: Path, *, zipped: bool) -> Path:
    """MNIST's four files: big-endian headers, then bytes."""
    for stem, num in (("train", 40), ("t10k", 20)):
        labels = np.arange(num, dtype=np.uint8) % 10
        grey = np.stack([pixels_of(int(label), number, (28, 28))[..., 0] for number, label in enumerate(labels)])
        files = {
            f"{stem}-images-idx3-ubyte": b"\0\0\x08\x03" + np.array(grey.shape, dtype=">u4").tobytes() + grey.tobytes(),
            f"{stem}-labels-idx1-ubyte": b"\0\0\x08\x01" + np.array([num], dtype=">u4").tobytes() + labels.tobytes(),
        }
        for name, data in files.items():
            put(root / (f"{name}.gz" if zipped else name), gzip.compress(data) if zipped else data)
    return root


class _Python2(pickle._Pickler):  # type: ignore[name-defined]
    """Pickles as Python 2 did, in which CIFAR was published: all text is bytes, under an opcode that Python 3 never writes."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _save_bytes(self, value: bytes | str) -> None:
        data = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = _save_bytes


def python2_pickle(value: object) -> bytes:
    """Pickle a value as Python 2 and its numpy did."""
    buffer = io.BytesIO()
    _Python2(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar(root: Path, *, num_classes: int, binary: bool) -> Path:
    """CIFAR's batches: five and a test batch for 10 classes, `train` and `test` for 100."""
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"] if num_classes == 10 else ["train", "test"]
    folder = (
        root
        / {
            (10, True): "cifar-10-batches-bin",
            (10, False): "cifar-10-batches-py",
            (100, True): "cifar-100-binary",
            (100, False): "cifar-100-python",
        }[num_classes, binary]
    )
    for batch, name in enumerate(names):
        fine = (np.arange(20) * 7 + batch) % num_classes
        fine[-1] = num_classes - 1
        rows = np.stack([pixels_of(int(label), n, (32, 32)).transpose(2, 0, 1).ravel() for n, label in enumerate(fine)])
        if binary:
            labels = fine[:, None] if num_classes == 10 else np.stack([fine // 5, fine], 1)
            put(folder / f"{name}.bin", np.concatenate([labels.astype(np.uint8), rows], 1).tobytes())
        else:
            key = b"labels" if num_classes == 10 else b"fine_labels"
            batch_dict = {b"batch_label": b"", key: fine.tolist(), b"data": rows, b"filenames": [b"x.png"] * 20}
            put(folder / name, python2_pickle(batch_dict))
    label_names = [f"kind_{label}" for label in range(num_classes)]
    if binary:
        meta = "batches.meta.txt" if num_classes == 10 else "fine_label_names.txt"
        put(folder / meta, ("\n".join(label_names) + "\n").encode())
    else:
        key = b"label_names" if num_classes == 10 else b"fine_label_names"
        meta = "batches.meta" if num_classes == 10 else "meta"
        put(folder / meta, python2_pickle({key: label_names}))
    return root


def caltech(root: Path) -> Path:
    """Caltech-256's folders with its names, its clutter class and its two stray entries."""
    top = root / "256_ObjectCategories"
    for label, name in enumerate(["001.ak47", "056.dog", "198.spider", "257.clutter"]):
        for number in range(1, 11):
            put(top / name / f"{name[:3]}_{number:04d}.jpg", jpeg(label, number, (50 + number, 44)))
    put(top / "056.dog" / "greg" / "vision309" / "stray.jpg", jpeg(1, 50))
    put(top / "198.spider" / "RENAME2", b"#!/bin/sh")
    return top


def caltech_tar(root: Path) -> Path:
    """The original: one uncompressed tar of that folder."""
    folder = caltech(root / "unpacked")
    path = root / "256_ObjectCategories.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(folder, arcname="256_ObjectCategories")
    return path


SYNSETS = ["n01440764", "n02012849", "n03126707"]


def kaggle_imagenet(root: Path) -> Path:
    """ImageNet as its Kaggle archive unpacks."""
    put(
        root / "LOC_synset_mapping.txt",
        b"n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n",
    )
    data = root / "ILSVRC" / "Data" / "CLS-LOC"
    for label, synset in enumerate(SYNSETS):
        for number in range(8):
            put(data / "train" / synset / f"{synset}_{number}.JPEG", jpeg(label, number, (50 + number, 60)))
    rows = ["ImageId,PredictionString"]
    for number in range(6):
        label = (number * 2) % 3
        name = f"ILSVRC2012_val_{number + 1:08d}"
        put(data / "val" / f"{name}.JPEG", jpeg(label, 20 + number, (50, 60)))
        boxes = f"{SYNSETS[label]} 85 1 499 272 "
        rows.append(f"{name},{boxes * (1 + number % 2)}")
    put(root / "LOC_val_solution.csv", ("\n".join(rows) + "\n").encode())
    return root


def hub_parquet(root: Path, *, image: str = "img", label: str = "fine_label", val: str = "test") -> Path:
    """Parquet files as on the Hub: image structs, class names in the metadata, several row groups and files."""
    features = {
        image: {"_type": "Image"},
        label: {"names": ["apple", "bear", "clock"], "_type": "ClassLabel"},
        "coarse_label": {"names": ["x", "y"], "_type": "ClassLabel"},
    }
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for name, first, num in (
        ("train-00000-of-00002", 0, 13),
        ("train-00001-of-00002", 13, 11),
        (f"{val}-00000-of-00001", 40, 9),
    ):
        labels = [(first + number) % 3 for number in range(num)]
        table = pa.table(
            {
                image: [{"bytes": png(kind, first + n, (32, 32)), "path": f"{n}.png"} for n, kind in enumerate(labels)],
                label: pa.array(labels, pa.int64()),
                "coarse_label": pa.array([kind % 2 for kind in labels], pa.int64()),
            }
        ).replace_schema_metadata(metadata)
        (root / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, root / "data" / f"{name}.parquet", row_group_size=4)
    return root


def plain_parquet(path: Path) -> Path:
    """One Parquet file of somebody's own: bytes and text."""
    labels = ["cat", "dog"] * 10
    table = pa.table({"picture": [jpeg(kind == "dog", n) for n, kind in enumerate(labels)], "class": labels})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path
