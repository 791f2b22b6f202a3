"""Weights of log-probabilities: of costs, which a loss makes less likely without a minus, and of rewards, which it must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from trainability.doctor.measure.chances import Chances

Weigh = Callable[[Tensor, Tensor, nn.Module], Tensor]


def lowered(weigh: Callable[..., Tensor], sign: float) -> Any:
    """What is said of a loss that weights log-probabilities."""
    torch.manual_seed(0)
    model, state = nn.Linear(3, 4), torch.randn(64, 3)
    with Chances() as chances:
        choice = Categorical(logits=model(state))
        action = choice.sample()
        loss = weigh(state, action, choice.log_prob(action), sign)
        loss.backward()
    return chances.lowered()


def amount(state: Tensor, action: Tensor) -> Tensor:
    return (state[:, 0] - action).square() + state[:, 1]


def of_length(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    length = amount(state, action)
    advantage = length - length.mean()
    return sign * (advantage.detach() * logp).mean()


def of_costs_to_go(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    def rollout() -> Tensor:
        costs = [part.sum(dim=0, keepdim=True) for part in amount(state, action).split(1)]
        return torch.cat(costs).flip(0).cumsum(0).flip(0)

    to_go = rollout()
    advantage = (to_go - to_go.mean()) / (to_go.std() + 1e-6)
    return sign * (advantage * logp).mean()


def of_returns_of_costs(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    cost = amount(state, action)
    returns = cost.flip(0).cumsum(0).flip(0)
    return sign * (returns * logp).mean()


def of_numpy(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    travel_costs = np.asarray(amount(state, action))
    advantages = torch.tensor(travel_costs - travel_costs.mean())
    return sign * (advantages * logp).mean()


def of_a_list(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    errors = [float(each) for each in amount(state, action)]
    adv = torch.tensor(errors)
    return sign * (adv * logp).mean()


def of_minus_reward(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    reward = amount(state, action)
    advantage = -(reward - reward.mean())
    del reward
    return sign * (advantage * logp).mean()


def of_nothing_known(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    advantage = amount(state, action)
    return sign * (advantage * logp).mean()


COSTS = (of_length, of_costs_to_go, of_returns_of_costs, of_numpy, of_a_list, of_minus_reward, of_nothing_known)


@pytest.mark.parametrize("weigh", COSTS, ids=lambda each: each.__name__)
def test_costs_are_to_become_less_likely(weigh: Any) -> None:
    assert lowered(weigh, 1.0) is None


def of_returns_and_values(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    rewards = amount(state, action)
    returns = rewards.flip(0).cumsum(0).flip(0)
    values = nn.Linear(3, 1)(state).squeeze(1)
    advantage = returns - values
    return sign * (logp * advantage.detach()).mean()


def of_one_step_errors(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    critic = nn.Linear(3, 1)
    reward, value, following = amount(state, action), critic(state).squeeze(1), critic(state + 1).squeeze(1)
    td_error = reward + 0.9 * following.detach() - value
    adv = td_error.detach()
    return sign * (logp * adv).mean()


def of_generalised_advantages(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    rewards, values = amount(state, action), torch.randn(65)
    advantages, last = torch.zeros_like(rewards), torch.zeros(())
    for t in reversed(range(64)):
        last = rewards[t] + 0.9 * values[t + 1] - values[t] + 0.8 * last
        advantages[t] = last
    return sign * (logp * advantages).mean()


def of_minus_cost(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    cost = -amount(state, action)
    advantage = -(cost - cost.mean())
    return sign * (logp * advantage).mean()


def of_rewards_less_costs(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    reward, energy = amount(state, action), 0.1 * state[:, 2].abs()
    advantage = (reward - 0.1 * energy) / 3
    return sign * (logp * advantage).mean()


def of_batches(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    batch = {"advantages": amount(state, action), "returns": amount(state, action) + 1}
    return sign * (logp * batch["advantages"]).mean()


def of_steps(state: Tensor, action: Tensor, logp: Tensor, sign: float) -> Tensor:
    rewards, returns, total = [float(each) for each in amount(state, action)], list[float](), 0.0
    for reward in reversed(rewards):
        total = reward + 0.9 * total
        returns.insert(0, total)
    G = torch.tensor(returns)
    return sign * (logp * G).sum()


REWARDS = (of_returns_and_values, of_one_step_errors, of_generalised_advantages, of_minus_cost, of_rewards_less_costs)
REWARDS = (*REWARDS, of_batches, of_steps)


@pytest.mark.parametrize("weigh", REWARDS, ids=lambda each: each.__name__)
def test_rewards_are_not(weigh: Any) -> None:
    assert lowered(weigh, 1.0) is not None
    assert lowered(weigh, -1.0) is None
