"""Sound programs that look like a mistake: weights written from a flat copy, one class a batch under accumulation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from trainability import check
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.poles import pole

X = torch.randn(640, 12, generator=torch.Generator().manual_seed(0))
Y = X[:, :4].argmax(dim=1)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 4))


@pytest.mark.parametrize("is_written_back", [True, False])
def test_an_optimizer_of_a_flat_copy_that_is_written_back(is_written_back: bool) -> None:
    whole = model = net()
    flat = nn.Parameter(parameters_to_vector(model.parameters()).detach().clone())
    optimizer = torch.optim.SGD([flat], lr=0.1)

    def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        model.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        flat.grad = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        optimizer.step()
        if is_written_back:
            with torch.no_grad():
                vector_to_parameters(flat.detach().clone(), whole.parameters())
        return loss

    batches = [(X[k : k + 32], Y[k : k + 32]) for k in range(0, 640, 32)]
    report = check(model, batches, step=step, optimizer=optimizer)
    assert ("foreign_optimizer" in {f.rule for f in report.findings}) != is_written_back


@pytest.mark.parametrize("passes", [4, 1])
def test_one_class_a_batch_where_an_update_sees_all(passes: int) -> None:
    model, count = net(), [0]
    rows = [torch.eq(Y, label).nonzero()[:, 0] for label in range(4)]
    batches = [(X[rows[k % 4][:32]], Y[rows[k % 4][:32]]) for k in range(24)]

    def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (loss / passes).backward()
        count[0] += 1
        if count[0] % passes == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    report = check(model, batches, step=step, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert ("class_order" in {f.rule for f in report.findings}) == (passes == 1)


class Ends(nn.Module):
    def __init__(self, is_positive: bool) -> None:
        super().__init__()
        self.last, self.is_positive = nn.Linear(12, 4), is_positive

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(self.last(x)) + 1 if self.is_positive else self.last(x)


@pytest.mark.parametrize("is_positive", [True, False])
def test_a_loss_divided_by_outputs_that_are_never_negative_has_no_pole(is_positive: bool) -> None:
    torch.manual_seed(0)
    model, batch = Ends(is_positive), (X[:32], F.one_hot(Y[:32], 4).float())

    def forward(model: nn.Module, batch: Any) -> Tensor:
        out = model(batch[0])
        return ((batch[1] - out) / (out.sum(1, keepdim=True) + 0.5)).sum(1).mean()

    with ForwardPass(model, batch) as seen:
        forward(model, batch)
    assert (pole(model, batch, forward, seen) is None) == is_positive
