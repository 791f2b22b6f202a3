"""Generators that a loader's own objects draw from: put back wherever they are held, and by a whole check."""

import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler, Subset, TensorDataset

from trainability import check
from trainability.doctor.measure.randomness import generators_restored

SHARED = np.random.default_rng(3)


class Noisy(Dataset):
    """Draws from what it is given, or holds nothing and draws from a global generator."""

    def __init__(self, draw: Callable[[], float] | None = None, **held: Any) -> None:
        self.draw, self.held = draw, held
        self.x = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        drawn = self.draw() if self.draw is not None else float(SHARED.normal())
        return self.x[index] + 0.1 * drawn, (self.x[index, 0] > 0).long()


class Renamed(Noisy):
    pass


class Shuffled(Sampler):
    def __init__(self) -> None:
        self.rng = random.Random(0)

    def __len__(self) -> int:
        return 48

    def __iter__(self) -> Iterator[int]:
        return iter(self.rng.sample(range(48), 48))


class Jitter:
    def __init__(self) -> None:
        self.state = np.random.RandomState(0)

    def __call__(self) -> float:
        return float(self.state.normal())


class Own:
    """A loader of one's own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.x = np.random.default_rng(1).normal(size=(48, 4)).astype(np.float32)

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self.rng.permutation(48)
        for k in range(3):
            part = torch.from_numpy(self.x[order[16 * k : 16 * k + 16]])
            yield part, (part[:, 0] > 0).long()


class Stream(IterableDataset):
    def __init__(self) -> None:
        self.torch_generator = torch.Generator().manual_seed(0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(48):
            x = torch.randn(4, generator=self.torch_generator)
            yield x, (x[0] > 0).long()


def collating() -> Callable[[list[Any]], Any]:
    rng = np.random.default_rng(0)

    def collate(items: list[Any]) -> tuple[Tensor, Tensor]:
        x = torch.stack([x for x, _ in items])
        return x + float(rng.normal()), torch.stack([y for _, y in items])

    return collate


def drawn(rng: Any, scale: float) -> float:
    return scale * float(rng.normal())


def plain() -> TensorDataset:
    x = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x[:, 0] > 0).long())


LOADERS: dict[str, Callable[[], Any]] = {
    "dataset": lambda: DataLoader(Noisy(Jitter()), batch_size=16),
    "inherited": lambda: DataLoader(Renamed(Jitter()), batch_size=16),
    "method": lambda: DataLoader(Noisy(Jitter().__call__), batch_size=16),
    "partial": lambda: DataLoader(Noisy(functools.partial(drawn, np.random.default_rng(0), scale=0.5)), batch_size=16),
    "global": lambda: DataLoader(Noisy(), batch_size=16),
    "subset": lambda: DataLoader(Subset(Noisy(Jitter()), range(40)), batch_size=8),
    "sampler": lambda: DataLoader(plain(), batch_size=16, sampler=Shuffled()),
    "batch sampler": lambda: DataLoader(plain(), batch_sampler=BatchSampler(Shuffled(), 16, drop_last=True)),
    "collate": lambda: DataLoader(plain(), batch_size=16, collate_fn=collating()),
    "generator": lambda: DataLoader(plain(), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(0)),
    "own loader": Own,
    "stream": lambda: DataLoader(Stream(), batch_size=16),
}


def first(loader: Any) -> Tensor:
    return next(iter(loader))[0]


@pytest.mark.parametrize("kind", LOADERS)
def test_a_pass_is_put_back(kind: str) -> None:
    plain_state = torch.get_rng_state()
    one, other = LOADERS[kind](), LOADERS[kind]()
    if kind == "global":
        SHARED.bit_generator.state = np.random.default_rng(3).bit_generator.state
    with generators_restored(one):
        for _ in range(2):
            list(one)
    torch.set_rng_state(plain_state)
    read = first(one)
    if kind == "global":
        SHARED.bit_generator.state = np.random.default_rng(3).bit_generator.state
    torch.set_rng_state(plain_state)
    assert torch.equal(read, first(other))


@pytest.mark.parametrize("kind", ["dataset", "own loader"])
def test_a_check_leaves_them(kind: str) -> None:
    one, other = LOADERS[kind](), LOADERS[kind]()
    model = nn.Linear(4, 2)
    check(model, one, nn.CrossEntropyLoss(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1), val_loader=LOADERS[kind]())
    assert torch.equal(first(one), first(other))


def test_a_dataset_with_many_parts_is_not_searched_through() -> None:
    """What a dataset holds in long lists is data."""
    dataset = Noisy(None, parts=[Jitter() for _ in range(1000)])
    taken = []
    dataset.held["parts"][0].state = type("Watched", (), {"__getattr__": lambda self, name: taken.append(name)})()
    with generators_restored(DataLoader(dataset, batch_size=16)):
        pass
    assert taken == []
