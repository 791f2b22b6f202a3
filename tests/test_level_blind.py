"""Normalisations of each example, in front of targets that go by what they take away, beside sound ones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.certain import facts_of

N = 480


class Standardised(nn.Module):
    """Each example less its mean, and over its standard deviation where that is asked for."""

    def __init__(self, over: bool = True) -> None:
        super().__init__()
        self.over = over

    def forward(self, x: Tensor) -> Tensor:
        apart = x - x.mean(dim=1, keepdim=True)
        return apart / x.std(dim=1, keepdim=True) if self.over else apart


class Denormalised(nn.Module):
    """A forecast that is given its level back: nothing is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True)
        return self.net((x - mean) / deviation) * deviation + mean


def net(*first: nn.Module, outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*first, nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, outputs))


def images(*first: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    return nn.Sequential(*first, *layers)


def rows(kind: str) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    size = 0.5 + torch.rand(N, 1, generator=rng)
    x = size * torch.randn(N, 12, generator=rng) + 2 * torch.randn(N, 1, generator=rng)
    shape = (x[:, 3] - x.mean(dim=1)) / x.std(dim=1)
    return x, {"mean": x.mean(dim=1), "spread": x.std(dim=1), "shape": shape, "both": x.mean(dim=1) + 2 * shape}[kind]


def levels(grey: bool = True) -> tuple[Tensor, Tensor]:
    """Images of two channels, of three brightnesses, or of three patterns of any brightness."""
    rng = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (N,), generator=rng)
    x = 0.3 * torch.randn(N, 2, 8, 8, generator=rng)
    if grey:
        return x + 0.5 * y[:, None, None, None], y
    x += torch.randn(N, 1, 1, 1, generator=rng)
    x[y == 1, :, ::2] += 1
    x[y == 2, :, :, ::2] += 1
    return x, y


class Series(nn.Module):
    """Steps of four numbers, normalised over the steps or over the numbers of each."""

    def __init__(self, over: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.over, self.norm = over, nn.LayerNorm(24 if over == "steps" else 4)
        self.body, self.head = nn.Conv1d(4, 32, 3, padding=1), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        normalised = self.norm(x.mT) if self.over == "steps" else self.norm(x).mT if self.over == "numbers" else x.mT
        return self.head(self.body(normalised).relu().mean(dim=2))


def steps(by_level: bool = True) -> tuple[Tensor, Tensor]:
    """Series of two classes, by the levels of two of four numbers, or by whether one of these rises."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(N, 24, 4, generator=rng) + 1.5 * torch.randn(N, 1, 4, generator=rng)
    if by_level:
        return x, (x.mean(dim=1)[:, :2].sum(dim=1) > 0).long()
    y = torch.randint(0, 2, (N,), generator=rng)
    x[:, :, 0] += torch.linspace(-2, 2, 24) * (2 * y[:, None] - 1)
    return x, y


@pytest.mark.parametrize(
    ("model", "data", "kinds"),
    [
        (lambda: net(nn.LayerNorm(12)), lambda: rows("mean"), ("mean", "spread")),
        (lambda: net(nn.LayerNorm(12)), lambda: rows("spread"), ("mean", "spread")),
        (lambda: net(Standardised()), lambda: rows("mean"), ("mean", "spread")),
        (lambda: net(Standardised(over=False)), lambda: rows("mean"), ("mean",)),
        (lambda: images(nn.InstanceNorm2d(2)), levels, ("mean", "spread")),
        (lambda: images(nn.GroupNorm(1, 2)), levels, ("mean", "spread")),
        (lambda: Series("steps"), steps, ("mean", "spread")),
        (lambda: Series("numbers"), steps, None),
        (lambda: Series("nothing"), steps, None),
        (lambda: Series("steps"), lambda: steps(by_level=False), None),
        (lambda: net(nn.LayerNorm(12)), lambda: rows("shape"), None),
        (lambda: net(nn.LayerNorm(12)), lambda: rows("both"), None),
        (lambda: net(Standardised(over=False)), lambda: rows("spread"), None),
        (lambda: net(nn.BatchNorm1d(12)), lambda: rows("mean"), None),
        (lambda: net(), lambda: rows("mean"), None),
        (Denormalised, lambda: rows("mean"), None),
        (lambda: images(nn.InstanceNorm2d(2)), lambda: levels(grey=False), None),
        (lambda: images(nn.BatchNorm2d(2)), levels, None),
    ],
)
def test_levels_that_a_normalisation_takes_away(model: Callable, data: Callable, kinds: tuple[str, ...] | None) -> None:
    x, y = data()
    loader = [(x[k : k + 60], y[k : k + 60]) for k in range(0, N, 60)]
    loss = F.cross_entropy if y.dtype == torch.long else (lambda out, t: F.mse_loss(out[:, 0], t))
    facts = facts_of(model(), loader[0], loss_fn=loss, batches=loader)
    assert facts is not None
    found = facts.readings.level_blind
    assert (found.kinds if found is not None else None) == kinds
    if found is not None:
        assert found.examples == N
        assert found.levelled > 0.5 > 3 * found.free
