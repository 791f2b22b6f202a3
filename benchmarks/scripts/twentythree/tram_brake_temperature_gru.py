"""GRU that forecasts a tram's brake temperature three steps ahead. F.dropout is called without training=self.training, so it stays on in evaluation and the forecasts there jump about; the right change: F.dropout(h, 0.5, training=self.training) or nn.Dropout."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
WINDOW, AHEAD = 20, 3


def brake_log(n=2200, seed=0):
    rng = np.random.default_rng(seed)
    temp, out, heat = 0.0, [], 0.0
    for t in range(n):
        stop = (t % 12) < 3
        heat = 0.6 * heat + (1.0 if stop else 0.0) * (1 + 0.5 * np.sin(t / 60))
        temp = 0.93 * temp + 0.3 * heat + rng.normal(0, 0.03)
        out.append(temp)
    out = np.array(out, dtype=np.float32)[200:]
    return (out - out[:1400].mean()) / out[:1400].std()


class Windows(Dataset):
    def __init__(self, series):
        self.series = torch.from_numpy(series)

    def __len__(self):
        return len(self.series) - WINDOW - AHEAD

    def __getitem__(self, i):
        return self.series[i:i + WINDOW, None], self.series[i + WINDOW + AHEAD - 1, None]


class BrakeGRU(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.fc1 = nn.Linear(hidden, 32)
        self.fc2 = nn.Linear(32, 1)

    def forward(self, x):
        _, h = self.gru(x)
        h = F.dropout(h[-1], 0.5)
        h = F.relu(self.fc1(h))
        h = F.dropout(h, 0.5)
        return self.fc2(h)


class BrakeGRU2(BrakeGRU):
    def forward(self, x):
        _, h = self.gru(x)
        h = F.dropout(h[-1], 0.5, training=self.training)
        h = F.relu(self.fc1(h))
        h = F.dropout(h, 0.5, training=self.training)
        return self.fc2(h)


def parts(variant):
    torch.manual_seed(0)
    log = brake_log()
    model = BrakeGRU() if variant == "bad" else BrakeGRU2()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(Windows(log[:1400]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(Windows(log[1400:]), batch_size=128)}


WORKS = lambda score: score < 0.08

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    vals = []
    for epoch in range(17):
        model.train()
        running = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
        model.eval()
        with torch.no_grad():
            vals.append(np.mean([p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]]))
        print(f"epoch {epoch:2d} train mse {running / len(p['train_loader']):.4f} val mse {vals[-1]:.4f}")
    print("score:", np.mean(vals[-3:]))
