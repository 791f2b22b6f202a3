"""Missing targets in whose place a number was filled in, beside numbers that are as often there and mean something."""

from collections.abc import Callable

import pytest
import torch
from rule_examples import fact
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import diagnose
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.filled import filled

N = 600
Data = tuple[Tensor, ...]


def known() -> tuple[Tensor, Tensor, torch.Generator]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(N, 6, generator=rng)
    return x, x[:, :2] + 0.3 * torch.randn(N, 2, generator=rng), rng


def missing(value: float = 0.0) -> Data:
    """Two columns of targets, of which the second is unknown in every second example by chance, and then this."""
    x, y, rng = known()
    y[:, 1] = torch.where(torch.rand(N, generator=rng) < 0.5, value, y[:, 1])
    return x, y


def at_rest() -> Data:
    """A target that is zero where the input says so."""
    x, y, _ = known()
    y[:, 1] = torch.where(x[:, 2] > 0, 0.0, y[:, 1])
    return x, y


def in_a_dead_zone() -> Data:
    """A target of thirty numbers together, that is zero where they come to little, on either side."""
    rng = torch.Generator().manual_seed(2)
    x = torch.randn(N, 30, generator=rng)
    z = x.sum(dim=1, keepdim=True) / 30**0.5
    return x, z.sign() * (z.abs() - 0.7).clamp(min=0)


def behind_a_gate_of_three() -> Data:
    """A target that three numbers let through together: what no two of them tell."""
    rng = torch.Generator().manual_seed(4)
    x = torch.randn(N, 16, generator=rng)
    return x, ((x[:, 0] * x[:, 1] * x[:, 2] > 0) * (x[:, 3] + x[:, 4] - x[:, 5]))[:, None]


def at_an_end() -> Data:
    """A target that is not below zero, and zero by chance."""
    x, y, rng = known()
    y[:, 1] = torch.where(torch.rand(N, generator=rng) < 0.5, 0.0, y[:, 1].abs())
    return x, y


def noise() -> Data:
    """A target that is zero by chance, and else has nothing to do with the input either."""
    x, y, rng = known()
    y[:, 1] = torch.where(torch.rand(N, generator=rng) < 0.5, 0.0, torch.randn(N, generator=rng))
    return x, y


def imputed() -> Data:
    """A column of the input that was filled in."""
    y, x, rng = known()
    x[:, 1] = torch.where(torch.rand(N, generator=rng) < 0.5, 0.0, x[:, 1])
    return x, y


def found(data: Data, loss: Callable[[nn.Module, Data], Tensor]) -> tuple[str, float, float] | None:
    model = nn.Sequential(nn.Linear(data[0].shape[1], 16), nn.ReLU(), nn.Linear(16, data[1].shape[1]))
    loader = DataLoader(TensorDataset(*data), 64)
    return filled(model, next(iter(loader)), loss, loader)


def squares(model: nn.Module, batch: Data) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def masked(model: nn.Module, batch: Data) -> Tensor:
    return ((batch[1] != 0) * (model(batch[0]) - batch[1]) ** 2).mean()


@pytest.mark.parametrize("value", [0.0, 0.4])
def test_a_number_in_the_place_of_missing_targets(value: float) -> None:
    place, number, share = found(missing(value), squares) or ("", 9.0, 0.0)
    assert (place, share) == ("[1]", pytest.approx(0.5, abs=0.05))
    assert number == pytest.approx(value)
    codes = [f.code for f in diagnose(fact(filled_targets=(place, number, share))).findings if f.severity != "hint"]
    assert codes == ["class_imbalance.filled"]


@pytest.mark.parametrize("data", [known, at_rest, in_a_dead_zone, behind_a_gate_of_three, at_an_end, noise, imputed])
def test_numbers_that_are_no_filler(data: Callable[[], Data]) -> None:
    assert found(data()[:2], squares) is None


def test_what_a_mask_leaves_out_may_be_filled_in() -> None:
    assert found(missing(), masked) is None


def test_a_look_before_the_run_asks_the_loader() -> None:
    data = missing()
    loader = DataLoader(TensorDataset(*data), 64)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    facts = facts_of(model, next(iter(loader)), loss_fn=F.mse_loss, batches=loader)
    assert facts.filled_targets is not None
