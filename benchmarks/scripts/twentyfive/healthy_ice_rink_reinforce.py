"""REINFORCE on an ice rink: a skater with momentum pushes left, glides or pushes right and is to stand near the flag after twelve moves. An ordinary sound script: returns to go, a learned baseline, detached advantages, an entropy bonus; the score is the share of greedy runs that end within half a metre of the flag."""
import sys

import torch
import torch.nn as nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
MOVES = 12


class Rink:
    def __init__(self, starts):
        self.x, self.flag = starts[:, 0].clone(), starts[:, 1]
        self.v = torch.zeros_like(self.x)

    def state(self):
        return torch.stack([self.x - self.flag, self.v, self.x], dim=1)

    def push(self, action):
        self.v = 0.8 * self.v + 0.4 * (action.float() - 1) + 0.02 * torch.randn_like(self.v)
        before = (self.x - self.flag).abs()
        self.x = self.x + self.v
        after = (self.x - self.flag).abs()
        return before - after - 0.1 * self.v.abs() * (after < 0.5)


class Skater(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.policy = nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
                                    nn.Linear(hidden, 3))
        self.value = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, state):
        return Categorical(logits=self.policy(state))


def step(model, batch, optimizer):
    rink = Rink(batch[0])
    logps, rewards, values, entropies = [], [], [], []
    for t in range(MOVES):
        s = rink.state()
        dist = model(s)
        a = dist.sample()
        left = torch.full((len(s), 1), 1 - t / MOVES)
        values.append(model.value(torch.cat([s, left], 1)).squeeze(1))
        logps.append(dist.log_prob(a))
        entropies.append(dist.entropy())
        rewards.append(rink.push(a))
    rewards = torch.stack(rewards)
    returns = rewards.flip(0).cumsum(0).flip(0)
    values = torch.stack(values)
    advantage = (returns - values).detach()
    advantage = advantage / (advantage.std() + 1e-6)
    loss = (-(torch.stack(logps) * advantage).mean() + 0.5 * (returns - values).pow(2).mean()
            - 0.005 * torch.stack(entropies).mean())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def near_flag(model, starts):
    rink = Rink(starts)
    with torch.no_grad():
        for _ in range(MOVES):
            rink.push(model(rink.state()).probs.argmax(1))
    return ((rink.x - rink.flag).abs() < 0.5).float().mean().item()


def parts(variant):
    torch.manual_seed(15)
    starts = 6 * torch.rand(6000, 2) - 3
    starts[:, 1] *= 0.7
    model = Skater()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "step": step,
            "train_loader": DataLoader(TensorDataset(starts[:5400]), batch_size=90, shuffle=True),
            "held_out": starts[5400:]}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(2):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        score = near_flag(p["model"], p["held_out"])
        print(f"epoch {epoch}: near the flag {score:.3f}")
    print("score:", score)
