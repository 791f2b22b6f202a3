"""Losses of risk sets, whose sums along the batch follow the times, beside ones that follow the order of the loader."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.certain import facts_of

ROWS = 64


def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    inputs = torch.randn(ROWS, 5)
    times = torch.exp(inputs[:, 0] + 0.3 * torch.randn(ROWS))
    return inputs, torch.stack([times, (torch.rand(ROWS) < 0.7).float()], dim=1)


def likelihood(risk: Tensor, events: Tensor) -> Tensor:
    return ((torch.logcumsumexp(risk, dim=0) - risk) * events).sum() / events.sum()


def unsorted(output: Tensor, target: Tensor) -> Tensor:
    return likelihood(output.squeeze(1), target[:, 1])


def by_time(output: Tensor, target: Tensor) -> Tensor:
    order = target[:, 0].argsort(descending=True)
    return likelihood(output.squeeze(1)[order], target[order, 1])


def all_pairs(output: Tensor, target: Tensor) -> Tensor:
    risk, times = output.squeeze(1), target[:, 0]
    at_risk = (times[None] >= times[:, None]).float()
    return (((at_risk * risk.exp()).sum(1).log() - risk) * target[:, 1]).mean()


def of_steps(output: Tensor, target: Tensor) -> Tensor:
    """A sum along something else than examples."""
    return (output.expand(-1, 4).cumsum(dim=1)[:, -1] - target[:, 1]).square().mean()


def of_time(output: Tensor, target: Tensor) -> Tensor:
    """Steps of one series in their order, whose values are read."""
    return (output.squeeze(1).cumsum(dim=0) - target[:, 0]).square().mean() + target[:, 1].mean()


@pytest.mark.parametrize(
    ("loss", "name"), [(unsorted, "[1][:, 0]"), (by_time, None), (all_pairs, None), (of_steps, None), (of_time, None)]
)
def test_sums_along_the_batch_that_read_no_time(loss: Callable[[Tensor, Tensor], Tensor], name: str | None) -> None:
    batch = data()
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    found = facts_of(model, batch, loss_fn=loss).readings.unsorted
    assert (None if found is None else found[0]) == name


def test_a_batch_that_the_loader_has_sorted_is_in_order() -> None:
    inputs, target = data()
    order = target[:, 0].argsort(descending=True)
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    assert facts_of(model, (inputs[order], target[order]), loss_fn=unsorted).readings.unsorted is None
