"""Healthy: actor and critic with a shared layer learn to keep a cart's pole upright, in the way of the PyTorch examples (returns normalised over the batch, smooth L1 for the critic); the loss is noisy and does not fall while the episodes grow. change: nothing, it is sound."""
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

GRAVITY, M_CART, M_POLE, LENGTH, FORCE, TAU = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
LIMIT = 200
GAMMA = 0.99


def physics(s, action):
    x, xd, th, thd = s.unbind(1)
    force = torch.where(action == 1, FORCE, -FORCE)
    total = M_CART + M_POLE
    temp = (force + M_POLE * LENGTH * thd ** 2 * th.sin()) / total
    thacc = (GRAVITY * th.sin() - th.cos() * temp) / (LENGTH * (4 / 3 - M_POLE * th.cos() ** 2 / total))
    xacc = temp - M_POLE * LENGTH * thacc * th.cos() / total
    s = torch.stack([x + TAU * xd, xd + TAU * xacc, th + TAU * thd, thd + TAU * thacc], 1)
    fallen = (s[:, 0].abs() > 2.4) | (s[:, 2].abs() > 0.21)
    return s, fallen


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 128)
        self.action_head = nn.Linear(128, 2)
        self.value_head = nn.Linear(128, 1)

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x).squeeze(-1)


def play(model, state):
    alive = torch.ones(len(state))
    log_probs, values, rewards = [], [], []
    for _ in range(LIMIT):
        probs, value = model(state)
        m = Categorical(probs)
        action = m.sample()
        log_probs.append(m.log_prob(action))
        values.append(value)
        rewards.append(alive)
        state, fallen = physics(state, action)
        alive = alive * (~fallen).float()
        if alive.sum() == 0:
            break
    return torch.stack(log_probs), torch.stack(values), torch.stack(rewards)


def step(model, batch, optimizer):
    (start,) = batch
    log_probs, values, rewards = play(model, start)
    returns, R = [], torch.zeros(len(start))
    for r in rewards.flip(0):
        R = r + GAMMA * R
        returns.insert(0, R)
    returns = torch.stack(returns)
    live = rewards > 0
    returns = (returns[live] - returns[live].mean()) / (returns[live].std() + 1e-8)
    advantage = returns - values[live].detach()
    policy_loss = -(log_probs[live] * advantage)
    value_loss = F.smooth_l1_loss(values[live], returns, reduction="none")
    optimizer.zero_grad()
    loss = (policy_loss + value_loss).mean()
    loss.backward()
    optimizer.step()
    step.lengths.append(rewards.sum(0).mean().item())
    return loss.detach()


step.lengths = []


def parts(variant):
    torch.manual_seed(0)
    model = Policy()
    g = torch.Generator().manual_seed(1)
    starts = (torch.rand(640, 4, generator=g) - 0.5) * 0.1
    held = (torch.rand(64, 4, generator=g) - 0.5) * 0.1
    return dict(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        step=step,
        train_loader=DataLoader(TensorDataset(starts), batch_size=16, shuffle=True),
        val_loader=DataLoader(TensorDataset(held), batch_size=64),
    )


WORKS = lambda score: score > 120

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(3):
        for i, batch in enumerate(p["train_loader"]):
            loss = step(p["model"], batch, p["optimizer"])
            if i % 10 == 9:
                print(f"epoch {epoch} batch {i} loss {loss:.4f} length {sum(step.lengths[-10:]) / 10:.1f}")
    with torch.no_grad():
        (held,) = next(iter(p["val_loader"]))
        score = play(p["model"], held)[2].sum(0).mean().item()
    print(f"score: {score:.4f}")
