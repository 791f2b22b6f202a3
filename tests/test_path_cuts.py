"""Where the path from the weights to the loss ends, by what a training step does to the outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainability

X = torch.randn(256, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).float()
LOADER = [(X[k : k + 32], Y[k : k + 32]) for k in range(0, 256, 32)]


def logistic(outputs: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs.squeeze(1), y)


def decided(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy((torch.sigmoid(model(x).squeeze(1)) > 0.5).float(), y).requires_grad_()


def largest(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(torch.cat([model(x), -model(x)], dim=1).argmax(dim=1).float(), y).requires_grad_()


def without_graph(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        outputs = model(x)
    return logistic(outputs, y).requires_grad_()


def with_a_line_of_logging(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    outputs = model(x)
    value = logistic(outputs, y).item()
    assert ((outputs.squeeze(1) > 0) == (y > 0)).float().mean().item() <= 1
    return torch.tensor(value, requires_grad=True)


def transposed(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(model(x).detach().T[0], y).requires_grad_()


class ItemsHead(nn.Linear):
    """Its name holds that of a function that takes a gradient away."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).round().int().float()


@pytest.mark.parametrize("cut", ["int() in ItemsHead.forward"])
def test_a_name_of_the_program_is_no_function(cut: str) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), ItemsHead(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    step = lambda model, batch: logistic(model(batch[0]), batch[1]).requires_grad_()  # noqa: E731
    report = trainability.check(model, LOADER, optimizer=optimizer, training_step=step)
    assert report.evidence.facts is not None
    assert report.evidence.facts.cut_by == cut
    assert not report.findings[0].remedy.startswith("remove")


@pytest.mark.parametrize(
    ("cost", "cut"),
    [
        (decided, "> in the loss"),
        (largest, "argmax() in the loss"),
        (without_graph, "torch.no_grad()"),
        (lambda model, x, y: logistic(model(x).detach(), y).requires_grad_(), "detach() in the loss"),
        (lambda model, x, y: logistic(model(x).data, y).requires_grad_(), ".data in the loss"),
        (lambda model, x, y: torch.tensor(logistic(model(x), y).item(), requires_grad=True), "item() in the loss"),
        (lambda model, x, y: logistic(torch.tensor(model(x).tolist(), requires_grad=True), y), "tolist() in the loss"),
        (transposed, "detach() in the loss"),
        (lambda model, x, y: logistic(model(x), y), None),
        (lambda model, x, y: logistic(model(x), y) + F.mse_loss(model(x).detach(), model(x)), None),
    ],
)
def test_the_function_at_which_the_path_ends(cost: Callable[..., Tensor], cut: str | None) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    report = trainability.check(model, LOADER, optimizer=optimizer, training_step=lambda model, batch: cost(model, *batch))
    assert report.evidence.facts is not None
    assert report.evidence.facts.cut_by == cut
    first = next((finding for finding in report.findings if finding.severity == "error"), None)
    assert (first is not None and first.rule == "zero_gradient") == (cut is not None)
    assert cut is None or cut in (first.cause if first is not None else "")


def test_of_several_numbers_that_went_on_in_python_none_is_blamed() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    step = lambda model, batch: with_a_line_of_logging(model, *batch)  # noqa: E731
    report = trainability.check(model, LOADER, optimizer=optimizer, training_step=step)
    assert report.evidence.facts is not None
    assert report.evidence.facts.cut_by is None
    assert report.findings[0].rule == "zero_gradient"
