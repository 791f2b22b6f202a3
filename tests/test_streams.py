"""Streams of examples, whose length nobody knows and whose order is their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from trainability import Setup, check, confirm
from trainability.doctor.diagnosis import Diagnosis
from trainability.loops.script_watch import ScriptWatch

CLASSES, EACH = 6, 160


class Stream(IterableDataset):
    """Six clouds of points, one class after the other, out of order by as much as a buffer holds."""

    def __init__(self, order: Callable[[Tensor], Tensor]) -> None:
        rng = torch.Generator().manual_seed(0)
        labels = torch.arange(CLASSES).repeat_interleave(EACH)
        points = 3 * torch.randn(CLASSES, 8, generator=rng)[labels] + torch.randn(len(labels), 8, generator=rng)
        places = order(labels)
        self.points, self.labels = points[places], labels[places]

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        yield from zip(self.points, self.labels.tolist(), strict=True)


def buffered(size: int) -> Callable[[Tensor], Tensor]:
    def order(labels: Tensor) -> Tensor:
        noise = torch.rand(len(labels), generator=torch.Generator().manual_seed(1))
        return (torch.arange(len(labels)) + size * noise).argsort()

    return order


def in_turn(labels: Tensor) -> Tensor:
    """One of each file after the other."""
    return torch.arange(len(labels)).view(CLASSES, EACH).T.flatten()


def each_in_a_batch(labels: Tensor) -> Tensor:
    """Batches of sixteen, one of each class after the other."""
    return torch.arange(len(labels)).view(CLASSES, -1, 16).transpose(0, 1).flatten()


def parts(order: Callable[[Tensor], Tensor], size: int = 16) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    return model, torch.optim.SGD(model.parameters(), lr=0.02), DataLoader(Stream(order), size)


def followed(order: Callable[[Tensor], Tensor], *, accumulation: int = 1, replayed: int = 0) -> Diagnosis:
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        model, optimizer, loader = parts(order)
        memory: list[tuple[Tensor, Tensor]] = []
        for _ in range(2 * accumulation):
            for number, (points, labels) in enumerate(loader, start=1):
                if replayed:
                    memory.append((points, labels))
                    rows = torch.randint(16 * len(memory), (replayed,))
                    old_points, old_labels = (torch.cat(parts)[rows] for parts in zip(*memory, strict=True))
                    points, labels = torch.cat([points, old_points]), torch.cat([labels, old_labels])
                (nn.functional.cross_entropy(model(points), labels) / accumulation).backward()
                if number % accumulation == 0:
                    optimizer.step()
                    optimizer.zero_grad()
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    return diagnosis


def named(diagnosis: Diagnosis) -> set[str]:
    return {f.code for f in diagnosis.findings if f.severity != "hint"}


@pytest.mark.parametrize(
    ("order", "codes"),
    [(buffered(40), {"class_order.stream"}), (buffered(5000), set()), (in_turn, set())],
    ids=["a small buffer", "a large one", "files in turn"],
)
def test_the_order_of_a_stream_is_read(order: Callable[[Tensor], Tensor], codes: set[str]) -> None:
    model, optimizer, loader = parts(order)
    checked = check(model, loader, nn.CrossEntropyLoss(), optimizer)
    assert named(checked) == codes
    assert named(followed(order)) == codes
    if codes:
        (finding,) = (f for f in checked.findings if f.code in codes)
        assert "shuffle buffer" in finding.remedy


def test_batches_of_one_class_each_that_are_accumulated_are_mixed() -> None:
    assert named(followed(each_in_a_batch)) == {"class_order.stream"}
    assert named(followed(each_in_a_batch, accumulation=CLASSES)) == set()


def test_a_stream_that_is_trained_on_with_earlier_examples_is_mixed() -> None:
    assert named(followed(buffered(40), replayed=48)) == set()


def test_experiments_are_made_on_a_stream() -> None:
    model, optimizer, loader = parts(buffered(40))
    setup = Setup(model=model, train_loader=loader, loss_fn=nn.CrossEntropyLoss(), optimizer=optimizer, rehearse_seconds=1)
    found = confirm(setup, seconds=10)
    assert "class_order.stream" in {f.code for f in found.findings}
