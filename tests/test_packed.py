"""Packs: every image there, in any order, from any process; broken files, kills and damage."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sources_on_disk as on_disk
import torch
from conftest import config_of
from PIL import Image

from trainability.config import DataConfig
from trainability.data import cache, dataset, packed, packing
from trainability.data.catalog import UNSPLIT, ArrayImages, Catalog, joined
from trainability.data.colour_statistics import pixel_sums
from trainability.data.images import decode, rescale
from trainability.data.layouts import catalog_of
from trainability.data.packed import Pack, PackedImages, verify
from trainability.disk import stamped

pytestmark = pytest.mark.filterwarnings("error")


def config_for(root: Path, **fields: Any) -> DataConfig:
    return DataConfig(**{"name": "folder", "path": root / "source", "cache": root / "cache", "size": 40, "crop": 32, **fields})


def noise(num: int) -> Catalog:
    pixels = np.random.default_rng(0).integers(0, 256, (num, 33, 47, 3), dtype=np.uint8)
    return joined(["a", "b"], [(UNSPLIT, ArrayImages(pixels, "noise"), np.arange(num) % 2)], [])


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.*") if path.name != ".lock"}


def test_grey_pixels_are_packed_as_one_channel_and_read_as_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD_IMAGES", 5)
    grey = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    colour = np.random.default_rng(1).integers(0, 256, (4, 30, 41, 3), dtype=np.uint8)
    parts = [(UNSPLIT, ArrayImages(pixels, name), np.arange(len(pixels)) % 2) for pixels, name in ((grey, "g"), (colour, "c"))]
    catalog = joined(["a", "b"], parts, [])
    folder = packing.pack_catalog(catalog, tmp_path / "p", source="folder", size=32, encoding="raw").folder
    pack = Pack(folder)
    assert pack.index["length"][:12].tolist() == [32 * 32] * 12
    assert pack.index["length"][12:].tolist() == [3 * 32 * 44] * 4
    for position in range(16):
        data = catalog.images.read(position)
        assert isinstance(data, np.ndarray)
        expected = rescale(np.ascontiguousarray(data), 32)  # three channels, one by one
        assert np.array_equal(pack.read(position), expected)
        assert np.array_equal(pack.sums[position], pixel_sums(expected))
        window = np.zeros((32, 32, 3), dtype=np.uint8)
        pack.read_window(position, 0, 0, window)
        assert np.array_equal(window, expected[:32, :32])
    # What an earlier version wrote is read, verified and kept.
    stamped.write(folder / "pack.json", stamped.read(folder / "pack.json") | {"format": 2})
    (folder / "source.json").write_text(json.dumps(json.loads((folder / "source.json").read_text()) | {"format": 2}))
    assert Pack(folder).info.format == 2
    before = digests(folder)
    assert packing.pack_catalog(catalog, folder, source="folder", size=32, encoding="raw").num_shards_made == 0
    assert digests(folder) == before


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_every_image_is_there_rescaled_with_its_label(tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD_IMAGES", 7)
    on_disk.split_folders(tmp_path / "source")
    config = config_for(tmp_path, encoding=encoding)
    result = cache.pack(config, num_workers=2)
    assert (result.num_train, result.num_val, result.num_unsplit, result.num_classes) == (31, 12, 0, 3)
    assert result.num_shards_made == 7
    pack, catalog = Pack(result.folder), catalog_of(config)
    assert len(pack) == 43
    for position in reversed(range(43)):
        data = catalog.images.read(position)
        assert isinstance(data, bytes)
        expected = rescale(decode(data), 40)
        found = pack.read(position)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).mean() <= (0 if encoding == "raw" else 12)
        assert pack.index["label"][position] == catalog.labels[position]
        assert pack.index["split"][position] == catalog.splits[position]
        summed = expected if encoding == "raw" else expected[position % 4 :: 4]
        assert np.array_equal(pack.sums[position], pixel_sums(summed))
    assert result.num_bytes == sum((result.folder / name).stat().st_size for name in pack.info.files)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_window_is_the_part_of_the_whole(tmp_path: Path, encoding: str) -> None:
    on_disk.class_folders(tmp_path / "source")
    pack = Pack(cache.pack(config_for(tmp_path, encoding=encoding)).folder)
    for position in range(len(pack)):
        whole = pack.read(position)
        top, left = position % (whole.shape[0] - 31), position % (whole.shape[1] - 31)
        window = np.zeros((32, 32, 3), dtype=np.uint8)
        pack.read_window(position, top, left, window)
        assert np.array_equal(window, whole[top : top + 32, left : left + 32])
        past = np.full((60, 60, 3), 7, dtype=np.uint8)
        pack.read_window(position, 20, 20, past)
        inside = whole[20:80, 20:80]
        assert np.array_equal(past[: inside.shape[0], : inside.shape[1]], inside)
        assert (past[inside.shape[0] :] == 7).all()
        assert (past[:, inside.shape[1] :] == 7).all()


def _digest_of(pack: Pack, positions: list[int]) -> list[str]:
    return [hashlib.sha256(pack.read(position).tobytes()).hexdigest() for position in positions]


def _child(pack: Pack, seed: int, pipe: Connection) -> None:
    pipe.send(_digest_of(pack, np.random.default_rng(seed).permutation(100).tolist()))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_many_processes_read_one_open_pack_in_any_order(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD_IMAGES", 16)
    pack = Pack(packing.pack_catalog(noise(100), tmp_path / "p", source="folder", size=32, encoding="jpeg").folder)
    expected = _digest_of(pack, list(range(100)))  # all shards are open when the others start
    context = multiprocessing.get_context(start)
    children = []
    for seed in range(2):
        ours, theirs = context.Pipe()
        children.append((seed, ours, context.Process(target=_child, args=(pack, seed, theirs))))
        children[-1][2].start()
    for seed, ours, child in children:
        found = ours.recv()
        child.join()
        assert child.exitcode == 0
        assert found == [expected[position] for position in np.random.default_rng(seed).permutation(100).tolist()]


def test_more_shards_than_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD_IMAGES", 2)
    monkeypatch.setattr("trainability.data.packed.MOST_OPEN_FILES", 3)
    pack = Pack(packing.pack_catalog(noise(20), tmp_path / "p", source="folder", size=33, encoding="raw").folder)
    for position in np.random.default_rng(0).permutation(20).tolist():
        assert np.array_equal(pack.read(position), noise(20).images.read(position))  # type: ignore[arg-type]
        assert len(pack.files) <= 3


def test_packed_images_index_like_a_tensor(tmp_path: Path) -> None:
    pack = Pack(packing.pack_catalog(noise(9), tmp_path / "p", source="folder", size=33, encoding="raw").folder)
    images = PackedImages(pack, np.array([5, 2, 8]))
    whole = images.stacked()
    assert whole.shape == (3, 33, 47, 3)
    assert len(images) == 3
    for number in range(3):
        assert torch.equal(images[number], whole[number])


def broken_source(root: Path, *, num_broken: int, per_class: int) -> None:
    on_disk.class_folders(root / "source", num_classes=2, per_class=per_class)
    for number in range(num_broken):
        path = root / "source" / "class-1" / f"{number:03d}.jpg"
        path.write_bytes(path.read_bytes()[:500])


def test_a_broken_image_is_listed_and_skipped(tmp_path: Path) -> None:
    for number in range(200):
        on_disk.put(tmp_path / "source" / f"c{number % 2}" / f"{number:03d}.png", on_disk.png(number % 2, number, (40, 40)))
    (tmp_path / "source" / "c1" / "101.png").write_bytes(b"GIF89a nothing")
    (tmp_path / "source" / "c0" / "050.png").unlink()
    (tmp_path / "source" / "c0" / "050.png").symlink_to("nowhere")
    result = cache.pack(config_for(tmp_path))
    assert [line.split(":")[0] for line in result.broken] == ["c0/050.png", "c1/101.png"]
    assert (result.folder / "broken.txt").read_text().splitlines() == list(result.broken)
    data = dataset.load(config_for(tmp_path), seed=0)
    assert len(data.train) + len(data.val) == 198
    # Those after a broken one still have their own labels.
    catalog = catalog_of(config_for(tmp_path))
    kept = [position for position in range(200) if catalog.images.name(position) not in ("c0/050.png", "c1/101.png")]
    assert Pack(result.folder).index["label"].tolist() == catalog.labels[kept].tolist()


def test_more_than_one_percent_broken_stops_and_a_repair_goes_on(tmp_path: Path) -> None:
    broken_source(tmp_path, num_broken=2, per_class=10)
    config = config_for(tmp_path)
    with pytest.raises(ValueError, match=r"^2 of .* 20 images .* 1 % .*: class-1/000\.jpg: ") as caught:
        cache.pack(config)
    assert "\n" not in str(caught.value)
    folder = cache.pack_folder(config)
    assert (folder / "broken.txt").read_text().count("\n") == 2
    with pytest.raises(ValueError, match=r"pack\.json"):
        Pack(folder)
    for number in range(2):
        (tmp_path / "source" / "class-1" / f"{number:03d}.jpg").write_bytes(on_disk.jpeg(1, number))
    assert cache.pack(config).num_unsplit == 20


def test_a_finished_pack_is_verified_and_not_made_again(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source")
    first = cache.pack(config_for(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in first.folder.glob("[!.]*")}
    said: list[str] = []
    again = cache.pack(config_for(tmp_path), progress=lambda what, *_: said.append(what))
    assert again.num_shards_made == 0
    assert set(said) == {"verifying"}
    assert before == {path: path.stat().st_mtime_ns for path in first.folder.glob("[!.]*")}


@pytest.mark.parametrize("victim", ["shard-00001.bin", "shard-00000.npz", "index.npy"])
def test_one_flipped_bit_is_found_named_and_mended(tmp_path: Path, victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD_IMAGES", 10)
    on_disk.class_folders(tmp_path / "source")
    folder = cache.pack(config_for(tmp_path)).folder
    whole = digests(folder)
    data = bytearray((folder / victim).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / victim).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{victim}: 1 of 8 files.*checksum"):
        verify(folder)
    result = cache.pack(config_for(tmp_path))
    assert result.num_shards_made == (0 if victim == "index.npy" else 1)
    verify(folder)
    assert digests(folder)[victim] == whole[victim]


def test_a_file_that_is_cut_off_is_found_when_the_pack_is_opened(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source")
    folder = cache.pack(config_for(tmp_path)).folder
    os.truncate(folder / "shard-00000.bin", 1000)
    with pytest.raises(ValueError, match=r"shard-00000\.bin: .* \d+ bytes"):
        dataset.load(config_for(tmp_path), seed=0)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_no_damaged_byte_of_an_image_is_read(tmp_path: Path, encoding: str) -> None:
    on_disk.class_folders(tmp_path / "source")
    config = config_for(tmp_path, encoding=encoding)
    folder = cache.pack(config).folder
    shard, expected = folder / "shard-00000.bin", Pack(folder).read(7)
    row = Pack(folder).index[7]
    data = shard.read_bytes()
    for place in np.random.default_rng(0).integers(0, int(row["length"]), 30):
        changed = bytearray(data)
        changed[int(row["offset"]) + place] ^= 1
        shard.write_bytes(changed)
        pack = Pack(folder)
        with pytest.raises(ValueError, match=r"shard-00000.bin: .* \d+ .*checksum"):
            pack.read(7)
        with pytest.raises(ValueError, match="checksum"):
            pack.read_window(7, 3, 3, np.zeros((32, 32, 3), dtype=np.uint8))
        pack.read(6)
    shard.write_bytes(data)
    assert np.array_equal(Pack(folder).read(7), expected)


@pytest.mark.parametrize("victim", ["index.npy", "sums.npy", "pack.json"])
def test_no_damaged_byte_of_a_table_is_read(tmp_path: Path, victim: str) -> None:
    on_disk.class_folders(tmp_path / "source")
    folder = cache.pack(config_for(tmp_path)).folder
    data = (folder / victim).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(data), 60):
        changed = bytearray(data)
        changed[place] ^= 4
        (folder / victim).write_bytes(changed)
        if victim == "pack.json" and json.loads(data) == _json_or_none(bytes(changed)):
            continue  # a space became another one
        with pytest.raises(ValueError, match=f"{victim}: ") as caught:
            Pack(folder)
        assert "\n" not in str(caught.value)


def _json_or_none(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None


ODD = (None, 0, -1, "x", [], [3], {}, {"a": 1}, {"../x": [1, "a"]}, 10**30, True, 0.5)
FINE = [("source", "x"), ("broken", []), ("size", 10**30)]


def test_a_pack_from_elsewhere_with_odd_fields_is_refused_in_a_line(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source", num_classes=2, per_class=3)
    folder = cache.pack(config_for(tmp_path)).folder
    whole = stamped.read(folder / "pack.json")
    for field in ("class_names", "files", "size", "num_images", "broken", "encoding", "source", "extra"):
        for value in ODD:
            stamped.write(folder / "pack.json", whole | {field: value})
            if (field, value) in FINE:
                Pack(folder).read(0)
                continue
            with pytest.raises(ValueError, match=str(folder)) as caught:
                Pack(folder)
            assert "\n" not in str(caught.value)


def test_an_index_from_elsewhere_with_odd_fields_is_refused_in_a_line(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source", num_classes=2, per_class=3)
    folder = cache.pack(config_for(tmp_path)).folder
    rows, values = np.load(folder / "index.npy"), stamped.read(folder / "pack.json")
    for field in ("offset", "length", "shard", "height", "width", "label", "split"):
        for value in (-1, 7, 2**31 - 1):
            changed = rows.copy()
            changed[field][1] = min(value, np.iinfo(rows.dtype[field]).max)
            np.save(folder / "index.npy", changed)
            values["files"]["index.npy"] = stamped.stamp(folder / "index.npy")
            stamped.write(folder / "pack.json", values)
            with pytest.raises(ValueError, match=r"index\.npy|shard-\d+"):
                Pack(folder).read(1)


def test_a_pack_of_the_older_format_is_made_anew_where_it_is_a_cache_and_refused_elsewhere(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source")
    config = config_for(tmp_path)
    folder = cache.pack(config).folder
    for name in ("pack.json", "source.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({key: value for key, value in values.items() if key != "sha256"} | {"format": 1}))
    with pytest.raises(ValueError, match=r"format 1\D+2 and 3"):
        Pack(folder)
    with pytest.raises(ValueError, match=r"format 1\D+2 and 3"):
        dataset.load(config_for(tmp_path, path=folder), seed=0)
    assert len(dataset.load(config, seed=0).train) == 24
    assert Pack(folder).info.format == packed.FORMAT


def test_a_pack_can_be_moved_and_given_as_the_path(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source")
    original = dataset.load(config_for(tmp_path), seed=0)
    moved = shutil.move(cache.pack_folder(config_for(tmp_path)), tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "source")
    data = dataset.load(config_for(tmp_path, path=Path(moved)), seed=0)
    assert torch.equal(data.train.labels, original.train.labels)
    assert torch.equal(data.mean, original.mean)
    with pytest.raises(ValueError, match=r"40 .*data\.size 64"):
        dataset.load(config_for(tmp_path, path=Path(moved), size=64), seed=0)
    with pytest.raises(ValueError, match=r"data\.path"):
        cache.pack(config_for(tmp_path, path=Path(moved)))


def test_a_source_that_has_changed_is_packed_again(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source")
    assert len(dataset.load(config_for(tmp_path), seed=0).train) == 24
    on_disk.put(tmp_path / "source" / "class-0" / "new.jpg", on_disk.jpeg(0, 77))
    data = dataset.load(config_for(tmp_path), seed=0)
    assert len(data.train) + len(data.val) == 31


def test_sizes_and_encodings_have_packs_of_their_own(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source")
    folders = {
        cache.pack(config_for(tmp_path, size=size, encoding=encoding)).folder
        for size in (40, 48)
        for encoding in ("raw", "jpeg")
    }
    assert len(folders) == 4


def test_a_large_set_is_packed_by_its_own_command_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_IMAGES_UNASKED", 29)
    on_disk.class_folders(tmp_path / "source")
    with pytest.raises(ValueError, match=r"run `trainability pack --data.name folder --data.size 40 --data.path \S+ .*` first"):
        dataset.load(config_for(tmp_path), seed=0)
    cache.pack(config_for(tmp_path))
    assert len(dataset.load(config_for(tmp_path), seed=0).train) == 24


def test_progress_counts_every_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD_IMAGES", 4)
    on_disk.class_folders(tmp_path / "source")
    said: list[tuple[str, int, int]] = []
    cache.pack(config_for(tmp_path), progress=lambda *what: said.append(what))
    packed = [done for what, done, total in said if what == "packing" and total == 30]
    assert packed[0] == 0
    assert packed[-1] == 30
    assert packed == sorted(packed)
    assert said[-1] == ("verifying", 16, 16)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing, "make_shard", full)
    on_disk.class_folders(tmp_path / "source")
    with pytest.raises(ValueError, match=os.strerror(28)):
        cache.pack(config_for(tmp_path))


SLOW_PACKING = """
import sys, time
from pathlib import Path
from trainability.config import DataConfig
from trainability.data import cache, packing
packing.SHARD_IMAGES = 5
decode = packing.decode
def slow(data):
    time.sleep(0.01)
    return decode(data)
packing.decode = slow
root = Path(sys.argv[1])
config = DataConfig(name="folder", path=root / "source", cache=root / sys.argv[2], size=40, crop=32)
result = cache.pack(config, num_workers=2)
print(result.num_shards_made, result.num_unsplit)
"""


def start_packing(root: Path, where: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SLOW_PACKING, str(root), where], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_kill_9_while_packing_loses_nothing_that_was_done(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source", num_classes=4, per_class=20)
    folder = cache.pack_folder(config_for(tmp_path))
    done_before: list[int] = []
    for wanted in (2, 6, 11):
        process = start_packing(tmp_path, "cache")
        deadline = time.monotonic() + 20
        while len(list(folder.glob("shard-*.json"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.003)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        done_before.append(len(list(folder.glob("shard-*.json"))))
        assert process.stdout is not None
        process.stdout.close()
        assert not (folder / "pack.json").exists()
    last = start_packing(tmp_path, "cache")
    out, _ = last.communicate(timeout=60)
    num_made, num_images = map(int, out.split())
    assert num_images == 80
    assert num_made <= 16 - done_before[-1]
    whole, _ = start_packing(tmp_path, "other").communicate(timeout=60)
    assert whole.split() == ["16", "80"]
    other = cache.pack_folder(config_for(tmp_path, cache=tmp_path / "other"))
    assert digests(folder) == digests(other)
    assert not list(folder.glob("*.partial"))


def test_two_at_once_make_one_pack(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source", num_classes=4, per_class=10)
    both = [start_packing(tmp_path, "cache") for _ in range(2)]
    made = sorted(int(process.communicate(timeout=60)[0].split()[0]) for process in both)
    assert made == [0, 8]


def test_an_image_file_as_pillow_writes_it_is_stored_as_decoded(tmp_path: Path) -> None:
    """Nothing is lost but by the rescaling: at its own size a raw pack holds the very pixels."""
    buffer = io.BytesIO()
    Image.fromarray(on_disk.pixels_of(1, 1, (40, 55))).save(buffer, "JPEG")
    for label in range(2):
        on_disk.put(tmp_path / "source" / f"c{label}" / "a.jpg", buffer.getvalue())
    pack = Pack(cache.pack(config_for(tmp_path, encoding="raw")).folder)
    assert np.array_equal(pack.read(0), np.asarray(Image.open(buffer)))


def test_packs_are_kept_where_the_user_says_else_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(**fields: object) -> Path:
        return cache.pack_folder(config_of(data__name="mnist", **fields).data).parent

    monkeypatch.delenv("TRAINABILITY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place().name == "trainability"
    assert tmp_path in place().parents
    monkeypatch.setenv("TRAINABILITY_CACHE", str(tmp_path / "named"))
    assert place() == tmp_path / "named"
    assert place(data__cache=tmp_path / "asked") == tmp_path / "asked"
