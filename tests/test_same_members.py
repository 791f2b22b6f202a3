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


class Named(nn.Module):
    """Two things of one projection, on purpose: of names by hand, or by numbers; queries and keys, or heads of two tasks."""

    def __init__(self, how: str) -> None:
        super().__init__()
        one, other = nn.Linear(5, 5), nn.Linear(5, 5)
        made = {"named": nn.ModuleDict({"q": one, "k": one}), "part": nn.ModuleList([one, one, other])}
        self.how, self.parts, self.head = how, made.get(how, nn.ModuleList([one, one])), nn.Linear(5, 1)
        self.router = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        answers = [part(x) for part in self.parts.values()] if self.how == "named" else [part(x) for part in self.parts]
        if self.how in ("named", "sum"):
            return self.head(sum(answers))
        if self.how == "keys":
            return self.head((answers[0] @ F.normalize(answers[1], dim=-1).T).softmax(-1) @ x)
        if self.how == "stacked keys":
            queries, keys = torch.stack(answers).unbind()
            return self.head((queries @ (3 * keys.T)).softmax(-1) @ x)
        if self.how == "experts":
            return self.head(sum(g[:, None] * a for g, a in zip(self.router(x).softmax(1).T, answers, strict=False)))
        stacked = torch.stack([self.head(answer) for answer in answers] if self.how == "part" else answers, 1)
        return stacked[torch.arange(len(x)), (x[:, 0] > 0.3).long()]


class Recurrent(nn.Module):
    """One layer, applied three times."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList([nn.Linear(5, 5)] * 3), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).tanh()
        return self.head(x)


ON_PURPOSE = ("named", "keys", "stacked keys", "experts", "part")


@pytest.mark.parametrize(("how", "is_found"), [("sum", True), *((how, False) for how in ON_PURPOSE)])
def test_one_module_that_is_two_things(how: str, is_found: bool) -> None:
    torch.manual_seed(0)
    assert same_members(Named(how), (X, Y), step) == (("parts.0", "parts.1") if is_found else ())


def test_members_that_are_weighed_each_by_its_own_numbers() -> None:
    torch.manual_seed(0)
    weights = torch.poisson(torch.ones(64, 3))

    def weighed(model: Any, batch: Any) -> Tensor:
        return ((model(batch[0]) - batch[1]) ** 2 * weights).mean()

    assert same_members(Members([member()] * 3), (X, Y), weighed) == ("members.0", "members.1", "members.2")
    assert same_members(Members([member() for _ in range(3)]), (X, Y), weighed) == ()


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
