"""Sound: house prices in whole dollars (80,000 to 900,000) and raw features; the model standardises its inputs inside, gives dollars, and the step divides both sides by the spread before the Huber loss; variant is ignored. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def houses(n, seed):
    rng = np.random.default_rng(seed)
    area = rng.gamma(9, 190, n)                 # square feet
    lot = area * rng.uniform(1.5, 6, n)
    year = rng.integers(1920, 2021, n)
    rooms = np.clip((area / 350 + rng.normal(0, 1, n)).round(), 1, 12)
    distance = rng.exponential(9, n)            # km to the centre
    price = 150 * area + 4 * lot + 900 * (year - 1920) * (area / 1700) + 90_000 * np.exp(-distance / 5) + 6_000 * rooms
    price *= rng.lognormal(0, 0.07, n)
    x = np.stack([area, lot, year, rooms, distance], 1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(price, dtype=torch.float32)


class PriceModel(nn.Module):
    def __init__(self, x, price):
        super().__init__()
        self.register_buffer("x_mean", x.mean(0))
        self.register_buffer("x_std", x.std(0))
        self.register_buffer("price_mean", price.mean())
        self.register_buffer("price_std", price.std())
        self.body = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        z = self.body((x - self.x_mean) / self.x_std).squeeze(-1)
        return z * self.price_std + self.price_mean


def training_step(model, batch):
    x, price = batch
    return F.huber_loss(model(x) / model.price_std, price / model.price_std)


def parts(variant):
    torch.manual_seed(0)
    (x, price), val = houses(2000, 1), houses(400, 2)
    model = PriceModel(x, price)
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(x, price), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 3 == 0:
            print(f"epoch {epoch}: huber {np.mean(losses):.5f}")
    model.eval()
    with torch.no_grad():
        dollars = torch.cat([model(x) for x, _ in p["val_loader"]])
    true = p["val_loader"].dataset.tensors[1]
    print(f"mean error: {(dollars - true).abs().mean().item():,.0f} dollars")
    score = 1 - ((dollars - true) ** 2).mean().item() / true.var().item()
    print(f"score: {score:.4f}")
