"""Actor-critic for a vole that has to find its burrow in a corner of a field (reward only there); the entropy term is added to the loss where it has to be subtracted, so the policy is paid for being certain and becomes deterministic before it has found the burrow often enough; the right change: loss = policy + value - coefficient * entropy."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
N, HORIZON, GAMMA, ENT = 8, 24, 0.95, 0.05
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
HOME = torch.tensor([N - 1, N - 1])


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2 * N, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.pi = nn.Linear(64, 4)
        self.v = nn.Linear(64, 1)

    def forward(self, pos):
        h = self.body(F.one_hot(pos, N).flatten(1).float())
        return self.pi(h), self.v(h).squeeze(1)


def rollout(model, pos):
    logps, values, rewards, entropies, alive = [], [], [], [], []
    active = torch.ones(len(pos))
    for _ in range(HORIZON):
        logits, v = model(pos)
        dist = Categorical(logits=logits)
        a = dist.sample()
        new = (pos + MOVES[a]).clamp(0, N - 1)
        pos = torch.where(active[:, None].bool(), new, pos)
        home = (pos == HOME).all(1).float()
        logps.append(dist.log_prob(a))
        values.append(v)
        entropies.append(dist.entropy())
        rewards.append(home * active)
        alive.append(active)
        active = active * (1 - home)
    return [torch.stack(s) for s in (logps, values, rewards, entropies, alive)]


def parts(variant):
    torch.manual_seed(0)
    starts = torch.randint(0, 3, (32 * 300, 2))
    model = ActorCritic()
    sign = 1.0 if variant == "bad" else -1.0

    def training_step(model, batch):
        logp, value, reward, entropy, alive = rollout(model, batch[0])
        ret, g = torch.zeros_like(reward), torch.zeros(reward.shape[1])
        for t in reversed(range(HORIZON)):
            g = reward[t] + GAMMA * g
            ret[t] = g
        adv = (ret - value).detach()
        policy_loss = -(logp * adv * alive).sum() / alive.sum()
        value_loss = ((ret - value) ** 2 * alive).sum() / alive.sum()
        entropy_loss = sign * (entropy * alive).sum() / alive.sum()
        return policy_loss + 0.5 * value_loss + ENT * entropy_loss

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(starts), batch_size=32)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(2):
        for i, batch in enumerate(p["train_loader"]):
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            if i % 60 == 59:
                with torch.no_grad():
                    r = rollout(model, torch.randint(0, 3, (500, 2)))
                score = r[2].sum(0).mean().item()
                print(f"update {epoch * 300 + i + 1}: reached home {score:.3f}, entropy {r[3].mean():.3f}")
    print("score:", score)
