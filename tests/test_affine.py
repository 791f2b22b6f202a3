"""Whole models that are one affine map in evaluation, through batch norm and pooling, and those that only look like it."""

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.facts import look


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def blocks(*between: nn.Module) -> list[nn.Module]:
    """Two convolutions with batch norm."""
    return [nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), *between, nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8)]


def head(*between: nn.Module) -> list[nn.Module]:
    return [*between, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 4)]


def separable(*last: nn.Module) -> list[nn.Module]:
    return [nn.Conv2d(1, 8, (1, 5)), nn.BatchNorm2d(8), nn.Conv2d(8, 8, (5, 1)), *last]


def pca() -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(144, 48), nn.BatchNorm1d(48), nn.Linear(48, 8), nn.Linear(8, 48), nn.Linear(48, 144)]


IMAGES = {
    "no activation": ([*blocks(), *head()], "warning"),
    "no activation, no batch norm": ([nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), *head()], "warning"),
    "identity": ([*blocks(nn.Identity()), *head(nn.Identity())], "warning"),
    "rows of numbers": ([nn.Flatten(), nn.Linear(144, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)], "warning"),
    "one activation": ([*blocks(nn.ReLU()), *head()], None),
    "an activation before the head": ([*blocks(), *head(nn.ELU())], None),
    "max pooling": ([*blocks(nn.MaxPool2d(2)), *head()], "warning"),
    "max pooling and an activation": ([*blocks(nn.ReLU(), nn.MaxPool2d(2)), *head()], None),
    "energies": ([*blocks(), *head(Square())], None),
    "layer norm": ([*blocks(), *head(nn.GroupNorm(1, 8))], None),
    "a linear model": ([nn.Flatten(), nn.BatchNorm1d(144), nn.Linear(144, 4)], None),
    "depthwise": ([nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), *head()], None),
    "one direction each": (separable(nn.Flatten()), None),
    "low rank": ([nn.Flatten(), nn.Linear(144, 2), nn.BatchNorm1d(2), nn.Linear(2, 4)], None),
    "linear autoencoder": (pca(), None),
}


@pytest.mark.parametrize("name", IMAGES)
def test_models_that_are_affine_in_evaluation(name: str) -> None:
    torch.manual_seed(0)
    layers, severity = IMAGES[name]
    x = torch.randn(8, 1, 12, 12)
    facts = look(nn.Sequential(*layers), (x, torch.zeros(8)), lambda model, batch: model(batch[0]).pow(2).mean())
    (found, *_) = [f for f in diagnose(Evidence(facts=facts)).findings if f.rule == "linear_stack"] or [None]
    assert (found.severity if found is not None else None) == severity


def test_the_remedy_names_each_place() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*blocks(), *head())
    facts = look(model, (torch.randn(8, 1, 12, 12),), lambda model, batch: model(batch[0]).pow(2).mean())
    (found,) = [f for f in diagnose(Evidence(facts=facts)).findings if f.rule == "linear_stack"]
    assert found.remedy.startswith("torch.nn.ReLU(), or another activation, behind 0, 2, after the batch normalisation")
    assert "with only batch normalisation between" in found.seen


class Rated(nn.Module):
    """Two tables side by side, and two layers with what is between them."""

    def __init__(self, *between: nn.Module, hidden: int = 32) -> None:
        super().__init__()
        self.user, self.film = nn.Embedding(20, 8), nn.Embedding(20, 8)
        self.layers = nn.Sequential(nn.Linear(16, hidden), *between, nn.Linear(hidden, 2))

    def forward(self, pairs: Tensor) -> Tensor:
        made: Tensor = self.layers(torch.cat([self.user(pairs[:, 0]), self.film(pairs[:, 1])], dim=1))
        return made


TABLES = {
    "no activation": (Rated(), "warning"),
    "dropout alone": (Rated(nn.Dropout(0.3)), "warning"),
    "an activation": (Rated(nn.ReLU(), nn.Dropout(0.3)), None),
    "low rank": (Rated(hidden=1), None),
}


@pytest.mark.parametrize("name", TABLES)
def test_nothing_bends_behind_tables(name: str) -> None:
    torch.manual_seed(0)
    model, severity = TABLES[name]
    batch = torch.randint(0, 20, (32, 2)), torch.randn(32, 2)
    facts = look(model, batch, lambda model, batch: (model(batch[0]) - batch[1]).pow(2).mean())
    (found, *_) = [f for f in diagnose(Evidence(facts=facts)).findings if f.rule == "linear_stack"] or [None]
    assert (found.severity if found is not None else None) == severity


@pytest.mark.parametrize(("bent", "severity"), [(False, "hint"), (True, "warning")])
def test_deep_linear_nets_are_meant_where_the_targets_are_linear(bent: bool, severity: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in ((6, 24), (24, 24), (24, 4))))
    x = torch.randn(512, 6)
    y = (x * x if bent else x) @ torch.randn(6, 4)
    batches = list(zip(x.split(64), y.split(64), strict=True))
    facts = look(net, batches[0], lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]), batches=batches)
    found = {f.rule: f.severity for f in diagnose(Evidence(facts=facts)).findings}
    assert found["linear_stack"] == severity
