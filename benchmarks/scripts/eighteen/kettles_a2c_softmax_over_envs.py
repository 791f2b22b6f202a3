"""Advantage actor-critic that heats sixteen kettles side by side; the policy takes the softmax over dimension 0, the kettles, and not over the actions (bad). change: softmax over the last dimension."""
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

POWER = torch.tensor([-1.0, 1.5, 5.0])  # degrees per step: off, low, high


class ActorCritic(nn.Module):
    def __init__(self, dim, hidden=64):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.pi = nn.Linear(hidden, 3)
        self.v = nn.Linear(hidden, 1)
        self.dim = dim

    def forward(self, s):
        h = self.shared(s)
        return F.softmax(self.pi(h), dim=self.dim), self.v(h).squeeze(-1)


def observe(temp, goal):
    return torch.stack([(temp - 60) / 25, (goal - temp) / 25], 1)


def heat(temp, goal, action):
    temp = temp + POWER[action] + 0.3 * torch.randn_like(temp)
    return temp, -(temp - goal).abs() / 20


def goals(n, seed):
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(60 + 30 * torch.rand(n, generator=g))


def parts(variant):
    torch.manual_seed(0)
    model = ActorCritic(dim=0 if variant == "bad" else -1)

    def training_step(model, batch):
        goal, = batch
        temp = torch.full_like(goal, 20.0)
        logps, values, entropies, rewards = [], [], [], []
        for _ in range(40):
            probs, v = model(observe(temp, goal))
            d = Categorical(probs)
            a = d.sample()
            temp, r = heat(temp, goal, a)
            logps.append(d.log_prob(a)); values.append(v); entropies.append(d.entropy()); rewards.append(r)
        ret, returns = torch.zeros_like(goal), []
        for r in reversed(rewards):
            ret = r + 0.9 * ret
            returns.insert(0, ret)
        returns, values = torch.stack(returns), torch.stack(values)
        adv = (returns - values).detach()
        adv = (adv - adv.mean()) / (adv.std() + 1e-6)
        return -(torch.stack(logps) * adv).mean() + 0.5 * F.mse_loss(values, returns) - 0.01 * torch.stack(entropies).mean()

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "training_step": training_step,
            "train_loader": DataLoader(goals(320, 1), 16, shuffle=True), "val_loader": DataLoader(goals(64, 2), 16)}


@torch.no_grad()
def mean_reward(model, loader):
    total, n = 0.0, 0
    for goal, in loader:
        temp = torch.full_like(goal, 20.0)
        for _ in range(40):
            a = Categorical(model(observe(temp, goal))[0]).sample()
            temp, r = heat(temp, goal, a)
            total += r.sum().item(); n += len(r)
    return total / n


WORKS = lambda score: score > -0.8  # mean reward per step, twentieths of a degree off

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(20):
        running = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch + 1} loss {running / len(p['train_loader']):.3f} reward {mean_reward(model, p['val_loader']):.3f}")
    print(f"score: {mean_reward(model, p['val_loader']):.4f}")
