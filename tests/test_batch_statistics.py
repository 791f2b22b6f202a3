"""Batch norm whose running statistics describe no batch, each beside a sound program of the same task."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check


def rows(spread: float, size: int) -> DataLoader:
    """Series of which each has a level and a loudness of its own, and what goes on in them."""
    torch.manual_seed(0)
    level, loud, wave = torch.randn(256, 1, 1), torch.randn(256, 1, 1), torch.randn(256, 2, 24)
    target = (wave[:, :1].roll(1, 2) - wave[:, 1:]).tanh()
    return DataLoader(TensorDataset((0.4 * spread * loud).exp() * wave + 2 * spread * level, target), size, shuffle=True)


def net(norm: str, **settings: Any) -> nn.Module:
    def normed() -> nn.Module:
        return nn.BatchNorm1d(16, **settings) if norm == "batch" else nn.GroupNorm(4, 16)

    return nn.Sequential(
        *(nn.Conv1d(2, 16, 3, padding=1), normed(), nn.ReLU()),
        *(nn.Conv1d(16, 16, 3, padding=1), normed(), nn.ReLU(), nn.Conv1d(16, 1, 1)),
    )


@pytest.mark.parametrize(
    ("norm", "spread", "size", "settings", "found"),
    [
        ("batch", 4.0, 1, {}, True),
        ("group", 4.0, 1, {}, False),
        ("batch", 0.0, 1, {}, False),  # examples that are alike: one tells the statistics of all
        ("batch", 4.0, 32, {}, False),
        ("batch", 4.0, 1, {"track_running_stats": False}, False),
        ("batch", 4.0, 32, {"momentum": 0.5}, False),
        ("batch", 4.0, 1, {"momentum": 0.01}, True),
    ],
)
def test_small_batches_whose_levels_differ(norm: str, spread: float, size: int, settings: dict, found: bool) -> None:
    torch.manual_seed(1)
    model = net(norm, **settings)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said = check(model, rows(spread, size), F.mse_loss, torch.optim.Adam(model.parameters(), 1e-2), rehearse_seconds=60.0)
    assert ("evaluation_path.batch_statistics" in [f.code for f in said.findings]) == found
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_pictures_one_at_a_time() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(128, 1, 8, 8), torch.randint(2, (128,))
    x[:, 0, :4] += 2 * y[:, None, None] - 1.0
    x = x * torch.rand(128, 1, 1, 1).mul(5).exp() + 30 * torch.randn(128, 1, 1, 1)
    head = (nn.Flatten(), nn.Linear(8 * 64, 2))
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), *head)
    loader = DataLoader(TensorDataset(x, y), 1, shuffle=True)
    said = check(model, loader, F.cross_entropy, torch.optim.Adam(model.parameters(), 3e-3), rehearse_seconds=60.0)
    assert {f.code: f.severity for f in said.findings}["evaluation_path.batch_statistics"] == "warning"


def test_one_norm_for_several_places_is_a_warning_where_evaluation_loses_by_it() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.out = nn.BatchNorm1d(16), nn.Linear(16, 3)
            self.first, self.rest = nn.Linear(6, 16), nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            h = self.norm(10 * self.first(x)).relu()
            for layer in self.rest:
                h = self.norm(layer(h)).relu()
            return self.out(h)

    torch.manual_seed(0)
    x = 5 + torch.randn(512, 6)
    loader = DataLoader(TensorDataset(x, (x - 5)[:, :3].argmax(dim=1)), 32, shuffle=True)
    model = Shared()
    said = check(model, loader, F.cross_entropy, torch.optim.Adam(model.parameters(), 1e-2), rehearse_seconds=60.0)
    assert {f.code: f.severity for f in said.findings}["evaluation_path.shared_norm"] == "warning"
