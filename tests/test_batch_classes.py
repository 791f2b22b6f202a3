"""What a running loop tells of its targets and of its loss's sign: closed forms, and what must not be taken for either."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor import Monitor
from trainability.doctor.measure.graph import loss_graph
from trainability.doctor.measure.order import classes_in_gradient, marks_in_gradient


def gradient(loss_fn, target: torch.Tensor, width: int = 10) -> torch.Tensor:
    torch.manual_seed(0)
    logits = torch.randn(len(target), width, requires_grad=True)
    loss_fn(logits, target).backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (torch.arange(32) % 10, [32, 10, 0]),
        (torch.full((32,), 3), [32, 1, 3]),
        (torch.tensor([4, -100, 4, 4, -100]), [3, 1, 4]),
        (torch.full((8,), -100), [0, 0, 0]),
    ],
)
def test_targets_are_read_off_the_gradient_of_a_cross_entropy(target: torch.Tensor, expected: list[int]) -> None:
    assert classes_in_gradient(gradient(F.cross_entropy, target)).tolist() == expected


def test_other_gradients_tell_nothing() -> None:
    values = torch.randn(32, 10)
    marks = F.one_hot(torch.zeros(32, dtype=torch.long), 10).float()
    for loss_fn, target in ((F.mse_loss, values), (F.binary_cross_entropy_with_logits, marks)):
        assert classes_in_gradient(gradient(loss_fn, target)).tolist() == [0, 0, 0]
    # All first outputs too small and all second ones too large: one value of each row is below zero.
    assert classes_in_gradient(gradient(F.mse_loss, torch.tensor([[9.0, -9.0]]).repeat(16, 1), 2)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("loss_fn", "expected"),
    [
        (lambda z, y: -F.cross_entropy(z, y), "cross_entropy"),
        (lambda z, y: -1 * F.cross_entropy(z, y) / 2, "cross_entropy"),
        (lambda z, y: -F.mse_loss(z[:, 0], y.float()), "mse_loss"),
        (F.cross_entropy, None),
        (lambda z, y: (F.cross_entropy(z, y, reduction="none") * torch.randn(len(y))).mean(), None),  # weights by example
        (lambda z, y: 0.5 * F.cross_entropy(z, y) - 0.1 * z.square().mean(), None),
        (lambda z, y: -F.nll_loss(F.softmax(z, dim=1), y), None),  # minus an expected accuracy has that sign
    ],
)
def test_a_multiple_of_a_known_loss_is_read_off_its_graph(loss_fn, expected: str | None) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 10)
    graph = loss_graph(loss_fn(model(torch.randn(8, 4)), torch.arange(8)), model)
    assert graph is not None
    assert graph.multiple_of == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_only_a_loss_below_zero_is_negated(sign: int) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=2) as monitor:
        for _ in range(6):
            loss = sign * 0.5 * F.cross_entropy(model(torch.randn(16, 4)), torch.arange(16) % 10)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    codes = [finding.code for finding in monitor.diagnose().findings]
    assert ("wrong_sign" in codes) == (sign < 0)
    assert "class_order" not in codes


BINARY: dict[str, tuple[int, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "a column of logits": (1, lambda z, y: F.binary_cross_entropy_with_logits(z, y.float()[:, None])),
    "a row of logits": (1, lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1), y.float())),
    "probabilities": (1, lambda p, y: F.binary_cross_entropy(p, y.float()[:, None])),
    "log-probabilities": (2, F.nll_loss),
}


class Marker(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.head = name, nn.Linear(4, BINARY[name][0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.head(x)
        return z.sigmoid() if self.name == "probabilities" else z.log_softmax(dim=1) if z.shape[1] > 1 else z


def of_a_loader(name: str, labels: Callable[[int], torch.Tensor], steps: int = 10) -> list[str]:
    torch.manual_seed(0)
    model = Marker(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=2) as monitor:
        for step in range(steps):
            loss = BINARY[name][1](model(torch.randn(16, 4)), labels(step))
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return [finding.code for finding in monitor.diagnose().findings if finding.rule == "class_order"]


@pytest.mark.parametrize("name", BINARY)
def test_a_sorted_loader_of_two_classes_is_told_by_the_gradient_of_the_outputs(name: str) -> None:
    assert of_a_loader(name, lambda step: torch.full((16,), int(step >= 5))) == ["class_order"]
    assert of_a_loader(name, lambda step: torch.randint(2, (16,))) == []
    assert of_a_loader(name, lambda step: torch.full((16,), int(step >= 5)), steps=8) == []  # four samples


def test_a_judge_that_is_shown_real_examples_alone_is_no_sorted_loader() -> None:
    assert of_a_loader("a column of logits", lambda step: torch.ones(16, dtype=torch.long)) == []


@pytest.mark.parametrize("weight", [2.0, None])
def test_yes_and_no_are_read_where_the_loss_is_the_plain_one(weight: float | None) -> None:
    output, target = torch.randn(16, 1), (torch.arange(16) % 2).float()[:, None]
    output.requires_grad_()
    loss = F.binary_cross_entropy_with_logits(output, target, pos_weight=None if weight is None else torch.tensor(weight))
    (slopes,) = torch.autograd.grad(loss, output)
    assert marks_in_gradient(output, slopes, loss).tolist() == ([16, 2, 0] if weight is None else [0, 0, 0])
    loss = F.mse_loss(output, target)
    (slopes,) = torch.autograd.grad(loss, output)
    assert marks_in_gradient(output, slopes, loss).tolist() == [0, 0, 0]
