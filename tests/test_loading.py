"""Streaming gives the batches that the resident loader gives, whatever the workers, ranks, stops and kills."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sources_on_disk as on_disk
import torch
from conftest import config_of, flags_of
from torch import Tensor

from trainability import keyed
from trainability.config import RunConfig
from trainability.data import dataset
from trainability.data.loader import Loader, MicroBatch, ResidentLoader, epoch_order
from trainability.data.packed import PackedImages
from trainability.data.streaming import BATCHES_AHEAD, NUM_SLOTS, StreamingLoader, make_loader
from trainability.data.workers import Workers
from trainability.training.record import read_rows

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def same_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 images, all of 40 x 52 pixels, packed without loss."""
    root = tmp_path_factory.mktemp("same")
    for number in range(120):
        on_disk.put(root / "source" / f"c{number % 3}" / f"{number}.png", on_disk.png(number % 3, number, (40, 52)))
    return root


@pytest.fixture(scope="module")
def mixed_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images, tall and wide."""
    root = tmp_path_factory.mktemp("mixed")
    on_disk.class_folders(root / "source")
    return root


def config_for(root: Path, **fields: Any) -> RunConfig:
    values = {
        "data__name": "folder",
        "data__path": root / "source",
        "data__cache": root / "cache",
        "data__encoding": "raw",
        "data__size": 40,
        "data__crop": 32,
        "data__resident_gib": None,
        "data__workers": 2,
        "optim__batch_size": 16,
    }
    return config_of(**{**values, **fields})


def loader_for(config: RunConfig, seed: int = 0, **more: Any) -> Loader:
    data = dataset.load(config.data, seed=0)
    return make_loader(data, config.data, config.optim, seed=seed, device=torch.device("cpu"), **more)


def equal(one: MicroBatch, other: MicroBatch) -> bool:
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.labels, other.labels)
        and torch.equal(one.weights, other.weights)
        and torch.equal(one.keys, other.keys)
        and one.is_last == other.is_last
    )


def all_micros(loader: Loader, epoch: int, first: int = 0) -> list[MicroBatch]:
    return [micro for step in loader.steps(epoch, first) for micro in step]


def test_the_choice_follows_from_where_the_images_are(same_shape: Path) -> None:
    assert isinstance(loader_for(config_for(same_shape, data__resident_gib=2.0)), ResidentLoader)
    assert isinstance(loader_for(config_for(same_shape)), StreamingLoader)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"data__flip": False, "data__input": "standard"},
        {"data__colour_shift": True},
        {"data__jitter": (34, 60)},
        {"data__jitter": (32, 40), "data__colour_shift": True, "optim__micro_batch_size": 5},
        {"optim__micro_batch_size": 7},
        {"optim__batch_size": 96},
    ],
    ids=str,
)
def test_streamed_batches_are_the_resident_ones_bit_for_bit(fields: dict[str, Any], same_shape: Path) -> None:
    streamed = loader_for(config_for(same_shape, **fields))
    resident = loader_for(config_for(same_shape, data__resident_gib=2.0, **fields))
    for epoch in (0, 3):
        ours, theirs = all_micros(streamed, epoch), all_micros(resident, epoch)
        assert len(ours) == len(theirs) > 0
        assert all(equal(one, other) for one, other in zip(ours, theirs, strict=True))
    for one, other in zip(streamed.validation(5), resident.validation(5), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("jitter", [None, (34, 60)])
def test_on_a_gpu_the_batches_are_the_same(jitter: tuple[int, int] | None, same_shape: Path) -> None:
    """The copies run behind the kernels: a slot that was used again too early would show here."""
    config = config_for(same_shape, data__jitter=jitter)
    data = dataset.load(config.data, seed=0)
    loaders = [make_loader(data, config.data, config.optim, seed=0, device=torch.device(device)) for device in ("cpu", "cuda")]
    for epoch in range(10):
        for ours, theirs in zip(*(all_micros(loader, epoch) for loader in loaders), strict=True):
            # Resampling sums in another order on a GPU, and may round a pixel to its neighbour.
            torch.testing.assert_close(ours.images, theirs.images.cpu(), rtol=0, atol=0 if jitter is None else 1.01)
            assert torch.equal(ours.labels, theirs.labels.cpu())


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_images_of_any_shape_are_cropped_where_their_key_says(encoding: str, mixed_shapes: Path) -> None:
    config = config_for(mixed_shapes, data__encoding=encoding, data__flip=False)
    data = dataset.load(config.data, seed=0)
    loader = make_loader(data, config.data, config.optim, seed=5, device=torch.device("cpu"))
    order = epoch_order(5, 2, len(data.train))
    images = torch.cat([micro.images for micro in all_micros(loader, 2)])
    for place, number in enumerate(order.tolist()):
        whole = data.train.images[number]
        key = keyed.example_keys(5, 2, torch.tensor([place]))
        height, width = whole.shape[:2]
        top = int(keyed.integers(keyed.stream(key, 16), height - 31))
        left = int(keyed.integers(keyed.stream(key, 17), width - 31))
        expected = whole[top : top + 32, left : left + 32].float() - data.mean
        assert torch.equal(images[place], expected.permute(2, 0, 1))


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_the_number_of_workers_changes_nothing(workers: int, mixed_shapes: Path) -> None:
    two = all_micros(loader_for(config_for(mixed_shapes, optim__micro_batch_size=6)), 1)
    others = all_micros(loader_for(config_for(mixed_shapes, optim__micro_batch_size=6, data__workers=workers)), 1)
    assert all(equal(one, other) for one, other in zip(two, others, strict=True))


@pytest.mark.parametrize("first", [0, 1, 3, 5])
def test_any_step_of_an_epoch_can_be_the_first(first: int, same_shape: Path) -> None:
    config = config_for(same_shape, optim__micro_batch_size=9)
    whole = [list(step) for step in loader_for(config).steps(1)]
    assert len(whole) == 6
    resumed = [list(step) for step in loader_for(config).steps(1, first)]
    assert len(resumed) == 6 - first
    for ours, theirs in zip(resumed, whole[first:], strict=True):
        assert all(equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_ranks_share_every_step_without_repeats(world_size: int, micro_batch_size: int | None, mixed_shapes: Path) -> None:
    config = config_for(mixed_shapes, optim__batch_size=11, optim__micro_batch_size=micro_batch_size)
    alone = [list(step) for step in loader_for(config).steps(0)]
    ranks = [
        [list(step) for step in loader_for(config, rank=rank, world_size=world_size).steps(0)] for rank in range(world_size)
    ]
    for step, expected in enumerate(alone):
        together = [micro for rank in ranks for micro in rank[step]]
        assert len({len(rank[step]) for rank in ranks}) == 1  # as many collectives everywhere

        def counted(micros: list[MicroBatch]) -> dict[int, Tensor]:
            pairs = [
                (key, image)
                for micro in micros
                for key, image, weight in zip(micro.keys.tolist(), micro.images, micro.weights, strict=True)
                if weight
            ]
            assert len(dict(pairs)) == len(pairs)  # nobody twice
            return dict(pairs)

        ours, theirs = counted(together), counted(expected)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("world_size", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_validation_has_every_example_once(world_size: int, batch_size: int, mixed_shapes: Path) -> None:
    config = config_for(mixed_shapes)
    seen: list[Tensor] = []
    lengths = set()
    for rank in range(world_size):
        batches = list(loader_for(config, rank=rank, world_size=world_size).validation(batch_size))
        lengths.add(len(batches))
        seen += [image for images, _, weights in batches for image, weight in zip(images, weights, strict=True) if weight]
    assert len(lengths) == 1
    data = dataset.load(config.data, seed=0)
    centres = []
    for number in range(len(data.val)):
        whole = data.val.images[number]
        top, left = (whole.shape[0] - 32) // 2, (whole.shape[1] - 32) // 2
        centres.append((whole[top : top + 32, left : left + 32].float() - data.mean).permute(2, 0, 1))
    assert len(seen) == len(centres)
    assert torch.equal(torch.stack(seen).flatten(1).sort(0).values, torch.stack(centres).flatten(1).sort(0).values)


def test_passes_may_be_left_and_mixed(same_shape: Path) -> None:
    loader = loader_for(config_for(same_shape, optim__micro_batch_size=5))
    assert isinstance(loader, StreamingLoader)
    expected, expected_val = all_micros(loader, 0), list(loader.validation(8))
    found = []
    for number, step in enumerate(loader.steps(0)):
        found += list(step)
        if number == 2:  # an evaluation in the middle of an epoch, and a step looked at again
            for one, other in zip(loader.validation(8), expected_val, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
            assert equal(next(next(loader.steps(0, 3))), expected[3 * 4])
    assert all(equal(one, other) for one, other in zip(found, expected, strict=True))
    # Steps of which the caller takes a part, or nothing.
    firsts = [next(step) for step in loader.steps(0)]
    assert all(equal(one, expected[4 * number]) for number, one in enumerate(firsts[:-1]))
    assert sum(1 for _ in loader.steps(0)) == 6
    gc.collect()
    assert sorted(loader.free) == list(range(NUM_SLOTS))


def test_one_pass_writes_to_few_slots(same_shape: Path) -> None:
    loader = loader_for(config_for(same_shape))
    assert isinstance(loader, StreamingLoader)
    for epoch in range(3):
        all_micros(loader, epoch)
    assert sum(bool(slot.any()) for slot in loader.slots) <= BATCHES_AHEAD + 1


def test_what_was_yielded_stays_as_it_was(same_shape: Path) -> None:
    micros = all_micros(loader_for(config_for(same_shape, data__flip=False)), 0)
    again = loader_for(config_for(same_shape, data__flip=False))
    for kept, step in zip(micros, again.steps(0), strict=True):
        assert equal(kept, next(step))


def test_a_batch_larger_than_the_set_is_refused(mixed_shapes: Path) -> None:
    with pytest.raises(ValueError, match=r"optim\.batch-size is 25; .*24 images"):
        loader_for(config_for(mixed_shapes, optim__batch_size=25))


def test_a_damaged_pack_names_the_shard_and_the_way_out(tmp_path: Path) -> None:
    on_disk.class_folders(tmp_path / "source")
    config = config_for(tmp_path, data__encoding="jpeg")
    data = dataset.load(config.data, seed=0)
    assert isinstance(data.train.images, PackedImages)
    shard = data.train.images.pack.folder / "shard-00000.bin"
    shard.write_bytes(bytes(shard.stat().st_size))
    loader = make_loader(data, config.data, config.optim, seed=0, device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"shard-00000\.bin: .* byte \d+ "):
        all_micros(loader, 0)


def test_a_worker_that_is_killed_is_an_error_not_a_wait(same_shape: Path) -> None:
    loader = loader_for(config_for(same_shape))
    assert isinstance(loader, StreamingLoader)
    steps = loader.steps(0)
    next(next(steps))
    pid = loader.workers.processes[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=rf"process {pid}\).* -9"):
        all_micros(loader, 1)


def test_workers_go_when_nobody_holds_them_and_errors_come_back() -> None:
    def work(request: int) -> int:
        if request == 3:
            raise ValueError("three")
        return request * request

    workers = Workers(work, 2)
    pids = [process.pid for process in workers.processes]
    tickets = [workers.submit(request) for request in range(6)]
    assert [workers.result(tickets[number]) for number in (5, 0, 4)] == [25, 0, 16]
    with pytest.raises(ValueError, match="three"):
        workers.result(tickets[3])
    assert sorted(workers.as_completed(range(10, 60))) == [number**2 for number in range(10, 60)]
    del workers
    gc.collect()
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


ORPHANS = """
import sys, time
from trainability.data.workers import Workers
workers = Workers(lambda request: request, 3)
print(*(process.pid for process in workers.processes), flush=True)
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_workers_do_not_outlive_a_parent_that_was_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 3
    assert all(is_running(pid) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_running(pid) for pid in pids)


@pytest.mark.slow
def test_kill_9_while_training_from_a_stream_continues_exactly(same_shape: Path, tmp_path: Path) -> None:
    config = config_for(
        same_shape,
        data__colour_shift=True,
        optim__epochs=6,
        optim__micro_batch_size=6,
        run__log_every_steps=1,
        run__checkpoint_every_steps=4,
    )
    train = [sys.executable, "-m", "trainability", "train"]
    flags = [*train, *flags_of(config), "--run.dir", "killed"]
    steps = tmp_path / "killed" / "steps.jsonl"
    kills = 0
    while kills < 2:
        process = subprocess.Popen(flags, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = len(read_rows(steps)) if steps.exists() else 0
        while process.poll() is None and (not steps.exists() or len(read_rows(steps)) < before + 7):
            time.sleep(0.005)
        assert process.poll() is None
        process.kill()  # this process alone: its workers have to notice
        process.wait()
        kills += 1
        flags = [*train, "--resume", "killed"]
    finished = subprocess.run(flags, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    whole = subprocess.run([*train, *flags_of(config), "--run.dir", "whole"], cwd=tmp_path, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    names = ("step", "loss", "gradient_norm", "top1_error")
    rows = [[[row[name] for name in names] for row in read_rows(tmp_path / run / "steps.jsonl")] for run in ("killed", "whole")]
    assert len(rows[0]) == 6 * 6
    assert rows[0] == rows[1]


def test_an_order_is_a_function_of_seed_and_epoch_alone(same_shape: Path) -> None:
    config = config_for(same_shape)
    one, same, other = (loader_for(config, seed=seed) for seed in (0, 0, 1))
    assert all(equal(a, b) for a, b in zip(all_micros(one, 4), all_micros(same, 4), strict=True))
    assert not torch.equal(all_micros(one, 4)[0].labels, all_micros(other, 4)[0].labels)
    labels = np.concatenate([micro.labels.numpy() for micro in all_micros(one, 0)])
    assert np.bincount(labels).tolist() == [32, 32, 32]
