"""Actor-critic with a Gaussian policy: a heliostat is given sun position, wind and its own sag and chooses the offset of its mirror; the light on the tower is the reward. The rewards are (N,), values and log-probabilities are (N, 1), so the advantage is an N x N table in which every action is judged by the mean reward of the batch; the right change: rewards.unsqueeze(1) before the values are taken off."""
import sys

import torch
import torch.nn as nn
from torch.distributions import Normal

torch.set_num_threads(1)
STATE = 6


def wanted_offset(state):
    azimuth, elevation, wind, sag, dust, heat = state.unbind(1)
    return 0.8 * torch.sin(1.5 * azimuth) + 0.5 * elevation * sag - 0.3 * wind


class Field:
    """The mirrors of one minute; thin haze takes a share of the light from all of them alike."""

    def __init__(self, n, haze=None):
        self.state = 2 * torch.rand(n, STATE) - 1
        self.haze = 0.5 * torch.rand(1).item() if haze is None else haze

    def reflect(self, offset):
        miss = offset.squeeze(1) - wanted_offset(self.state)
        light = torch.exp(-2.0 * miss ** 2) - 0.05 * offset.squeeze(1) ** 2
        return light + 0.05 * torch.randn(len(light)) - 0.1 * self.state[:, 4] - self.haze


class Minutes:
    def __init__(self, mirrors, minutes):
        self.mirrors, self.minutes = mirrors, minutes

    def __len__(self):
        return self.minutes

    def __iter__(self):
        for _ in range(self.minutes):
            yield Field(self.mirrors)


def mlp(n_out):
    return nn.Sequential(nn.Linear(STATE, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, n_out))


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.value = mlp(1), mlp(1)
        self.log_std = nn.Parameter(torch.tensor([-0.5]))

    def forward(self, state):
        return Normal(self.mean(state), self.log_std.exp()), self.value(state)


class Learner:
    def __init__(self, column):
        self.column = column

    def __call__(self, agent, field, optimizer):
        policy, values = agent(field.state)
        offsets = policy.sample()
        rewards = field.reflect(offsets)
        if self.column:
            rewards = rewards.unsqueeze(1)
        advantage = rewards - values
        actor = -(policy.log_prob(offsets) * advantage.detach()).mean()
        critic = advantage.pow(2).mean()
        loss = actor + 0.5 * critic - 0.002 * policy.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
        optimizer.step()
        return loss.detach()


def parts(variant):
    torch.manual_seed(6)
    agent = Agent()
    return {"model": agent, "optimizer": torch.optim.Adam(agent.parameters(), lr=3e-3),
            "step": Learner(column=variant != "bad"), "train_loader": Minutes(mirrors=128, minutes=80)}


def light_on_tower(agent, n=1000):
    field = Field(n, haze=0.0)
    with torch.no_grad():
        return field.reflect(agent.mean(field.state)).mean().item()


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for hour in range(10):
        for field in p["train_loader"]:
            loss = p["step"](p["model"], field, p["optimizer"])
        print(f"hour {hour}: loss {loss.item():.3f}, light with the mean action {light_on_tower(p['model']):.3f}")
    print("score:", light_on_tower(p["model"]))
