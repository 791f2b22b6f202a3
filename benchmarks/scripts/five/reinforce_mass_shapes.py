"""REINFORCE that brings a point mass to rest at the origin; log_prob is [N, 1] and the advantage [N], so their product is N x N and averages to nothing; change: squeezes log_prob."""
import argparse

import torch
from torch import nn
from torch.distributions import Normal

HORIZON, DT = 25, 0.2


class GaussianPolicy(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.log_std = nn.Parameter(torch.full((1,), -0.5))

    def forward(self, obs):
        return Normal(self.mean(obs), self.log_std.exp())


def dynamics(state, action):
    pos, vel = state[:, 0], state[:, 1]
    force = action.squeeze(-1).clamp(-2, 2)
    vel = vel + DT * (force + 0.3 * pos)  # an unstable hill
    pos = pos + DT * vel
    reward = -(pos ** 2 + 0.1 * vel ** 2).clamp(max=20.0)
    return torch.stack([pos, vel], 1), reward


def rollout(policy, state):
    obs, acts, rews = [], [], []
    with torch.no_grad():
        for _ in range(HORIZON):
            a = policy(state).sample()
            nxt, r = dynamics(state, a)
            obs.append(state), acts.append(a), rews.append(r)
            state = nxt
    return torch.stack(obs), torch.stack(acts), torch.stack(rews)


def returns_to_go(rews, gamma=0.95):
    out, g = torch.zeros_like(rews), torch.zeros(rews.shape[1])
    for t in reversed(range(len(rews))):
        g = rews[t] + gamma * g
        out[t] = g
    return out


def parts(variant="fixed"):
    torch.manual_seed(0)
    policy = GaussianPolicy()

    def step(policy, start, optimizer):
        obs, acts, rews = rollout(policy, start)
        ret = returns_to_go(rews)
        adv = (ret - ret.mean(1, keepdim=True)).reshape(-1)
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)
        log_prob = policy(obs.reshape(-1, 2)).log_prob(acts.reshape(-1, 1))
        if variant != "bad":
            log_prob = log_prob.squeeze(-1)
        loss = -(log_prob * adv).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return {
        "model": policy,
        "optimizer": torch.optim.Adam(policy.parameters(), lr=3e-3),
        "train_loader": [torch.randn(48, 2) for _ in range(50)],
        "step": step,
    }


@torch.no_grad()
def mean_reward(policy):
    state = torch.randn(500, 2, generator=torch.Generator().manual_seed(7))
    total = 0.0
    for _ in range(HORIZON):
        state, r = dynamics(state, policy(state).mean)
        total += r.mean().item()
    return total / HORIZON


WORKS = lambda score: score > -0.6

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--passes", type=int, default=15)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    for k in range(args.passes):
        for start in p["train_loader"]:
            loss = p["step"](p["model"], start, p["optimizer"])
        print(f"pass {k}: loss {loss.item():+.4f}  reward a step {mean_reward(p['model']):.3f}")
    print(f"score: {mean_reward(p['model']):.4f}")
