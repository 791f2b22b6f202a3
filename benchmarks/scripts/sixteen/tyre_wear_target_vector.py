"""Tyre wear from a table of driving records with an MLP; bad: targets are a vector (N,) while the net returns (N, 1), so MSE compares all pairs of the batch and the net predicts the mean; change: the targets get a second axis."""
import sys
import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset


class TyreData(Dataset):
    def __init__(self, X, y):
        self.X = torch.tensor(X, dtype=torch.float32)
        self.y = torch.tensor(y, dtype=torch.float32)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


def make_records(n=3000, seed=3):
    r = np.random.default_rng(seed)
    km = r.gamma(4, 2.5, n)
    load = r.normal(420, 60, n)
    pressure = r.normal(2.3, 0.2, n)
    temp = r.normal(14, 9, n)
    city = r.beta(2, 3, n)
    wear = 0.16 * km * (1 + 0.8 * city) + 0.004 * (load - 420) + 3 * (pressure - 2.4) ** 2 + 0.01 * np.maximum(temp, 20) + r.normal(0, 0.12, n)
    return np.stack([km, load, pressure, temp, city], 1), wear


def parts(variant):
    torch.manual_seed(0)
    X, y = make_records()
    Xtr, Xva, ytr, yva = train_test_split(X, y, test_size=0.2, random_state=0)
    sx = StandardScaler().fit(Xtr)
    mean, std = ytr.mean(), ytr.std()
    ytr, yva = (ytr - mean) / std, (yva - mean) / std
    if variant != "bad":
        ytr, yva = ytr[:, None], yva[:, None]
    model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(TyreData(sx.transform(Xtr), ytr), batch_size=64, shuffle=True),
                val_loader=DataLoader(TyreData(sx.transform(Xva), yva), batch_size=256))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        running = 0.0
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"epoch {epoch + 1} train loss {running / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x) for x, _ in p["val_loader"]]).numpy().ravel()
    true = torch.cat([y for _, y in p["val_loader"]]).numpy().ravel()
    score = r2_score(true, pred)
    print(f"score: {score:.4f}")
