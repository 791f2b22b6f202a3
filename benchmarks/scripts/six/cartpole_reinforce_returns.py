"""REINFORCE on a cart pole written here; the discounted sums are run from the first step to the last, so an action is credited with the rewards before it; change: run backwards."""
import math
import sys

import torch
from torch import nn
from torch.distributions import Categorical

N_ENVS, MAX_STEPS, GAMMA, UPDATES = 16, 120, 0.98, 110
WORKS = lambda length: length > 85


class CartPoles:
    """N poles at once; a fallen pole stays out until the next reset."""

    def __init__(self, n, gen):
        self.n, self.gen = n, gen

    def reset(self):
        self.s = (torch.rand(self.n, 4, generator=self.gen) - 0.5) * 0.1
        self.alive = torch.ones(self.n, dtype=torch.bool)
        return self.s

    def step(self, action):
        x, v, th, w = self.s.unbind(1)
        force = torch.where(action == 1, 10.0, -10.0)
        cos, sin = th.cos(), th.sin()
        tmp = (force + 0.05 * w * w * sin) / 1.1
        acc_th = (9.8 * sin - cos * tmp) / (0.5 * (4 / 3 - 0.1 * cos * cos / 1.1))
        acc_x = tmp - 0.05 * acc_th * cos / 1.1
        self.s = torch.stack([x + 0.02 * v, v + 0.02 * acc_x, th + 0.02 * w, w + 0.02 * acc_th], 1)
        reward = self.alive.float()
        self.alive = self.alive & (self.s[:, 0].abs() < 2.4) & (self.s[:, 2].abs() < 12 * math.pi / 180)
        return self.s, reward, self.alive


def discount(rewards, variant):
    """(T, N) rewards to (T, N) returns."""
    running, returns = torch.zeros(rewards.shape[1]), []
    if variant == "bad":
        for r in rewards:
            running = r + GAMMA * running
            returns.append(running)
        return torch.stack(returns)
    for r in rewards.flip(0):
        running = r + GAMMA * running
        returns.append(running)
    return torch.stack(returns[::-1])


def rollout(policy, seed):
    env = CartPoles(N_ENVS, torch.Generator().manual_seed(int(seed)))
    s, alive = env.reset(), torch.ones(N_ENVS, dtype=torch.bool)
    states, actions, rewards, masks = [], [], [], []
    while alive.any() and len(states) < MAX_STEPS:
        with torch.no_grad():
            a = Categorical(logits=policy(s)).sample()
        states.append(s), actions.append(a), masks.append(alive.float())
        s, r, alive = env.step(a)
        rewards.append(r)
    return torch.stack(states), torch.stack(actions), torch.stack(rewards), torch.stack(masks)


def parts(variant="fixed"):
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))

    def step(model, batch, optimizer):
        states, actions, rewards, mask = rollout(model, batch[0])
        returns = discount(rewards, variant)
        mean = (returns * mask).sum() / mask.sum()
        std = (((returns - mean) ** 2 * mask).sum() / mask.sum()).sqrt()
        logp = Categorical(logits=model(states)).log_prob(actions)
        loss = -(logp * (returns - mean) / (std + 1e-6) * mask).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step.mean_length = rewards.sum(0).mean().item()
        return loss

    return {"model": policy, "optimizer": torch.optim.Adam(policy.parameters(), lr=1e-2),
            "train_loader": [torch.tensor([k]) for k in range(UPDATES)], "step": step}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    policy, optimizer, step = p["model"], p["optimizer"], p["step"]
    for i, seed in enumerate(p["train_loader"]):
        loss = step(policy, seed, optimizer)
        if i % 10 == 0:
            print(f"update {i:3d}  loss {loss.item():+.4f}  episode length {step.mean_length:.1f}")
    lengths = [rollout(policy, 10_000 + k)[2].sum(0).mean().item() for k in range(4)]
    print("score:", round(sum(lengths) / 4, 2))
