"""Pole balancing by REINFORCE: the minus sign before log-probability times return is missing, so good actions become rarer; change: with the minus sign."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

N_ENVS, MAX_STEPS, GAMMA = 16, 200, 0.99


class CartPoles:
    """Many cart-poles at once, the usual equations."""

    def __init__(self, n, seed):
        self.g = torch.Generator().manual_seed(seed)
        self.s = (torch.rand(n, 4, generator=self.g) - 0.5) * 0.1
        self.alive = torch.ones(n, dtype=torch.bool)

    def step(self, action):
        x, v, th, w = self.s.unbind(1)
        force = torch.where(action == 1, 10.0, -10.0)
        cos, sin = th.cos(), th.sin()
        temp = (force + 0.05 * w ** 2 * sin) / 1.1
        thacc = (9.8 * sin - cos * temp) / (0.5 * (4.0 / 3.0 - 0.1 * cos ** 2 / 1.1))
        acc = temp - 0.05 * thacc * cos / 1.1
        self.s = torch.stack([x + 0.02 * v, v + 0.02 * acc, th + 0.02 * w, w + 0.02 * thacc], 1)
        self.alive &= (self.s[:, 0].abs() < 2.4) & (self.s[:, 2].abs() < 12 * 2 * math.pi / 360)
        return self.alive.float()


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))

    def forward(self, state):
        return torch.distributions.Categorical(logits=self.net(state))


def discounted(rewards):
    out, run = [], torch.zeros_like(rewards[0])
    for r in rewards.flip(0):
        run = r + GAMMA * run
        out.append(run)
    return torch.stack(out[::-1])


def parts(variant):
    torch.manual_seed(0)
    policy = Policy()
    sign = 1.0 if variant == "bad" else -1.0

    def training_step(model, batch):
        env = CartPoles(N_ENVS, int(batch[0]))
        logps, rewards, masks = [], [], []
        for _ in range(MAX_STEPS):
            was_alive = env.alive.float()
            dist = model(env.s)
            a = dist.sample()
            logps.append(dist.log_prob(a))
            rewards.append(env.step(a))
            masks.append(was_alive)
            if not env.alive.any():
                break
        mask = torch.stack(masks)
        ret = discounted(torch.stack(rewards))
        mean = (ret * mask).sum() / mask.sum()
        std = (((ret - mean) ** 2 * mask).sum() / mask.sum()).sqrt()
        adv = (ret - mean) / (std + 1e-6)
        training_step.length = mask.sum().item() / N_ENVS
        return sign * (torch.stack(logps) * adv * mask).sum() / mask.sum()

    return {"model": policy, "optimizer": torch.optim.Adam(policy.parameters(), lr=1e-2),
            "training_step": training_step,
            "train_loader": DataLoader(torch.arange(120) + 1000, batch_size=1)}


WORKS = lambda score: score > 100


@torch.no_grad()
def play(policy, n=50):
    env = CartPoles(n, 7)
    steps = 0.0
    for _ in range(MAX_STEPS):
        steps += env.step(policy(env.s).sample()).sum().item()
    return steps / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    policy, optimizer = p["model"], p["optimizer"]
    for i, batch in enumerate(p["train_loader"]):
        loss = p["training_step"](policy, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 10 == 9:
            print(f"update {i + 1}: mean episode length {p['training_step'].length:.1f}, loss {loss.item():.4f}")
    print(f"score: {play(policy):.4f}")
