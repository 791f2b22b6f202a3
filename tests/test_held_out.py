"""Values fitted on training and asked of validation: scalers, indices of names and encoders that were fitted again."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.doctor.measure.held_out import values_compared

TARGET = "[1]"


def loader(*parts: Tensor) -> DataLoader:
    return DataLoader(TensorDataset(*parts), 64)


def table(count: int, level: float, seed: int) -> tuple[Tensor, Tensor]:
    """Three columns around a level, and a value that goes with it."""
    rng = torch.Generator().manual_seed(seed)
    x = level + torch.randn(count, 3, generator=rng)
    return x, (x @ torch.tensor([1.0, 2.0, -0.5]) + 0.3 * torch.randn(count, generator=rng))[:, None]


def scaled(x: Tensor, of: Tensor) -> Tensor:
    return (x - of.mean(dim=0)) / of.std(dim=0)


@pytest.mark.parametrize("level", [0.0, 2.0])
def test_a_scaler_that_is_fitted_again_on_another_season_is_named(level: float) -> None:
    (x, y), (u, v) = table(600, 0.0, 0), table(300, level, 1)
    found = values_compared(loader(scaled(x, x), y), loader(scaled(u, u), v), TARGET)
    assert found is not None
    assert found.scaled_apart
    assert found.training > 0.9
    assert found.own > 0.9
    assert (found.validation < 0) == (level > 0)  # of the same season it makes no difference
    # Scaled by training's statistics, validation either looks as training does or is another domain.
    found = values_compared(loader(scaled(x, x), y), loader(scaled(u, x), v), TARGET)
    assert found is None if level else (found is not None and not found.scaled_apart and found.validation > 0.9)


@pytest.mark.parametrize(("scale", "level"), [(5.0, 0.0), (1.0, 20.0), (5.0, 20.0)])
def test_values_of_validation_in_their_own_units_are_no_other_inputs(scale: float, level: float) -> None:
    (x, y), (u, v) = table(600, 0.0, 0), table(300, 0.0, 1)
    found = values_compared(loader(x, y), loader(u, scale * v + level), TARGET)
    assert found is not None
    assert found.validation > 0.9


def ratings(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    taste = torch.randn(60, generator=torch.Generator().manual_seed(7))
    users, films = torch.randint(40, (count,), generator=rng), torch.randint(20, (count,), generator=rng)
    return users, films, taste[users] + taste[40 + films] + 0.3 * torch.randn(count, generator=rng)


@pytest.mark.parametrize("is_anew", [False, True])
def test_names_that_are_numbered_anew_for_validation_are_named(is_anew: bool) -> None:
    users, films, stars = ratings(1500, 0)
    other_users, other_films, others = ratings(800, 1)
    if is_anew:  # in the order in which they come, as pandas.factorize numbers them
        order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
        other_users = order[other_users]
    found = values_compared(loader(users, films, stars), loader(other_users, other_films, others), "[2]")
    assert found is not None
    assert (found.validation < 0.3 * found.training) == is_anew
    assert found.own > 0.3


def test_inputs_of_another_kind_or_too_few_are_left_alone() -> None:
    (x, y), (u, v) = table(600, 0.0, 0), table(300, 0.0, 1)
    assert values_compared(loader(x, y), loader(u[:50], v[:50]), TARGET) is None
    assert values_compared(loader(x[:200], y[:200]), loader(u, v), TARGET) is None
    assert values_compared(loader(x.repeat(1, 30), y), loader(u.repeat(1, 30), v), TARGET) is None
    assert values_compared(loader(x, y), loader(u, v), "[5]") is None
    assert values_compared(loader(x, torch.arange(600)), loader(u, torch.arange(300)), TARGET) is None


@pytest.mark.parametrize("is_anew", [False, True])
def test_check_says_it(is_anew: bool) -> None:
    torch.manual_seed(0)
    (x, y), (u, v) = table(600, 0.0, 0), table(300, 2.0, 1)
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
    diagnosis = check(
        model,
        loader(scaled(x, x), y),
        nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        val_loader=loader(scaled(u, u if is_anew else x), v),
        rehearse_seconds=1,
    )
    assert ("split_shift.meaning" in [f.code for f in diagnosis.findings if f.severity == "warning"]) == is_anew
