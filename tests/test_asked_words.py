"""Texts that are continued: their letters read as amounts are named, and amounts that are asked for as classes are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trainability

T, LETTERS = 24, 40


def text(count: int) -> Tensor:
    """Letters that mostly follow a rule of their own, (count, T + 1)."""
    rng = torch.Generator().manual_seed(0)
    after = torch.randperm(LETTERS, generator=rng)
    rows = [torch.randint(0, LETTERS, (count,), generator=rng)]
    for _ in range(T):
        other = torch.randint(0, LETTERS, (count,), generator=rng)
        rows.append(torch.where(torch.rand(count, generator=rng) < 0.7, after[rows[-1]], other))
    return torch.stack(rows, dim=1)


def levels(count: int) -> Tensor:
    """Levels of a wave, (count, T + 1)."""
    rng = torch.Generator().manual_seed(0)
    phase = 6.28 * torch.rand(count, 1, generator=rng)
    return (
        ((torch.arange(T + 1) * 0.3 + phase).sin() * 0.5 * (LETTERS - 1) + 0.5 * LETTERS).round().long().clamp(0, LETTERS - 1)
    )


class Reader(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, width = how, 12 if how == "embedded" else 1
        self.table = nn.Embedding(LETTERS, 12) if how == "embedded" else nn.Identity()
        self.gru, self.out = nn.GRU(width, 16, batch_first=True), nn.Linear(16, LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        made = self.table(x)
        if self.how != "embedded":
            made = x.float().unsqueeze(-1)
        if self.how == "divided":
            made = made / LETTERS
        if self.how == "of a sine":
            made = torch.sin(made * 1.7)
        return self.out(self.gru(made)[0])


def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
    logits = model(batch[0])
    return F.cross_entropy(logits.flatten(0, 1), batch[1].flatten())


def step_by_slices(model: nn.Module, batch: list[Tensor]) -> Tensor:
    logits = model(batch[0][:, :-1])
    return F.cross_entropy(logits.transpose(1, 2), batch[0][:, 1:])


CASES = {
    "numbers of letters": ("plain", text, step, True),
    "divided by their count": ("divided", text, step, True),
    "a step that cuts its own targets": ("divided", text, step_by_slices, True),
    "an embedding": ("embedded", text, step, False),
    "made into something else": ("of a sine", text, step, False),
    "levels of a wave": ("divided", levels, step, False),
}


@pytest.mark.parametrize("name", CASES)
def test_letters_that_are_read_as_amounts_are_named(name: str) -> None:
    how, made, loss, wrong = CASES[name]
    torch.manual_seed(0)
    model, rows = Reader(how), made(640)
    data = rows[:, :-1], rows[:, 1:].contiguous()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(rows) if loss is step_by_slices else torch.utils.data.TensorDataset(*data),
        32,
        shuffle=True,
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    setup = trainability.Setup(model=model, train_loader=loader, optimizer=optimizer, training_step=loss, rehearse_seconds=0.5)
    codes = {finding.code for finding in trainability.check(setup).findings}
    assert ("numbers_for_words.classes" in codes) == wrong
