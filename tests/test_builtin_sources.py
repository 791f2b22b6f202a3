"""The two data sets that need no download."""

import numpy as np
import pytest
import torch
from conftest import config_of

from trainability.data import dataset
from trainability.data.builtin import imbalanced_labels, pink_noise
from trainability.data.colour_statistics import colour_statistics, image_sums, pixel_sums
from trainability.data.dataset import DataSet, stratified_split


def load(seed: int = 0, **fields: object) -> DataSet:
    return dataset.load(config_of(**fields).data, seed=seed)


@pytest.mark.parametrize(("name", "size"), [("digits", 36), ("digits", 224), ("synthetic", 32), ("synthetic", 65)])
def test_shapes_ranges_and_classes(name: str, size: int) -> None:
    data = load(data__name=name, data__size=size, data__num_images=200)
    for split in (data.train, data.val):
        assert split.images.shape == (len(split), size, size, 3)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert set(split.labels.tolist()) == set(range(10))
    assert len(data.class_names) == 10
    assert data.train.images.max() > 200


def test_digits_are_all_there() -> None:
    data = load()
    assert len(data.train) + len(data.val) == 1797
    assert len(data.val) == 359
    # The strokes are bright on dark, and the corners are paper.
    assert data.train.images[:, 18, 18].float().mean() > 3 * data.train.images[:, 0, 0].float().mean() + 20


def test_the_split_is_stratified_and_decided_by_the_seed() -> None:
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor([100, 50, 10, 2]))
    train, val = stratified_split(labels, 0.2, seed=0)
    assert sorted(torch.cat([train, val]).tolist()) == list(range(162))
    assert torch.bincount(labels[val]).tolist() == [20, 10, 2]
    assert torch.equal(val, stratified_split(labels, 0.2, seed=0)[1])
    assert not torch.equal(val, stratified_split(labels, 0.2, seed=1)[1])


def test_moments_equal_the_slow_ones() -> None:
    images = torch.randint(0, 256, (7, 5, 6, 3), dtype=torch.uint8)
    found = colour_statistics(pixel_sums(images.numpy()))
    flat = images.double().reshape(-1, 3)
    torch.testing.assert_close(found.mean.double(), flat.mean(0), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(found.std.double(), flat.std(0, correction=0), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(found.covariance.double(), flat.T.cov(correction=0), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (17, 16), (33, 47), (300, 401)])
@pytest.mark.parametrize("num_values", [3, 4])
def test_sums_of_images_are_exact(shape: tuple[int, int], num_values: int) -> None:
    random = np.random.default_rng(0).integers(0, 256, (5, *shape, num_values), dtype=np.uint8)
    for images in (random, np.full_like(random, 255)):
        flat = images[..., :3].reshape(5, -1, 3).astype(np.int64)
        products = np.einsum("npa,npb->nab", flat, flat)
        squares = [products[:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
        expected = np.stack([np.full(5, flat.shape[1]), *flat.sum(1).T, *squares], axis=1)
        assert np.array_equal(image_sums(list(images)), expected)


def test_moments_come_from_the_training_images_only() -> None:
    data = load()
    torch.testing.assert_close(data.mean, data.train.images.float().mean((0, 1, 2)), rtol=1e-4, atol=1e-3)


def test_synthetic_images_have_the_spectrum_of_photographs() -> None:
    noise = pink_noise(64, 64, torch.Generator().manual_seed(0))
    power = torch.fft.fft2(noise).abs().square().mean((0, 1))
    frequency = torch.fft.fftfreq(64)[1:32]
    slope = torch.log(power[0, 1:32]) @ (torch.log(frequency) - torch.log(frequency).mean())
    slope = slope / (torch.log(frequency) - torch.log(frequency).mean()).square().sum()
    assert slope.item() == pytest.approx(-2, abs=0.1)  # power falls as 1/f², amplitude as 1/f


def test_synthetic_classes_can_be_told_apart_but_not_by_one_pixel() -> None:
    data = load(data__name="synthetic", data__num_images=2000)
    train = data.train.images.float().flatten(1)
    centres = torch.stack([train[data.train.labels == label].mean(0) for label in range(10)])
    distances = torch.cdist(data.val.images.float().flatten(1), centres)
    assert (distances.argmin(1) == data.val.labels).float().mean() > 0.5
    pixel = torch.cdist(data.val.images.float()[:, 16, 16], centres.reshape(10, 32, 32, 3)[:, 16, 16])
    assert (pixel.argmin(1) == data.val.labels).float().mean() < 0.35


def test_imbalance_is_geometric_and_exact_in_number() -> None:
    counts = torch.bincount(imbalanced_labels(20_000, 10, 50.0))
    assert counts.sum() == 20_000
    ratios = counts[1:].double() / counts[:-1]
    assert (ratios - 50 ** (-1 / 9)).abs().max() < 0.02
    assert torch.bincount(imbalanced_labels(257 * 2, 257, 1.0)).tolist() == [2] * 257


def test_too_few_images_for_the_classes() -> None:
    with pytest.raises(ValueError, match="at least 20"):
        load(data__name="synthetic", data__num_images=19)
    with pytest.raises(ValueError, match="val-fraction"):
        load(data__name="synthetic", data__num_images=20, data__val_fraction=0.01)


def test_generated_images_depend_on_the_seed_only() -> None:
    one, same, other = (load(seed, data__name="synthetic", data__num_images=100) for seed in (0, 0, 1))
    assert torch.equal(one.train.images, same.train.images)
    assert not torch.equal(one.train.images, other.train.images)
