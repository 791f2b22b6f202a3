"""Rows of a batch that are no examples of their own: points of one curve, steps of one series, documents of one query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from trainability import check
from trainability.loops.script_watch import ScriptWatch


class Curves(Dataset):
    """Twenty points of a curve each, the first ten with their heights."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(index)
        x = torch.rand(20, 1, generator=rng) * 4 - 2
        height = torch.randn(1, generator=rng) * torch.sin(2 * x)
        return torch.cat([x, height * (torch.arange(20)[:, None] < 10)], 1), height


class Process(nn.Module):
    """A conditional neural process: the first rows tell which curve it is."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.tells = (
            nn.Sequential(nn.Linear(2, 32), nn.ReLU()),
            nn.Sequential(nn.Linear(33, 32), nn.ReLU(), nn.Linear(32, 1)),
        )

    def forward(self, points: Tensor) -> Tensor:
        curve = self.reads(points[: len(points) // 2]).mean(0)
        return self.tells(torch.cat([points[:, :1], curve.expand(len(points), -1)], 1))


class Filter(nn.Module):
    """Reads the rows that it is given as the next steps of one series."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 16), nn.Linear(16, 1)

    def forward(self, steps: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        hidden, state = self.lstm(steps, state)
        return self.out(hidden), state


def series() -> TensorDataset:
    rng = torch.Generator().manual_seed(0)
    u = torch.randn(960, 3, generator=rng)
    return TensorDataset(u, u[:, :1] + u.roll(1, 0)[:, 1:2])


def said(
    build: Callable[[], nn.Module], loader: DataLoader, loss_of: Callable[[nn.Module, Any], Tensor], *, runs: bool
) -> set[str]:
    torch.manual_seed(0)
    if not runs:
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        found = check(model, loader, training_step=loss_of, optimizer=optimizer, rehearse_seconds=1.0)
        return {f.code for f in found.findings if f.severity != "hint"}
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for batch in loader:
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
    finally:
        watch.end(None)
    (watched,) = watch.diagnoses.values()
    return {f.code for f in watched.findings if f.severity != "hint"}


def squared(model: nn.Module, batch: Any) -> Tensor:
    output = model(batch[0])
    return F.mse_loss(output[0] if isinstance(output, tuple) else output, batch[1])


@pytest.mark.parametrize("runs", [False, True], ids=["check", "run"])
def test_points_of_one_curve_may_depend_on_each_other(runs: bool) -> None:
    assert "batch_leakage" not in said(Process, DataLoader(Curves(), batch_size=None, shuffle=True), squared, runs=runs)


@pytest.mark.parametrize("runs", [False, True], ids=["check", "run"])
@pytest.mark.parametrize("in_order", [True, False])
def test_steps_of_one_series_follow_each_other_and_shuffled_rows_do_not(in_order: bool, runs: bool) -> None:
    loader = DataLoader(series(), batch_size=32, shuffle=not in_order)
    assert ("batch_leakage" in said(Filter, loader, squared, runs=runs)) is not in_order


class Tagger(nn.Module):
    """One sentence a step: its words are the rows, and the recurrent layer's steps."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.out = nn.Embedding(20, 8), nn.LSTM(8, 16, bidirectional=True), nn.Linear(32, 2)

    def forward(self, words: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.words(words).view(len(words), 1, -1))
        tags: Tensor = self.out(hidden.view(len(words), -1))
        return tags


class Recording(nn.Module):
    """One recording a step, which the recurrent layer takes unbatched."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(3, 16), nn.Linear(16, 2)

    def forward(self, steps: Tensor) -> Tensor:
        states: Tensor = self.out(self.gru(steps)[0])
        return states


def sequences(*, words: bool, lengths: int) -> list[tuple[Tensor, Tensor]]:
    """Sequences of so many lengths, whose label lasts for several steps."""
    rng = torch.Generator().manual_seed(0)
    made = []
    for index in range(60):
        size = 40 + 3 * (index % lengths)
        labels = (torch.rand(size, generator=rng) < 0.04).cumsum(0) % 2
        inputs = labels + 2 * torch.randint(0, 9, (size,), generator=rng)
        made.append((inputs if words else torch.randn(size, 3, generator=rng) + labels[:, None], labels))
    return made


@pytest.mark.parametrize("runs", [False, True], ids=["check", "run"])
@pytest.mark.parametrize("model", [Tagger, Recording])
@pytest.mark.parametrize("lengths", [1, 9])
def test_a_batch_of_its_own_length_may_be_one_sequence(model: type[nn.Module], lengths: int, runs: bool) -> None:
    loader: Any = sequences(words=model is Tagger, lengths=lengths)
    found = said(model, loader, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), runs=runs)
    assert ("batch_leakage" in found) is (lengths == 1)
    assert "class_order" not in found or lengths == 1


class Queries(Dataset):
    """Documents, and what each is worth of all for two goals."""

    def __init__(self, shares: bool) -> None:
        self.shares = shares

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        documents = torch.randn(16, 5, generator=torch.Generator().manual_seed(index))
        return documents, documents[:, :2].softmax(0 if self.shares else 1)


@pytest.mark.parametrize("runs", [False, True], ids=["check", "run"])
@pytest.mark.parametrize("shares", [True, False])
def test_a_softmax_over_documents_fits_targets_that_sum_to_one_over_them(shares: bool, runs: bool) -> None:
    def loss_of(model: nn.Module, batch: Any) -> Tensor:
        return -(batch[1] * model(batch[0]).log_softmax(dim=0)).sum(0).mean()

    loader = DataLoader(Queries(shares), batch_size=None, shuffle=True)
    assert ("misread_logits.over_batch" in said(lambda: nn.Linear(5, 2), loader, loss_of, runs=runs)) is not shares
