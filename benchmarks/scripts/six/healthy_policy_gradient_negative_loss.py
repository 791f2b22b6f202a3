"""Healthy: actor-critic on a windy corridor; the loss is of either sign and says nothing about the progress, the reward climbs (no mistake)."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

N, WIDTH, HORIZON, GAMMA = 64, 9, 16, 0.95


class Corridor:
    """walk to the lit end of a corridor; only the first observation tells which end is lit, +1 there, -0.02 a step"""

    def __init__(self, n):
        self.n = n

    def reset(self):
        self.pos = torch.full((self.n,), WIDTH // 2)
        self.goal = torch.randint(0, 2, (self.n,)) * (WIDTH - 1)
        self.alive = torch.ones(self.n, dtype=torch.bool)
        return self.obs()

    def obs(self):
        side = (self.goal > 0).float() * 2 - 1
        return torch.cat([F.one_hot(self.pos, WIDTH).float(), side.unsqueeze(1)], 1)

    def step(self, a):
        wind = (torch.rand(self.n) < 0.15).long() * (torch.randint(0, 2, (self.n,)) * 2 - 1)
        self.pos = (self.pos + (a - 1) + wind).clamp(0, WIDTH - 1)
        won, lost = self.pos == self.goal, self.pos == WIDTH - 1 - self.goal
        r = (won.float() - lost.float() - 0.02) * self.alive
        was_alive = self.alive
        self.alive = self.alive & ~won & ~lost
        return self.obs(), r, was_alive


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.pi = nn.Sequential(nn.Linear(WIDTH + 1, 64), nn.Tanh(), nn.Linear(64, 3))
        self.v = nn.Sequential(nn.Linear(WIDTH + 1, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(self, o):
        return Categorical(logits=self.pi(o)), self.v(o).squeeze(-1)


def play(net, env):
    obs, out = env.reset(), []
    for _ in range(HORIZON):
        dist, v = net(obs)
        a = dist.sample()
        nxt, r, mask = env.step(a)
        out.append((dist.log_prob(a), v, r, mask.float(), dist.entropy()))
        obs = nxt
    return [torch.stack(t) for t in zip(*out)]


def parts(variant="fixed"):
    torch.manual_seed(0)
    net, env = ActorCritic(), Corridor(N)

    def step(net, batch, optimizer):
        logp, v, r, mask, ent = play(net, env)
        G, ret = torch.zeros(N), []
        for t in reversed(range(HORIZON)):
            G = r[t] + GAMMA * G
            ret.insert(0, G)
        ret = torch.stack(ret)
        adv = (ret - v).detach()
        n = mask.sum()
        loss = (-(logp * adv) * mask).sum() / n + 0.5 * (((v - ret) ** 2) * mask).sum() / n - 0.01 * (ent * mask).sum() / n
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        step.reward = r.sum(0).mean().item()
        return loss

    return {"model": net, "optimizer": torch.optim.RMSprop(net.parameters(), lr=3e-4, alpha=0.99, eps=1e-5),
            "train_loader": [torch.zeros(1)] * 50, "step": step}


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for it in range(1, 501):
        loss = p["step"](p["model"], None, p["optimizer"])
        if it % 50 == 0:
            print(f"update {it}: loss {loss.item():+.4f} reward {p['step'].reward:+.3f}")
    torch.manual_seed(123)
    with torch.no_grad():
        r = play(p["model"], Corridor(1000))[2]
    print(f"score: {r.sum(0).mean():.4f}")
