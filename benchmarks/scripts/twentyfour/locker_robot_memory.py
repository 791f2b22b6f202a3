"""Policy gradient agent with a GRU cell: a parcel robot sees the locker number on the label at the first step, drives down a corridor of six steps, and must then turn to that locker. The roll-out calls the cell without the state of the step before, so the robot begins with an empty memory at each step and turns at random; the right change: hand the state over to the next step (h = model.cell(obs, h))."""
import sys

import torch
import torch.nn as nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
LOCKERS, CORRIDOR = 4, 6


class Corridor:
    """A batch of corridors at once; the label can be read at the start only."""

    def __init__(self, lockers):
        self.lockers, self.t = lockers, 0

    def observe(self):
        n = len(self.lockers)
        obs = torch.zeros(n, LOCKERS + 2)
        if self.t == 0:
            obs[torch.arange(n), self.lockers] = 1.0
        obs[:, LOCKERS] = float(self.t == CORRIDOR)
        obs[:, LOCKERS + 1] = 0.1 * torch.randn(n)
        return obs

    def act(self, action):
        done = self.t == CORRIDOR
        reward = torch.where(action == self.lockers, 1.0, -0.3) if done else torch.full((len(action),), -0.01)
        self.t += 1
        return reward, done


class RobotPolicy(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.cell = nn.GRUCell(LOCKERS + 2, hidden)
        self.actor = nn.Linear(hidden, LOCKERS)
        self.critic = nn.Linear(hidden, 1)

    def forward(self, obs, h=None):
        h = self.cell(obs, h)
        return Categorical(logits=self.actor(h)), self.critic(h).squeeze(-1), h


def rollout(model, lockers, carry, greedy=False):
    env, h, done = Corridor(lockers), None, False
    logps, values, rewards, entropies = [], [], [], []
    while not done:
        policy, value, new = model(env.observe(), h)
        if carry:
            h = new
        action = policy.probs.argmax(-1) if greedy else policy.sample()
        reward, done = env.act(action)
        logps.append(policy.log_prob(action))
        entropies.append(policy.entropy())
        values.append(value)
        rewards.append(reward)
    return [torch.stack(v) for v in (logps, values, rewards, entropies)]


def make_step(carry):
    def step(model, batch, optimizer):
        logp, value, reward, entropy = rollout(model, batch[0], carry)
        ret = reward.flip(0).cumsum(0).flip(0)
        adv = (ret - value).detach()
        loss = -(logp * adv).mean() + 0.5 * (ret - value).pow(2).mean() - 0.01 * entropy.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()
    step.carry = carry
    return step


def parts(variant):
    torch.manual_seed(0)
    model = RobotPolicy()
    parcels = torch.randint(0, LOCKERS, (3840,))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "step": make_step(carry=variant != "bad"),
            "train_loader": DataLoader(TensorDataset(parcels), batch_size=64, shuffle=True)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for day in range(8):
        for batch in p["train_loader"]:
            p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            last = rollout(p["model"], torch.randint(0, LOCKERS, (400,)), p["step"].carry, greedy=True)[2][-1]
        print(f"day {day}: right locker {(last > 0).float().mean():.3f}")
    print("score:", (last > 0).float().mean().item())
