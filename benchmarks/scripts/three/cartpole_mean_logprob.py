"""REINFORCE on a cart-pole; the log-probabilities are averaged over the episode before they meet the (standardised) returns; change: the twin multiplies step by step."""
import math, sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LIMIT = 120


class CartPoles:
    """Several poles side by side, the usual equations."""
    def __init__(self, seeds):
        self.s = np.stack([np.random.default_rng(int(k)).uniform(-0.05, 0.05, 4) for k in seeds])
        self.alive = np.ones(len(self.s), bool)

    def step(self, action):
        x, v, th, w = self.s.T
        force = np.where(action == 1, 10.0, -10.0)
        c, s = np.cos(th), np.sin(th)
        tmp = (force + 0.05 * w ** 2 * s) / 1.1
        acc = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c ** 2 / 1.1))
        xacc = tmp - 0.05 * acc * c / 1.1
        self.s = np.stack([x + 0.02 * v, v + 0.02 * xacc, th + 0.02 * w, w + 0.02 * acc], 1)
        self.alive &= (np.abs(self.s[:, 0]) < 2.4) & (np.abs(self.s[:, 2]) < 12 * math.pi / 180)
        return self.alive.astype(np.float32)


def play(policy, seeds):
    env = CartPoles(seeds)
    log_probs, rewards, present = [], [], []
    for _ in range(LIMIT):
        present.append(torch.tensor(env.alive))
        dist = torch.distributions.Categorical(logits=policy(torch.tensor(env.s, dtype=torch.float32)))
        action = dist.sample()
        log_probs.append(dist.log_prob(action))
        rewards.append(torch.from_numpy(env.step(action.numpy())))
        if not env.alive.any():
            break
    return torch.stack(log_probs), torch.stack(rewards), torch.stack(present)


def discounted(rewards, gamma=0.98):
    out, running = [], torch.zeros(rewards.shape[1])
    for r in rewards.flip(0):
        running = r + gamma * running
        out.insert(0, running)
    return torch.stack(out)


def parts(variant):
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))

    def training_step(model, batch):
        log_probs, rewards, present = play(model, batch[0])
        returns = discounted(rewards)[present]
        log_probs = log_probs[present]
        deltas = (returns - returns.mean()) / (returns.std() + 1e-6)
        if variant == "bad":
            return -(log_probs.mean() * deltas).sum() / len(deltas)
        return -(log_probs * deltas).sum() / len(deltas)

    seeds = torch.arange(12 * 160)
    return {"model": policy, "optimizer": torch.optim.Adam(policy.parameters(), lr=1e-2),
            "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(seeds), batch_size=12, shuffle=True)}


WORKS = lambda score: score > 60      # mean length of an episode; a random policy has about 22


def evaluate(policy, n=24):
    with torch.no_grad():
        _, rewards, _ = play(policy, np.arange(90000, 90000 + n))
    return rewards.sum(0).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for i, batch in enumerate(p["train_loader"]):
        loss = p["training_step"](p["model"], batch)
        p["optimizer"].zero_grad()
        loss.backward()
        p["optimizer"].step()
        if i % 20 == 19:
            print(f"update {i + 1}: loss {loss.item():.5f}, episode length {evaluate(p['model']):.1f}")
    print(f"score: {evaluate(p['model'], 48):.4f}")
