"""Healthy: advantage actor-critic on the game of catch (many boards at once); the loss is small, changes sign and tells nothing; change: none."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

ROWS, COLS, N = 8, 7, 64
WORKS = lambda score: score > 0.85


class ActorCritic(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(ROWS + 2 * COLS, width), nn.Tanh())
        self.pi = nn.Linear(width, 3)
        self.v = nn.Linear(width, 1)

    def forward(self, obs):
        h = self.trunk(obs)
        return self.pi(h), self.v(h).squeeze(-1)


def look(row, ball, paddle):
    return torch.cat([F.one_hot(row, ROWS), F.one_hot(ball, COLS), F.one_hot(paddle, COLS)], dim=1).float()


def play(model, n, greedy=False):
    """one game on n boards: log-probs, values, entropies of the steps and the final reward"""
    ball, paddle = torch.randint(0, COLS, (n,)), torch.randint(0, COLS, (n,))
    logps, values, ents = [], [], []
    for r in range(ROWS - 1):
        logits, v = model(look(torch.full((n,), r), ball, paddle))
        dist = Categorical(logits=logits)
        a = logits.argmax(1) if greedy else dist.sample()
        logps.append(dist.log_prob(a))
        values.append(v)
        ents.append(dist.entropy())
        paddle = (paddle + a - 1).clamp(0, COLS - 1)
        wind = (torch.rand(n) < 0.2).long() * (2 * torch.randint(0, 2, (n,)) - 1)
        ball = (ball + wind).clamp(0, COLS - 1)
    reward = (ball - paddle).abs().le(1).float() * 2 - 1
    return torch.stack(logps), torch.stack(values), torch.stack(ents), reward


def parts(variant="fixed", updates=1500):
    torch.manual_seed(23)
    model = ActorCritic()

    def training_step(model, batch):
        logps, values, ents, reward = play(model, N)
        gamma = 0.97 ** torch.arange(ROWS - 2, -1, -1).float()
        ret = gamma[:, None] * reward
        adv = ret - values
        return -(logps * adv.detach()).mean() + 0.5 * adv.pow(2).mean() - 0.005 * ents.mean()

    return {"model": model, "optimizer": torch.optim.RMSprop(model.parameters(), lr=2e-3, alpha=0.99, eps=1e-5),
            "train_loader": list(range(updates)), "training_step": training_step}


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    p = parts(ap.parse_args().variant)
    model, opt = p["model"], p["optimizer"]
    for update in p["train_loader"]:
        loss = p["training_step"](model, update)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        opt.step()
        if update % 250 == 0:
            with torch.no_grad():
                print(f"update {update} loss {loss.item():+.3f} reward {play(model, 500)[3].mean().item():+.3f}")
    with torch.no_grad():
        print(f"score: {play(model, 3000, greedy=True)[3].mean().item():.4f}")
