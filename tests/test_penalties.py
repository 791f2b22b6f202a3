"""Penalties on the weights that are written into the loss."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.penalties import weight_penalty

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))


def squares(model: nn.Module) -> Tensor:
    return sum((p.square().sum() for p in model.parameters()), torch.zeros(()))


def sizes(model: nn.Module) -> Tensor:
    return sum((p.abs().sum() for p in model.parameters()), torch.zeros(()))


def orthogonal(model: nn.Module) -> Tensor:
    weight = model[0].weight  # type: ignore[index]
    return (weight.T @ weight - torch.eye(6)).square().sum()


@pytest.mark.parametrize("factor", [1e-4, 1.0])
def test_the_ratio_and_the_share_are_those_of_the_two_terms(factor: float) -> None:
    model = net()
    found = weight_penalty(model, (X, Y), lambda m, b: F.cross_entropy(m(b[0]), b[1]) + factor * squares(m))
    assert found is not None
    data = F.cross_entropy(model(X), Y)
    weights = [p for p in model.parameters() if p.dim() > 1]
    slopes = torch.autograd.grad(data, weights)
    ratios = [float(2 * factor * w.detach().norm() / slope.norm()) for w, slope in zip(weights, slopes, strict=True)]
    cost = factor * float(squares(model).detach())
    assert found[0] == pytest.approx(sum(ratios) / 2, rel=1e-3)
    assert found[1] == pytest.approx(cost / (cost + float(data.detach())), rel=1e-3)


def test_absolute_values_count_and_weights_stay_as_they_are() -> None:
    model = net()
    before = [p.detach().clone() for p in model.parameters()]
    found = weight_penalty(model, (X, Y), lambda m, b: F.cross_entropy(m(b[0]), b[1]) + 0.1 * sizes(m))
    assert found is not None
    assert found[0] > 3
    assert all(torch.equal(p, kept) for p, kept in zip(model.parameters(), before, strict=True))


def test_terms_that_do_not_pull_to_zero_are_none() -> None:
    assert weight_penalty(net(), (X, Y), lambda m, b: F.cross_entropy(m(b[0]), b[1])) is None
    small = net()
    with torch.no_grad():
        small[0].weight.mul_(0.3)  # type: ignore[index]
    assert weight_penalty(small, (X, Y), lambda m, b: F.cross_entropy(m(b[0]), b[1]) + orthogonal(m)) is None
    assert weight_penalty(net(), (X, Y), lambda m, b: F.cross_entropy(m(b[0]), b[1]) + m(b[0]).square().mean()) is None
