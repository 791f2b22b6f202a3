"""Sound: Q-learning for a tea room that opens one to three counters; the task has no end, so the target rightly has no done flag, and values and loss grow for a long time. change: nothing."""
import copy
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GAMMA, LONGEST = 0.9, 20.0
SERVED = torch.tensor([1.0, 2.5, 4.5])
WAGES = torch.tensor([0.0, 1.2, 3.4])


def minute(queue, crowd, action):
    arrivals = torch.poisson(0.8 + 3.0 * crowd)
    queue = (queue + arrivals - SERVED[action]).clamp(0, LONGEST)
    cost = 0.3 * queue + WAGES[action]
    switch = (torch.rand_like(crowd) < 0.1).float()
    return queue, (crowd - switch).abs(), -cost


def log_book(n):
    queue, crowd = torch.rand(n) * LONGEST, torch.randint(0, 2, (n,)).float()
    action = torch.randint(0, 3, (n,))
    next_queue, next_crowd, reward = minute(queue, crowd, action)
    return TensorDataset(torch.stack([queue / LONGEST, crowd], 1), action, reward,
                         torch.stack([next_queue / LONGEST, next_crowd], 1))


def parts(variant):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    lagging = copy.deepcopy(net).requires_grad_(False)

    def step(model, batch, optimizer):
        state, action, reward, next_state = batch
        target = reward + GAMMA * lagging(next_state).max(1).values
        q = model(state)[torch.arange(len(action)), action]
        loss = F.mse_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for old, new in zip(lagging.parameters(), model.parameters()):
            old.mul_(0.98).add_(new.detach(), alpha=0.02)
        return loss.detach()

    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "step": step,
            "train_loader": DataLoader(log_book(12000), batch_size=128, shuffle=True),
            "val_loader": DataLoader(log_book(500), batch_size=500)}


WORKS = lambda score: score > 0.15


@torch.no_grad()
def mean_cost(policy, rooms=300, minutes=150):
    torch.manual_seed(5)
    queue, crowd, total = torch.zeros(rooms), torch.zeros(rooms), 0.0
    for _ in range(minutes):
        action = policy(torch.stack([queue / LONGEST, crowd], 1))
        queue, crowd, reward = minute(queue, crowd, action)
        total -= reward.mean().item()
    return total / minutes


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    fixed_counters = [mean_cost(lambda s, k=k: torch.full((len(s),), k)) for k in range(3)]
    for epoch in range(25):
        losses = torch.stack([p["step"](p["model"], batch, p["optimizer"]) for batch in p["train_loader"]])
        cost = mean_cost(lambda s: p["model"](s).argmax(1))
        print(f"epoch {epoch:2d}: loss {losses.mean():.3f} cost a minute {cost:.3f} (always the same: {min(fixed_counters):.3f})")
    score = 1 - cost / min(fixed_counters)
    print(f"score: {score:.4f}")
