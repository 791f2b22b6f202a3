"""Files from elsewhere: whatever they hold, nothing in them is run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sources_on_disk as on_disk
import torch
from conftest import config_of, train

from trainability.config import DataConfig
from trainability.data import cache
from trainability.data.tables import cifar
from trainability.disk import stamped
from trainability.disk.seal import Sealing
from trainability.evaluation import predictions, thumbnails
from trainability.evaluation.weights import load_published
from trainability.report.html import write_report
from trainability.training import checkpoint, shards
from trainability.training.engine import Engine
from trainability.training.parts import trained_model
from trainability.training.same_run import identity

CPU = Engine(device=torch.device("cpu"))


class Bomb:
    """Makes a file when it is unpickled: what an attacker's command would do."""

    def __init__(self, marker: Path, how: str = "system") -> None:
        self.marker, self.how = marker, how

    def __reduce__(self) -> tuple[Any, ...]:
        if self.how == "system":
            return os.system, (f"touch '{self.marker}'",)
        if self.how == "eval":
            return eval, (f"__import__('pathlib').Path({str(self.marker)!r}).touch()",)
        return getattr(Path, "touch"), (self.marker,)  # noqa: B009


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    return train(tmp_path_factory.mktemp("runs") / "one", config_of(optim__epochs=1))


def sharded_copy(trained, folder: Path) -> Path:
    """The run with its checkpoint written as a sharded network's. Returns the checkpoint."""
    shutil.copytree(trained.run.folder, folder)
    (whole,) = (folder / "checkpoints").glob("*.pt")
    state = torch.load(whole, weights_only=True)
    whole.unlink()
    place = folder / "checkpoints" / whole.stem
    facts = {name: state[name] for name in ("position", "identity")}
    with pytest.warns(UserWarning, match=r"torch\.distributed is"):
        shards.save(place, {"model": state["model"], "optimizer": {"lr": 0.1}}, facts, CPU)
    return place


def looked_at(folder: Path) -> None:
    """Everything that opens a run directory's checkpoints."""
    run_identity = identity(config_of(optim__epochs=1))
    for look in (
        lambda: checkpoint.load_weights(folder / "checkpoints", run_identity),
        lambda: checkpoint.load_tensor(folder / "checkpoints", "features.0.weight", run_identity),
        lambda: trained_model(folder),
        lambda: write_report(folder),
    ):
        with contextlib.suppress(ValueError):
            look()


def resealed(path: Path, state: Any) -> None:
    with path.open("wb") as file:
        sealing = Sealing(file)
        torch.save(state, sealing)
        sealing.seal()


def described_anew(place: Path) -> None:
    """Give a changed sharded checkpoint the checksums of what it holds now."""
    values = json.loads((place / shards.FILE).read_text())
    del values["sha256"]
    stamped.write(place / shards.FILE, values | {"files": {name: stamped.stamp(place / name) for name in values["files"]}})


def in_metadata(bomb: Bomb, trained, folder: Path) -> Callable[[], None]:
    place = sharded_copy(trained, folder)
    (place / ".metadata").write_bytes(pickle.dumps(bomb))
    return lambda: looked_at(folder)


def in_a_shard(bomb: Bomb, trained, folder: Path) -> Callable[[], None]:
    place = sharded_copy(trained, folder)
    values = json.loads((place / shards.FILE).read_text())
    where = next(entry for entry in values["index"]["places"] if entry["name"] == "optimizer.lr")
    buffer = io.BytesIO()
    torch.save(bomb, buffer)
    shard = place / where["relative_path"]
    where |= {"offset": shard.stat().st_size, "length": len(buffer.getvalue())}
    shard.write_bytes(shard.read_bytes() + buffer.getvalue())
    (place / shards.FILE).write_text(json.dumps(values))
    described_anew(place)

    def look() -> None:
        values = shards.read(place)
        shards.check_files(place, values)
        with pytest.raises(ValueError, match="Weights only load failed"), pytest.warns(UserWarning, match="disabled"):
            shards.load(place, {"optimizer": {"lr": 0.0}}, values)
        looked_at(folder)

    return look


def in_a_checkpoint(bomb: Bomb, trained, folder: Path) -> Callable[[], None]:
    sharded_copy(trained, folder)
    for path in (folder / "checkpoints").iterdir():
        resealed(path.with_suffix(".pt"), {"position": bomb, "model": bomb})
    return lambda: looked_at(folder)


def in_an_old_checkpoint(bomb: Bomb, trained, folder: Path) -> Callable[[], None]:
    sharded_copy(trained, folder)
    torch.save({"model": bomb}, folder / "checkpoints" / "step-000000099.pt", _use_new_zipfile_serialization=False)
    return lambda: looked_at(folder)


def in_weights(bomb: Bomb, folder: Path, *, name: str, old: bool) -> Callable[[], None]:
    folder.mkdir()
    torch.save({"features.0.weight": bomb}, folder / name, _use_new_zipfile_serialization=not old)
    return lambda: refused(lambda: load_published(folder / name))


def in_a_torchscript(bomb: Bomb, folder: Path) -> Callable[[], None]:
    folder.mkdir()
    with zipfile.ZipFile(folder / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", pickle.dumps(bomb))
        archive.writestr("w/constants.pkl", pickle.dumps(bomb))
        archive.writestr("w/version", "3")
    return lambda: refused(lambda: load_published(folder / "w.pt"))


def in_cifar(bomb: Bomb, folder: Path, *, name: str) -> Callable[[], None]:
    on_disk.cifar(folder, num_classes=10, binary=False)
    (found,) = folder.rglob(name)
    found.write_bytes(pickle.dumps({b"data": bomb, b"labels": [bomb], b"label_names": [bomb]}))
    return lambda: refused(lambda: cifar(found.parent, num_classes=10))


def in_an_archive(bomb: Bomb, folder: Path, *, name: str) -> Callable[[], None]:
    folder.mkdir()
    objects = np.array([bomb], dtype=object)
    np.savez(folder / name, labels=objects, **{"0": objects})
    load = predictions.load if name == predictions.FILE else thumbnails.load
    return lambda: refused(lambda: load(folder / name))


def in_a_pack(bomb: Bomb, folder: Path, *, name: str) -> Callable[[], None]:
    on_disk.class_folders(folder / "source")
    config = DataConfig(name="folder", path=folder / "source", cache=folder / "cache", size=40, crop=32)
    made = cache.pack(config, num_workers=1).folder
    np.save(made / name, np.array([bomb], dtype=object), allow_pickle=True)
    as_path = DataConfig(name="folder", path=made, cache=folder / "other", size=40, crop=32)
    return lambda: refused(lambda: cache.opened(as_path))


def refused(look: Callable[[], object]) -> None:
    with pytest.raises(ValueError) as refusal:
        look()
    assert "\n" not in str(refusal.value)


KINDS: dict[str, Callable[[Bomb, Any, Path], Callable[[], None]]] = {
    "sharded .metadata": in_metadata,
    "sharded .metadata, eval": in_metadata,
    "sharded .metadata, touch": in_metadata,
    "a value in a shard": in_a_shard,
    "a checkpoint": in_a_checkpoint,
    "a checkpoint, eval": in_a_checkpoint,
    "a checkpoint of old torch": in_an_old_checkpoint,
    "weights": lambda bomb, _, folder: in_weights(bomb, folder, name="w.pth", old=False),
    "weights of old torch": lambda bomb, _, folder: in_weights(bomb, folder, name="w.pth", old=True),
    "weights called safetensors": lambda bomb, _, folder: in_weights(bomb, folder, name="w.safetensors", old=False),
    "TorchScript": lambda bomb, _, folder: in_a_torchscript(bomb, folder),
    "CIFAR batch": lambda bomb, _, folder: in_cifar(bomb, folder, name="data_batch_1"),
    "CIFAR names": lambda bomb, _, folder: in_cifar(bomb, folder, name="batches.meta"),
    "predictions": lambda bomb, _, folder: in_an_archive(bomb, folder, name=predictions.FILE),
    "thumbnails": lambda bomb, _, folder: in_an_archive(bomb, folder, name=thumbnails.FILE),
    "pack index": lambda bomb, _, folder: in_a_pack(bomb, folder, name="index.npy"),
    "pack sums": lambda bomb, _, folder: in_a_pack(bomb, folder, name="sums.npy"),
}


def test_the_bomb_goes_off_where_pickles_are_run(tmp_path: Path) -> None:
    for how in ("system", "eval", "touch"):
        pickle.loads(pickle.dumps(Bomb(tmp_path / how, how)))
        assert (tmp_path / how).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_foreign_file_is_run(trained, tmp_path: Path, kind: str) -> None:
    how = kind.partition(", ")[2] or "system"
    KINDS[kind](Bomb(tmp_path / "marker", how), trained, tmp_path / "foreign")()
    assert not (tmp_path / "marker").exists()


def test_a_sharded_checkpoint_is_read_back(trained, tmp_path: Path) -> None:
    sharded_copy(trained, tmp_path / "run")
    for name, value in trained.parts.model.state_dict().items():
        step, loaded = checkpoint.load_tensor(tmp_path / "run" / "checkpoints", name, identity(trained.run.config))
        assert step == 12
        assert torch.equal(loaded, value)


@pytest.mark.parametrize("place", ["../../outside", "/etc/passwd", "sub/file"])
def test_a_description_that_points_elsewhere_is_refused(trained, tmp_path: Path, place: str) -> None:
    folder = sharded_copy(trained, tmp_path / "run")
    values = json.loads((folder / shards.FILE).read_text())
    values["index"]["places"][0]["relative_path"] = place
    (folder / shards.FILE).write_text(json.dumps(values))
    described_anew(folder)
    with pytest.raises(ValueError, match=r"checkpoint\.json"):
        checkpoint.load_weights(tmp_path / "run" / "checkpoints", {})


def test_every_flipped_byte_of_a_sharded_checkpoint_is_noticed(trained, tmp_path: Path) -> None:
    folder = sharded_copy(trained, tmp_path / "run")
    for name in (shards.FILE, "__0_0.distcp", ".metadata"):
        path = folder / name
        data = path.read_bytes()
        for position in range(0, len(data), max(1, len(data) // 12)):
            path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
            with pytest.raises(ValueError, match=r"step-\d+"):
                checkpoint.load_weights(tmp_path / "run" / "checkpoints", {})
        path.write_bytes(data)
    checkpoint.load_weights(tmp_path / "run" / "checkpoints", {})
