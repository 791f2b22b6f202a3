"""Tool wear of a drill from a window of vibration, LSTM with L1Loss; bad: the model returns (N,) and the targets are (N, 1), so the loss compares every pair; change: targets of shape (N,)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader


def simulate(n, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(30)
    x, wear = [], []
    for _ in range(n):
        w, speed, phase = rng.uniform(0, 1), rng.uniform(0.4, 0.9), rng.uniform(0, 6)
        a = np.sin(speed * t + phase) + w * np.sin(2.1 * speed * t + phase)
        b = w * rng.normal(size=30) + 0.3 * rng.normal(size=30)
        c = speed + 0.05 * rng.normal(size=30)
        x.append(np.stack([a, b, c], 1))
        wear.append(300 * w)
    return np.array(x, dtype=np.float32), np.array(wear, dtype=np.float32)


class DrillWindows(Dataset):
    def __init__(self, n, seed, column):
        x, wear = simulate(n, seed)
        self.x = torch.from_numpy(x)
        self.y = torch.from_numpy((wear - 150) / 87)
        if column:
            self.y = self.y.unsqueeze(1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class WearNet(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.lstm = nn.LSTM(3, hidden, batch_first=True)
        self.fc = nn.Sequential(nn.Linear(hidden, 20), nn.ReLU(), nn.Linear(20, 1))

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.fc(h[-1]).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = WearNet()
    column = variant == "bad"
    return dict(model=model, loss_fn=nn.L1Loss(), optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
                train_loader=DataLoader(DrillWindows(1500, 1, column), batch_size=32, shuffle=True),
                val_loader=DataLoader(DrillWindows(400, 2, column), batch_size=100))


# R2 on the validation windows
WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: train loss {total / len(p['train_loader']):.4f}")
    with torch.no_grad():
        pred = torch.cat([model(x).flatten() for x, _ in p["val_loader"]])
        true = torch.cat([y.flatten() for _, y in p["val_loader"]])
    score = 1 - ((pred - true) ** 2).mean() / true.var()
    print(f"score: {score:.4f}")
