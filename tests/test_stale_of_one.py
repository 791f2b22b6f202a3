"""Gradients that one of two optimizers never clears, as by a copied line."""

from typing import Any

import pytest
import torch
from small_programs import batches
from torch import nn
from torch.nn import functional as F

from trainability import check


@pytest.mark.parametrize(("cleared", "found"), [("first", ["stale_gradients"]), ("last", [])])
def test_one_of_two_optimizers_that_is_never_cleared_is_told(cleared: str, found: list[str]) -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 6)
    model = {"first": nn.Sequential(nn.Linear(6, 16), nn.Tanh()), "last": nn.Linear(16, 1)}
    optimizer = {name: torch.optim.SGD(part.parameters(), lr=0.01) for name, part in model.items()}

    def step(model: Any, optimizer: Any, batch: Any) -> Any:
        optimizer["first"].zero_grad()
        optimizer[cleared].zero_grad()
        loss = F.mse_loss(model["last"](model["first"](batch[0])), batch[1])
        loss.backward()
        for each in optimizer.values():
            each.step()
        return loss

    report = check(model, batches(x, x[:, :1] * x[:, 1:2]), step=step, optimizer=optimizer)
    errors = [f for f in report.findings if f.severity == "error"]
    assert [f.code for f in errors] == found
    assert all("last.weight" in f.remedy for f in errors)
