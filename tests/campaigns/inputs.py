"""Damaged inputs of every kind that the package reads; what is taken from a file with checksums must be what was written."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sources_on_disk as on_disk
import torch
from conftest import config_of, flags_of
from PIL import Image
from safetensors.torch import save_file

from campaigns import forks
from campaigns.damage import EXTREMES, PIECES, damaged, damaged_text
from campaigns.kills import TINY, train
from trainability import config as configuration
from trainability.cli import program as cli
from trainability.config import DataConfig, RunConfig
from trainability.data import cache
from trainability.data.images import decode
from trainability.data.layouts import function_of
from trainability.data.packed import Pack
from trainability.evaluation import predictions, thumbnails
from trainability.evaluation.weights import load_published
from trainability.models.vgg import build_vgg
from trainability.report.html import render
from trainability.training import checkpoint
from trainability.training.record import read_run
from trainability.training.same_run import identity
from trainability.watch.state import LiveRun

Kind = Callable[[random.Random], Any]
"""Makes a damaged input from a case's draws and reads it: `ValueError` refuses it; anything returned is what was taken."""


class Silent(Exception):
    """Damage was taken without a word."""


def answer_of(kind: Kind, number: int) -> str:
    """Run a case: "refused" in one printable line, "taken", or what is wrong."""
    try:
        kind(random.Random(number))
    except ValueError as error:
        said = configuration.one_line(error)
        return "refused" if said and configuration.plain(said) == said and len(said) <= 2100 else f"not a line: {error!r}"
    except Silent as error:
        return f"silent: {error}"
    return "taken"


def kinds(root: Path) -> dict[str, Kind]:
    """Make whole inputs in a folder that stays, and what damages and reads each."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "made" / "run" / "report.html").exists():
        shutil.rmtree(root / "made", ignore_errors=True)
        (root / "made").mkdir()
        assert forks.run(lambda: train(root / "made"), seconds=600) == 0
    run = root / "made" / "run"
    return {
        "flags": _flags,
        "TOML": _toml(root),
        "images": _images(),
        "folders": _folders(root),
        "packs": _pack(root, "jpeg"),
        "raw packs": _pack(root, "raw"),
        "Parquet": _source(root, "parquet", lambda place: on_disk.hub_parquet(place), "layouts:parquet_files"),
        "tar": _source(root, "tar", lambda place: on_disk.caltech_tar(place).parent, "folders:caltech256", "*.tar"),
        "idx": _source(root, "idx", lambda place: on_disk.mnist_idx(place, zipped=False), "layouts:mnist_idx"),
        "gzipped idx": _source(root, "idxgz", lambda place: on_disk.mnist_idx(place, zipped=True), "layouts:mnist_idx"),
        "CIFAR": _source(root, "cifar", lambda place: on_disk.cifar(place, num_classes=10, binary=True), "layouts:cifar10"),
        "CIFAR pickles": _source(
            root, "cifarpy", lambda place: on_disk.cifar(place, num_classes=10, binary=False), "layouts:cifar10"
        ),
        "Kaggle": _source(root, "kaggle", lambda place: on_disk.kaggle_imagenet(place), "layouts:imagenet_of_kaggle", "LOC*"),
        "weights": _weights(root),
        "records": _records(root, run),
        "archives": _archives(root, run),
        "checkpoints": _checkpoints(root, run),
    }


def _flags(draw: random.Random) -> object:
    flags = flags_of(config_of(**TINY))
    names = [f"--{section}.{flag}" for section, table in configuration.field_flags().items() for flag in table]
    for _ in range(draw.choice((1, 1, 2))):
        flag, value = draw.choice(names), draw.choice(PIECES)
        if draw.random() < 0.8:
            flags += draw.choice(([flag, value], [f"{flag}={value}"]))
        else:
            place = draw.randrange(len(flags))
            flags[place : place + draw.randint(0, 2)] = draw.choice(([flag], [value], [damaged_text(flags[place], draw)]))
    name = draw.choice(("train", "train", "train", "check", "pack", "trials", "report", "watch", "errors", "evaluate"))
    flags = flags if name in ("train", "check") or draw.random() < 0.2 else draw.sample(PIECES, draw.randint(0, 3))
    try:
        call: Any = cli._parse(cli._expand([name, *flags]))
    except SystemExit as stop:  # help
        return stop.code
    return [given.completed() for given in (*call.args, *call.keywords.values()) if isinstance(given, RunConfig)]


def _toml(root: Path) -> Kind:
    whole = configuration.to_toml(config_of(**TINY))
    path = root / "recipe.toml"

    def read(draw: random.Random) -> object:
        text = damaged_text(whole, draw).encode("utf-8", errors="surrogatepass")
        path.write_bytes(damaged(text, draw) if draw.random() < 0.3 else text)
        config = configuration.from_toml(path).completed()
        configuration.recipe_flags(path)
        again = root / "again.toml"
        again.write_text(configuration.to_toml(config), encoding="utf-8")
        if configuration.from_toml(again).completed() != config:
            raise Silent("what was read is not what is written")
        return config

    return read


def _images() -> Kind:
    image = Image.fromarray(on_disk.pixels_of(1, 2, (40, 50)))
    wholes = []
    for format, options in (
        ("JPEG", {"quality": 90}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
        ("PPM", {}),
        ("JPEG2000", {}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        wholes.append(buffer.getvalue())

    def read(draw: random.Random) -> object:
        return decode(damaged(draw.choice(wholes), draw)).shape

    return read


def _folders(root: Path) -> Kind:
    def read(draw: random.Random) -> object:
        place = root / "folders"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        names = [draw.randbytes(draw.randint(1, 12)).replace(b"/", b"_").replace(b"\0", b"_") for _ in range(3)]
        for name in [b"a", b"b", *names]:
            folder = os.path.join(os.fsencode(place), name)
            if name in (b".", b"..") or os.path.exists(folder):
                continue
            os.mkdir(folder)
            for number in range(draw.randint(0, 2) if name not in (b"a", b"b") else 1):
                _odd_entry(os.path.join(folder, b"%d.jpg" % number), draw, os.fsencode(place))
        config = DataConfig(name="folder", path=place, cache=root / "caches", size=36, crop=32)
        if draw.random() < 0.2:
            (place / "train").mkdir(exist_ok=True)
        catalog = function_of("layouts:folders_of_classes")(place)
        names_of = [catalog.images.name(number) for number in range(len(catalog.labels))]
        for number in range(len(names_of)):
            try:
                decode(catalog.images.read(number))
            except (ValueError, OSError):
                continue
        return config, names_of

    return read


def _odd_entry(path: bytes, draw: random.Random, root: bytes) -> None:
    """Make a file, or what else may lie where one is expected."""
    kind = draw.randrange(9)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        os.symlink(draw.choice((b"/dev/zero", b"/dev/full", b"/dev/tty", b"nowhere", b"/")), path)
    elif kind == 2:
        os.symlink(draw.choice((root, b"..", b".")), path)
    elif kind == 3:
        os.mkdir(path)
        os.symlink(draw.choice((root, b"..", b".")), os.path.join(path, b"loop"))
    else:
        data = on_disk.jpeg(1, 1, (36, 36))
        with open(path, "wb") as file:
            file.write(damaged(data, draw) if kind < 7 else data)


def _pack(root: Path, encoding: str) -> Kind:
    source = root / "pack-source"
    if not source.exists():
        on_disk.class_folders(source, num_classes=2, per_class=4)
    config = DataConfig(name="folder", path=source, cache=root / f"packs-{encoding}", size=40, crop=32, encoding=encoding)  # type: ignore[arg-type]
    whole = cache.pack(config, num_workers=1).folder
    expected = _content(whole)
    files = {path.name: path.read_bytes() for path in whole.iterdir() if path.suffix in (".json", ".npy", ".bin")}
    place = root / f"damaged-{encoding}"

    def read(draw: random.Random) -> object:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        name = draw.choice(("pack.json", "index.npy", "sums.npy", "shard-00000.bin"))
        (place / name).write_bytes(damaged(files[name], draw))
        found = _content(place)
        if found != expected:
            raise Silent(f"{name} was damaged, and other images were read")
        return found

    return read


def _content(folder: Path) -> object:
    pack = Pack(folder)
    rows = [pack.read(number).tobytes() for number in range(len(pack))]
    return rows, pack.index["label"].tolist(), pack.index["split"].tolist(), pack.sums.tolist(), pack.info.class_names


def _source(root: Path, name: str, write: Callable[[Path], Path], reader: str, pattern: str = "*") -> Kind:
    """A data set's own files: one of them damaged, its catalog listed and its images read."""
    whole, place = root / f"whole-{name}", root / f"damaged-{name}"
    if not whole.exists():
        whole.mkdir()
        write(whole)
    files = sorted(path.relative_to(whole) for path in whole.rglob(pattern) if path.is_file())
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)

    def read(draw: random.Random) -> object:
        file = draw.choice(files)
        data = (whole / file).read_bytes()
        try:
            (place / file).write_bytes(damaged(data, draw))
            catalog = function_of(reader)(place)
            if catalog is None:
                raise ValueError("no layout that is known")
            if not 0 <= catalog.labels.min() <= catalog.labels.max() < len(catalog.class_names):
                raise Silent(f"labels {catalog.labels.min()} to {catalog.labels.max()} of {len(catalog.class_names)} classes")
            for number in range(0, len(catalog.labels), 7):
                try:
                    data_of = catalog.images.read(number)
                    decode(data_of) if isinstance(data_of, bytes) else data_of
                except (ValueError, OSError):
                    continue
            return len(catalog.labels)
        finally:
            (place / file).write_bytes(data)

    return read


def _weights(root: Path) -> Kind:
    model = build_vgg("A", num_classes=3, crop=32, width=1 / 32, hidden=4, classifier="linear")
    names = {"weights.pth": lambda path: torch.save(model.state_dict(), path)}
    names["weights.safetensors"] = lambda path: save_file(model.state_dict(), path)
    names["old.pth"] = lambda path: torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    wholes = {}
    for name, write in names.items():
        write(root / name)
        wholes[name] = (root / name).read_bytes()
    load_published(root / "weights.pth")

    def read(draw: random.Random) -> object:
        if draw.random() < 0.2:
            return load_published(_odd_state(root, model.state_dict(), draw))
        name = draw.choice(list(wholes))
        path = root / f"damaged-{name}"
        path.write_bytes(damaged(wholes[name], draw))
        return load_published(path)

    return read


def _odd_state(root: Path, state: dict[str, Any], draw: random.Random) -> Path:
    """Write a state dict that is whole, and whose shapes or kinds are not a network's."""
    name = draw.choice(list(state))
    value = state[name]
    odd: list[Any] = [
        torch.zeros(()),
        torch.zeros(0),
        torch.zeros(1, 1),
        torch.zeros(1).expand(10**9),
        torch.zeros(1, 1, 1, 1).expand(2**20, 2**10, 3, 3),
        value.to(torch.int8),
        value.to(torch.complex64),
        value.flatten(),
        value[:0],
        torch.full_like(value, float("nan")),
        None,
        3,
        "text",
        [value],
    ]
    path = root / "odd.pth"
    torch.save({**state, draw.choice((name, 7, "features.99.weight")): draw.choice(odd)}, path)
    return path


def _records(root: Path, run: Path) -> Kind:
    names = [path.name for path in run.iterdir() if path.suffix in (".json", ".jsonl", ".toml")]
    wholes = {name: (run / name).read_bytes() for name in names}
    place = root / "damaged-run"

    def read(draw: random.Random) -> object:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for name, data in wholes.items():
            (place / name).write_bytes(data)
        name = draw.choice(names)
        text = wholes[name].decode()
        (place / name).write_bytes(_odd_record(text, draw) if draw.random() < 0.6 else damaged(wholes[name], draw))
        run = read_run(place)
        LiveRun(place).poll()
        return render(run) if draw.random() < 0.1 else run  # the page takes a hundred times as long

    return read


def _odd_record(text: str, draw: random.Random) -> bytes:
    """Change a value or a key of a record that stays JSON, or its text."""
    lines = text.splitlines()
    place = draw.randrange(len(lines))
    try:
        row = json.loads(lines[place])
        assert isinstance(row, dict)
    except (ValueError, AssertionError):
        return damaged_text(text, draw).encode("utf-8", errors="surrogatepass")
    key = draw.choice(list(row))
    odd = (None, True, "x", -1, 0.5, 10**30, [], {}, [1], {"a": 1}, float("nan"), *EXTREMES)
    if draw.random() < 0.3:
        del row[key]
    else:
        row[key] = draw.choice(odd)
    lines[place] = json.dumps(row if draw.random() < 0.9 else draw.choice(odd))
    return ("\n".join(lines) + "\n").encode()


def _archives(root: Path, run: Path) -> Kind:
    wholes = {name: (run / name).read_bytes() for name in (predictions.FILE, thumbnails.FILE)}
    loads: dict[str, Callable[[Path], Any]] = {predictions.FILE: predictions.load, thumbnails.FILE: thumbnails.load}
    expected = {name: _plain(load(run / name)) for name, load in loads.items()}

    def read(draw: random.Random) -> object:
        name = draw.choice(list(wholes))
        path = root / f"damaged-{name}"
        path.write_bytes(damaged(wholes[name], draw))
        found = _plain(loads[name](path))
        if found != expected[name]:
            raise Silent(f"other numbers were read from {name}")
        return found

    return read


def _checkpoints(root: Path, run: Path) -> Kind:
    step, whole = checkpoint.checkpoints(run / "checkpoints")[0]
    data, facts = whole.read_bytes(), identity(read_run(run).config)
    place = root / "damaged-checkpoints"
    expected = _plain(checkpoint.load_weights(run / "checkpoints", facts))

    def read(draw: random.Random) -> object:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if draw.random() < 0.05:
            (place / f"step-{step + draw.randint(1, 9):09d}.pt").write_bytes(data)  # renamed
        else:
            (place / whole.name).write_bytes(damaged(data, draw))
        found = _plain(checkpoint.load_weights(place, facts))
        if found != expected or not (place / whole.name).exists():
            raise Silent("other weights were read")
        return found

    return read


def _plain(value: Any) -> Any:
    """Make what can be compared of arrays in whatever they are held in."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return {key: _plain(item) for key, item in vars(value).items()} if hasattr(value, "__dict__") else value
