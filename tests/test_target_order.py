"""Float targets in the order in which a loader yields them: sorted, or in one of the many other orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from trainability import Setup, check
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.measure.audits import audit_data
from trainability.loops.script_watch import ScriptWatch

ROWS, SIZE = 640, 16


def table(order: Callable[[Tensor], Tensor], outputs: int = 1) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(ROWS, 6)
    y = x @ torch.randn(6, outputs) + 0.1 * torch.randn(ROWS, outputs)
    places = order(y[:, 0])
    return x[places], y[places].squeeze(-1)


def in_groups(y: Tensor) -> Tensor:
    """Batches of one range each, one after the other at random."""
    return y.argsort().view(-1, SIZE)[torch.randperm(len(y) // SIZE)].flatten()


def nearly(y: Tensor) -> Tensor:
    """Ascending but for noise, as a series that rises."""
    return (y + 0.5 * y.std() * torch.randn(len(y))).argsort()


ORDERS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "ascending": (torch.argsort, True),
    "descending": (lambda y: y.argsort(descending=True), True),
    "mixed": (lambda y: torch.arange(len(y)), False),
    "in groups": (in_groups, False),
    "nearly ascending": (nearly, False),
    "several series": (lambda y: y.argsort().view(-1, 4).T.flatten(), False),
}


class Slices:
    """A loader by hand."""

    def __init__(self, x: Tensor, y: Tensor, *, draws: Callable[[int], Tensor] = torch.arange) -> None:
        self.x, self.y, self.draws = x, y, draws

    def __len__(self) -> int:
        return len(self.x) // SIZE

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in self.draws(len(self.x)).split(SIZE):
            yield self.x[rows], self.y[rows]


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_of_targets_is_read(name: str) -> None:
    order, is_sorted = ORDERS[name]
    data = table(order)
    found = audit_data(Slices(*data)).train.target_order
    assert (found is not None) is is_sorted
    assert found is None or (found.explained > 0.95 and found.by_chance < 0.1)
    assert audit_data(DataLoader(TensorDataset(*data), SIZE, shuffle=True)).train.target_order is None


def test_another_order_in_the_next_pass_is_no_order() -> None:
    passes = iter([torch.arange(ROWS), *(torch.randperm(ROWS) for _ in range(9))])
    assert audit_data(Slices(*table(torch.argsort), draws=lambda count: next(passes))).train.target_order is None


def test_few_batches_masks_and_marks_are_not_asked() -> None:
    x, y = table(torch.argsort)
    assert audit_data(Slices(x[: 9 * SIZE], y[: 9 * SIZE])).train.target_order is None
    assert audit_data(Slices(x, y[:, None].repeat(1, 9))).train.target_order is None
    assert audit_data(Slices(x, (y > 0).float())).train.target_order is None


def test_one_number_of_several_that_is_sorted_explains_its_share() -> None:
    found = audit_data(Slices(*table(torch.argsort, outputs=4))).train.target_order
    assert found is not None
    assert found.explained < 0.5


def net() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def codes(diagnosis: Diagnosis) -> set[str]:
    return {f.code for f in diagnosis.findings if f.rule == "class_order"}


def test_check_names_it() -> None:
    model, optimizer = net()
    setup = Setup(
        model=model, train_loader=Slices(*table(torch.argsort)), loss_fn=nn.MSELoss(), optimizer=optimizer, rehearse_seconds=1
    )
    assert codes(check(setup)) == {"class_order.targets"}


def followed(loader: Callable[[], object], *, every: int, passes: int) -> Diagnosis:
    watch = ScriptWatch(Path("loop.py"), every=every, most_steps=None, place=None)
    watch.begin()
    try:
        model, optimizer = net()
        batches = loader()
        for _ in range(passes):
            for x, y in batches:  # type: ignore[attr-defined]
                nn.functional.huber_loss(model(x), y).backward()
                optimizer.step()
                optimizer.zero_grad()
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    return diagnosis


@pytest.mark.parametrize("shuffles", [False, True])
def test_a_followed_loop_shows_it_by_its_loader(shuffles: bool) -> None:
    def loader() -> DataLoader:
        return DataLoader(TensorDataset(*table(torch.argsort)), SIZE, shuffle=shuffles)

    assert codes(followed(loader, every=40, passes=2)) == (set() if shuffles else {"class_order.targets"})


@pytest.mark.parametrize("name", ["ascending", "mixed", "in groups"])
def test_a_followed_loop_shows_it_by_its_sampled_steps(name: str) -> None:
    order, is_sorted = ORDERS[name]
    diagnosis = followed(lambda: Slices(*table(order)), every=7, passes=5)
    assert codes(diagnosis) == ({"class_order.targets"} if is_sorted else set())


class Order(Sampler[int]):
    """Yields examples in one order, in every pass or in the first alone."""

    def __init__(self, order: Tensor, *, every: bool = True) -> None:
        self.order, self.every, self.passes = order, every, 0

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        again = self.every or self.passes == 1
        return iter((self.order if again else torch.randperm(len(self.order))).tolist())

    def __len__(self) -> int:
        return len(self.order)


def sampled(along: float, *, every: bool = True, stored: bool = False) -> DataLoader:
    """Ordered by the target and noise, `along` times as large as the target."""
    x, y = table(lambda y: torch.arange(len(y)))
    order = (y + along * y.std() * torch.randn(len(y))).argsort()
    data = TensorDataset(x[order], y[order]) if stored else TensorDataset(x, y)
    return DataLoader(data, SIZE, sampler=Order(torch.arange(len(y)) if stored else order, every=every))


@pytest.mark.parametrize("along", [0.5, 3.0])
def test_targets_that_mostly_follow_a_sampler(along: float) -> None:
    found = audit_data(sampled(along)).train.target_order
    assert (found is not None and found.along == "sampler" and found.explained > 0.5) is (along < 1)
    assert audit_data(sampled(along, every=False)).train.target_order is None
    assert audit_data(sampled(along, stored=True)).train.target_order is None


class Texts(Dataset):
    """Longer ones have larger targets, by the slope; sorted by their length or not."""

    def __init__(self, slope: float, *, in_order: bool) -> None:
        torch.manual_seed(0)
        lengths = torch.randint(5, 40, (ROWS,))
        lengths = lengths.sort().values if in_order else lengths
        y = slope * (lengths - 22.0) / 10 + torch.randn(ROWS)
        self.rows = [(torch.randint(50, (int(n),)), t) for n, t in zip(lengths, y, strict=True)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.rows[i]


def padded(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    words, targets = zip(*rows, strict=True)
    return nn.utils.rnn.pad_sequence(list(words), batch_first=True), torch.stack(targets)


class Buckets(Sampler[list[int]]):
    """Batches of like length, in random order."""

    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(range(i * SIZE, (i + 1) * SIZE)) for i in torch.randperm(len(self)).tolist()])

    def __len__(self) -> int:
        return ROWS // SIZE


@pytest.mark.parametrize("slope", [0.3, 2.0])
def test_targets_that_follow_the_length_of_their_examples(slope: float) -> None:
    texts = Texts(slope, in_order=True)
    found = audit_data(DataLoader(texts, SIZE, collate_fn=padded)).train.target_order
    assert (found is not None and found.along == "length" and found.explained > 0.5) is (slope > 1)
    assert audit_data(DataLoader(texts, collate_fn=padded, batch_sampler=Buckets())).train.target_order is None
    mixed = DataLoader(Texts(slope, in_order=False), SIZE, collate_fn=padded)
    assert audit_data(mixed).train.target_order is None


def test_check_names_what_follows_a_sampler() -> None:
    model, optimizer = net()
    setup = Setup(model=model, train_loader=sampled(0.5), loss_fn=nn.MSELoss(), optimizer=optimizer, rehearse_seconds=1)
    assert codes(check(setup)) == {"class_order.targets"}
