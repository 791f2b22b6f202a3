"""Image files in folders: one folder per class, Caltech-256 (also as its tar), and ImageNet as Kaggle lays it out."""

from __future__ import annotations

import csv
import io
import os
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from trainability.data.catalog import TRAIN, UNSPLIT, VAL, Catalog, FileImages, Images, TarImages, joined
from trainability.disk import regular

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2"})
VAL_FOLDERS = ("val", "valid", "validation", "test")
"""Names that the validation folder next to `train` may have; the first that exists is used."""

MOST_TEXT_BYTES = 2**28
_CALTECH_MEMBER = re.compile(r"(?:^|/)(\d{3}\.[^/]+)/(\d{3}_\d{4}\.jpg)$")


def subfolders(root: Path) -> list[Path]:
    """List the folders in a folder, sorted by name, without hidden ones."""
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Find the image files of a folder at any depth.

    Links are followed, but no folder is searched twice: a link to a parent folder would never end.

    Returns:
        The files, sorted, and all folders that were searched.
    """
    files, folders = [], []
    above = [folder, *folder.absolute().parents]
    seen = {_identity(place) for place in above}
    for parent, names, found in os.walk(folder, followlinks=True):
        new = {name: _identity(Path(parent, name)) for name in sorted(names) if not name.startswith(".")}
        names[:] = [name for name, place in new.items() if place not in seen]
        seen |= set(new.values())
        folders.append(Path(parent))
        files += [
            Path(parent, name)
            for name in sorted(found)
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    return files, folders


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def class_folders(root: Path) -> Catalog:
    """List `train/<class>/…` and `val/<class>/…`, or `<class>/…`, which the run's random seed splits.

    Classes are numbered in the order of their folders' names.

    Raises:
        ValueError: there are no class folders, one of them is empty, or validation has a class that training does not have.
    """
    has_split = (root / "train").is_dir() and bool(subfolders(root / "train"))
    if not has_split:
        classes = [folder.name for folder in subfolders(root)]
        images, labels, containers = _members(root, root, classes)
        return joined(classes, [(UNSPLIT, images, labels)], [root, *containers])
    train = root / "train"
    classes = [folder.name for folder in subfolders(train)]
    images, labels, containers = _members(root, train, classes)
    val = next((root / name for name in VAL_FOLDERS if (root / name).is_dir()), None)
    if val is None:
        return joined(classes, [(UNSPLIT, images, labels)], [root, train, *containers])
    unknown = [folder.name for folder in subfolders(val) if folder.name not in set(classes)]
    if unknown:
        raise ValueError(f"data.path {root}: {val.name}/{unknown[0]} is a class that train/ does not have")
    if not subfolders(val):
        raise ValueError(f"data.path {root}: {val.name}/ has no class folders; every image must lie in its class's folder")
    val_classes = {folder.name for folder in subfolders(val)}
    val_images, val_labels, val_containers = _members(root, val, [name if name in val_classes else None for name in classes])
    parts: list[tuple[int, Images, np.ndarray]] = [(TRAIN, images, labels), (VAL, val_images, val_labels)]
    return joined(classes, parts, [root, train, val, *containers, *val_containers])


def _members(root: Path, folder: Path, classes: Iterable[str | None]) -> tuple[FileImages, np.ndarray, list[Path]]:
    """List the images of class folders; `None` marks a class without a folder here."""
    names: list[str] = []
    counts: list[int] = []
    containers: list[Path] = []
    for name in classes:
        files, walked = image_files(folder / name) if name is not None else ([], [])
        if name is not None and not files:
            raise ValueError(
                f"data.path {root}: the class folder {(folder / name).relative_to(root)} has no images"
                f" ({', '.join(sorted(IMAGE_SUFFIXES))})"
            )
        names += [str(file.relative_to(root)) for file in files]
        counts.append(len(files))
        containers += walked
    if len(counts) < 2:
        raise ValueError(
            f"data.path {root}: {len(counts)} class folders in {folder}; at least two are needed, as train/<class>/… and"
            " val/<class>/…, or <class>/…"
        )
    return FileImages(root, names), np.repeat(np.arange(len(counts)), counts), containers


def caltech256(path: Path) -> Catalog:
    """List Caltech-256: `256_ObjectCategories`, or the folder that holds it, or the original tar.

    Each of its 257 folders is a class, including `257.clutter`. Only files whose names follow the data set's pattern are used:
    folder 056.dog contains a stray folder, and 198.spider a stray file.

    Source: Griffin, Holub & Perona 2007, "Caltech-256 Object Category Dataset".

    Raises:
        ValueError: none of the three is there.
    """
    accepted = "accepted: the folder 256_ObjectCategories, or 256_ObjectCategories.tar"
    if path.is_dir() and (path / "256_ObjectCategories.tar").is_file() and not (path / "256_ObjectCategories").is_dir():
        path = path / "256_ObjectCategories.tar"
    if path.is_file():
        return _caltech_tar(path, accepted)
    root = path / "256_ObjectCategories" if (path / "256_ObjectCategories").is_dir() else path
    folders = [folder for folder in subfolders(root) if re.fullmatch(r"\d{3}\..+", folder.name)]
    names = [
        f"{folder.name}/{file.name}"
        for folder in folders
        for file in sorted(folder.iterdir())
        if _CALTECH_MEMBER.search(f"{folder.name}/{file.name}")
    ]
    return _caltech(FileImages(root, names), [root, *folders], f"data.path {path}: no Caltech-256 here; {accepted}")


def _caltech_tar(path: Path, accepted: str) -> Catalog:
    try:
        with tarfile.open(path, "r:") as tar:  # "r:" refuses compressed ones, whose members have no offset to read from
            members = [member for member in tar if member.isfile() and _CALTECH_MEMBER.search(member.name)]
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"data.path {path}: not an uncompressed tar, or truncated ({error}); {accepted}") from None
    members.sort(key=lambda member: member.name)
    offsets = np.array([member.offset_data for member in members], dtype=np.int64)
    sizes = np.array([member.size for member in members], dtype=np.int64)
    images = TarImages(path, [member.name for member in members], offsets, sizes)
    return _caltech(images, [path], f"data.path {path}: no Caltech-256 in it; {accepted}")


def _caltech(images: FileImages | TarImages, containers: list[Path], complaint: str) -> Catalog:
    found = [_CALTECH_MEMBER.search(name) for name in images.names]
    folders = [match[1] for match in found if match]
    classes = sorted(set(folders))
    if len(classes) < 2:
        raise ValueError(complaint)
    number = {name: label for label, name in enumerate(classes)}
    return joined(classes, [(UNSPLIT, images, np.array([number[name] for name in folders]))], containers)


def _text(path: Path) -> str:
    """Read a text file that belongs to the set.

    Raises:
        ValueError: it is not a text file.
    """
    try:
        return regular.read(path, most_bytes=MOST_TEXT_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not text in UTF-8") from None


def is_kaggle_imagenet(root: Path) -> bool:
    """Whether a folder has ImageNet's Kaggle layout."""
    return (root / "LOC_synset_mapping.txt").is_file() and (root / "ILSVRC").is_dir()


def kaggle_imagenet(root: Path) -> Catalog:
    """List ImageNet in the layout of its Kaggle competition.

    `LOC_synset_mapping.txt` lists the classes in order, `LOC_val_solution.csv` has the class of every validation image;
    `ILSVRC/Data/CLS-LOC/train/<synset>/` and `…/val/` hold the images.

    Raises:
        ValueError: one of these files or folders is missing or contradicts the others.
    """
    data, solution = root / "ILSVRC" / "Data" / "CLS-LOC", root / "LOC_val_solution.csv"
    for needed in (data / "train", data / "val", solution):
        if not needed.exists():
            raise ValueError(f"data.path {root}: {needed.relative_to(root)} is missing from ImageNet's Kaggle layout")
    lines = _text(root / "LOC_synset_mapping.txt").splitlines()
    synsets = [line.split(" ", 1) for line in lines if line.strip()]
    number = {synset[0]: label for label, synset in enumerate(synsets)}
    missing = [synset for synset in number if not (data / "train" / synset).is_dir()]
    if missing:
        raise ValueError(f"data.path {root}: train/{missing[0]} is missing, a class of LOC_synset_mapping.txt")
    images, labels, containers = _members(root, data / "train", number)
    val_names, val_labels = [], []
    for row in csv.DictReader(io.StringIO(_text(solution), newline="")):
        image, synset = row.get("ImageId"), (row.get("PredictionString") or "").split(" ", 1)[0]
        if not image or Path(image).name != image or synset not in number:
            said = f"{image} is of {synset}, which LOC_synset_mapping.txt does not list"
            raise ValueError(f"data.path {root}: LOC_val_solution.csv: {said if image and synset else 'a row lacks a column'}")
        val_names.append(str((data / "val" / f"{image}.JPEG").relative_to(root)))
        val_labels.append(number[synset])
    if not val_names:
        raise ValueError(f"data.path {root}: LOC_val_solution.csv lists no images")
    class_names = [synset[1].split(",")[0] if len(synset) > 1 else synset[0] for synset in synsets]
    # Two pairs of classes have the same first name: crane and maillot.
    class_names = [
        name if class_names.count(name) == 1 else f"{name} ({synset[0]})"
        for name, synset in zip(class_names, synsets, strict=True)
    ]
    parts: list[tuple[int, Images, np.ndarray]] = [
        (TRAIN, images, labels),
        (VAL, FileImages(root, val_names), np.array(val_labels)),
    ]
    return joined(class_names, parts, [root, data / "train", data / "val", solution, *containers])
