"""REINFORCE on a hand-written CartPole; the discounted returns are summed from the start of the episode on, not from its end; change: reversed rewards."""
import argparse
import math

import numpy as np
import torch
import torch.nn as nn
from torch.distributions import Categorical

GAMMA, MAX_STEPS, N_ENVS = 0.98, 200, 16


class CartPole:
    """n carts at once; the classic equations (Barto, Sutton, Anderson 1983)"""

    def __init__(self, n, seed):
        self.n, self.rng = n, np.random.RandomState(seed)

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, (self.n, 4))
        return self.s.astype(np.float32)

    def step(self, a):
        x, xd, th, thd = self.s.T
        force = np.where(a == 1, 10.0, -10.0)
        c, s = np.cos(th), np.sin(th)
        tmp = (force + 0.05 * thd ** 2 * s) / 1.1
        tha = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c ** 2 / 1.1))
        xa = tmp - 0.05 * tha * c / 1.1
        self.s = np.stack([x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * tha], 1)
        done = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 12 * math.pi / 180)
        return self.s.astype(np.float32), done


def rollout(policy, env, greedy=False):
    """plays one episode in each env; returns lists of (states, actions) and of rewards"""
    obs, alive = env.reset(), np.ones(env.n, bool)
    states, actions, masks = [], [], []
    for _ in range(MAX_STEPS):
        with torch.no_grad():
            logits = policy(torch.from_numpy(obs))
        a = logits.argmax(1) if greedy else Categorical(logits=logits).sample()
        states.append(obs), actions.append(a.numpy()), masks.append(alive.copy())
        obs, done = env.step(a.numpy())
        alive &= ~done
        if not alive.any():
            break
    states, actions, masks = np.stack(states, 1), np.stack(actions, 1), np.stack(masks, 1)
    lengths = masks.sum(1)
    return [(states[i, :n], actions[i, :n], [1.0] * n) for i, n in enumerate(lengths)]


def discount(rewards, order):
    returns, R = [], 0.0
    for r in rewards[::order]:
        R = r + GAMMA * R
        returns.append(R)
    return returns[::order]


def parts(variant):
    torch.manual_seed(1)
    policy = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    env = CartPole(N_ENVS, seed=1)
    order = 1 if variant == "bad" else -1

    def step(policy, batch, optimizer):
        episodes = rollout(policy, env)
        s = torch.from_numpy(np.concatenate([e[0] for e in episodes]))
        a = torch.from_numpy(np.concatenate([e[1] for e in episodes]))
        R = torch.tensor([g for e in episodes for g in discount(e[2], order)])
        R = (R - R.mean()) / (R.std() + 1e-8)
        loss = -(Categorical(logits=policy(s)).log_prob(a) * R).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step.length = len(s) / N_ENVS
        return loss

    return {"model": policy, "optimizer": torch.optim.Adam(policy.parameters(), lr=1e-2),
            "train_loader": [torch.zeros(1)] * 20, "step": step}


WORKS = lambda score: score > 120

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--updates", type=int, default=120)
    args = ap.parse_args()
    p = parts(args.variant)
    for update in range(1, args.updates + 1):
        loss = p["step"](p["model"], None, p["optimizer"])
        if update % 20 == 0:
            print(f"update {update}: loss {loss.item():+.3f}, mean episode length {p['step'].length:.1f}")
    test = rollout(p["model"], CartPole(50, seed=99))
    print(f"score: {np.mean([len(e[2]) for e in test]):.1f}")
