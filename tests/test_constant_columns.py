"""A column that goes into a layer of its own, as a time or a condition, and is one number in all batches."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.certain import facts_of


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
