"""LBFGS: each of its steps is a search of several updates, which go far, and downhill."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability import Diagnosis, Monitor, Setup, check

LENGTH = {"exploding_gradient", "update_ratio"}


def program(**options: Any) -> tuple[nn.Module, torch.optim.LBFGS, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(500, 8)
    y = (x[:, 0] * x[:, 1] + x[:, 2].sin())[:, None]
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))
    return model, torch.optim.LBFGS(model.parameters(), max_iter=10, **options), x, y


def watched(num_steps: int, **options: Any) -> tuple[Diagnosis, list[float]]:
    model, optimizer, x, y = program(**options)
    losses = []
    with Monitor(model, optimizer, every=5) as monitor:

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            return loss

        losses += [optimizer.step(closure).item() for _ in range(num_steps)]
    return monitor.diagnose(), losses


@pytest.mark.parametrize("num_steps", [1, 3, 8, 30])
def test_a_run_that_falls_in_few_steps_is_said_to_fall(num_steps: int) -> None:
    found, losses = watched(num_steps, lr=1.0, line_search_fn="strong_wolfe")
    assert losses[-1] < losses[0] or num_steps == 1
    assert ("has not fallen" in found.reason) == (num_steps == 1)
    assert not LENGTH & {f.rule for f in found.findings}


@pytest.mark.parametrize("line_search", ["strong_wolfe", None])
def test_the_length_of_a_step_is_no_finding_before_the_run(line_search: str | None) -> None:
    model, optimizer, x, y = program(lr=1.0, line_search_fn=line_search)
    found = check(Setup(model=model, train_loader=[(x, y)] * 4, loss_fn=F.mse_loss, optimizer=optimizer, rehearse_seconds=60.0))
    assert found.verdict == "will train"
    assert not LENGTH & {f.rule for f in found.findings}


def test_steps_that_raise_the_loss_are_too_long() -> None:
    model, optimizer, x, y = program(lr=500.0)
    found = check(Setup(model=model, train_loader=[(x, y)] * 4, loss_fn=F.mse_loss, optimizer=optimizer, rehearse_seconds=60.0))
    assert ("exploding_gradient", "error") in {(f.rule, f.severity) for f in found.findings}
    run, _ = watched(4, lr=500.0)
    assert {"exploding_gradient", "not_finite"} & {f.rule for f in run.findings}
