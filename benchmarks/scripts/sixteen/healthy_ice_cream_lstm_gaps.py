"""Daily ice cream sales one day ahead, an LSTM over 21 days with weekday and temperature; days when the till was broken are filled with the value before; scaled on the training part; sound; change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def till(n=1100, seed=6):
    rng = np.random.default_rng(seed)
    day = np.arange(n)
    temp = 14 + 9 * np.sin(2 * np.pi * (day - 110) / 365) + np.convolve(rng.normal(0, 2.5, n + 4), np.ones(5) / 2.2, "valid")
    weekend = np.isin(day % 7, [5, 6])
    sales = 40 + 6 * np.maximum(temp - 8, 0) * (1 + 0.7 * weekend) + 25 * weekend
    sales = rng.poisson(np.maximum(sales, 3)).astype(float)
    broken = rng.random(n) < 0.03
    for i in np.where(broken)[0]:
        if i > 0:
            sales[i] = sales[i - 1]
    return sales, temp, day % 7


class Windows(Dataset):
    def __init__(self, feats, target, lookback=21):
        self.f = torch.tensor(feats, dtype=torch.float32)
        self.t = torch.tensor(target, dtype=torch.float32)
        self.lookback = lookback

    def __len__(self):
        return len(self.f) - self.lookback

    def __getitem__(self, i):
        return self.f[i:i + self.lookback], self.t[i + self.lookback:i + self.lookback + 1]


class SalesLSTM(nn.Module):
    def __init__(self, n_in, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(n_in, hidden, batch_first=True)
        self.fc = nn.Sequential(nn.Dropout(0.1), nn.Linear(hidden, 1))

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])


def parts(variant):
    torch.manual_seed(0)
    sales, temp, wd = till()
    split = 850
    m, s = sales[:split].mean(), sales[:split].std()
    y = (sales - m) / s
    next_temp = np.roll(temp, -1)
    next_temp[-1] = temp[-1]
    f = np.column_stack([y, (next_temp - 14) / 8, np.eye(7)[(wd + 1) % 7]])
    model = SalesLSTM(f.shape[1])
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), loss_fn=nn.SmoothL1Loss(),
                train_loader=DataLoader(Windows(f[:split], y[:split]), batch_size=32, shuffle=True),
                val_loader=DataLoader(Windows(f[split - 21:], y[split - 21:]), batch_size=64))


WORKS = lambda score: score > 0.75  # R2 on the last days

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        total = 0
        for seq, target in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(seq), target)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item() * len(seq)
        print(f"epoch {epoch + 1}: {total / len(p['train_loader'].dataset):.4f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x) for x, _ in p["val_loader"]])
        true = torch.cat([y for _, y in p["val_loader"]])
    score = (1 - ((pred - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()).item()
    print(f"score: {score:.4f}")
