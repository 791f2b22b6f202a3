"""An optimizer over layers that forward never calls, as of a new head under another name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor import Monitor, diagnose
from trainability.doctor.finding import Finding

CODE = "unreached_parameter.unused"


class Net(nn.Module):
    """A body and a head; `spare` stands beside them, and is called from some step on, or never."""

    def __init__(self, called_from: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.spare = nn.Linear(6, 16), nn.Linear(16, 3), nn.Linear(16, 3)
        self.called_from, self.num_calls = called_from, 0

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x).relu()
        self.num_calls += self.training and torch.is_grad_enabled()
        is_late = self.called_from is not None and self.num_calls > self.called_from
        return self.head(hidden) + (self.spare(hidden) if is_late else 0.0)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    inputs = [torch.randn(16, 6, generator=draw) for _ in range(count)]
    return [(x, x[:, :3].argmax(1)) for x in inputs]


def checked(model: Net, trained: nn.Module) -> list[Finding]:
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    report = check(model=model, loss_fn=F.cross_entropy, train_loader=batches(8), optimizer=optimizer, rehearse_seconds=20)
    return list(report.findings)


def watched(model: Net, trained: nn.Module, num_steps: int = 30) -> list[Finding]:
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    with Monitor(model, optimizer, every=5) as monitor:
        for x, y in batches(num_steps):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    return list(diagnose(monitor.evidence()).findings)


@pytest.mark.parametrize("ask", [checked, watched])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_head_under_another_name_is_the_cause(ask: Any, is_frozen: bool) -> None:
    model = Net()
    model.body.requires_grad_(not is_frozen)
    found = ask(model, model.spare)
    assert (found[0].code, found[0].severity) == (CODE, "error")
    assert found[0].layers == ("spare.weight", "spare.bias")
    assert [finding.code for finding in found if finding.severity == "error"] == [CODE]
    assert "model.spare" in found[0].remedy
    assert "model.head" in found[0].remedy


@pytest.mark.parametrize("ask", [checked, watched])
def test_where_the_optimizer_holds_what_is_used_too_it_is_a_hint_at_most(ask: Any) -> None:
    model = Net()
    assert CODE not in [finding.code for finding in ask(model, model) if finding.severity != "hint"]


def test_a_layer_that_a_warm_up_leaves_out_is_no_error() -> None:
    model = Net(called_from=8)
    assert CODE not in [finding.code for finding in watched(model, model.spare) if finding.severity != "hint"]


def test_a_player_whose_turn_comes_later_is_no_error() -> None:
    model = Net()
    first, second = (torch.optim.SGD(part.parameters(), lr=0.1) for part in (model.head, model.spare))
    with Monitor(model, second, every=5) as monitor:
        for number, (x, y) in enumerate(batches(40)):
            hidden = model.body(x).relu()
            is_second = number % 2 == 1
            loss = F.cross_entropy((model.spare if is_second else model.head)(hidden), y)
            loss.backward()
            monitor.after_backward(loss)
            (second if is_second else first).step()
            first.zero_grad()
            second.zero_grad()
    assert CODE not in [finding.code for finding in diagnose(monitor.evidence()).findings if finding.severity != "hint"]
