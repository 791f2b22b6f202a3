"""A state that is kept from batch to batch, row for row: told where the loader shuffles, and nowhere else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look

SERIES = torch.randn(64, 6, 3, generator=torch.Generator().manual_seed(0))


class Carries(nn.Module):
    """An LSTM on series, whose state is a pair that is kept, a buffer that is kept, or zeros."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.net, self.out, self.how = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 1), how
        self.state: Any = None
        self.hidden: Tensor
        self.register_buffer("hidden", torch.zeros(1, 16, 8))

    def forward(self, x: Tensor) -> Tensor:
        first = self.state if self.how == "pair" else None
        if self.how == "buffer":
            first = (self.hidden, torch.zeros_like(self.hidden))
        made, (h, c) = self.net(x, first)
        if self.how == "pair":
            self.state = (h.detach(), c.detach())
        if self.how == "buffer":
            self.hidden = h.detach()
        return self.out(made)


class Counts(nn.Module):
    """Answers that go by how many calls there were: a state without rows."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.scale = nn.Linear(3, 1), torch.ones(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.scale = self.scale * 1.1
        return self.out(x @ self.scale)


def looked(model: nn.Module, *, shuffle: bool) -> Facts:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(SERIES, SERIES.sum(dim=2, keepdim=True)), batch_size=16, shuffle=shuffle)
    return look(model, next(iter(loader)), lambda m, batch: F.mse_loss(m(batch[0]), batch[1]), batches=loader)


@pytest.mark.parametrize(("how", "name"), [("pair", "state[0]"), ("buffer", "hidden"), ("zeros", None)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_state_that_is_kept_under_shuffled_batches_is_told(how: str, name: str | None, shuffle: bool) -> None:
    found = looked(Carries(how), shuffle=shuffle).shuffled_state
    assert found == (name if shuffle else None)


@pytest.mark.parametrize("how", ["pair", "buffer"])
def test_a_loop_that_resets_the_state_before_each_pass_is_left_alone(how: str) -> None:
    loader = DataLoader(TensorDataset(SERIES, SERIES.sum(dim=2, keepdim=True)), batch_size=16, shuffle=True)

    def step(model: Carries, batch: Any) -> Tensor:
        model.state, model.hidden = None, torch.zeros(1, 16, 8)
        return F.mse_loss(model(batch[0]), batch[1])

    torch.manual_seed(0)
    facts = look(Carries(how), next(iter(loader)), step, batches=loader)
    assert facts.shuffled_state is None
    assert not [note for note in facts.notes if "states that are kept" in note]


def test_a_state_without_rows_is_left_alone() -> None:
    assert looked(Counts(), shuffle=True).shuffled_state is None
