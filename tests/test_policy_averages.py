"""A policy's gradient: log-probabilities that are weighed one by one, and averages that are multiplied."""

import dataclasses
from typing import Any

import pytest
import torch
from rule_examples import steps
from torch import Tensor, nn
from torch.distributions import Categorical

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

SEEDS = torch.arange(12)


def policy() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))


def played(model: Any, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and standardised rewards of a few steps, of states that are made as the step goes."""
    logs, rewards = [], []
    place = torch.tensor([[float(s), 1.0, 0.0] for s in seeds], dtype=torch.float32) / 12
    for _ in range(5):
        chosen = Categorical(logits=model(place))
        action = chosen.sample()
        logs.append(chosen.log_prob(action))
        rewards.append((action == 1).float() + place[:, 0])
        place = place + 0.1 * (2 * action[:, None].float() - 1)
    earned = torch.stack(rewards)
    return torch.stack(logs), (earned - earned.mean()) / (earned.std() + 1e-6)


def averaged(model: Any, batch: Any) -> Tensor:
    logs, earned = played(model, batch[0])
    return -(logs.mean() * earned).mean()


def of_means(model: Any, batch: Any) -> Tensor:
    logs, earned = played(model, batch[0])
    return -logs.mean() * earned.mean()


def each(model: Any, batch: Any) -> Tensor:
    logs, earned = played(model, batch[0])
    return -(logs * earned).mean()


def ratios(model: Any, batch: Any) -> Tensor:
    """As of the first epoch of PPO: the loss is zero, and its gradient is not."""
    logs, earned = played(model, batch[0])
    return -((logs - logs.detach()).exp() * earned).mean()


@pytest.mark.parametrize(("step", "fires"), [(averaged, True), (of_means, True), (each, False), (ratios, False)])
def test_averages_that_are_multiplied_cancel(step: Any, fires: bool) -> None:
    facts = facts_of(policy(), (SEEDS,), training_step=step)
    assert facts.draws_own
    found = diagnose(Evidence(facts=facts)).findings
    assert ("flat_loss.rounding" in [f.code for f in found]) == fires


@pytest.mark.parametrize(("norm", "expected"), [(1e-8, ["flat_loss.zero"]), (0.1, []), (None, ["flat_loss.zero"])])
def test_a_loss_of_zero_that_has_a_slope_is_none_of_rounding(norm: float | None, expected: list[str]) -> None:
    taken = tuple(dataclasses.replace(step, gradient_norm=norm) for step in steps([1e-8, -1e-8] * 10))
    assert [f.code for f in diagnose(Evidence(steps=taken)).findings if f.rule == "flat_loss"] == expected
