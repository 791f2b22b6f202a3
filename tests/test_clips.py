"""Gradients that are clipped where it changes no step, in the order of calls that a rehearsal sees."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad, clip_grad_norm_
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor.measure.rehearsal import rehearse

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(X, X.sum(dim=1, keepdim=True))


def cost(model: Any, batch: Any) -> torch.Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def in_order(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
    optimizer.zero_grad()
    loss = cost(model, batch)
    loss.backward()
    clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
    return loss


def after(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
    optimizer.zero_grad()
    loss = cost(model, batch)
    loss.backward()
    optimizer.step()
    clip_grad_norm_(model.parameters(), 0.1)
    return loss


def before(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
    loss = cost(model, batch)
    optimizer.zero_grad()
    torch.nn.utils.clip_grad_norm_(list(model.parameters()), 0.1)
    loss.backward()
    optimizer.step()
    return loss


def steps_first(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
    """The step of the gradient of the batch before, clipped first."""
    clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
    optimizer.zero_grad()
    loss = cost(model, batch)
    loss.backward()
    return loss


def logged_after(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
    """The norm alone is asked for."""
    optimizer.zero_grad()
    loss = cost(model, batch)
    loss.backward()
    optimizer.step()
    clip_grad_norm_(model.parameters(), float("inf"))
    return loss


def in_a_closure(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cost(model, batch)
        loss.backward()
        clip_grad_norm_(model.parameters(), 0.1)
        return loss

    return optimizer.step(closure)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (in_order, None),
        (after, ("after", 0.1)),
        (before, ("before", 0.1)),
        (steps_first, None),
        (in_a_closure, None),
        (logged_after, None),
    ],
)
def test_a_clip_that_changes_no_step_is_told(body: Callable[..., torch.Tensor], told: tuple[str, float] | None) -> None:
    torch.manual_seed(0)
    own, model = clip_grad._clip_grads_with_norm_, nn.Linear(4, 1)
    seen = rehearse(model, torch.optim.SGD(model.parameters(), lr=0.01), DataLoader(DATA, 16), step=body, max_steps=6)
    assert seen.vain_clip == told
    assert clip_grad._clip_grads_with_norm_ is own


def clipping_at(limit: float) -> Callable[..., torch.Tensor]:
    def body(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
        optimizer.zero_grad()
        loss = cost(model, batch)
        loss.backward()
        clip_grad_norm_(model.parameters(), limit)
        optimizer.step()
        return loss

    return body


@pytest.mark.parametrize(
    ("limit", "make", "fires"),
    [
        (2e-3, lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9), True),
        (1.0, lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9), False),  # acts at the first steps
        (2e-3, lambda weights: torch.optim.SGD(weights, lr=20.0), False),  # a rate that fits what is left
        (2e-3, lambda weights: torch.optim.Adam(weights, lr=1e-2), False),  # divides by what is left
    ],
    ids=["to nothing", "usual", "normalised", "Adam"],
)
def test_a_clip_that_leaves_next_to_nothing_is_raised_in_a_rehearsal(
    limit: float, make: Callable[..., Any], fires: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    found = check(model, DataLoader(DATA, 16), optimizer=make(model.parameters()), step=clipping_at(limit))
    codes = {f.code for f in found.findings if f.severity != "hint"}
    assert codes == ({"clipping.to_nothing"} if fires else set())


def test_a_clip_in_a_warm_up_is_no_mistake() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 1e5, 1.0))

    def body(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
        loss = clipping_at(2e-3)(model, optimizer, batch)
        schedule.step()
        return loss

    found = check(model, DataLoader(DATA, 16), optimizer=optimizer, scheduler=schedule, step=body)
    assert not any(f.code == "clipping.to_nothing" for f in found.findings)


def clipped_run(make: Callable[..., torch.optim.Optimizer], limit: float) -> tuple[nn.Module, Any]:
    """Sixty steps, each of them clipped."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = make(model.parameters())
    with Monitor(model, optimizer, every=20, asks_step=False) as monitor:
        for batch, _ in zip(itertools.cycle(DataLoader(DATA, 16)), range(60), strict=False):
            optimizer.zero_grad()
            loss = cost(model, batch)
            loss.backward()
            monitor.after_backward(loss)
            clip_grad_norm_(model.parameters(), limit)
            optimizer.step()
    return model, monitor.diagnose()


CLIPPED = {
    "SGD": (lambda weights: torch.optim.SGD(weights, lr=0.1), True),
    "Adam": (lambda weights: torch.optim.Adam(weights, lr=1e-3), False),
    "AdamW": (lambda weights: torch.optim.AdamW(weights, lr=1e-3), False),
    "RMSprop": (lambda weights: torch.optim.RMSprop(weights, lr=1e-3, eps=1e-12), False),
}


@pytest.mark.parametrize("name", CLIPPED)
def test_a_clip_of_every_step_is_told_where_the_steps_go_by_it(name: str) -> None:
    make, is_told = CLIPPED[name]
    (one, diagnosis), (other, _) = clipped_run(make, 1e-2), clipped_run(make, 1e-3)
    found = [f for f in diagnosis.findings if f.rule == "clipping"]
    assert [(f.code, f.severity) for f in found] == ([("clipping", "hint")] if is_told else [])
    far = max(float((a - b).detach().abs().max()) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert (far < 1e-4) != is_told  # Adam makes the same steps at a tenth of the threshold
    ratios = [s.clip_ratio for s in diagnosis.evidence.steps if s.clip_ratio is not None]
    for each in found:
        assert re.findall(r"(\d+) steps that were measured among the last (\d+)", each.seen) == [(str(len(ratios)), "60")]
