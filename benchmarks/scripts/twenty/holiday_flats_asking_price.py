"""Regression of the asking price of holiday flats with a district embedding; bad: the target is the price itself, hundreds of thousands of euros; change: the target is standardised with the training prices."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class FlatsDataset(Dataset):
    def __init__(self, numeric, district, price):
        self.numeric = torch.as_tensor(numeric, dtype=torch.float32)
        self.district = torch.as_tensor(district, dtype=torch.float32)
        self.price = torch.as_tensor(price, dtype=torch.float32).unsqueeze(1)

    def __len__(self):
        return len(self.price)

    def __getitem__(self, i):
        return torch.cat([self.numeric[i], self.district[i:i + 1]]), self.price[i]


class FlatPriceModel(nn.Module):
    def __init__(self, n_numeric, n_districts, emb=6):
        super().__init__()
        self.n_numeric = n_numeric
        self.district_emb = nn.Embedding(n_districts, emb)
        self.fc1 = nn.Linear(n_numeric + emb, 64)
        self.fc2 = nn.Linear(64, 64)
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        numeric, district = x[:, :self.n_numeric], x[:, self.n_numeric].long()
        h = torch.cat([numeric, self.district_emb(district)], dim=1)
        h = F.relu(self.fc1(h))
        h = F.relu(self.fc2(h))
        return self.out(h)


def flats(n=4000, n_districts=15):
    rng = np.random.default_rng(3)
    district = rng.integers(0, n_districts, n)
    base = rng.normal(0, 0.25, n_districts)
    area = rng.normal(72, 22, n).clip(25, 160)
    rooms = np.round(area / 24 + rng.normal(0, 0.5, n)).clip(1, 7)
    beach_km = rng.exponential(3.0, n)
    floor = rng.integers(0, 9, n)
    year = rng.integers(1955, 2022, n)
    log_price = 12.3 + base[district] + 0.9 * np.log(area / 72) - 0.07 * beach_km + 0.02 * floor + 0.004 * (year - 1990)
    price = np.exp(log_price + 0.08 * rng.normal(size=n))
    numeric = np.column_stack([area, rooms, beach_km, floor, year])
    numeric = (numeric - numeric.mean(0)) / numeric.std(0)
    return numeric, district, price


def parts(variant):
    torch.manual_seed(0)
    numeric, district, price = flats()
    n_train = 3200
    if variant != "bad":
        price = (price - price[:n_train].mean()) / price[:n_train].std()
    train_ds = FlatsDataset(numeric[:n_train], district[:n_train], price[:n_train])
    val_ds = FlatsDataset(numeric[n_train:], district[n_train:], price[n_train:])
    model = FlatPriceModel(numeric.shape[1], 15)
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(train_ds, batch_size=64, shuffle=True),
            "val_loader": DataLoader(val_ds, batch_size=400)}


WORKS = lambda score: score > 0.8


def val_r2(model, loader):
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in loader]
    pred = torch.cat([a for a, _ in pairs])
    true = torch.cat([b for _, b in pairs])
    return 1 - ((true - pred).pow(2).mean() / true.var(unbiased=False)).item()


def main():
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = mse(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        r2 = val_r2(model, p["val_loader"])
        print(f"epoch {epoch + 1:2d}: loss {np.mean(losses):.5g}, val R2 {r2:.3f}")
    print(f"score: {r2:.4f}")


if __name__ == "__main__":
    main()
