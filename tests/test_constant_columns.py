"""A column that goes into a layer of its own, as a time or a condition, and is one number in all batches."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.facts import look


class Conditioned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time, self.data, self.out = nn.Linear(1, 8), nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor, when: Tensor) -> Tensor:
        return self.out(torch.relu(self.data(x) + self.time(when.unsqueeze(1).float()))).squeeze(1)


def loss(model: Any, batch: Any) -> Tensor:
    x, when, y = batch
    return (model(x, when) - y).square().mean()


@pytest.mark.parametrize(
    ("when", "found"),
    [
        (lambda k, batch: k // 200, ("time",)),
        (lambda k, batch: k / 200, ()),
        (lambda k, batch: torch.full_like(k, batch), ()),  # each batch is of one task
    ],
)
def test_a_column_of_one_number_is_told_from_one_that_differs_from_batch_to_batch(when: Any, found: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(32, 4), when(torch.randint(200, (32,)), number), torch.randn(32)) for number in range(8)]
    model = Conditioned()
    assert facts_of(model, batches[0], training_step=loss, batches=batches).constant_inputs == found


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_layer_may_be_given_one_number(frozen: bool) -> None:
    torch.manual_seed(0)
    gate, head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), nn.Linear(4, 2)
    with torch.no_grad():
        gate[0].bias.fill_(-100.0)
    gate[0].requires_grad_(False)
    gate[2].requires_grad_(not frozen)
    net = nn.Sequential(gate, head)
    facts = look(net, (torch.randn(16, 4), torch.randn(16, 2)), lambda m, b: nn.functional.mse_loss(m(b[0]), b[1]))
    assert facts.constant_inputs == (() if frozen else ("0.2",))
