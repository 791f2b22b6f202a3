"""REINFORCE policy that rows a boat to its mooring against the wind. optimizer.zero_grad() is never called, so every update adds the gradients of all episodes so far and the policy overshoots and gets worse with training; the right change: zero the gradients before each backward."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.distributions import Normal
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STEPS = 15


class Harbour:
    """Many boats at once: (x, y) position and a steady wind; the oars push in x and y."""
    def __init__(self, start):
        self.pos, self.wind = start[:, :2].clone(), start[:, 2:]

    def observe(self):
        return torch.cat([self.pos, self.wind * 5], 1)

    def act(self, a):
        self.pos = (self.pos + 0.3 * a.clamp(-1, 1) + self.wind).clamp(-2, 2)
        return -self.pos.norm(dim=1)


def starts(n, seed):
    g = torch.Generator().manual_seed(seed)
    pos = torch.rand(n, 2, generator=g) * 3 - 1.5
    wind = (torch.rand(n, 2, generator=g) - 0.5) * 0.2
    return torch.cat([pos, wind], 1)


def rollout(policy, start, explore=True):
    env = Harbour(start)
    log_probs, rewards = [], []
    for _ in range(STEPS):
        dist = Normal(policy(env.observe()), 0.4)
        a = dist.sample() if explore else dist.mean
        log_probs.append(dist.log_prob(a).sum(1))
        rewards.append(env.act(a))
    return torch.stack(log_probs), torch.stack(rewards)


def policy_loss(policy, batch):
    log_probs, rewards = rollout(policy, batch[0])
    # reward to go
    returns = rewards.flip(0).cumsum(0).flip(0)
    adv = (returns - returns.mean(1, keepdim=True)) / (returns.std(1, keepdim=True) + 1e-6)
    return -(log_probs * adv).mean()


def parts(variant):
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))

    def step(policy, batch, optimizer):
        loss = policy_loss(policy, batch)
        if variant != "bad":
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return {"model": policy, "optimizer": torch.optim.Adam(policy.parameters(), lr=1e-2), "step": step,
            "train_loader": DataLoader(TensorDataset(starts(64 * 20, 1)), batch_size=64, shuffle=True)}


WORKS = lambda score: score < 0.12

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    policy = p["model"]
    test = starts(512, 77)
    for epoch in range(12):
        for batch in p["train_loader"]:
            p["step"](policy, batch, p["optimizer"])
        with torch.no_grad():
            _, rewards = rollout(policy, test, explore=False)
        # distance to the mooring at the end
        miss = -rewards[-5:].mean().item()
        print(f"epoch {epoch}: reward {rewards.mean().item():.3f}, misses the mooring by {miss:.3f}")
    print("score:", miss)
