"""Weights with a distribution: how often the divergence from their prior counts beside the examples' error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.rules.verdict import diagnose

EXAMPLES, BATCH = 320, 32


class Bayesian(nn.Module):
    """A linear layer whose weights are drawn anew in each pass.

    Args:
        way: in which the divergence is written: out, by PyTorch's distributions, or of what was drawn.
    """

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.mean = nn.Parameter(0.3 * torch.randn(4, 6))
        self.spread = nn.Parameter(torch.full((4, 6), -2.0))
        self.head = nn.Linear(4, 1)
        self.divergence = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        deviation = F.softplus(self.spread)
        weight = self.mean + deviation * torch.randn_like(deviation)
        if self.way == "written out":
            self.divergence = (0.5 * (deviation**2 + self.mean**2 - 1) - deviation.log()).sum()
        elif self.way == "distributions":
            self.divergence = kl_divergence(Normal(self.mean, deviation), Normal(0.0, 0.5)).sum()
        else:
            posterior, prior = Normal(self.mean, deviation), Normal(torch.zeros(()), torch.ones(()))
            self.divergence = (posterior.log_prob(weight) - prior.log_prob(weight)).sum()
        return self.head(torch.tanh(F.linear(x, weight))).squeeze(1)


def counted(way: str, divided: float, reduction: str = "mean") -> tuple[float, int] | None:
    torch.manual_seed(0)
    inputs = torch.randn(EXAMPLES, 6)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(dim=1)), BATCH)
    model = Bayesian(way)

    def step(model: Bayesian, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.mse_loss(model(batch[0]), batch[1], reduction=reduction) + model.divergence / divided

    found = facts_of(model, next(iter(loader)), training_step=step, batches=loader)
    assert found.graph is not None
    return found.graph.prior_weight


@pytest.mark.parametrize(("way", "least"), [("written out", 1.0), ("distributions", 0.5), ("of what was drawn", 1.0)])
def test_the_weight_is_read_exactly(way: str, least: float) -> None:
    for divided, reduction, times in ((1, "mean", EXAMPLES), (EXAMPLES, "mean", 1), (1, "sum", EXAMPLES // BATCH)):
        found = counted(way, divided, reduction)
        assert found is not None
        assert found == (pytest.approx(least * times, rel=1e-3), EXAMPLES)


def test_a_penalty_without_a_logarithm_is_no_divergence() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(EXAMPLES, 6)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(dim=1, keepdim=True)), BATCH)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    scale = nn.Parameter(torch.zeros(1))
    model.register_parameter("scale", scale)

    def penalised(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.mse_loss(model(batch[0]), batch[1]) + sum(p.square().sum() for p in model.parameters())

    found = facts_of(model, next(iter(loader)), training_step=penalised, batches=loader)
    assert found.graph is not None
    assert found.graph.prior_weight is None


def test_what_is_said_goes_by_the_number_of_examples() -> None:
    from trainability.doctor.facts import Facts, LossGraph

    for times, fires in ((4000.0, True), (1000.0, True), (64.0, False), (1.0, False)):
        found = diagnose(Evidence(facts=Facts(graph=LossGraph(prior_weight=(times, 4000)))))
        assert ("sum_for_mean.prior" in [f.code for f in found.findings]) is fires
