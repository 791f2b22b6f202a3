"""GRU that forecasts the daily visitors of a museum from the last 21 days (standardised); bad: the target is the raw count, about 40,000 to 120,000, and never reached; change: the target is standardised."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

DAYS = 1500
LOOKBACK = 21


def visitors():
    rng = np.random.default_rng(3)
    d = np.arange(DAYS)
    week = np.array([-0.9, -0.4, -0.1, 0.0, 0.3, 0.7, 0.9])[d % 7]
    count = 80_000 + 18_000 * week + 15_000 * np.sin(2 * np.pi * d / 365) + 4_000 * rng.standard_normal(DAYS)
    return count.astype(np.float32)


class VisitorDays(Dataset):
    def __init__(self, counts, mean, std, scale_target):
        self.history = (counts - mean) / std
        self.target = self.history if scale_target else counts

    def __len__(self):
        return len(self.history) - LOOKBACK

    def __getitem__(self, i):
        x = torch.from_numpy(self.history[i:i + LOOKBACK]).unsqueeze(-1)
        y = torch.tensor([self.target[i + LOOKBACK]])
        return x, y


class Forecast(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 24, batch_first=True)
        self.head = nn.Sequential(nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))

    def forward(self, x):
        states, _ = self.rnn(x)
        return self.head(states[:, -1])


def parts(variant):
    torch.manual_seed(0)
    counts = visitors()
    past, recent = counts[:1200], counts[1200 - LOOKBACK:]
    mean, std = past.mean(), past.std()
    scaled = variant != "bad"
    model = Forecast()
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
            "loss_fn": F.mse_loss,
            "train_loader": DataLoader(VisitorDays(past, mean, std, scaled), batch_size=32, shuffle=True),
            "val_loader": DataLoader(VisitorDays(recent, mean, std, scaled), batch_size=64)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if (epoch + 1) % 5 == 0:
            print(f"epoch {epoch + 1}: train mse {np.mean(losses):.5g}")
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in p["val_loader"]]
    out, y = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    score = 1 - ((out - y).pow(2).mean() / y.var()).item()
    print(f"score: {score:.4f}")
