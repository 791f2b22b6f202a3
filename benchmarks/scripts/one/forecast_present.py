"""GRU forecaster of a noisy seasonal series; the windows are cut so that the target is the window's own last value (off by one), so it learns to copy, with a fine loss and no forecast; the right change: target = series[i + window]."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 24


def series(n=3000):
    rng = np.random.default_rng(5)
    t = np.arange(n)
    s = np.sin(2 * np.pi * t / 7.3) + 0.6 * np.sin(2 * np.pi * t / 3.1 + 1) + 0.05 * rng.standard_normal(n)
    return ((s - s.mean()) / s.std()).astype(np.float32)


def create_sequences(data, window, horizon):
    xs, ys = [], []
    for i in range(len(data) - window - 1):
        xs.append(data[i:i + window])
        ys.append(data[i + window - 1 + horizon])
    return torch.tensor(np.array(xs)).unsqueeze(-1), torch.tensor(np.array(ys)).unsqueeze(-1)


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 32, batch_first=True)
        self.fc = nn.Linear(32, 1)

    def forward(self, x):
        out, _ = self.gru(x)
        return self.fc(out[:, -1, :])


def parts(variant):
    torch.manual_seed(0)
    s = series()
    h = 0 if variant == "bad" else 1
    xtr, ytr = create_sequences(s[:2400], WINDOW, h)
    xva, yva = create_sequences(s[2400:], WINDOW, h)
    model = Forecaster()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(xtr, ytr), 64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(xva, yva), 256)}


WORKS = lambda score: score < 0.2  # squared error of tomorrow's value over that of "as today"

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        tl = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = crit(model(x), y)
            loss.backward()
            opt.step()
            tl += loss.item() * len(x)
        model.eval()
        with torch.no_grad():
            vl = sum(crit(model(x), y).item() * len(x) for x, y in p["val_loader"]) / len(p["val_loader"].dataset)
        print(f"Epoch {epoch:2d} train {tl / len(p['train_loader'].dataset):.5f} val {vl:.5f}")
    test = series()[2400:]
    x = torch.tensor(np.lib.stride_tricks.sliding_window_view(test, WINDOW)[:-1].copy()).unsqueeze(-1)
    nxt = test[WINDOW:]
    with torch.no_grad():
        pred = model(x).squeeze(1).numpy()
    print("score:", ((pred - nxt) ** 2).mean() / ((test[WINDOW - 1:-1] - nxt) ** 2).mean())
