"""Ensembles of one module, beside ensembles, layers that are applied several times, and dropout that is drawn anew."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.same_members import same_members

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
Y = X[:, :1] * X[:, 1:2]


def member(dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))


class Members(nn.Module):
    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([each(x) for each in self.members], dim=1)


class Views(Members):
    """Each is given columns of its own, as an encoder of two images is."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([each(x.roll(k, 1)) for k, each in enumerate(self.members)], dim=1)


class Recurrent(nn.Module):
    """One layer, applied three times."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList([nn.Linear(5, 5)] * 3), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).tanh()
        return self.head(x)


def step(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0]).mean(1, keepdim=True), batch[1])


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Members([member()] * 3), ("members.0", "members.1", "members.2")),
        (Members([member() for _ in range(3)]), ()),
        (Members([member(0.5)] * 3), ()),
        (Views([member()] * 2), ()),
        (Recurrent(), ()),
        (nn.Sequential(*[nn.ReLU()] * 2, nn.Linear(5, 1)), ()),
    ],
)
def test_places_of_one_module(model: nn.Module, names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    assert same_members(model.train(), (X, Y), step) == names


@pytest.mark.parametrize("shared", [True, False])
def test_check_names_an_ensemble_of_one(shared: bool) -> None:
    torch.manual_seed(0)
    model = Members([member()] * 3 if shared else [member() for _ in range(3)])
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=16, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    found = check(model, loader, training_step=step, optimizer=optimizer, rehearse_seconds=1).findings
    assert ("identical_units.modules" in [f.code for f in found]) is shared
