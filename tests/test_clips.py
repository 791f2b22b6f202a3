"""Gradients that are clipped where it changes no step, in the order of calls that a rehearsal sees."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad, clip_grad_norm_
from torch.utils.data import DataLoader, TensorDataset

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
