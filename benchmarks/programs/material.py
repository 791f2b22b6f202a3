"""What the programs are trained on: the digits of the package, and made-up tables, sequences, masks and graphs."""

import functools
import math
from importlib import resources

import numpy as np
import torch
from torch import Tensor

Data = tuple[Tensor, ...]


@functools.cache
def _digits() -> Data:
    with resources.files("trainability.data").joinpath("digits.npz").open("rb") as file:
        archive = np.load(file)
        images, labels = torch.from_numpy(archive["images"]).float(), torch.from_numpy(archive["labels"]).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    return images[order][:, None], labels[order]


def raw_digits(train: bool) -> Data:
    """Images (n, 1, 8, 8) of 0 to 16 as they are stored, and labels; 1,437 for training and 360 held out."""
    images, labels = _digits()
    part = slice(None, 1437) if train else slice(1437, None)
    return images[part], labels[part]


def digits(train: bool) -> Data:
    """The digits with mean 0 and standard deviation 1."""
    images, labels = raw_digits(train)
    return (images - 4.9) / 6.0, labels


def flat_digits(train: bool) -> Data:
    """The digits as rows of 64 numbers."""
    images, labels = digits(train)
    return images.flatten(1), labels


@functools.cache
def table(train: bool) -> Data:
    """Features (n, 8) with mean 0 and variance 1, and targets (n, 1) of mean 0 and variance 1; a twentieth of it noise."""
    rng = torch.Generator().manual_seed(4 if train else 5)
    x = torch.randn(1024 if train else 512, 8, generator=rng)
    y = torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.7 * x[:, 3] - 0.5 * x[:, 4].abs() + 0.4
    return x, (y / 1.5 + 0.22 * torch.randn(len(x), generator=rng))[:, None]


@functools.cache
def moons(train: bool) -> Data:
    """Points (n, 2) on two half circles with noise, and which of the two, 0.0 or 1.0, as (n, 1)."""
    rng = torch.Generator().manual_seed(6 if train else 7)
    n = 800 if train else 400
    side = torch.randint(2, (n,), generator=rng).float()
    angle = math.pi * torch.rand(n, generator=rng)
    x = torch.stack([torch.cos(angle) * (1 - 2 * side) + side, torch.sin(angle) * (1 - 2 * side) + 0.5 * side], dim=1)
    return 1.5 * (x + 0.1 * torch.randn(n, 2, generator=rng)) - torch.tensor([0.75, 0.4]), side[:, None]


@functools.cache
def chain(train: bool) -> Data:
    """Tokens (n, 20) of 12 kinds from a Markov chain of the first order, and the same shifted by one."""
    rng = torch.Generator().manual_seed(3)
    odds = torch.softmax(2.5 * torch.randn(12, 12, generator=rng), dim=1)
    rng.manual_seed(8 if train else 9)
    tokens = torch.randint(12, (1024 if train else 256, 1), generator=rng)
    for _ in range(20):
        tokens = torch.cat([tokens, torch.multinomial(odds[tokens[:, -1]], 1, generator=rng)], dim=1)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


@functools.cache
def reviews(train: bool) -> Data:
    """Word numbers (n, 24) below 2,000, of which those of either hundred decide the class, and the class, 0 or 1."""
    rng = torch.Generator().manual_seed(10 if train else 11)
    n = 1200 if train else 400
    label = torch.randint(2, (n,), generator=rng)
    words = torch.randint(200, 2000, (n, 24), generator=rng)
    telling = torch.randint(100, (n, 24), generator=rng) + 100 * label[:, None]
    return torch.where(torch.rand(n, 24, generator=rng) < 0.3, telling, words), label


@functools.cache
def walks(train: bool) -> Data:
    """Series (n, 20, 4), and whether the sum of the first channel is above zero."""
    rng = torch.Generator().manual_seed(12 if train else 13)
    x = torch.randn(1200 if train else 400, 20, 4, generator=rng)
    return x, (x[:, :, 0].sum(dim=1) > 0).long()


@functools.cache
def first_sign(train: bool) -> Data:
    """Series (n, 60, 2) whose first element tells the class; the rest is noise."""
    rng = torch.Generator().manual_seed(14 if train else 15)
    n = 800 if train else 300
    x, label = 0.5 * torch.randn(n, 60, 2, generator=rng), torch.randint(2, (n,), generator=rng)
    x[:, 0, 0] = 2.0 * label - 1.0
    return x, label


@functools.cache
def waves(train: bool) -> Data:
    """Stretches (n, 16, 1) of sine waves with noise, and the value that comes next, (n, 1)."""
    rng = torch.Generator().manual_seed(16 if train else 17)
    n = 1000 if train else 400
    at = torch.arange(17) * (0.3 + 0.4 * torch.rand(n, 1, generator=rng)) + 6.3 * torch.rand(n, 1, generator=rng)
    x = torch.sin(at) + 0.05 * torch.randn(n, 17, generator=rng)
    return x[:, :16, None], x[:, 16:]


@functools.cache
def discs(train: bool) -> Data:
    """Noisy images (n, 1, 16, 16) of a disc, and its mask."""
    rng = torch.Generator().manual_seed(18 if train else 19)
    n = 256 if train else 96
    ys, xs = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    centre = 4 + 8 * torch.rand(n, 2, 1, 1, generator=rng)
    radius = 2 + 2 * torch.rand(n, 1, 1, generator=rng)
    mask = ((ys - centre[:, 0]) ** 2 + (xs - centre[:, 1]) ** 2 < radius**2).float()[:, None]
    return 2.0 * mask + 0.7 * torch.randn(n, 1, 16, 16, generator=rng) - 0.2, mask


@functools.cache
def clusters(train: bool) -> Data:
    """Points (n, 2) around the three corners of a triangle: what a generator is to make."""
    rng = torch.Generator().manual_seed(20 if train else 21)
    corners = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    n = 1024 if train else 512
    return (corners[torch.randint(3, (n,), generator=rng)] + 0.3 * torch.randn(n, 2, generator=rng),)


@functools.cache
def states(train: bool) -> Data:
    """States (n, 4) of a bandit: the best of four actions is the largest of them."""
    return (torch.randn(2000 if train else 500, 4, generator=torch.Generator().manual_seed(22 if train else 23)),)


@functools.cache
def friends() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A graph of 180 nodes in three groups: features (180, 8), groups, adjacency (180, 180), and which nodes train."""
    rng = torch.Generator().manual_seed(24)
    group = torch.arange(180) % 3
    same = group[:, None] == group[None]
    edges = (torch.rand(180, 180, generator=rng) < torch.where(same, 0.12, 0.01)).triu(1)
    features = 0.6 * torch.nn.functional.one_hot(group, 8).float() + torch.randn(180, 8, generator=rng)
    return features, group, (edges | edges.T).float(), torch.rand(180, generator=rng) < 0.5
