"""Which images make up which step: a function of (seed, epoch, position), however the work is split."""

import pytest
import torch
from conftest import config_of
from torch import Tensor

from trainability import keyed
from trainability.data import dataset
from trainability.data.augment import FLIP_STREAM, LEFT_STREAM, TOP_STREAM, centre_crops, random_crops
from trainability.data.loader import ResidentLoader, shares


def loader(rank: int = 0, world_size: int = 1, **fields: object) -> ResidentLoader:
    config = config_of(**fields)
    data = dataset.load(config.data, seed=0)
    return ResidentLoader(
        data,
        config.data,
        config.optim,
        seed=config.run.seed,
        device=torch.device("cpu"),
        rank=rank,
        world_size=world_size,
    )


def step_images(which: ResidentLoader, epoch: int, step: int) -> tuple[Tensor, Tensor]:
    micros = list(next(which.steps(epoch, first=step)))
    counted = [micro.weights > 0 for micro in micros]
    images = torch.cat([micro.images[kept] for micro, kept in zip(micros, counted, strict=True)])
    return images, torch.cat([micro.keys[kept] for micro, kept in zip(micros, counted, strict=True)])


@pytest.mark.parametrize("micro_batch_size", [None, 1, 7, 50, 128])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_step_is_the_same_images_however_it_is_split(micro_batch_size: int | None, world_size: int) -> None:
    whole = loader()
    last = whole.steps_per_epoch - 1
    for step in (0, last):
        images, keys = step_images(whole, 1, step)
        assert len(images) == whole.num_examples(step)
        parts = [
            step_images(loader(rank, world_size, optim__micro_batch_size=micro_batch_size), 1, step)
            for rank in range(world_size)
        ]
        order, here = keys.argsort(), torch.cat([part[1] for part in parts]).argsort()
        assert torch.equal(images[order], torch.cat([part[0] for part in parts])[here])


@pytest.mark.parametrize(("num", "micro", "world"), [(1, None, 3), (5, 2, 2), (64, 16, 4), (30, 128, 2), (7, 3, 1)])
def test_every_process_takes_equally_many_micro_batches(num: int, micro: int | None, world: int) -> None:
    dealt = [shares(100, 100 + num, micro_batch_size=micro, rank=rank, world_size=world) for rank in range(world)]
    assert len({len(mine) for mine in dealt}) == 1
    real = [share for mine in dealt for share in mine if not share.is_filler]
    assert sorted(p for share in real for p in range(share.start, share.stop)) == list(range(100, 100 + num))
    assert all(share.stop - share.start <= (micro or num) for share in real)


def test_an_epoch_has_every_image_once_and_orders_differ() -> None:
    which = loader()
    labels = torch.cat([micro.labels for step in which.steps(0) for micro in step])
    assert torch.equal(labels.sort().values, which.train_labels.sort().values)
    again = torch.cat([micro.labels for step in which.steps(0) for micro in step])
    other = torch.cat([micro.labels for step in which.steps(1) for micro in step])
    assert torch.equal(labels, again)
    assert not torch.equal(labels, other)


def test_random_crops_equal_the_slow_ones_image_by_image() -> None:
    store = torch.randint(0, 256, (20, 40, 44, 3), dtype=torch.uint8)
    index, keys = torch.randint(0, 20, (64,)), keyed.example_keys(0, 0, torch.arange(64))
    fast = random_crops(store, index, keys, crop=32, flip=True)
    mirrored = 0
    for number in range(64):
        key = keys[number : number + 1]
        top = int(keyed.integers(keyed.stream(key, TOP_STREAM), 40 - 32 + 1))
        left = int(keyed.integers(keyed.stream(key, LEFT_STREAM), 44 - 32 + 1))
        slow = store[index[number], top : top + 32, left : left + 32]
        if int(keyed.integers(keyed.stream(key, FLIP_STREAM), 2)):
            slow, mirrored = slow.flip(1), mirrored + 1
        assert torch.equal(fast[number], slow)
    assert 16 < mirrored < 48


def test_crops_reach_every_corner() -> None:
    ramp = torch.arange(40, dtype=torch.uint8)
    store = (ramp[:, None] + ramp[None, :] * 0)[None, :, :, None].repeat(1, 1, 1, 3)
    tops = random_crops(
        store, torch.zeros(500, dtype=torch.long), keyed.example_keys(0, 0, torch.arange(500)), crop=32, flip=False
    )[:, 0, 0, 0]
    assert set(tops.tolist()) == set(range(9))


def test_centre_crop() -> None:
    image = torch.arange(6 * 6 * 3, dtype=torch.uint8).reshape(1, 6, 6, 3)
    assert torch.equal(centre_crops(image, 4), image[:, 1:5, 1:5])


@pytest.mark.parametrize("scale", ["mean", "standard"])
def test_input_scale(scale: str) -> None:
    which = loader(data__input=scale, data__size=32)  # no margin: the crops are the images
    images = torch.cat([micro.images for step in which.steps(0) for micro in step])
    assert images.is_contiguous(memory_format=torch.channels_last)
    mean_square = images.square().mean().item()
    if scale == "mean":
        assert mean_square > 2000
    else:
        assert mean_square == pytest.approx(1, rel=1e-3)
    assert abs(images.mean().item()) < 1e-3 * mean_square**0.5


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_validation_counts_every_example_once(world_size: int) -> None:
    whole = torch.cat([images for images, _, _ in loader().validation(1000)])
    parts = [list(loader(rank, world_size).validation(50)) for rank in range(world_size)]
    assert len({len(part) for part in parts}) == 1
    seen = torch.cat([images[weights > 0] for part in parts for images, _, weights in part])
    assert len(seen) == len(whole)
    assert torch.equal(seen.flatten(1).double().sum(1).sort().values, whole.flatten(1).double().sum(1).sort().values)


def test_batch_larger_than_the_set_names_both() -> None:
    with pytest.raises(ValueError, match=r"optim\.batch-size is 2000; .*1438"):
        loader(optim__batch_size=2000)
