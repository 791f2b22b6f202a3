"""Offline Q-learning of when a house battery buys and sells, from logged random days, with a slow target network; the values grow for a long while as the returns propagate back."""
import sys
import copy
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

HOURS, CAPACITY = 24, 4
HOUR = torch.arange(HOURS, dtype=torch.float32)
MEAN_PRICE = 10 + 5 * torch.sin((HOUR - 9) * 2 * torch.pi / 24) + 4 * torch.exp(-(HOUR - 18).pow(2) / 4)


def features(hour, charge, price):
    angle = hour * (2 * torch.pi / 24)
    return torch.stack([angle.sin(), angle.cos(), charge / CAPACITY, price / 10 - 1], 1)


def price_at(hour, g):
    return MEAN_PRICE[hour.long()] + torch.randn(len(hour), generator=g)


def move(charge, action):
    # action 0 sells one unit, 1 waits, 2 buys one unit
    new = (charge + action - 1).clamp(0, CAPACITY)
    return new, new - charge


def logged_days(days, seed):
    g = torch.Generator().manual_seed(seed)
    hour, charge = torch.zeros(days), torch.zeros(days)
    price = price_at(hour, g)
    rows = []
    for h in range(HOURS):
        action = torch.randint(0, 3, (days,), generator=g)
        new, bought = move(charge, action)
        reward = -bought * price / 10
        next_hour = (hour + 1) % HOURS
        next_price = price_at(next_hour, g)
        done = torch.full((days,), float(h == HOURS - 1))
        rows.append((features(hour, charge, price), action, reward, features(next_hour, new, next_price), done))
        hour, charge, price = next_hour, new, next_price
    return [torch.cat(column) for column in zip(*rows)]


@torch.no_grad()
def earnings(model, days=500, seed=77):
    g = torch.Generator().manual_seed(seed)
    hour, charge, total = torch.zeros(days), torch.zeros(days), torch.zeros(days)
    price = price_at(hour, g)
    for _ in range(HOURS):
        action = model(features(hour, charge, price)).argmax(1)
        new, bought = move(charge, action)
        total += -bought * price / 10
        hour, charge = (hour + 1) % HOURS, new
        price = price_at(hour, g)
    return total.mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    target = copy.deepcopy(model).requires_grad_(False)

    def step(model, batch, optimizer):
        s, a, r, s2, done = batch
        with torch.no_grad():
            best = model(s2).argmax(1, keepdim=True)
            y = r + (1 - done) * target(s2).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss(model(s).gather(1, a.unsqueeze(1)).squeeze(1), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), model.parameters()):
                slow.lerp_(fast, 0.01)
        return loss

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "step": step,
        "train_loader": DataLoader(TensorDataset(*logged_days(1000, 1)), batch_size=256, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*logged_days(100, 2)), batch_size=2400),
    }


# a battery that only waits earns 0; buying four units at the cheapest hours and selling at the dearest earns about 5
WORKS = lambda score: score > 4.0

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        losses = [p["step"](model, batch, opt).item() for batch in p["train_loader"]]
        model.eval()
        s = next(iter(p["val_loader"]))[0]
        with torch.no_grad():
            value = model(s).max(1).values.mean().item()
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} mean value {value:.3f} earnings {earnings(model):.3f}")
    print(f"score: {earnings(model):.4f}")
