"""Concrete strength from eight mix properties, MLP under MSE; bad: the dataset keeps the target as a column (N, 1) while the net squeezes its output to (N,), so the loss compares every prediction with every target; change: the target is a plain vector."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def make_mixes(n, seed):
    rng = np.random.RandomState(seed)
    cement, slag, ash = rng.uniform(100, 540, n), rng.uniform(0, 360, n), rng.uniform(0, 200, n)
    water, plasticiser = rng.uniform(120, 250, n), rng.uniform(0, 32, n)
    coarse, fine = rng.uniform(800, 1150, n), rng.uniform(590, 990, n)
    age = rng.choice([3, 7, 14, 28, 56, 90], n).astype(float)
    binder = cement + 0.7 * slag + 0.3 * ash
    strength = 18 * (binder / water) * np.log1p(age) / np.log(29) + 0.2 * plasticiser - 4 + rng.randn(n) * 2
    return np.stack([cement, slag, ash, water, plasticiser, coarse, fine, age], 1), strength


class MixDataset(Dataset):
    def __init__(self, table, strength, column):
        self.x = torch.tensor(table, dtype=torch.float32)
        y = strength.reshape(-1, 1) if column else strength
        self.y = torch.tensor(y, dtype=torch.float32)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class StrengthNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        return self.out(self.hidden(x)).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    x, y = make_mixes(2400, 3)
    mean, std = x[:2000].mean(0), x[:2000].std(0)
    x = (x - mean) / std
    y = (y - y[:2000].mean()) / y[:2000].std()
    column = variant == "bad"
    train, val = MixDataset(x[:2000], y[:2000], column), MixDataset(x[2000:], y[2000:], column)
    model = StrengthNet()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(train, batch_size=32, shuffle=True), val_loader=DataLoader(val, batch_size=32))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        running = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch}: mse {running / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x).flatten() for x, _ in p["val_loader"]])
    true = torch.cat([y.flatten() for _, y in p["val_loader"]])
    score = 1 - ((pred - true) ** 2).mean().item() / true.var().item()
    print(f"score: {score:.4f}")
