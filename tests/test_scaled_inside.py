"""Inputs that a model scales in its own forward, and an episode's first state: neither is out of scale, or constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor.diagnosis import Diagnosis


class Forecast(nn.Module):
    """The next numbers of a series, from its last ones over the very last, if it divides at all."""

    def __init__(self, divides: bool) -> None:
        super().__init__()
        self.divides, self.net = divides, nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x: Tensor) -> Tensor:
        scale = x[:, -1:] if self.divides else torch.ones_like(x[:, -1:])
        return scale * (1 + self.net(x / scale - 1))


class Waves(nn.Module):
    """The same from sines of what it is given, whose frequencies are learned, too."""

    def __init__(self) -> None:
        super().__init__()
        self.omega, self.net = (
            nn.Parameter(torch.logspace(-3, -1, 12)),
            nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.sin(x * self.omega))


class Amplitudes(nn.Module):
    """The same by a layer that is given ratios, and by weights of the model itself, which multiply sines of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.amplitudes, self.layer = nn.Parameter(0.1 * torch.randn(12, 3)), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x.sin() @ self.amplitudes + self.layer(x / x[:, -1:] - 1)


def series() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    level = 10 ** (1 + 2.7 * torch.rand(600, 1, generator=rng))
    x = level * (1.5 + 0.3 * torch.randn(600, 15, generator=rng)).clamp(min=0.2)
    return x[:, :12], x[:, 12:]


def scale_of(found: Diagnosis) -> set[str]:
    return {f.severity for f in found.findings if f.rule == "input_scale"}


@pytest.mark.parametrize(
    ("build", "scales"),
    [(lambda: Forecast(True), True), (Waves, True), (Amplitudes, True), (lambda: Forecast(False), False)],
    ids=["divides", "sines", "weights of its own", "as it is"],
)
def test_a_model_that_scales_what_it_is_given_has_inputs_in_scale(build: Callable[[], nn.Module], scales: bool) -> None:
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 1e-9 if scales else 1e-3)  # runs that come to nothing
    loader = DataLoader(TensorDataset(*series()), 60)
    severities = {"hint"} if scales else {"warning", "error"}
    assert scale_of(check(model, loader, F.mse_loss, optimizer, rehearse_seconds=1.0)) <= severities
    with Monitor(model, optimizer, every=20) as monitor:
        for x, y in [*loader] * 12:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert scale_of(monitor.diagnose()) <= severities
    assert scale_of(monitor.diagnose()) or scales


def stocks(model: nn.Module, demand: Tensor, *, starts: Tensor) -> Tensor:
    """Minus the reward of orders, weighted by their log-probabilities."""
    stock, rewards, logs = starts, [], []
    for t in range(demand.shape[1]):
        choice = torch.distributions.Categorical(logits=model(stock[:, None] / 8))
        order = choice.sample()
        logs.append(choice.log_prob(order))
        stock = (stock + order - demand[:, t]).clamp(-5, 20)
        rewards.append(-stock.abs())
    returns = torch.stack(rewards).flip(0).cumsum(0).flip(0)
    return -(torch.stack(logs) * (returns - returns.mean(dim=1, keepdim=True))).mean()


@pytest.mark.parametrize("moves", [True, False])
def test_the_first_state_of_an_episode_is_no_constant_input(moves: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 5))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loader = DataLoader(TensorDataset(torch.poisson(torch.full((256, 6), 2.0))), 32)

    def step(model: Any, batch: Any) -> Tensor:
        demand = batch[0]
        if moves:
            return stocks(model, demand, starts=torch.full((len(demand),), 40.0))
        return model(torch.full((len(demand), 1), 40.0)).square().mean()

    with Monitor(model, optimizer, every=5) as monitor:
        for batch in loader:
            optimizer.zero_grad()
            loss = step(model, batch)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    said = {f.rule for f in monitor.diagnose().findings if f.severity != "hint"}
    assert ("constant_input" in said) is not moves
    if moves:
        found = check(model, loader, training_step=step, optimizer=optimizer, rehearse_seconds=1.0)
        assert not {f.rule for f in found.findings if f.severity != "hint"} & {"constant_input", "input_scale"}
