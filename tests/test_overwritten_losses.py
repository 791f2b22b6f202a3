"""Losses that a loop computes and overwrites, and losses that are computed several times for other reasons."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from trainability import Setup, check
from trainability.doctor.measure.overwritten_losses import overwritten_losses

BATCH = (torch.randn(16, 5, generator=torch.Generator().manual_seed(0)), torch.arange(80).reshape(16, 5) % 4)


class Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(1, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = torch.zeros(len(x), 8)
        answers = []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t : t + 1], h)
            answers.append(self.out(h))
        return answers


def assigned(model: nn.Module, batch: Any) -> Tensor:
    loss = torch.zeros(())
    for t, answer in enumerate(model(batch[0])):
        loss = F.cross_entropy(answer, batch[1][:, t])
    return loss


def assigned_by_a_module(model: nn.Module, batch: Any) -> Tensor:
    criterion, loss = nn.CrossEntropyLoss(), torch.zeros(())
    for t, answer in enumerate(model(batch[0])):
        loss = criterion(answer, batch[1][:, t])
    return loss * 2


def added(model: nn.Module, batch: Any) -> Tensor:
    loss = torch.zeros(())
    for t, answer in enumerate(model(batch[0])):
        loss = loss + F.cross_entropy(answer, batch[1][:, t])
    return loss


def logged(model: nn.Module, batch: Any) -> Tensor:
    """Losses of earlier steps as numbers for a log."""
    answers = model(batch[0])
    for t, answer in enumerate(answers):
        with torch.no_grad():
            F.cross_entropy(answer, batch[1][:, t])
    return F.cross_entropy(answers[-1], batch[1][:, -1])


def largest(model: nn.Module, batch: Any) -> Tensor:
    losses = [F.cross_entropy(answer, batch[1][:, t]) for t, answer in enumerate(model(batch[0]))]
    return torch.stack(losses).max()


def logged_in_a_list(model: nn.Module, batch: Any) -> Tensor:
    """Early exits, of which the last is trained."""
    losses = [F.cross_entropy(answer, batch[1][:, t]) for t, answer in enumerate(model(batch[0]))]
    assert len([float(loss.detach()) for loss in losses]) == 5
    return losses[-1]


def least(model: nn.Module, batch: Any) -> Tensor:
    """The best of several orders, which may be the last."""
    found = torch.tensor(torch.inf)
    for t in (4, 3, 2, 1, 0):
        loss = F.cross_entropy(model(batch[0])[-1] * (1 + t), batch[1][:, -1])
        if loss < found:
            found = loss
    return found


def least_of_python(model: nn.Module, batch: Any) -> Tensor:
    return min(F.cross_entropy(model(batch[0])[-1] * (1 + t), batch[1][:, -1]) for t in (4, 3, 2, 1, 0))


def helper(answer: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(answer, label)


def logged_by_a_helper(model: nn.Module, batch: Any) -> Tensor:
    answers, log = model(batch[0]), {}
    log["first"] = helper(answers[0], batch[1][:, 0]).item()
    log["second"] = helper(answers[1], batch[1][:, 1]).item()
    log["third"] = helper(answers[2], batch[1][:, 2]).item()
    return helper(answers[-1], batch[1][:, -1])


def inner_steps(model: nn.Module, batch: Any) -> Tensor:
    """First-order meta-learning: gradients of inner losses move the weights that the last loss is computed with."""
    weights = dict(model.named_parameters())

    def loss_of(weights: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(model, weights, batch[0])[-1], batch[1][:, -1])

    for _ in range(3):
        slopes = torch.autograd.grad(loss_of(weights), list(weights.values()))
        weights = {name: p - 0.1 * g for (name, p), g in zip(weights.items(), slopes, strict=True)}
    return loss_of(weights)


def of_the_last(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0])[-1], batch[1][:, -1])


Step = Callable[[nn.Module, Any], Tensor]


@pytest.mark.parametrize("step", [assigned, assigned_by_a_module])
def test_losses_that_are_overwritten(step: Step) -> None:
    found = overwritten_losses(Steps(), BATCH, step)
    assert found is not None
    function, file, line, count = found
    assert (function, file, count) == ("cross_entropy", "test_overwritten_losses.py", 5)
    assert line in range(step.__code__.co_firstlineno, step.__code__.co_firstlineno + 5)


@pytest.mark.parametrize(
    "step", [added, logged, logged_in_a_list, logged_by_a_helper, largest, least, least_of_python, inner_steps, of_the_last]
)
def test_losses_that_are_not(step: Step) -> None:
    assert overwritten_losses(Steps(), BATCH, step) is None


@pytest.mark.parametrize("by_step", [True, False])
def test_a_check_names_the_line(by_step: bool) -> None:
    torch.manual_seed(0)

    def whole(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = assigned(model, batch)
        loss.backward()
        optimizer.step()
        return loss

    model = Steps()
    how: dict[str, Any] = {"step": whole} if by_step else {"training_step": assigned}
    optimizer = torch.optim.Adam(model.parameters())
    found = check(Setup(model=model, train_loader=[BATCH] * 4, optimizer=optimizer, rehearse_seconds=2.0, **how))
    told = {f.code: f.severity for f in found.findings}
    assert told.get("idle_loss.overwritten") == "warning"
