"""Derivatives without a graph of their own: terms that no weight feels, and others that are meant."""

from typing import Any

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.derivatives import is_constant_term

X, Y = torch.randn(32, 6, generator=torch.Generator().manual_seed(0)), torch.arange(32.0) / 32


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))


def slope(model: Any, x: Tensor, **words: Any) -> Tensor:
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x, **words)[0]


def penalised(model: Any, batch: Any, *, graph: bool) -> Tensor:
    size = slope(model, batch[0], create_graph=graph).norm(dim=1)
    return F.mse_loss(model(batch[0])[:, 0], batch[1]) + ((size - 1) ** 2).mean()


def attacked(model: Any, batch: Any) -> Tensor:
    """Inputs are moved against their labels, and the loss is asked there."""
    moved = batch[0] + 0.1 * slope(model, batch[0]).sign() + 0.1 * slope(model, batch[0])
    return F.mse_loss(model(moved)[:, 0], batch[1])


def balanced(model: Any, batch: Any) -> Tensor:
    """A slope weighs a term."""
    return F.mse_loss(model(batch[0])[:, 0], batch[1]) + model(batch[0]).abs().mean() * slope(model, batch[0]).norm()


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (lambda m, b: penalised(m, b, graph=False), True),
        (lambda m, b: penalised(m, b, graph=True), False),
        (attacked, False),
        (balanced, False),
        (lambda m, b: F.mse_loss(m(b[0])[:, 0] + 0 * slope(m, b[0]).sum(), b[1]), False),  # looked at, and not used
        (lambda m, b: F.mse_loss(m(b[0])[:, 0], b[1]), False),
    ],
)
def test_a_term_that_no_weight_feels_is_told_from_others(step: Any, found: bool) -> None:
    assert is_constant_term(net(), (X, Y), step) is found
    assert facts_of(net(), (X, Y), training_step=step).constant_term is found


@pytest.mark.parametrize("graph", [True, False])
def test_a_critic_whose_slope_is_not_bounded_is_named(graph: bool) -> None:
    models = {"maker": nn.Linear(4, 6), "critic": net()}
    optimizers = {name: torch.optim.Adam(model.parameters(), 1e-3) for name, model in models.items()}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        made = model["maker"](torch.randn(len(batch[0]), 4))
        optimizer["critic"].zero_grad()
        size = slope(model["critic"], made, create_graph=graph).norm(dim=1)
        loss = model["critic"](made.detach()).mean() - model["critic"](batch[0]).mean() + ((size - 1) ** 2).mean()
        loss.backward()
        optimizer["critic"].step()
        optimizer["maker"].zero_grad()
        (-model["critic"](made).mean()).backward()
        optimizer["maker"].step()
        return loss

    found = check(models, batches(X), step=step, optimizer=optimizers, rehearse_seconds=None).findings
    named = [f.code for f in found if f.code.startswith("flat_derivative")]
    assert named == ([] if graph else ["flat_derivative.without_graph"])
