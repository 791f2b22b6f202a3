"""Float targets in the order in which a loader yields them: sorted, or in one of the many other orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

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
