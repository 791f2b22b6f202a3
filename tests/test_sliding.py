"""Loaders that slice at i in place of i * size, beside those whose batches overlap on purpose, or not at all."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from trainability.checking.check import check
from trainability.doctor.measure.sliding import sliding

COUNT, SIZE = 480, 16
X = torch.randn(COUNT, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
NUMBERS = np.random.default_rng(0).standard_normal((COUNT, 3))


class Loader:
    """A loader of the program's own, with a length, whose batches `made` yields anew for each pass."""

    def __init__(self, made: Callable[[], Iterator[Any]], count: int = COUNT // SIZE) -> None:
        self.made, self.count = made, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return self.made()


def slices(step: int, *, count: int = COUNT // SIZE, turned: bool = False) -> Iterator[Any]:
    order = torch.randperm(count).tolist() if turned else range(count)
    for i in order:
        yield X[i * step : i * step + SIZE], Y[i * step : i * step + SIZE]


class Held:
    """Keeps its data, and shuffles them or the batches anew for each pass."""

    def __init__(self, step: int, *, shuffles: bool = False) -> None:
        self.x, self.y, self.step, self.shuffles = NUMBERS, NUMBERS[:, 0], step, shuffles

    def __iter__(self) -> Iterator[Any]:
        x, y = self.x, self.y
        if self.shuffles:
            order = np.random.permutation(COUNT)
            x, y = x[order], y[order]
        for i in range(-(-COUNT // SIZE)):
            first = i * self.step
            yield {"x": torch.tensor(x[first : first + SIZE]), "y": torch.tensor(y[first : first + SIZE])}


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return slices(1)


def of_numbers(step: int) -> Iterator[Any]:
    for i in range(COUNT // SIZE):
        yield torch.from_numpy(NUMBERS[i * step : i * step + SIZE].copy())


BAD = {
    "by one": Loader(lambda: slices(1)),
    "by two": Loader(lambda: slices(2)),
    "in random order": Loader(lambda: slices(1, turned=True)),
    "arrays that the loader holds": Held(1),
    "arrays that are shuffled first": Held(1, shuffles=True),
    "a list": [(X[i : i + SIZE], Y[i : i + SIZE]) for i in range(COUNT // SIZE)],
    "a stream": DataLoader(Stream(), batch_size=None),
    "indices": DataLoader(TensorDataset(X, Y), batch_sampler=[list(range(i, i + SIZE)) for i in range(COUNT // SIZE)]),
    "copies of a global array": Loader(lambda: of_numbers(1)),
}


@pytest.mark.parametrize("name", BAD)
def test_slices_that_slide(name: str) -> None:
    found = sliding(BAD[name])
    assert found is not None
    assert (found.batches, found.batch_size, found.held) == (COUNT // SIZE, SIZE, COUNT)
    assert found.shown == SIZE + (COUNT // SIZE - 1) * (2 if name == "by two" else 1)


def windows(step: int) -> Iterator[Any]:
    """Windows of a series, whose values overlap."""
    made = torch.stack([X[k : k + 24] for k in range(0, COUNT - 24)])
    for i in range(0, len(made), SIZE):
        yield made[i : i + SIZE, ::step], Y[24:][i : i + SIZE]


def drawn() -> Iterator[Any]:
    for _ in range(COUNT // SIZE):
        rows = torch.randint(40, (SIZE,))
        yield X[rows], Y[rows]


def blocks() -> Iterator[Any]:
    """Stretches of the series that begin anywhere."""
    for _ in range(COUNT // SIZE):
        i = int(torch.randint(COUNT - SIZE, ()))
        yield X[i : i + SIZE], Y[i : i + SIZE]


def noisy() -> Iterator[Any]:
    for i in range(COUNT // SIZE):
        yield X[i : i + SIZE] + 0.1 * torch.randn(SIZE, 5), Y[i : i + SIZE]


def few_kinds() -> Iterator[Any]:
    rows = X[:3].repeat(COUNT // 3, 1)
    for i in range(COUNT // SIZE):
        yield rows[i * SIZE : i * SIZE + SIZE], Y[i * SIZE : i * SIZE + SIZE]


SOUND = {
    "a batch further each": Loader(lambda: slices(SIZE)),
    "half a batch further, as of a series": Loader(lambda: slices(SIZE // 2, count=2 * COUNT // SIZE - 1)),
    "each row first once, as online": Loader(lambda: slices(1, count=COUNT - SIZE)),
    "windows of a series": Loader(lambda: windows(1)),
    "drawn again": Loader(drawn),
    "stretches": Loader(blocks),
    "noise": Loader(noisy),
    "few kinds of rows": Loader(few_kinds),
    "one batch": [(X[:SIZE], Y[:SIZE])] * (COUNT // SIZE),
    "a DataLoader": DataLoader(TensorDataset(X, Y), batch_size=SIZE, shuffle=True),
    "shuffled": Held(SIZE, shuffles=True),
    "an iterator": slices(1),
    "numbers": [(1.0, 2.0)] * 9,
}


@pytest.mark.parametrize("name", SOUND)
def test_batches_that_are_meant(name: str) -> None:
    assert sliding(SOUND[name]) is None


def test_random_numbers_are_as_before() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert sliding(BAD["in random order"]) is not None
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("step", [1, SIZE])
def test_check_tells(step: int) -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    report = check(model, Loader(lambda: slices(step)), nn.functional.cross_entropy, optimizer)
    assert ("repeated_batch.sliding" in [f.code for f in report.findings]) == (step == 1)


def circle(labelled: int, shift: int) -> Iterator[Any]:
    """As many batches as all of the data have, of the first rows alone, in a circle."""
    for k in range(COUNT // SIZE):
        rows = (torch.arange(SIZE) + k * shift) % labelled
        yield X[rows], Y[rows]


@pytest.mark.parametrize(("labelled", "shift"), [(100, SIZE), (130, SIZE), (238, SIZE // 2)])
def test_few_rows_in_a_circle_do_not_slide(labelled: int, shift: int) -> None:
    assert sliding(Loader(lambda: circle(labelled, shift))) is None
