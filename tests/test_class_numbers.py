"""Numbers of classes under a distance, each beside amounts that are whole numbers, and losses that are no distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor.measure.class_numbers import class_numbers_of_pairs, without_order

NUM = 2000
DRAWS = torch.Generator().manual_seed(0)


def drawn(*size: int) -> Tensor:
    return torch.randn(*size, generator=DRAWS)


def numbers(kinds: int) -> Tensor:
    return torch.randint(kinds, (NUM,), generator=DRAWS)


def clusters(kinds: int, columns: int, noise: float) -> tuple[Tensor, Tensor]:
    y = numbers(kinds)
    return drawn(kinds, columns)[y] + noise * drawn(NUM, columns), y


def in_bins(amount: Tensor, kinds: int) -> Tensor:
    return torch.bucketize(amount, amount.quantile(torch.linspace(0, 1, kinds + 1)[1:-1]))


@pytest.mark.parametrize(("kinds", "columns", "noise"), [(5, 6, 0.9), (8, 3, 1.0), (10, 6, 2.0), (10, 30, 3.0), (20, 4, 1.0)])
def test_classes_in_any_order(kinds: int, columns: int, noise: float) -> None:
    found = [without_order(*clusters(kinds, columns, noise)) for _ in range(8)]  # some orders fit by chance
    named = [each for each in found if each is not None]
    assert len(named) >= 3
    for each in named:
        assert (each.classes, each.examples) == (kinds, NUM)
        assert each.ordered >= 0.1
        assert each.clear > 0.8


def test_the_same_classes_numbered_otherwise() -> None:
    y = numbers(10)
    x = torch.stack([y + 0.3 * drawn(NUM), drawn(NUM)], 1)
    assert without_order(x, y) is None
    found = without_order(x, y * 3 % 10)
    assert found is not None
    assert found.ordered > 0.3


TABLE = drawn(NUM, 8)
SUM = TABLE @ drawn(8)
STEPS = torch.arange(64) / 64 * 2 * math.pi


def waves(y: Tensor, phases: Tensor) -> Tensor:
    return torch.sin((y[:, None] + 1) * STEPS + phases) + 0.3 * drawn(NUM, 64)


def counted(y: Tensor) -> Tensor:
    order = torch.rand(NUM, 24, generator=DRAWS).argsort(dim=1).argsort(dim=1)
    return (order < y[:, None]).float() + 0.2 * drawn(NUM, 24)


def pictures_of_places(y: Tensor) -> Tensor:
    rows = torch.randint(14, (NUM,), generator=DRAWS)
    return (F.one_hot(rows, 16)[:, :, None] * F.one_hot(2 * y, 16)[:, None, :]).float()[:, None] + 0.1 * drawn(NUM, 1, 16, 16)


@pytest.mark.parametrize("kinds", [5, 7])
@pytest.mark.parametrize(
    "made",
    [
        lambda k: (TABLE, in_bins(SUM, k)),
        lambda k: (TABLE, in_bins(SUM + 4 * drawn(NUM), k)),
        lambda k: (TABLE, in_bins(SUM.abs(), k)),
        lambda k: (TABLE, in_bins(torch.sin(TABLE[:, 0]) + TABLE[:, 1] ** 2 + TABLE[:, 2] * TABLE[:, 3], k)),
        lambda k: (TABLE, numbers(k)),
        lambda k: (lambda y: (waves(y, torch.zeros(1)), y))(numbers(k)),
        lambda k: (lambda y: (waves(y, 7 * torch.rand(NUM, 1, generator=DRAWS)), y))(numbers(k)),
        lambda k: (lambda y: (waves(y, torch.zeros(1))[:, :, None], y))(numbers(k)),
        lambda k: (lambda y: (F.one_hot(3 * y, 32) + 0.3 * drawn(NUM, 32), y))(numbers(k)),
        lambda k: (lambda y: (counted(y), y))(numbers(k)),
        lambda k: (lambda y: (pictures_of_places(y), y))(numbers(k)),
    ],
)
def test_amounts_counts_places_and_frequencies(made: Callable[[int], tuple[Tensor, Tensor]], kinds: int) -> None:
    assert without_order(*made(kinds)) is None


UNORDERED = next(made for made in iter(lambda: clusters(10, 6, 2.0), None) if without_order(*made) is not None)


def test_too_few_examples_or_classes() -> None:
    x, y = UNORDERED
    assert without_order(x, y) is not None
    assert without_order(x, y % 4) is None
    assert class_numbers_of_pairs([(x[:150], y[:150])]) is None
    assert class_numbers_of_pairs([(x, y.float())]) == without_order(x, y)
    assert class_numbers_of_pairs([(x, y + 0.5)]) is None


def squared(output: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(output.squeeze(-1), y.float())


def absolute(output: Tensor, y: Tensor) -> Tensor:
    return F.l1_loss(output.squeeze(-1), y.float())


def one_of_all(output: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(output, y)


def one_hot(output: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(output, F.one_hot(y.long(), output.shape[1]).float())


@pytest.mark.parametrize(
    ("loss", "outputs", "fires"), [(squared, 1, True), (absolute, 1, True), (one_of_all, 10, False), (one_hot, 10, False)]
)
def test_check_names_it_under_a_distance_alone(loss: Callable[..., Tensor], outputs: int, fires: bool) -> None:
    torch.manual_seed(0)
    x, y = UNORDERED
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, outputs))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    loader = DataLoader(TensorDataset(x, y), 64, shuffle=True)
    found = check(model, loader, loss, optimizer=optimizer, rehearse_seconds=0)
    assert ("numbers_for_classes" in {f.rule for f in found.findings}) is fires


def rounded_right(output: Tensor, y: Tensor) -> Tensor:
    return (output.squeeze(-1).round() == y).float().mean()


@pytest.mark.parametrize(("metric", "severity"), [(None, "hint"), (squared, "hint"), (rounded_right, "warning")])
def test_it_is_a_warning_where_the_metric_counts_right_answers(metric: Any, severity: str) -> None:
    torch.manual_seed(0)
    x, y = UNORDERED
    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    loader = DataLoader(TensorDataset(x, y), 64, shuffle=True)
    found = check(model, loader, squared, optimizer=optimizer, metric=metric, rehearse_seconds=0.5)
    assert {f.severity for f in found.findings if f.rule == "numbers_for_classes"} == {severity}


def test_numbers_of_a_graph_s_nodes() -> None:
    torch.manual_seed(0)
    x, y = UNORDERED
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1))
    loader = DataLoader(TensorDataset(x.reshape(100, 20, 6), y.reshape(100, 20)), 10, shuffle=True)
    found = check(model, loader, squared, optimizer=torch.optim.Adam(model.parameters(), 1e-2), rehearse_seconds=0)
    assert "numbers_for_classes" in {f.rule for f in found.findings}


@pytest.mark.parametrize("is_amount", [False, True])
def test_a_watched_loop(is_amount: bool) -> None:
    torch.manual_seed(0)
    x, y = (TABLE, in_bins(SUM, 8)) if is_amount else UNORDERED
    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for rows in torch.randperm(NUM, generator=DRAWS).split(50):
            optimizer.zero_grad()
            loss = squared(model(x[rows]), y[rows])
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("numbers_for_classes" in {f.rule for f in monitor.diagnose().findings}) is not is_amount
