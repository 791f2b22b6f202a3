"""A model that is given one row for a whole batch, beside those that are given one for each example."""

from typing import Any

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn

from trainability import check
from trainability.doctor.measure.same_rows import are_one_row

ROWS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
ONE = ROWS[:1].repeat(8, 1)


@pytest.mark.parametrize(
    ("inputs", "output", "batch", "found"),
    [
        ((ONE,), ONE, (), True),
        ((ONE,), ONE + 1e-7 * ROWS, (), True),
        ((ONE,), ROWS, (), False),  # it draws numbers itself
        ((ROWS,), ROWS, (), False),
        ((ONE, ROWS), ONE, (), False),  # one noise under many conditions
        (((ROWS, ONE),), ONE, (), False),  # its inputs in one tuple: it answers all alike, and is not given one row
        (({"words": ONE, "mask": ONE > 0},), ONE, (), True),
        ((ONE[:7],), ONE[:7], (), False),
        ((ONE,), ONE, (("[0]", ONE),), False),  # the batch's own
        ((ONE[:, :1],), ONE[:, :1], (), False),
    ],
)
def test_rows_are_one_or_several(inputs: Any, output: Tensor, batch: Any, found: bool) -> None:
    assert are_one_row(inputs, output, list(batch)) is found


@pytest.mark.parametrize("repeated", [True, False])
def test_one_noise_for_a_batch_is_named(repeated: bool) -> None:
    torch.manual_seed(0)
    models = {
        "maker": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 6)),
        "critic": nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)),
    }
    optimizers = {name: torch.optim.Adam(model.parameters(), 1e-3) for name, model in models.items()}

    def noise(n: int) -> Tensor:
        return torch.randn(1, 4).expand(n, 4) if repeated else torch.randn(n, 4)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer["critic"].zero_grad()
        loss = model["critic"](model["maker"](noise(len(batch[0]))).detach()).mean() - model["critic"](batch[0]).mean()
        loss.backward()
        optimizer["critic"].step()
        optimizer["maker"].zero_grad()
        (-model["critic"](model["maker"](noise(len(batch[0])))).mean()).backward()
        optimizer["maker"].step()
        return loss

    found = check(models, batches(torch.randn(64, 6)), step=step, optimizer=optimizers, rehearse_seconds=None).findings
    assert [f.code for f in found if f.code == "constant_input.row"] == (["constant_input.row"] if repeated else [])
